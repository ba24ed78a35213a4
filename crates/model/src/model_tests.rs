use super::*;
use crate::columns::{Data, Family};
use crate::testing::{bins, categories, every_kernel, interpolated, scaled, Made, Parts, Random};
use crate::textbook::textbook;

/// One column of every family, some with several fields.
fn every_field() -> Vec<Made> {
    let months: Vec<i64> = (1..=12).collect();
    let week: Vec<i64> = (1..=7).collect();
    let hours: Vec<i64> = (0..24).collect();
    vec![
        categories("flag", "boolean", "value", &[0, 1], 0, 1.0),
        categories("id", "integer", "value", &[-5, 0, 3, 900_000_000_000], 3, 1.0),
        bins("amount", "integer", &[0.0, 10.0, 1e6]),
        scaled("price", "number", 3.0, 2.0),
        bins("size", "number", &[-1.5, 0.25, 7.0]),
        categories("word", "text", "value", &[-77, 5, 1 << 60], 2, 1.0),
        categories("published", "idvalue", "value", &[1, 2, 9], 0, 4.0),
        bins("day", "date", &[-400.0, 9000.0]),
        categories("day", "date", "month", &months, 0, 1.0),
        categories("day", "date", "weekday", &week, 0, 1.0),
        bins("moment", "timestamp", &[0.0, 1e14]),
        categories("moment", "timestamp", "month", &months, 0, 1.0),
        categories("moment", "timestamp", "weekday", &week, 0, 1.0),
        categories("moment", "timestamp", "hour", &hours, 0, 1.0),
        bins("clock", "time", &[3.6e9, 7.2e9]),
        scaled("span", "interval", 60.0, 30.0),
    ]
}

/// The same columns, with numbers between knots.
fn interpolated_fields() -> Vec<Made> {
    let mut fields = every_field();
    fields[2] = interpolated("amount", "integer", &[0.0, 10.0, 1e6]);
    fields[4] = interpolated("size", "number", &[-6.0, -1.5, 0.25, 7.0]);
    fields[10] = interpolated("moment", "timestamp", &[0.0]);
    fields[14] = interpolated("clock", "time", &[3.6e9, 7.2e9]);
    fields
}

/// Rows of `every_field`'s columns, as they are stored.
struct Rows {
    flag: Vec<i32>,
    id: Vec<i64>,
    amount: Vec<i32>,
    price: Vec<f32>,
    size: Vec<f64>,
    word: Vec<i64>,
    published: (Vec<i32>, Vec<f32>),
    day: Vec<i32>,
    moment: Vec<i64>,
    clock: Vec<i64>,
    span: Vec<f64>,
    /// Of every column, each with NULLs of its own.
    nulls: Vec<Vec<u8>>,
}

impl Rows {
    fn new(rows: usize, seed: u64) -> Self {
        let random = std::cell::RefCell::new(Random(seed));
        let pick = |choices: &[i64]| choices[random.borrow_mut().below(choices.len())];
        let float = || random.borrow_mut().float();
        let any = |end: usize| random.borrow_mut().below(end) as i64;
        let many = |value: &dyn Fn() -> i64| (0..rows).map(|_| value()).collect::<Vec<i64>>();
        let narrow = |values: Vec<i64>| values.into_iter().map(|v| v as i32).collect::<Vec<i32>>();
        Self {
            flag: narrow(many(&|| any(2))),
            id: many(&|| pick(&[-5, 0, 3, 900_000_000_000, 4, -6, i64::MIN, i64::MAX])),
            amount: narrow(many(&|| pick(&[-1, 0, 9, 10, 11, 1_000_000]))),
            price: (0..rows).map(|_| if any(9) == 0 { f32::NAN } else { float() * 100.0 }).collect(),
            size: (0..rows).map(|_| if any(9) == 0 { f64::NAN } else { f64::from(float()) * 10.0 }).collect(),
            word: many(&|| pick(&[-77, 5, 1 << 60, 6, -1])),
            published: (
                narrow(many(&|| pick(&[1, 2, 9, 3]))),
                (0..rows).map(|_| [f32::INFINITY, 1.0, 1.0, float() * 5.0, float()][any(5) as usize]).collect(),
            ),
            day: narrow(many(&|| any(20_000) - 10_000)),
            moment: many(&|| any(2_000_000_000_000_000) - 1_000_000_000_000_000),
            clock: many(&|| any(86_400_000_000)),
            span: (0..rows).map(|_| f64::from(float()) * 1000.0).collect(),
            nulls: (0..11).map(|_| (0..rows).map(|_| u8::from(any(6) == 0)).collect()).collect(),
        }
    }

    /// In the order in which the fields first use them.
    fn column(&self, place: usize) -> ColumnData<'_> {
        let data = match place {
            0 => Data::Boolean(&self.flag),
            1 => Data::Int64(&self.id),
            2 => Data::Int32(&self.amount),
            3 => Data::Float32(&self.price),
            4 => Data::Float64(&self.size),
            5 => Data::Text(&self.word),
            6 => Data::IdValue { ids: &self.published.0, values: Some(&self.published.1) },
            7 => Data::Date(&self.day),
            8 => Data::Timestamp(&self.moment),
            9 => Data::Time(&self.clock),
            _ => Data::Interval(&self.span),
        };
        ColumnData { data, nulls: Some(&self.nulls[place]) }
    }
}

/// One row of a column, with its numbers left out where they are 1.
fn row_of<'a>(column: &ColumnData<'a>, row: usize) -> ColumnData<'a> {
    let at = row..row + 1;
    let data = match column.data {
        Data::Boolean(v) => Data::Boolean(&v[at.clone()]),
        Data::Int32(v) => Data::Int32(&v[at.clone()]),
        Data::Int64(v) => Data::Int64(&v[at.clone()]),
        Data::Float32(v) => Data::Float32(&v[at.clone()]),
        Data::Float64(v) => Data::Float64(&v[at.clone()]),
        Data::Text(v) => Data::Text(&v[at.clone()]),
        Data::IdValue { ids, values } => Data::IdValue {
            ids: &ids[at.clone()],
            values: values.map(|values| &values[at.clone()]).filter(|values| values[0] != 1.0),
        },
        Data::Date(v) => Data::Date(&v[at.clone()]),
        Data::Timestamp(v) => Data::Timestamp(&v[at.clone()]),
        Data::Time(v) => Data::Time(&v[at.clone()]),
        Data::Interval(v) => Data::Interval(&v[at.clone()]),
    };
    ColumnData { data, nulls: column.nulls.map(|nulls| &nulls[at]) }
}

