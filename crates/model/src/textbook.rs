//! The rules of the format as they are written down, to compare with.

use crate::columns::{ColumnData, Data};
use crate::testing::Parts;

/// One cell, without types: its key and its number, None where it counts as NULL.
fn cell(data: &Data<'_>, row: usize) -> Option<(i64, f64, f32)> {
    let (key, number, factor) = match data {
        Data::Boolean(v) | Data::Int32(v) | Data::Date(v) => (i64::from(v[row]), f64::from(v[row]), 1.0),
        Data::Int64(v) | Data::Text(v) | Data::Timestamp(v) | Data::Time(v) => (v[row], v[row] as f64, 1.0),
        Data::Float32(v) => (0, f64::from(v[row]), 1.0),
        Data::Float64(v) | Data::Interval(v) => (0, v[row], 1.0),
        Data::IdValue { ids, values } => (i64::from(ids[row]), 0.0, values.map_or(1.0, |values| values[row])),
    };
    (!number.is_nan() && factor.is_finite()).then_some((key, number, factor))
}

/// The rules of the format, as they are written down, in double precision and without a thought for speed.
pub fn textbook(parts: &Parts, columns: &[ColumnData<'_>], row: usize) -> Vec<f64> {
    let header = &parts.header;
    let numbers = |name: &str| -> Vec<f64> {
        let (_, _, bytes) = &parts.tensors[name];
        bytes.chunks_exact(4).map(|b| f64::from(f32::from_le_bytes(b.try_into().unwrap()))).collect()
    };
    let words = |name: &str| -> Vec<[u8; 8]> {
        parts.tensors.get(name).map_or(vec![], |t| t.2.chunks_exact(8).map(|b| b.try_into().unwrap()).collect())
    };
    let size = header["embedding"].as_u64().unwrap() as usize;
    let embedding = numbers("embedding");
    let path = parts.tensors.get("linear_path.0.weight").map(|(_, shape, _)| shape[1]);
    let path_weights = path.map(|_| numbers("linear_path.0.weight")).unwrap_or_default();
    let mut summed = vec![0.0; path.unwrap_or(0)];
    let mut x = Vec::new();
    for (number, field) in header["fields"].as_array().unwrap().iter().enumerate() {
        let place = header["columns"].as_array().unwrap().iter().position(|c| c["name"] == field["column"]).unwrap();
        let column = &columns[place];
        let is_null = column.nulls.is_some_and(|nulls| nulls[row] != 0);
        let keys: Vec<i64> =
            words(&format!("fields.{number}.categories")).into_iter().map(i64::from_le_bytes).collect();
        let edges: Vec<f64> = words(&format!("fields.{number}.edges")).into_iter().map(f64::from_le_bytes).collect();
        let float = |name: &str| field[name].as_f64().unwrap();
        let knots: Vec<f64> = words(&format!("fields.{number}.knots")).into_iter().map(f64::from_le_bytes).collect();
        let mut behind = 0.0;
        let (slot, factor) = match cell(&column.data, row).filter(|_| !is_null) {
            None => (1, 1.0),
            Some((key, value, factor)) => match field["encoding"].as_str().unwrap() {
                "bins" => (2 + edges.iter().filter(|edge| **edge <= value).count() as u64, 1.0),
                "interpolated" => {
                    let last = knots.len() - 1;
                    let inside = value.clamp(knots[0], knots[last]);
                    let below = knots.iter().filter(|knot| **knot <= inside).count() - 1;
                    if below < last {
                        behind = (inside - knots[below]) / (knots[below + 1] - knots[below]);
                    }
                    (2 + below as u64, 1.0)
                }
                "scaled" => (2, ((value - float("mean")) / float("std")).clamp(-10.0, 10.0)),
                _ => {
                    let day_length = 86_400_000_000;
                    let days = if field["kind"] == "date" { key } else { key.div_euclid(day_length) };
                    let key = match field["part"].as_str().unwrap() {
                        "month" => crate::calendar::month_of(days),
                        "weekday" => (days + 5).rem_euclid(7) + 1,
                        "hour" => key.rem_euclid(day_length) / 3_600_000_000,
                        _ => key,
                    };
                    let buckets = field["buckets"].as_u64().unwrap();
                    let slot = match keys.iter().position(|known| *known == key) {
                        Some(place) => 2 + place as u64,
                        None if buckets == 0 => 0,
                        None => {
                            let mixed = (key as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32;
                            2 + keys.len() as u64 + mixed % buckets
                        }
                    };
                    (slot, f64::from(factor) / float("scale"))
                }
            },
        };
        let id = (field["first"].as_u64().unwrap() + slot) as usize;
        let vector = |table: &[f64], size: usize, place: usize| {
            let own = table[id * size + place];
            factor * if behind > 0.0 { own * (1.0 - behind) + table[(id + 1) * size + place] * behind } else { own }
        };
        x.extend((0..size).map(|place| vector(&embedding, size, place)));
        let width = summed.len();
        summed.iter_mut().enumerate().for_each(|(place, sum)| *sum += vector(&path_weights, width, place));
    }
    if header["version"] == 1 {
        return through_layers(parts, &numbers, x);
    }
    let mut values = vec![x];
    for operation in header["operations"].as_array().unwrap() {
        let of: Vec<&Vec<f64>> = operation["of"]
            .as_array()
            .map_or(vec![], |of| of.iter().map(|value| &values[value.as_u64().unwrap() as usize]).collect());
        let name = operation["operation"].as_str().unwrap();
        let learnt = |part: &str| numbers(&format!("{name}.{}.{part}", operation["weights"]));
        let sum = || (0..of[0].len()).map(|place| of.iter().map(|value| value[place]).sum::<f64>());
        let found: Vec<f64> = match name {
            "linear" => product(of[0], &learnt("weight"), learnt("bias")),
            "relu" => of[0].iter().map(|x| x.max(0.0)).collect(),
            "scale" => {
                let (factor, shift) = (learnt("factor"), learnt("shift"));
                of[0].iter().zip(factor.iter().zip(&shift)).map(|(x, (factor, shift))| x * factor + shift).collect()
            }
            "add" => sum().collect(),
            "mean" => sum().map(|sum| sum / of.len() as f64).collect(),
            _ => summed.clone(),
        };
        values.push(found);
    }
    values.pop().unwrap()
}

fn product(x: &[f64], weight: &[f64], mut sums: Vec<f64>) -> Vec<f64> {
    let width = sums.len();
    for (place, sum) in sums.iter_mut().enumerate() {
        *sum += x.iter().enumerate().map(|(input, x)| x * weight[input * width + place]).sum::<f64>();
    }
    sums
}

/// Version 1.
fn through_layers(parts: &Parts, numbers: &dyn Fn(&str) -> Vec<f64>, mut x: Vec<f64>) -> Vec<f64> {
    let mut layer = 0;
    loop {
        let hidden = parts.tensors.contains_key(&format!("layers.{layer}.weight"));
        let name = if hidden { format!("layers.{layer}") } else { "output".into() };
        let sums = product(&x, &numbers(&format!("{name}.weight")), numbers(&format!("{name}.bias")));
        if !hidden {
            return sums;
        }
        x = sums.into_iter().map(|sum| sum.max(0.0)).collect();
        layer += 1;
    }
}
