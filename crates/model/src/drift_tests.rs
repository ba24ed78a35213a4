use super::*;
use safetensors::Dtype;

use crate::columns::{ColumnData, Data};
use crate::testing::{categories, interpolated, scaled, Parts, Random};

#[test]
fn rows_spread_alike_are_no_distance_apart() {
    let cells = [(10.0, 1.0), (70.0, 7.0), (20.0, 2.0)];
    assert!(jensen_shannon(&cells).abs() < 1e-12);
    assert!(stability(&[(100.0, 100.0), (700.0, 700.0)]).abs() < 1e-12);
}

#[test]
fn distances_are_what_the_textbooks_say() {
    assert!((jensen_shannon(&[(5.0, 0.0), (0.0, 9.0)]) - 1.0).abs() < 1e-12);
    // p = (1/2, 1/2), q = (1/4, 3/4): half of D(p|m) + D(q|m) with m = (3/8, 5/8).
    let wanted = 0.5 * (0.5 * (4.0f64 / 3.0).log2() + 0.5 * 0.8f64.log2())
        + 0.5 * (0.25 * (2.0f64 / 3.0).log2() + 0.75 * 1.2f64.log2());
    assert!((jensen_shannon(&[(50.0, 1.0), (50.0, 3.0)]) - wanted).abs() < 1e-12);
    // Of so many rows half a row is nothing.
    let wanted = 0.25 * (1.5f64).ln() + -0.25 * (0.5f64).ln();
    assert!((stability(&[(5e8, 7.5e8), (5e8, 2.5e8)]) - wanted).abs() < 1e-6);
    assert!(stability(&[(1000.0, 0.0), (0.0, 1000.0)]).is_finite());
}

/// How often a value is above 0.1 where nothing has changed.
fn alarms(mut value: impl FnMut(&mut Random) -> f64) -> f64 {
    let mut random = Random(7);
    (0..1000).filter(|_| value(&mut random) > 0.1).count() as f64 / 1000.0
}

/// Rows of a column of which a share is NULL, by slot; the others are spread over four slots.
fn drawn(random: &mut Random, rows: usize, nulls: f64) -> Vec<u64> {
    let mut slots = vec![0; 6];
    for _ in 0..rows {
        let is_null = (random.below(1 << 20) as f64) < nulls * f64::from(1 << 20);
        slots[if is_null { NULL as usize } else { FIRST_SLOT as usize + random.below(4) }] += 1;
    }
    slots
}

const THEN: [u32; 6] = [0, 500, 2375, 2375, 2375, 2375];

fn distances(now: &[u64]) -> (f64, f64) {
    (jensen_shannon(&cells_of(true, 0, &THEN, now)), stability(&cells_of(false, 0, &THEN, now)))
}

#[test]
fn few_rows_of_the_same_kind_have_not_drifted() {
    for rows in [1, 5, 20, 40, 100] {
        let most = if rows <= 20 { 0.01 } else { 0.05 };
        let found = alarms(|random| {
            let (by_category, by_number) = distances(&drawn(random, rows, 0.05));
            by_category.max(by_number)
        });
        assert!(found <= most, "{found} of {rows} rows each");
    }
}

#[test]
fn few_rows_of_other_nulls_have() {
    for (rows, nulls) in [(20, 1.0), (60, 0.5), (1000, 0.3)] {
        let (by_category, by_number) = distances(&drawn(&mut Random(1), rows, nulls));
        assert!(by_category > 0.05 && by_number > 0.1, "{by_category} and {by_number} of {rows} rows");
    }
    // Three tenths were NULL, too few of a hundred rows for a cell of their own, and none is.
    let then = [0, 3000, 1750, 1750, 1750, 1750];
    let none = [0, 0, 25, 25, 25, 25];
    assert!(stability(&cells_of(false, 0, &then, &none)) > 0.1);
    // One that was never there is chance, of many not.
    let never = [0, 0, 2500, 2500, 2500, 2500];
    assert!(stability(&cells_of(false, 0, &never, &[0, 1, 25, 25, 25, 25])) < 0.1);
    assert!(stability(&cells_of(false, 0, &never, &[0, 40, 15, 15, 15, 15])) > 1.0);
}