fn predict(model: &Model, rows: usize, data: &Rows) -> Vec<f32> {
    let (mut encoded, mut workspace, mut outputs) = (Encoded::default(), Workspace::default(), Vec::new());
    model.encode(rows, |place| data.column(place), &mut encoded).unwrap();
    model.forward(&encoded, &mut workspace, &mut outputs).unwrap();
    outputs
}

fn check(parts: &Parts, model: &Model, rows: usize, seed: u64) {
    let data = Rows::new(rows, seed);
    let columns: Vec<ColumnData<'_>> = (0..11).map(|place| data.column(place)).collect();
    let outputs = predict(model, rows, &data);
    assert_eq!(outputs.len(), rows * model.outputs());
    for row in 0..rows {
        let wanted = textbook(parts, &columns, row);
        for (place, wanted) in wanted.iter().enumerate() {
            let found = f64::from(outputs[row * model.outputs() + place]);
            assert!((found - wanted).abs() < 1e-5, "row {row}, output {place}: {found}, not {wanted}");
        }
    }
}

#[test]
fn every_field_and_every_loop_predicts_what_the_rules_say() {
    for kernels in every_kernel() {
        for (task, outputs) in [("binary", 1), ("regression", 1), ("multiclass", 3), ("multiclass", 21)] {
            for widths in [&[][..], &[1], &[8], &[130, 20], &[32, 3, 17, 64]] {
                let parts = Parts::new(every_field(), 5, widths, task, outputs, 7);
                let model = Model::parse_for(&parts.blob(), kernels, &|| ()).unwrap();
                for rows in [1, 5, 64, 431] {
                    check(&parts, &model, rows, rows as u64);
                }
            }
        }
    }
}

#[test]
fn fields_that_are_not_folded_predict_the_same() {
    for kernels in every_kernel() {
        for widths in [&[][..], &[24, 8]] {
            let parts = Parts::new(every_field(), 3, widths, "binary", 1, 9);
            let bytes = parts.blob();
            let blob = Blob::open(&bytes, &|| ()).unwrap();
            for memory in [0, 300, 2_000, 5_000] {
                let header = Header::parse(&blob.header).unwrap();
                let encoder = Encoder::read(&blob, &header).unwrap();
                let network = Network::with_memory(&blob, &header, &encoder, kernels, memory).unwrap();
                check(&parts, &Model { header, encoder, network, seen: None }, 50, 3);
            }
        }
    }
}

/// Every shape of network, with and without interpolated fields, folded and not, on every set of loops.
#[test]
fn every_operation_predicts_what_the_rules_say() {
    for kernels in every_kernel() {
        for (task, outputs) in [("binary", 1), ("regression", 1), ("multiclass", 3), ("multiclass", 21)] {
            for (fields, width) in [(every_field(), 20), (interpolated_fields(), 3), (interpolated_fields(), 33)] {
                let plain = Parts::new(fields, 5, &[width], task, outputs, 7);
                let made = [
                    plain.with_operations(),
                    plain.with_every_operation(width, true, 8),
                    plain.with_every_operation(width, false, 9),
                    plain.with_members(3),
                ];
                for parts in made {
                    let bytes = parts.blob();
                    let blob = Blob::open(&bytes, &|| ()).unwrap();
                    for memory in [0, 5_000, 1 << 20] {
                        let header = Header::parse(&blob.header).unwrap();
                        let encoder = Encoder::read(&blob, &header).unwrap();
                        let network = Network::with_memory(&blob, &header, &encoder, kernels, memory).unwrap();
                        let model = Model { header, encoder, network, seen: None };
                        assert!(model.multiply_adds() > width && model.bytes() > 1000);
                        for rows in [1, 70] {
                            check(&parts, &model, rows, rows as u64);
                        }
                    }
                }
            }
        }
    }
}

/// The first products of several members are had beforehand where all of them have room, and only there.
#[test]
fn members_first_products_are_folded_together() {
    let plain = Parts::new(every_field(), 5, &[20], "binary", 1, 7);
    let multiply_adds = |members: usize, memory: usize| {
        let bytes = plain.with_members(members).blob();
        let blob = Blob::open(&bytes, &|| ()).unwrap();
        let header = Header::parse(&blob.header).unwrap();
        let encoder = Encoder::read(&blob, &header).unwrap();
        Network::with_memory(&blob, &header, &encoder, Kernels::portable(), memory).unwrap().multiply_adds()
    };
    let (room, none) = (1 << 20, 0);
    assert!(multiply_adds(4, room) < 5 * multiply_adds(1, room));
    assert!(multiply_adds(4, none) > 2 * multiply_adds(4, room));
}

/// Version 2 is another way of writing the same network down.
#[test]
fn both_versions_predict_the_same_to_the_last_bit() {
    for kernels in every_kernel() {
        for widths in [&[][..], &[8], &[130, 20], &[32, 3, 17, 64]] {
            let parts = Parts::new(every_field(), 5, widths, "multiclass", 3, 7);
            let models = [parts.blob(), parts.with_operations().blob()]
                .map(|blob| Model::parse_for(&blob, kernels, &|| ()).unwrap());
            assert_eq!(models[0].multiply_adds(), models[1].multiply_adds());
            let data = Rows::new(300, 3);
            let [one, two] = models.map(|model| predict(&model, 300, &data));
            assert_eq!(one, two);
        }
    }
}

