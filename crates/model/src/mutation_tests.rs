//! Two hundred thousand models with something wrong with them: each is refused, or predicts without harm on any columns.
//! Both versions are among them, and every operation.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use safetensors::Dtype;
use serde_json::{json, Value};

use super::*;
use crate::columns::{Data, Family};
use crate::testing::{bins, categories, interpolated, scaled, Made, Parts, Random};

const ROUNDS: u64 = 200_000;

/// The system's allocator, which counts what the thread holds.
struct Counting;

thread_local! {
    static HELD: Cell<isize> = const { Cell::new(0) };
    static MOST: Cell<isize> = const { Cell::new(0) };
}

// SAFETY: everything is the system's but the counting, which allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, address: *mut u8, layout: Layout) {
        count(-(layout.size() as isize));
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(address, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn count(bytes: isize) {
    let held = HELD.get() + bytes;
    HELD.set(held);
    MOST.set(MOST.get().max(held));
}

/// The most memory that the thread holds at a time while it does something.
fn most_memory(work: impl FnOnce()) -> usize {
    let before = HELD.get();
    MOST.set(before);
    work();
    (MOST.get() - before) as usize
}

/// Fields of every kind, with learnt parts of every length, none included.
fn every_field() -> Vec<Made> {
    vec![
        categories("flag", "boolean", "value", &[0, 1], 0, 1.0),
        categories("id", "integer", "value", &[-5, 0, 3, 900_000_000_000], 3, 1.0),
        bins("amount", "integer", &[0.0, 10.0, 1e6]),
        scaled("price", "number", 3.0, 2.0),
        bins("size", "number", &[]),
        categories("word", "text", "value", &[-77, 5, 1 << 60], 2, 1.0),
        categories("rare", "text", "value", &[], 0, 1.0),
        categories("published", "idvalue", "value", &[1, 2, 9], 0, 4.0),
        bins("day", "date", &[-400.0, 9000.0]),
        categories("day", "date", "weekday", &[1, 2, 7], 0, 1.0),
        bins("moment", "timestamp", &[0.0, 1e14]),
        categories("moment", "timestamp", "hour", &[0, 23], 1, 1.0),
        bins("clock", "time", &[3.6e9]),
        scaled("span", "interval", 60.0, 30.0),
    ]
}

/// Of every task both versions, which together have every operation and every encoding.
fn sound() -> Vec<Parts> {
    let mut all = Vec::new();
    for (task, outputs) in [("binary", 1), ("multiclass", 3), ("regression", 1)] {
        let plain = Parts::new(every_field(), 3, &[20, 3], task, outputs, 7);
        let mut fields = every_field();
        fields[2] = interpolated("amount", "integer", &[0.0, 10.0, 1e6]);
        fields[4] = interpolated("size", "number", &[0.5]);
        fields[8] = interpolated("day", "date", &[-400.0, 9000.0]);
        let between = Parts::new(fields, 3, &[20, 3], task, outputs, 8);
        all.extend([plain.with_operations(), between.with_every_operation(5, true, 9)]);
        if task == "regression" {
            let mut logarithm = plain.with_operations();
            let target = logarithm.header["target"].as_object_mut().unwrap();
            target.extend([("scale", json!("log")), ("shift", json!(0.5)), ("most", json!(1e9))].map(named));
            all.push(logarithm);
        }
        all.extend([plain.with_every_operation(18, false, 10), plain]);
    }
    all
}

fn named((name, value): (&str, Value)) -> (String, Value) {
    (name.to_string(), value)
}

fn odd_value(random: &mut Random) -> Value {
    let odd = [
        json!(null),
        json!(true),
        json!(0),
        json!(1),
        json!(2),
        json!(3),
        json!(-1),
        json!(0.0),
        json!(1.5),
        json!(1e-320),
        json!(1e308),
        json!(i32::MAX),
        json!(1u64 << 32),
        json!(i64::MIN),
        json!(u64::MAX),
        json!(""),
        json!("flag"),
        json!("nul\0"),
        json!("ü".repeat(501)),
        json!([]),
        json!([[]]),
        json!({}),
        json!({"name": "flag", "kind": "boolean"}),
        json!("number"),
        json!("timestamp"),
        json!("idvalue"),
        json!("categories"),
        json!("bins"),
        json!("scaled"),
        json!("hour"),
        json!("value"),
        json!("regression"),
        json!("multiclass"),
        json!("interpolated"),
        json!("linear"),
        json!("relu"),
        json!("scale"),
        json!("add"),
        json!("mean"),
        json!("linear_path"),
        json!("log"),
        json!([0]),
        json!([1]),
        json!([4, 4]),
        json!([0, 1, 2, 3]),
        json!({"operation": "relu", "of": [1]}),
        json!({"operation": "add", "of": [1, 2]}),
        json!({"operation": "linear", "of": [0], "weights": 0}),
    ];
    odd[random.below(odd.len())].clone()
}

/// Walks down to some entry of the header and replaces, drops, doubles or swaps it.
fn mutate_header(value: &mut Value, random: &mut Random) {
    match value {
        Value::Object(entries) if !entries.is_empty() && random.below(8) > 0 => {
            let name = entries.keys().nth(random.below(entries.len())).unwrap().clone();
            match random.below(12) {
                0 => drop(entries.remove(&name)),
                1 => {
                    let other = entries.values().nth(random.below(entries.len())).unwrap().clone();
                    entries.insert(name, other);
                }
                _ => mutate_header(entries.get_mut(&name).unwrap(), random),
            }
        }
        Value::Array(values) if !values.is_empty() && random.below(8) > 0 => {
            let (place, other) = (random.below(values.len()), random.below(values.len()));
            match random.below(14) {
                0 => drop(values.remove(place)),
                1 => values.push(values[place].clone()),
                2 => values.swap(place, other),
                3 => values[place] = json!([values[place].clone()]),
                4 => values.insert(place, odd_value(random)),
                _ => mutate_header(&mut values[place], random),
            }
        }
        other => *other = odd_value(random),
    }
}

fn mutate_tensor(parts: &mut Parts, random: &mut Random) {
    let names: Vec<String> = parts.tensors.keys().cloned().collect();
    let (name, other) = (&names[random.below(names.len())], &names[random.below(names.len())]);
    let tensor = parts.tensors.get_mut(name).unwrap();
    match random.below(8) {
        0 => drop(parts.tensors.remove(name)),
        1 => {
            let (one, two) = (parts.tensors[name].clone(), parts.tensors[other].clone());
            parts.tensors.insert(name.clone(), two);
            parts.tensors.insert(other.clone(), one);
        }
        2 => {
            let moved = parts.tensors.remove(name).unwrap();
            let names =
                ["layers.2.weight", "layers.2.bias", "output.weight", "linear.2.weight", "scale.0.shift", "", "x"];
            let name = names[random.below(names.len())];
            parts.tensors.insert(name.into(), moved);
        }
        3 => {
            // Another shape of as many elements, or of none.
            let count: usize = tensor.1.iter().product();
            let shapes = [vec![count], vec![count, 1], vec![1, count], vec![1, 1, count], vec![1 << 40, 0], vec![]];
            tensor.1 = shapes[random.below(if count == 1 { 6 } else { 5 })].clone();
            tensor.2.truncate(tensor.1.iter().product::<usize>() * tensor.0.bitsize() / 8);
        }
        4 => {
            let (length, count) = (tensor.1.len(), random.below(40));
            tensor.1 = if length == 2 { vec![count, tensor.1[1]] } else { vec![count] };
            tensor.2.resize(tensor.1.iter().product::<usize>() * tensor.0.bitsize() / 8, random.next() as u8);
        }
        5 => {
            let same = [[Dtype::F32, Dtype::U32, Dtype::I32], [Dtype::I64, Dtype::F64, Dtype::U64]];
            if let Some(same) = same.iter().find(|same| same[0].bitsize() == tensor.0.bitsize()) {
                tensor.0 = same[random.below(3)];
            }
        }
        6 => {
            let odd = [f32::NAN, f32::INFINITY, f32::MAX, f32::MIN, 1e-45, -0.0, 1e30];
            let odd = odd[random.below(odd.len())].to_le_bytes();
            let every = 1 + random.below(3);
            tensor.2.chunks_exact_mut(4).step_by(every).for_each(|number| number.copy_from_slice(&odd));
        }
        _ => {
            for _ in 0..1 + random.below(4) {
                if !tensor.2.is_empty() {
                    let place = random.below(tensor.2.len());
                    tensor.2[place] = random.next() as u8;
                }
            }
        }
    }
}

/// The whole blob, taken for bytes.
fn mutate_bytes(blob: &mut Vec<u8>, random: &mut Random) {
    let contents = 8 + u64::from_le_bytes(blob[..8].try_into().unwrap()) as usize;
    for _ in 0..1 + random.below(3) {
        let end = if random.below(2) == 0 { contents } else { blob.len() };
        let place = random.below(end);
        match random.below(6) {
            // Digits make other numbers of numbers, which a random byte hardly ever does.
            0 | 1 => {
                let digits = (place..contents).find(|place| blob[*place].is_ascii_digit());
                if let Some(place) = digits {
                    blob[place] = b"0123456789-e."[random.below(13)];
                }
            }
            2 => blob[place] ^= 1 << random.below(8),
            3 => blob[place] = random.next() as u8,
            4 => blob.truncate(place.max(8)),
            _ => blob.extend((0..random.below(20)).map(|_| random.next() as u8)),
        }
        if blob.len() <= contents {
            return;
        }
    }
}

fn mutated(sound: &[Parts], random: &mut Random) -> Vec<u8> {
    let mut parts = sound[random.below(sound.len())].clone();
    let way = random.below(8);
    if way < 5 {
        for _ in 0..1 + random.below(3) {
            if way < 3 {
                mutate_header(&mut parts.header, random);
            }
            if way > 1 {
                mutate_tensor(&mut parts, random);
            }
        }
    }
    let mut text = parts.header.to_string();
    if way == 5 {
        // What no JSON library writes.
        let odd = ["NaN", "1e400", "[[[[", "-0", "\"\\ud800\"", "0x1", "00", "\"\\u0000\"", "1.", "{\"a\":1,\"a\":2}"];
        let place = random.below(text.len());
        let found = text[place..].find(|c: char| c.is_ascii_digit()).map(|at| place + at);
        if let Some(found) = found {
            text.replace_range(found..found + 1, odd[random.below(odd.len())]);
        }
    }
    let mut blob = parts.blob_with(&text);
    if way > 5 {
        mutate_bytes(&mut blob, random);
    }
    blob
}

/// Cells of every family, the ends of what each holds among them; masks of NULLs for some.
struct Cells {
    small: Vec<i32>,
    large: Vec<i64>,
    single: Vec<f32>,
    double: Vec<f64>,
    flags: Vec<i32>,
    nulls: Vec<u8>,
}

impl Cells {
    fn new(rows: usize, random: &mut Random) -> Self {
        let small = [i32::MIN, i32::MAX, 0, 1, -1, 5, 9, 20_000];
        let large = [i64::MIN, i64::MAX, 0, 1, -77, 5, 1 << 60, 900_000_000_000];
        let single = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::MAX, 1e-45, 0.0, -1.0, 3.5];
        let double = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, f64::MAX, 5e-324, 0.0, -1.0, 3.5];
        let mut pick = || random.below(8);
        Self {
            small: (0..rows).map(|_| small[pick()]).collect(),
            large: (0..rows).map(|_| large[pick()]).collect(),
            single: (0..rows).map(|_| single[pick()]).collect(),
            double: (0..rows).map(|_| double[pick()]).collect(),
            flags: (0..rows).map(|_| (pick() % 2) as i32).collect(),
            nulls: (0..rows).map(|_| u8::from(pick() == 0)).collect(),
        }
    }

    fn of(&self, family: Family, choice: usize) -> ColumnData<'_> {
        let data = match (family, choice % 3) {
            (Family::Boolean, _) => Data::Boolean(&self.flags),
            (Family::Integer, 0) => Data::Int32(&self.small),
            (Family::Integer, 1) => Data::Int64(&self.large),
            (Family::Integer, _) => Data::Boolean(&self.flags),
            (Family::Number, 0) => Data::Float32(&self.single),
            (Family::Number, 1) => Data::Float64(&self.double),
            (Family::Number, _) => Data::Int64(&self.large),
            (Family::Text, _) => Data::Text(&self.large),
            (Family::IdValue, 0) => Data::IdValue { ids: &self.small, values: None },
            (Family::IdValue, _) => Data::IdValue { ids: &self.small, values: Some(&self.single) },
            (Family::Date, _) => Data::Date(&self.small),
            (Family::Timestamp, 0) => Data::Date(&self.flags),
            (Family::Timestamp, _) => Data::Timestamp(&self.large),
            (Family::Time, _) => Data::Time(&self.large),
            (Family::Interval, _) => Data::Interval(&self.double),
        };
        ColumnData { data, nulls: choice.is_multiple_of(2).then_some(&self.nulls[..]) }
    }
}