#[test]
fn a_mean_has_moved_where_it_is_farther_than_chance_takes_it() {
    for rows in [5, 40, 400] {
        // Even from -1 to 1, in standard deviations.
        let draw = |random: &mut Random| f64::from(random.float()) * 3f64.sqrt();
        let found = alarms(|random| {
            let sum = (0..rows).map(|_| draw(random)).sum();
            let slots = drawn(random, rows, 0.05);
            let known = slots[FIRST_SLOT as usize..].iter().sum::<u64>() as f64;
            let nulls = null_shift((500.0, slots[NULL as usize] as f64), (9500.0, known));
            mean_shift((sum, rows as u64), (10_000.0, rows as f64)).max(nulls)
        });
        assert!(found <= 0.04, "{found} of {rows} rows each");
    }
    assert!((mean_shift((1000.0, 1000), (1e9, 1000.0)) - (1.0 - 2.0 / 1000f64.sqrt())).abs() < 1e-6);
    assert_eq!(mean_shift((-10.0, 1000), (1e9, 1000.0)), 0.0);
    assert!(mean_shift((-500.0, 1000), (1e9, 1000.0)) > 0.4);
}

#[test]
fn a_column_that_is_all_null_now_has_moved() {
    assert_eq!(mean_shift((0.0, 0), (10_000.0, 0.0)), 0.0);
    assert!(null_shift((0.0, 100.0), (10_000.0, 0.0)) > 1.0);
    assert!(null_shift((500.0, 1000.0), (9500.0, 0.0)) > 1.0);
    assert!(null_shift((10_000.0, 0.0), (0.0, 1000.0)) > 1.0);
    assert_eq!(null_shift((500.0, 50.0), (9500.0, 950.0)), 0.0);
    assert_eq!(null_shift((10_000.0, 70.0), (0.0, 0.0)), 0.0);
    assert_eq!(null_shift((0.0, 0.0), (10_000.0, 70.0)), 0.0);
}

#[test]
fn nothing_is_no_distance() {
    assert_eq!((jensen_shannon(&[]), stability(&[])), (0.0, 0.0));
}

/// A model of two columns of numbers, one standardised, and a category, trained on 10,000 rows of which some were NULL.
fn trained(nulls: u32) -> Model {
    let fields = vec![
        scaled("price", "number", 3.0, 2.0),
        interpolated("size", "number", &[0.0, 1.0]),
        categories("id", "integer", "value", &[4, 7], 0, 1.0),
    ];
    let mut parts = Parts::new(fields, 2, &[4], "binary", 1, 1).with_operations();
    let half = (10_000 - nulls) / 2;
    let seen = [0, nulls, 2 * half, 0, nulls, half, half, 0, nulls, half, half];
    let bytes = seen.iter().flat_map(|rows: &u32| rows.to_le_bytes()).collect();
    parts.tensors.insert("seen".into(), (Dtype::U32, vec![seen.len()], bytes));
    Model::parse(&parts.blob()).unwrap()
}

/// What becomes of the columns where the rows' numbers are these, and NULL where they are NaN.
fn found(model: &Model, price: &[f64], size: &[f64], id: &[i64], nulls: &[u8]) -> Vec<Drifted> {
    let (mut drift, mut encoded) = (Drift::of(model).unwrap().unwrap(), Encoded::default());
    let columns = [Data::Float64(price), Data::Float64(size), Data::Int64(id)];
    model.encode(id.len(), |place| ColumnData { data: columns[place], nulls: Some(nulls) }, &mut encoded).unwrap();
    drift.add(&encoded);
    assert_eq!(drift.rows, id.len() as u64);
    drift.columns()
}

#[test]
fn columns_that_are_all_null_now_have_drifted_whatever_they_are_encoded_as() {
    for nulls in [0, 500] {
        let model = trained(nulls);
        let rows = 100;
        let gone = found(&model, &vec![3.0; rows], &vec![0.2; rows], &vec![4; rows], &vec![1; rows]);
        assert_eq!(
            gone.iter().map(|column| column.metric).collect::<Vec<_>>(),
            ["mean_shift", "psi", "jensen_shannon"]
        );
        for column in gone {
            assert!(column.value > 0.5 && column.nulls_now == 1.0, "{column:?}");
        }
        // Nor has one that is as it was: 5 of 100 NULL, or none.
        let prices: Vec<f64> = (0..rows).map(|row| if row % 2 == 0 { 1.0 } else { 5.0 }).collect();
        let sizes: Vec<f64> = (0..rows).map(|row| if row % 2 == 0 { 0.1 } else { 1.0 }).collect();
        let ids: Vec<i64> = (0..rows).map(|row| if row % 2 == 0 { 4 } else { 7 }).collect();
        let few: Vec<u8> = (0..rows).map(|row| u8::from((row as u32) < nulls / 100)).collect();
        for column in found(&model, &prices, &sizes, &ids, &few) {
            assert!(column.value < 0.01, "{column:?}");
        }
    }
}