/// What lies in the memory of the rows before must not matter, infinite as it may be.
#[test]
fn a_row_that_overflows_does_not_spoil_the_next_ones() {
    let fields = || vec![scaled("price", "number", 0.0, 1.0)];
    for parts in [
        Parts::new(fields(), 2, &[20, 3], "binary", 1, 1),
        Parts::new(fields(), 2, &[20], "binary", 1, 1).with_every_operation(3, false, 2),
    ] {
        // Wider, so that what it leaves lies where a narrow value's padding is.
        let mut large = Parts::new(fields(), 2, &[40, 40, 40], "binary", 1, 1);
        for (name, (_, _, bytes)) in &mut large.tensors {
            if name.ends_with("weight") {
                bytes.chunks_exact_mut(4).for_each(|number| number.copy_from_slice(&3e38f32.to_le_bytes()));
            }
        }
        let (mut encoded, mut workspace, mut outputs) = (Encoded::default(), Workspace::default(), Vec::new());
        let mut run = |parts: &Parts, workspace: &mut Workspace| {
            let model = Model::parse(&parts.blob()).unwrap();
            let prices = ColumnData { data: Data::Float64(&[9.0; 50]), nulls: None };
            model.encode(50, |_| prices, &mut encoded).unwrap();
            model.forward(&encoded, workspace, &mut outputs).unwrap();
            outputs.clone()
        };
        let alone = run(&parts, &mut Workspace::default());
        assert!(run(&large, &mut workspace).iter().any(|output| !output.is_finite()));
        assert_eq!(run(&parts, &mut workspace), alone);
    }
}

#[test]
fn operations_that_do_not_belong_together_are_refused() {
    let plain = Parts::new(every_field(), 5, &[8, 8], "binary", 1, 7).with_operations();
    let rich = Parts::new(interpolated_fields(), 5, &[8], "binary", 1, 7).with_every_operation(8, true, 1);
    let refused = |whole: &Parts, change: &dyn Fn(&mut Parts), words: &str| {
        let mut parts = whole.clone();
        change(&mut parts);
        let error = Model::parse(&parts.blob()).expect_err(words);
        assert!(error.to_string().contains(words), "{error}: {words}");
    };
    use serde_json::json;
    let operation = |number: usize, name: &'static str, value: serde_json::Value| {
        move |parts: &mut Parts| parts.header["operations"][number - 1][name] = value.clone()
    };
    refused(&plain, &operation(2, "operation", json!("tanh")), "which there is not");
    refused(&plain, &operation(2, "of", json!([2])), "reads value 2");
    refused(&plain, &operation(2, "of", json!([u64::MAX])), "there is not before it");
    refused(&plain, &operation(2, "of", json!([-1])), "no list of whole numbers");
    refused(&plain, &operation(2, "of", json!([1, 1])), "relu of the model reads 2 values");
    refused(&plain, &operation(3, "weights", json!(2)), "1 of its kind come before");
    refused(&plain, &operation(3, "weights", json!(0)), "reads 8 numbers, and its weights 80");
    refused(&plain, &operation(3, "of", json!([0])), "reads 80 numbers");
    refused(&plain, &operation(4, "of", json!([1])), "value 3 is computed");
    refused(&plain, &|parts| parts.header["operations"] = json!([]), "0 operations");
    refused(&plain, &|parts| parts.header["version"] = json!(1), "no tensor output.weight");
    refused(
        &plain,
        &|parts| {
            let more = (0..5_000).map(|value| json!({"operation": "relu", "of": [value]}));
            parts.header["operations"].as_array_mut().unwrap().extend(more);
        },
        "5005 operations",
    );
    refused(
        &plain,
        &|parts| {
            let wide = 1 << 17;
            for (name, shape) in [("1.weight", vec![8, wide]), ("1.bias", vec![wide]), ("2.weight", vec![wide, 1])] {
                let bytes = vec![0; 4 * shape.iter().product::<usize>()];
                parts.tensors.insert(format!("linear.{name}"), (safetensors::Dtype::F32, shape, bytes));
            }
            let linear = |of: usize, weights: usize| json!({"operation": "linear", "of": [of], "weights": weights});
            let mut operations = vec![linear(0, 0), linear(1, 1)];
            operations.extend((0..40).map(|_| json!({"operation": "relu", "of": [2]})));
            operations.push(json!({"operation": "add", "of": (3..43).collect::<Vec<usize>>()}));
            operations.push(linear(43, 2));
            parts.header["operations"] = operations.into();
        },
        "multiply-adds a row",
    );
    let shape = |name: &'static str, shape: Vec<usize>| {
        move |parts: &mut Parts| {
            let tensor = parts.tensors.get_mut(name).unwrap();
            tensor.2 = vec![0; shape.iter().product::<usize>() * tensor.0.bitsize() / 8];
            tensor.1 = shape.clone();
        }
    };
    refused(&rich, &operation(6, "of", json!([0, 1])), "different width");
    refused(&rich, &operation(6, "of", json!([])), "add of the model reads 0 values");
    refused(&rich, &shape("scale.0.factor", vec![7]), "7 factors");
    refused(&rich, &shape("linear_path.0.weight", vec![3, 1]), "embedding rows");
    refused(&rich, &shape("linear_path.0.weight", vec![3, 0]), "embedding rows");
    refused(&rich, &shape("fields.2.knots", vec![0]), "needs 2");
    refused(&rich, &shape("fields.4.knots", vec![4]), "not in order");
    refused(&rich, &|parts| parts.header["fields"][5]["encoding"] = json!("interpolated"), "which there is not");
    refused(&rich, &|parts| parts.header["version"] = json!(1), "not in version 1");
    for gone in ["linear.1.bias", "scale.1.shift", "linear_path.0.weight", "fields.4.knots"] {
        refused(&rich, &|parts| drop(parts.tensors.remove(gone)), gone);
    }
}

#[test]
fn more_fields_than_one_pass_sums() {
    let fields = (0..75).map(|n| categories(&format!("c{n}"), "integer", "value", &[0, 1, 2], 0, 1.0)).collect();
    let parts = Parts::new(fields, 2, &[16], "binary", 1, 5);
    let model = Model::parse(&parts.blob()).unwrap();
    let cells: Vec<Vec<i32>> = (0..75).map(|n| (0..9).map(|row| (n + row) % 4).collect()).collect();
    let columns: Vec<ColumnData<'_>> =
        cells.iter().map(|cells| ColumnData { data: Data::Int32(cells), nulls: None }).collect();
    let (mut encoded, mut outputs) = (Encoded::default(), Vec::new());
    model.encode(9, |place| columns[place], &mut encoded).unwrap();
    model.forward(&encoded, &mut Workspace::default(), &mut outputs).unwrap();
    for (row, output) in outputs.iter().enumerate().take(9) {
        assert!((f64::from(*output) - textbook(&parts, &columns, row)[0]).abs() < 1e-5);
    }
}