/// Everything that is done with a model.
fn use_it(model: &Model, seed: u64) {
    let mut random = Random(seed);
    assert!(model.columns().len() <= model.describe().len());
    let (mut encoded, mut workspace, mut outputs) = (Encoded::default(), Workspace::default(), Vec::new());
    // Many rows are several blocks, and few of those are as good as many.
    for rows in [1, 0, if seed.is_multiple_of(20) { 213 } else { 8 }] {
        let cells = Cells::new(rows, &mut random);
        let choice = random.below(6);
        let column = |place: usize| cells.of(model.columns()[place].family, place + choice);
        model.encode(rows, column, &mut encoded).unwrap();
        model.forward(&encoded, &mut workspace, &mut outputs).unwrap();
        assert_eq!(outputs.len(), rows * model.outputs());
        let mut probabilities = vec![0.0; model.classes().len()];
        for outputs in outputs.chunks_exact(model.outputs()) {
            let outcome = model.outcome(outputs, &mut probabilities);
            assert!(model.classes().is_empty() || outcome.class < model.classes().len());
        }
    }
}

/// The rounds of one thread; how many were read, and how many refused.
fn rounds(sound: &[Parts], rounds: impl Iterator<Item = u64>) -> (usize, usize) {
    let (mut parsed, mut refused) = (0, 0);
    for round in rounds {
        let blob = mutated(sound, &mut Random(round));
        let memory = most_memory(|| match Model::parse(&blob) {
            Ok(model) => {
                parsed += 1;
                assert!(model.bytes() <= 16 * blob.len() + (1 << 20), "round {round}");
                use_it(&model, round);
            }
            Err(error) => {
                refused += 1;
                assert!(error.to_string().len() < 2_000, "round {round}: {error}");
            }
        });
        assert!(memory <= 32 * blob.len() + (4 << 20), "round {round}: {memory} bytes for {}", blob.len());
    }
    (parsed, refused)
}