#[test]
fn a_row_predicts_the_same_alone_and_among_others() {
    let parts = Parts::new(every_field(), 10, &[128, 64], "multiclass", 4, 1);
    let model = Model::parse(&parts.blob()).unwrap();
    let (mut encoded, mut workspace, mut outputs) = (Encoded::default(), Workspace::default(), Vec::new());
    // What is left in the buffers from a larger batch must not matter.
    for rows in [700, 1] {
        let data = Rows::new(rows, 4);
        model.encode(rows, |place| data.column(place), &mut encoded).unwrap();
        model.forward(&encoded, &mut workspace, &mut outputs).unwrap();
        let alone = predict(&model, rows, &data);
        assert_eq!(outputs, alone);
    }
    // To the last digit.
    for kernels in every_kernel() {
        for widths in [&[][..], &[128, 64], &[20, 33, 100]] {
            let parts = Parts::new(every_field(), 3, widths, "multiclass", 9, 1);
            let model = Model::parse_for(&parts.blob(), kernels, &|| ()).unwrap();
            let data = Rows::new(200, 4);
            model.encode(200, |place| data.column(place), &mut encoded).unwrap();
            let mut together = Vec::new();
            model.forward(&encoded, &mut workspace, &mut together).unwrap();
            for row in 0..200 {
                model.encode(1, |place| row_of(&data.column(place), row), &mut encoded).unwrap();
                model.forward(&encoded, &mut workspace, &mut outputs).unwrap();
                assert_eq!(outputs, together[row * 9..(row + 1) * 9], "row {row}");
            }
        }
    }
    model.encode(0, |_| ColumnData { data: Data::Boolean(&[]), nulls: None }, &mut encoded).unwrap_err();
}

#[test]
fn rows_that_are_put_together_predict_as_their_cells_do() {
    let plain = Parts::new(every_field(), 3, &[16], "multiclass", 3, 1);
    let between_knots =
        Parts::new(interpolated_fields(), 3, &[16], "multiclass", 3, 1).with_every_operation(16, true, 1);
    for parts in [plain, between_knots] {
        let model = Model::parse(&parts.blob()).unwrap();
        let data = Rows::new(40, 6);
        let (mut encoded, mut workspace, mut outputs) = (Encoded::default(), Workspace::default(), Vec::new());
        model.encode(40, |place| data.column(place), &mut encoded).unwrap();
        let mut picked = Picked::default();
        // The last row first, and then one in another's place.
        (0..40).for_each(|place| picked.put(place, &encoded, 39 - place).unwrap());
        picked.put(5, &encoded, 0).unwrap();
        assert_eq!(picked.rows(), 40);
        let row_at = |place: usize| if place == 5 { 0 } else { 39 - place };
        let from = |column: usize, row: usize| (column * 7 + row * 11) % 40;
        let mut mixed = Encoded::default();
        model.compose(&picked, 25, from, &mut mixed).unwrap();
        let mut together = Vec::new();
        model.forward(&mixed, &mut workspace, &mut together).unwrap();
        for row in 0..25 {
            let cell = |column: usize| row_of(&data.column(column), row_at(from(column, row)));
            model.encode(1, cell, &mut encoded).unwrap();
            model.forward(&encoded, &mut workspace, &mut outputs).unwrap();
            assert_eq!(outputs, together[row * 3..][..3], "row {row}");
        }
    }
}

#[test]
fn exchanged_cells_predict_as_rows_put_together_of_them() {
    let plain = Parts::new(every_field(), 3, &[16], "multiclass", 3, 1);
    let between_knots =
        Parts::new(interpolated_fields(), 3, &[16], "multiclass", 3, 1).with_every_operation(16, true, 1);
    let wide = Parts::new(
        (0..40).map(|place| categories(&format!("c{place}"), "integer", "value", &[1, 2, 5], 0, 1.0)).collect(),
        3,
        &[16],
        "multiclass",
        3,
        1,
    );
    for (name, parts) in [("plain", plain), ("between knots", between_knots), ("wide", wide)] {
        for kernels in every_kernel() {
            let model = Model::parse_for(&parts.blob(), kernels, &|| ()).unwrap();
            let data = Rows::new(400, 6);
            let (mut encoded, mut workspace) = (Encoded::default(), Workspace::default());
            let (mut outputs, mut wanted) = (Vec::new(), Vec::new());
            // Of the wide table every column is of whole numbers.
            let column = |place: usize| data.column(if name == "wide" { 1 } else { place });
            model.encode(400, column, &mut encoded).unwrap();
            let mut picked = Picked::default();
            (0..400).for_each(|place| picked.put(place, &encoded, place).unwrap());
            assert!(model.exchange(&picked, 1000).unwrap().is_none(), "{name}: there is too little memory");
            let mut exchange = model.exchange(&picked, 1 << 20).unwrap().expect(name);
            for column in 0..model.columns().len() {
                // Cells that stay where they are change nothing, to the last digit.
                model
                    .forward_exchanged(&mut exchange, column, 0..400, |row| row, &mut workspace, &mut outputs)
                    .unwrap();
                model.compose(&picked, 400, |_, row| row, &mut encoded).unwrap();
                model.forward(&encoded, &mut workspace, &mut wanted).unwrap();
                assert_eq!(outputs, wanted, "{name}, column {column}");
            }
            let from = |row: usize| (row * 11 + 3) % 400;
            for column in 0..model.columns().len() {
                for rows in [0..400, 7..250, 3..3, 399..400] {
                    let mixed = |other: usize, row: usize| match other == column {
                        true => from(rows.start + row),
                        false => rows.start + row,
                    };
                    model.compose(&picked, rows.len(), mixed, &mut encoded).unwrap();
                    model.forward(&encoded, &mut workspace, &mut wanted).unwrap();
                    let of = rows.clone();
                    model.forward_exchanged(&mut exchange, column, of, from, &mut workspace, &mut outputs).unwrap();
                    assert_eq!(outputs.len(), rows.len() * 3);
                    let pairs = outputs.iter().zip(&wanted);
                    assert!(pairs.into_iter().all(|(a, b)| (a - b).abs() < 1e-4), "{name}, column {column}, {rows:?}");
                }
            }
        }
    }
}

#[test]
fn cells_are_not_exchanged_where_digits_would_be_lost_or_nothing_be_saved() {
    let fields = || vec![categories("a", "integer", "value", &[1, 2, 5], 0, 1.0)];
    let prepared = |parts: &Parts| {
        let model = Model::parse(&parts.blob()).unwrap();
        let mut encoded = Encoded::default();
        model.encode(2, |_| ColumnData { data: Data::Int32(&[1, 2]), nulls: None }, &mut encoded).unwrap();
        let mut picked = Picked::default();
        (0..2).for_each(|place| picked.put(place, &encoded, place).unwrap());
        model.exchange(&picked, 1 << 20).unwrap().is_some()
    };
    let plain = Parts::new(fields(), 3, &[16], "binary", 1, 1);
    assert!(prepared(&plain));
    assert!(!prepared(&plain.with_every_operation(16, false, 1)), "what is embedded is read as it is");
    let mut large = plain.clone();
    let weights = large.tensors.get_mut("layers.0.weight").unwrap();
    weights.2[..4].copy_from_slice(&1e7_f32.to_le_bytes());
    assert!(!prepared(&large));
}

#[test]
fn no_rows_have_no_outputs() {
    let parts = Parts::new(vec![categories("a", "integer", "value", &[1], 0, 1.0)], 2, &[4], "binary", 1, 1);
    let model = Model::parse(&parts.blob()).unwrap();
    let (mut encoded, mut outputs) = (Encoded::default(), vec![1.0]);
    model.encode(0, |_| ColumnData { data: Data::Int32(&[]), nulls: None }, &mut encoded).unwrap();
    model.forward(&encoded, &mut Workspace::default(), &mut outputs).unwrap();
    assert!(outputs.is_empty());
}

#[test]
fn columns_of_another_kind_or_length_are_refused() {
    let parts = Parts::new(vec![categories("a", "integer", "value", &[1], 0, 1.0)], 2, &[4], "binary", 1, 1);
    let model = Model::parse(&parts.blob()).unwrap();
    let mut encoded = Encoded::default();
    let mut attempt = |data, nulls| model.encode(2, |_| ColumnData { data, nulls }, &mut encoded);
    let error = attempt(Data::Float64(&[1.0, 2.0]), None).unwrap_err();
    attempt(Data::Boolean(&[0, 1]), None).unwrap();
    assert_eq!(error.to_string(), "column \"a\" is of kind number, and the model was trained with integer");
    assert!(attempt(Data::Int32(&[1]), None).is_err());
    assert!(attempt(Data::Int32(&[1, 2]), Some(&[0])).is_err());
    attempt(Data::Int64(&[1, 2]), Some(&[0, 1])).unwrap();
}

#[test]
fn reading_a_large_model_pauses_and_can_be_ended_at_any_pause() {
    let fields = vec![categories("a", "integer", "value", &[1, 2, 3], 0, 1.0)];
    let blob = Parts::new(fields, 1_000, &[1_000, 2_000, 700], "binary", 1, 1).blob();
    let pauses = std::cell::Cell::new(0usize);
    let count = || pauses.set(pauses.get() + 1);
    crate::digest(&blob, &count);
    let of_digest = pauses.replace(0);
    assert!(of_digest >= blob.len() >> 20, "{of_digest} pauses for {} bytes", blob.len());
    Model::parse_for(&blob, Kernels::portable(), &count).unwrap();
    let all = pauses.get();
    // Read, checked, laid out and, of the first layer, multiplied by the embedding.
    assert!(all >= 3 * (blob.len() >> 22) + 5, "{all} pauses for {} bytes", blob.len());
    for end in [1, all / 2, all] {
        pauses.set(0);
        let stop = || {
            count();
            if pauses.get() == end {
                std::panic::resume_unwind(Box::new("cancelled"));
            }
        };
        let read = std::panic::AssertUnwindSafe(|| Model::parse_for(&blob, Kernels::portable(), &stop));
        assert!(std::panic::catch_unwind(read).is_err());
    }
}

/// What a column of one kind encodes to as another that it loses nothing by.
#[test]
fn whole_numbers_are_numbers_and_dates_are_midnights() {
    let hours: Vec<i64> = (0..24).collect();
    let fields = vec![
        scaled("price", "number", 3.0, 2.0),
        bins("size", "number", &[-1.5, 0.25, 7.0]),
        categories("id", "integer", "value", &[0, 1], 0, 1.0),
        bins("moment", "timestamp", &[0.0, 1e14]),
        categories("moment", "timestamp", "month", &[1, 2, 3], 0, 1.0),
        categories("moment", "timestamp", "hour", &hours, 0, 1.0),
    ];
    let model = Model::parse(&Parts::new(fields, 3, &[4], "binary", 1, 3).blob()).unwrap();
    let outputs = |columns: [Data<'_>; 4], nulls: Option<&[u8]>| {
        let (mut encoded, mut outputs) = (Encoded::default(), Vec::new());
        let rows = columns[0].rows();
        model.encode(rows, |place| ColumnData { data: columns[place], nulls }, &mut encoded)?;
        model.forward(&encoded, &mut Workspace::default(), &mut outputs)?;
        Ok::<_, crate::Error>(outputs)
    };
    let (ones, small) = ([0, 1, 1], [-3, 7, i32::MAX]);
    let (big, days) = ([i64::MIN, 1 << 53, 8], [-1, 0, 700]);
    let wide = |v: &[i32]| v.iter().map(|x| f64::from(*x)).collect::<Vec<f64>>();
    let moments: Vec<i64> = days.iter().map(|day| i64::from(*day) * 86_400_000_000).collect();
    let small_floats = wide(&small);
    let big_floats: Vec<f64> = big.iter().map(|x| *x as f64).collect();
    let as_numbers = outputs(
        [Data::Float64(&small_floats), Data::Float64(&big_floats), Data::Int32(&ones), Data::Timestamp(&moments)],
        Some(&[0, 0, 0]),
    );
    let as_given =
        outputs([Data::Int32(&small), Data::Int64(&big), Data::Boolean(&ones), Data::Date(&days)], Some(&[0, 0, 0]));
    assert_eq!(as_given, as_numbers);
    let flags = wide(&ones);
    let of_flags = [Data::Float64(&flags), Data::Float64(&flags), Data::Int32(&ones), Data::Timestamp(&moments)];
    let flags = [Data::Boolean(&ones), Data::Boolean(&ones), Data::Boolean(&ones), Data::Date(&days)];
    assert_eq!(outputs(flags, None), outputs(of_flags, None));
    let late = [Data::Int32(&ones), Data::Int32(&ones), Data::Int32(&ones), Data::Date(&[0, i32::MAX, 0])];
    assert!(outputs(late, Some(&[1, 0, 0])).unwrap_err().to_string().contains("out of range"));
    outputs(late, Some(&[0, 1, 0])).unwrap();
    let wrong = [Data::Int32(&ones), Data::Timestamp(&moments), Data::Int32(&ones), Data::Date(&days)];
    assert!(outputs(wrong, None).unwrap_err().to_string().contains("kind timestamp"));
}