#[test]
fn two_hundred_thousand_mutated_models_do_no_harm() {
    let threads = std::thread::available_parallelism().map_or(1, |threads| threads.get() as u64);
    let sound = sound();
    for parts in &sound {
        use_it(&Model::parse(&parts.blob()).unwrap(), 0);
    }
    let all: Vec<(usize, usize)> = std::thread::scope(|scope| {
        let sound = &sound;
        let threads: Vec<_> = (0..threads)
            .map(|first| scope.spawn(move || rounds(sound, (first..ROUNDS).step_by(threads as usize))))
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let (parsed, refused) = all.into_iter().fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
    assert!(parsed > 10_000 && refused > 100_000, "{parsed} parsed, {refused} refused");
}

/// As many wide values as a row may have, all of them held until they are added up.
#[test]
fn a_row_of_many_wide_values_takes_no_more_memory_than_the_rules_have() {
    let wide = 1 << 16;
    let plain = Parts::new(vec![scaled("price", "number", 0.0, 1.0)], 1, &[wide], "binary", 1, 1).with_operations();
    let linear = |of: usize, weights: usize| json!({"operation": "linear", "of": [of], "weights": weights});
    let with_values = |many: usize| {
        let mut parts = plain.clone();
        let mut operations = vec![linear(0, 0)];
        operations.extend((0..many).map(|_| json!({"operation": "relu", "of": [1]})));
        operations.push(json!({"operation": "mean", "of": (2..many + 2).collect::<Vec<usize>>()}));
        operations.push(linear(many + 2, 1));
        parts.header["operations"] = operations.into();
        parts.blob()
    };
    let most = (1 << 22) / wide - 3;
    let blob = with_values(most);
    let memory = most_memory(|| use_it(&Model::parse(&blob).unwrap(), 0));
    assert!(memory <= 32 * blob.len() + (20 << 20), "{memory} bytes");
    assert!(Model::parse(&with_values(most + 1)).unwrap_err().to_string().contains("numbers"));
}

#[test]
fn a_header_of_many_small_values_takes_no_more_than_is_promised() {
    let parts = &sound()[0];
    for odd in ["{\"\":0}", "[]", "0", "\"\"", "{}", "{\"\":{\"\":{}}}"] {
        let many = vec![odd; (1 << 18) - 1_000].join(",");
        let text = parts.header.to_string().replace("{\"epochs\":3}", &format!("{{\"more\":[{many}]}}"));
        let blob = parts.blob_with(&text);
        let memory = most_memory(|| drop(Model::parse(&blob)));
        assert!(memory <= 16 * blob.len() + (128 << 20), "{odd}: {memory} bytes for {}", blob.len());
    }
}