#[test]
fn a_model_of_very_many_columns_is_read_or_refused_at_once() {
    let of = |many: usize| {
        let mut parts = Parts::new(vec![scaled("c0", "number", 0.0, 1.0)], 1, &[1], "binary", 1, 1);
        let field = parts.header["fields"][0].clone();
        let all = (0..many).map(|number| {
            let mut field = field.clone();
            field["column"] = serde_json::json!(format!("c{number}"));
            field["first"] = serde_json::json!(3 * number);
            field
        });
        parts.header["columns"] =
            (0..many).map(|number| serde_json::json!({"name": format!("c{number}"), "kind": "number"})).collect();
        parts.header["fields"] = all.collect();
        parts.tensors.insert("embedding".into(), (safetensors::Dtype::F32, vec![3 * many, 1], vec![0; 12 * many]));
        parts.tensors.insert("layers.0.weight".into(), (safetensors::Dtype::F32, vec![many, 1], vec![0; 4 * many]));
        parts.blob()
    };
    let (possible, forged) = (of(16_384), of(150_000));
    let began = std::time::Instant::now();
    assert_eq!(Model::parse(&possible).unwrap().columns().len(), 16_384);
    assert!(Model::parse(&forged).is_err());
    // Looked through for every field, the columns alone took fifteen seconds.
    assert!(began.elapsed().as_secs() < 5);
}

#[test]
#[should_panic(expected = "another field's")]
fn rows_of_another_model_do_not_read_beyond_this_one() {
    let of = |keys: &[i64]| {
        let parts = Parts::new(vec![categories("a", "integer", "value", keys, 0, 1.0)], 2, &[4], "binary", 1, 1);
        Model::parse(&parts.blob()).unwrap()
    };
    let mut encoded = Encoded::default();
    let large = of(&(0..100_000).collect::<Vec<i64>>());
    large.encode(1, |_| ColumnData { data: Data::Int32(&[99_999]), nulls: None }, &mut encoded).unwrap();
    of(&[1]).forward(&encoded, &mut Workspace::default(), &mut Vec::new()).unwrap();
}

#[test]
fn outcomes_are_classes_and_probabilities() {
    let fields = || vec![categories("a", "integer", "value", &[1], 0, 1.0)];
    let model = |task, outputs| Model::parse(&Parts::new(fields(), 2, &[4], task, outputs, 1).blob()).unwrap();
    let mut two = [0.0; 2];
    let binary = model("binary", 1);
    assert_eq!(binary.outcome(&[0.0], &mut two), Outcome { class: 0, score: 0.5 });
    let sure = binary.outcome(&[800.0], &mut two);
    assert_eq!((sure, two), (Outcome { class: 1, score: 1.0 }, [0.0, 1.0]));
    let unlikely = binary.outcome(&[-40.0], &mut two);
    assert!(unlikely.class == 0 && (unlikely.score / (-40.0f64).exp() - 1.0).abs() < 1e-12 && two[0] == 1.0 - 0.0);
    let mut three = [0.0; 3];
    let found = model("multiclass", 3).outcome(&[1000.0, 1001.0, 1001.0], &mut three);
    assert_eq!(found.class, 1);
    assert!((three.iter().sum::<f64>() - 1.0).abs() < 1e-12 && found.score == three[1] && three[1] == three[2]);
    assert_eq!(model("regression", 1).outcome(&[2.0], &mut []), Outcome { class: 0, score: 17.0 });
}

/// A regression of version 2 whose target is learnt by its logarithm.
fn by_logarithm(shift: serde_json::Value, most: serde_json::Value) -> Parts {
    let mut parts = Parts::new(every_field(), 2, &[4], "regression", 1, 1).with_operations();
    let target = parts.header["target"].as_object_mut().unwrap();
    let scale = [("mean", 2.0.into()), ("std", 0.5.into()), ("scale", "log".into()), ("shift", shift), ("most", most)];
    target.extend(scale.map(|(name, value)| (name.to_string(), value)));
    parts
}

#[test]
fn a_number_is_found_of_its_logarithm_within_its_bounds() {
    let model = Model::parse(&by_logarithm(1.5.into(), 900.0.into()).blob()).unwrap();
    let number = |output: f32| model.outcome(&[output], &mut []).score;
    assert!((number(0.5) - (2.25f64.exp() - 1.5)).abs() < 1e-12);
    assert_eq!((number(-50.0), number(50.0), number(f32::MAX), number(f32::MIN)), (0.0, 900.0, 900.0, 0.0));
    assert!(number(f32::NAN).is_nan());
    let mut of_old = by_logarithm(1.5.into(), 900.0.into());
    of_old.header["target"].as_object_mut().unwrap().remove("scale");
    assert_eq!(Model::parse(&of_old.blob()).unwrap().outcome(&[0.5], &mut []).score, 2.25);
}

#[test]
fn a_logarithm_that_is_none_is_refused() {
    let refused = |parts: Parts, words: &str| {
        let error = Model::parse(&parts.blob()).expect_err(words);
        assert!(error.to_string().contains(words), "{error}: {words}");
    };
    use serde_json::{json, Value};
    refused(by_logarithm(json!(0.0), json!(1.0)), "the shift 0");
    refused(by_logarithm(json!(-1.0), json!(1.0)), "the shift -1");
    refused(by_logarithm(json!(1.0), json!(0)), "at most 0");
    refused(by_logarithm(json!("1"), json!(1)), "no number");
    refused(by_logarithm(json!(1), Value::Null), "no number");
    let mut other = by_logarithm(json!(1), json!(1));
    other.header["target"]["scale"] = json!("root");
    refused(other, "the scale \"root\", which there is not");
    let mut bare = by_logarithm(json!(1), json!(1));
    bare.header["target"].as_object_mut().unwrap().remove("most");
    refused(bare, "has no \"most\"");
    let mut binary = Parts::new(every_field(), 2, &[4], "binary", 1, 1).with_operations();
    binary.header["target"] = by_logarithm(json!(1), json!(1)).header["target"].clone();
    refused(binary.clone(), "a model of the task binary has a target with a scale");
}

#[test]
fn version_1_has_no_logarithm() {
    let mut parts = Parts::new(every_field(), 2, &[4], "regression", 1, 1);
    let before = Model::parse(&parts.blob()).unwrap().outcome(&[0.5], &mut []);
    parts.header["target"]["scale"] = serde_json::json!(["whatever"]);
    assert_eq!(Model::parse(&parts.blob()).unwrap().outcome(&[0.5], &mut []), before);
}

#[test]
fn a_model_describes_itself() {
    let model = Model::parse(&Parts::new(every_field(), 5, &[8, 4], "regression", 1, 7).blob()).unwrap();
    assert_eq!((model.task(), model.architecture(), model.classes().len()), (Task::Regression, "8-4", 0));
    assert_eq!((model.target().name.as_str(), model.target().mean), ("y", 10.5));
    let columns: Vec<&str> = model.columns().iter().map(|c| c.name.as_str()).collect();
    let names = ["flag", "id", "amount", "price", "size", "word", "published", "day", "moment", "clock", "span"];
    assert_eq!(columns, names);
    assert_eq!(model.columns()[5].family, Family::Text);
    let fields = model.describe();
    assert_eq!(fields.len(), 16);
    assert_eq!(fields[0].examples, ["false", "true"]);
    assert_eq!(fields[5].examples, ["text -77", "text 1152921504606846976"]);
    assert_eq!((fields[5].categories, fields[5].buckets, fields[5].slots), (3, 2, 7));
    assert_eq!((fields[1].first, fields[2].edges.clone()), (4, vec![0.0, 10.0, 1e6]));
    assert_eq!((fields[8].part, fields[8].examples.len(), fields[3].mean), ("month", 10, 3.0));
    assert!(model.bytes() > 1000);
}

/// Every change must be refused with a sentence that names what is wrong.
#[test]
fn what_does_not_belong_together_is_refused() {
    let whole = Parts::new(every_field(), 5, &[8, 4], "binary", 1, 7);
    let refused = |change: &dyn Fn(&mut Parts), words: &str| {
        let mut parts = whole.clone();
        change(&mut parts);
        let error = Model::parse(&parts.blob()).expect_err(words);
        assert!(error.to_string().contains(words), "{error}: {words}");
    };
    let header = |path: &'static str, value: serde_json::Value| {
        move |parts: &mut Parts| *parts.header.pointer_mut(path).unwrap() = value.clone()
    };
    let shape = |name: &'static str, shape: Vec<usize>| {
        move |parts: &mut Parts| {
            let tensor = parts.tensors.get_mut(name).unwrap();
            tensor.2 = vec![0; shape.iter().product::<usize>() * tensor.0.bitsize() / 8];
            tensor.1 = shape.clone();
        }
    };
    use serde_json::json;
    refused(&header("/version", json!(3)), "format trails.model 3");
    refused(&header("/format", json!("other")), "format other 1");
    refused(&header("/task", json!("clustering")), "header");
    refused(&header("/task", json!("multiclass")), "1 outputs");
    refused(&header("/task", json!("regression")), "regression has 2 classes");
    refused(&header("/classes", json!(["one"])), "1 classes");
    refused(&header("/embedding", json!(6)), "embedding");
    refused(&header("/columns/0/name", json!("other")), "columns");
    refused(&header("/columns/1/name", json!("flag")), "twice");
    refused(&header("/fields/8/kind", json!("timestamp")), "differ in kind");
    refused(&header("/fields/0/first", json!(1)), "begins");
    refused(&header("/fields/0/slots", json!(5)), "needs 4");
    refused(&header("/fields/1/buckets", json!(u64::MAX)), "buckets");
    refused(&header("/fields/1/buckets", json!(i32::MAX)), "embedding rows");
    refused(&header("/fields/0/slots", json!(u64::MAX)), "embedding rows");
    refused(&header("/fields/0/part", json!("hour")), "which there is not");
    refused(&header("/fields/0/encoding", json!("bins")), "which there is not");
    refused(&header("/fields/4/encoding", json!("categories")), "which there is not");
    refused(&header("/fields/3/std", json!(0.0)), "deviation");
    refused(&header("/fields/0/std", json!(-1.0)), "deviation");
    refused(&header("/target/std", json!(0)), "deviation");
    refused(&header("/fields/6/scale", json!(0.5)), "scale");
    refused(&header("/fields/6/scale", json!(1e39)), "scale");
    refused(&header("/fields/6/scale", json!(0.0)), "scale");
    refused(&header("/fields/2/buckets", json!(1)), "no categories");
    refused(&header("/target/mean", json!("x")), "no number");
    refused(&header("/target/mean", json!(null)), "no number");
    refused(&header("/target/kind", json!("money")), "kind");
    refused(&header("/target", json!(["y", "text", 0.0, 1.0])), "no JSON object");
    refused(&header("/task", json!({"binary": null})), "no text");
    refused(&header("/version", json!(1.0)), "whole number");
    refused(&header("/embedding", json!(-5)), "whole number");
    refused(&header("/fields", json!([])), "0 fields");
    refused(&header("/classes", json!(["same", "same"])), "twice");
    refused(&header("/classes", json!(["no", "y\0s"])), "NUL");
    refused(&header("/classes", json!(["no", "x".repeat(1_001)])), "1001 bytes");
    refused(&header("/classes", json!(["no", null])), "no text");
    refused(&header("/columns/0/name", json!("x".repeat(20_000_000))), "bytes long");
    refused(&header("/training", json!({"deep\0": 1})), "NUL");
    refused(&header("/training", json!(null)), "no JSON object");
    refused(&header("/metrics", json!({"auc": "good"})), "no number");
    for gone in ["classes", "columns", "fields", "metrics", "training", "target", "architecture"] {
        refused(&|parts| drop(parts.header.as_object_mut().unwrap().remove(gone)), gone);
    }
    refused(&shape("embedding", vec![10, 5]), "embedding");
    refused(&shape("embedding", vec![500]), "dimensions");
    refused(&shape("layers.0.weight", vec![80, 7]), "layers.0");
    refused(&shape("layers.1.weight", vec![7, 4]), "layers.1");
    refused(&shape("layers.1.bias", vec![5]), "layers.1");
    refused(&shape("output.weight", vec![4, 2]), "output");
    refused(&shape("fields.5.ends", vec![2]), "texts");
    refused(&shape("fields.5.bytes", vec![1]), "texts");
    refused(&shape("fields.1.categories", vec![9]), "embedding rows");
    let holds = |name: &'static str, bytes: Vec<u8>| {
        move |parts: &mut Parts| parts.tensors.get_mut(name).unwrap().2.copy_from_slice(&bytes)
    };
    let keys = |keys: [i64; 4]| keys.iter().flat_map(|key| key.to_le_bytes()).collect::<Vec<u8>>();
    let edges = |edges: [f64; 3]| edges.iter().flat_map(|edge| edge.to_le_bytes()).collect::<Vec<u8>>();
    refused(&holds("fields.1.categories", keys([1, 2, 2, 3])), "not in order");
    refused(&holds("fields.1.categories", keys([4, 3, 2, 1])), "not in order");
    refused(&holds("fields.2.edges", edges([0.0, f64::NAN, 1.0])), "not in order");
    refused(&holds("fields.2.edges", edges([0.0, 1.0, f64::INFINITY])), "not in order");
    refused(&holds("fields.2.edges", edges([0.0, 0.0, 1.0])), "not in order");
    let spelt = |text: &'static [u8]| {
        move |parts: &mut Parts| {
            let tensor = parts.tensors.get_mut("fields.5.bytes").unwrap();
            tensor.2[..text.len()].copy_from_slice(text);
        }
    };
    refused(&spelt(b"te\0t"), "NUL");
    refused(&spelt(b"te\xfft"), "UTF-8");
    refused(
        &|parts| {
            let end = |end: u32| end.to_le_bytes();
            parts.tensors.get_mut("fields.5.ends").unwrap().2 = [end(1_001), end(1_001), end(1_001)].concat();
            *parts.tensors.get_mut("fields.5.bytes").unwrap() =
                (safetensors::Dtype::U8, vec![1_001], vec![b'x'; 1_001]);
        },
        "more than 1000 bytes",
    );
    refused(
        &|parts| drop(parts.tensors.insert("other".into(), (safetensors::Dtype::U8, vec![1], vec![0]))),
        "\"other\"",
    );
    for gone in ["embedding", "output.bias", "layers.0.bias", "fields.1.categories", "fields.2.edges", "fields.5.ends"]
    {
        refused(&|parts| drop(parts.tensors.remove(gone)), gone);
    }
    refused(&|parts| parts.tensors.get_mut("fields.2.edges").unwrap().0 = safetensors::Dtype::I64, "type");
    refused(
        &|parts| parts.tensors.get_mut("output.bias").unwrap().2.copy_from_slice(&f32::NAN.to_le_bytes()),
        "not finite",
    );
    let nan = whole.header.to_string().replace("0.5", "NaN");
    assert!(Model::parse(&whole.blob_with(&nan)).unwrap_err().to_string().contains("header"));
    let training = |json: &str| {
        let header = whole.header.to_string().replace(r#"{"epochs":3}"#, &format!(r#"{{"more":{json}}}"#));
        Model::parse(&whole.blob_with(&header)).map_err(|error| error.to_string())
    };
    let nested = |deep: usize| format!("{}{}", "[".repeat(deep), "]".repeat(deep));
    assert!(training(&nested(100_000)).unwrap_err().contains("deep"));
    assert!(training(&nested(31)).unwrap_err().contains("deep"));
    training(&nested(30)).unwrap();
    training(r#""[[[,,,{{{ \\\"[[[""#).unwrap();
    assert!(training(&format!("[{}0]", "0,".repeat(1 << 18))).unwrap_err().contains("values"));
    assert!(training("1e400").is_err() && training("NaN").is_err());
}

/// Whatever the bytes are: a model or an error, and a model then predicts without harm.
#[test]
fn damaged_blobs_do_no_harm() {
    let blob = Parts::new(every_field(), 2, &[8], "binary", 1, 7).blob();
    for end in (0..blob.len()).step_by(7) {
        assert!(Model::parse(&blob[..end]).is_err());
    }
    let longer = [&blob[..], &[0; 9]].concat();
    assert!(Model::parse(&longer).is_err());
    for length in [0, 1, 8, 1 << 20, 100_000_001, u64::MAX >> 1, u64::MAX - 8, u64::MAX] {
        let mut damaged = blob.clone();
        damaged[..8].copy_from_slice(&length.to_le_bytes());
        assert!(Model::parse(&damaged).is_err());
    }
    let mut random = Random(5);
    let mut parsed = 0;
    for round in 0..6_000 {
        let mut damaged = blob.clone();
        for _ in 0..1 + round % 3 {
            let place = random.below(damaged.len());
            damaged[place] = match round % 4 {
                // Digits make other numbers of numbers, which a random byte hardly ever does.
                0 => b"0123456789"[random.below(10)],
                1 => damaged[place] ^ (1 << random.below(8)),
                _ => random.next() as u8,
            };
        }
        if let Ok(model) = Model::parse(&damaged) {
            parsed += 1;
            let data = Rows::new(20, round);
            let (mut encoded, mut outputs) = (Encoded::default(), Vec::new());
            if model.columns().len() == 11 && model.encode(20, |place| data.column(place), &mut encoded).is_ok() {
                model.forward(&encoded, &mut Workspace::default(), &mut outputs).unwrap();
                model.outcome(&outputs[..model.outputs()], &mut [0.0; 2]);
            }
        }
    }
    assert!(parsed > 100, "most damage to weights goes unnoticed here: that is what the digest is for");
}
