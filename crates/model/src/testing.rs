//! Models made up for tests and for the example, and what they should predict, worked out the slow way.

use std::collections::{BTreeMap, HashMap};

use safetensors::tensor::TensorView;
use safetensors::Dtype;
use serde_json::{json, Value};

/// Reproducible, and no more random than tests need.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ mixed >> 31
    }

    pub fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    /// From -1 to 1.
    pub fn float(&mut self) -> f32 {
        (self.next() >> 40) as f32 / (1 << 23) as f32 - 1.0
    }
}

/// What lies in a blob.
#[derive(Clone)]
pub struct Parts {
    pub header: Value,
    pub tensors: BTreeMap<String, (Dtype, Vec<usize>, Vec<u8>)>,
}

impl Parts {
    /// A model of `widths` on `fields`, each without its `first`, with random weights.
    pub fn new(fields: Vec<Made>, size: usize, widths: &[usize], task: &str, outputs: usize, seed: u64) -> Self {
        let mut random = Random(seed);
        let mut parts = Self { header: Value::Null, tensors: BTreeMap::new() };
        let (mut first, mut described, mut columns) = (0, Vec::new(), Vec::<Value>::new());
        for (number, mut field) in fields.into_iter().enumerate() {
            field.header["first"] = json!(first);
            first += field.header["slots"].as_u64().unwrap();
            let column = json!({"name": field.header["column"], "kind": field.header["kind"]});
            if !columns.contains(&column) {
                columns.push(column);
            }
            for (name, dtype, bytes) in field.tensors {
                let count = bytes.len() * 8 / dtype.bitsize();
                parts.tensors.insert(format!("fields.{number}.{name}"), (dtype, vec![count], bytes));
            }
            described.push(field.header);
        }
        let fields = described.len();
        let mut floats = |count: usize, size: f32| -> Vec<u8> {
            (0..count).flat_map(|_| (random.float() * size).to_le_bytes()).collect()
        };
        let rows = first as usize;
        parts.tensors.insert("embedding".into(), (Dtype::F32, vec![rows, size], floats(rows * size, 1.0)));
        let mut inputs = fields * size;
        for (number, &width) in widths.iter().chain([&outputs]).enumerate() {
            let name = if number < widths.len() { format!("layers.{number}") } else { "output".into() };
            let scale = (3.0 / inputs as f32).sqrt();
            let weight = (Dtype::F32, vec![inputs, width], floats(inputs * width, scale));
            parts.tensors.insert(format!("{name}.weight"), weight);
            parts.tensors.insert(format!("{name}.bias"), (Dtype::F32, vec![width], floats(width, 0.2)));
            inputs = width;
        }
        let classes = match task {
            "binary" => json!(["no", "yes"]),
            "multiclass" => (0..outputs).map(|class| format!("class {class}")).collect(),
            _ => Value::Null,
        };
        let (mean, std) = if task == "regression" { (10.5, 3.25) } else { (0.0, 1.0) };
        parts.header = json!({
            "format": "trails.model", "version": 1, "task": task,
            "architecture": widths.iter().map(usize::to_string).collect::<Vec<_>>().join("-"), "embedding": size,
            "target": {"name": "y", "kind": "text", "mean": mean, "std": std}, "classes": classes, "columns": columns,
            "fields": described, "metrics": {"auc": 0.5}, "training": {"epochs": 3},
        });
        parts
    }

    /// The same model in version 2.
    pub fn with_operations(&self) -> Self {
        let mut parts = self.clone();
        let mut operations = Vec::new();
        let layers = self.tensors.keys().filter(|name| name.ends_with(".bias")).count();
        for number in 0..layers {
            let name = if number + 1 < layers { format!("layers.{number}") } else { "output".into() };
            for part in ["weight", "bias"] {
                let tensor = parts.tensors.remove(&format!("{name}.{part}")).unwrap();
                parts.tensors.insert(format!("linear.{number}.{part}"), tensor);
            }
            operations.push(json!({"operation": "linear", "of": [2 * number], "weights": number}));
            if number + 1 < layers {
                operations.push(json!({"operation": "relu", "of": [2 * number + 1]}));
            }
        }
        parts.header["version"] = json!(2);
        parts.header["operations"] = Value::Array(operations);
        parts
    }

    /// A model on the same fields with every operation: a residual block, an ensemble of two that share weights, and a
    /// linear path. It begins with a linear operation, or else several operations read what is embedded.
    pub fn with_every_operation(&self, width: usize, leading: bool, seed: u64) -> Self {
        let mut parts = self.clone();
        parts.tensors.retain(|name, _| name == "embedding" || name.starts_with("fields."));
        let mut random = Random(seed);
        let [rows, size] = self.tensors["embedding"].1[..] else { panic!("an embedding has two dimensions") };
        let inputs = self.header["fields"].as_array().unwrap().len() * size;
        let outputs = self.tensors["output.bias"].1[0];
        let mut tensor = |name: &str, shape: &[usize]| {
            let scale =
                if shape.len() == 2 && name.starts_with("linear.") { (3.0 / shape[0] as f32).sqrt() } else { 1.0 };
            let count: usize = shape.iter().product();
            let bytes = (0..count).flat_map(|_| (random.float() * scale).to_le_bytes()).collect();
            parts.tensors.insert(name.into(), (Dtype::F32, shape.to_vec(), bytes));
        };
        for (number, (inputs, outputs)) in [(inputs, width), (width, width), (width, outputs)].into_iter().enumerate() {
            tensor(&format!("linear.{number}.weight"), &[inputs, outputs]);
            tensor(&format!("linear.{number}.bias"), &[outputs]);
        }
        let scaled = if leading { vec![width, width] } else { vec![inputs, width, width] };
        for (number, width) in scaled.into_iter().enumerate() {
            tensor(&format!("scale.{number}.factor"), &[width]);
            tensor(&format!("scale.{number}.shift"), &[width]);
        }
        tensor("linear_path.0.weight", &[rows, outputs]);
        let linear = |of: usize, weights: usize| json!({"operation": "linear", "of": [of], "weights": weights});
        let scale = |of: usize, weights: usize| json!({"operation": "scale", "of": [of], "weights": weights});
        let of = |operation: &str, of: &[usize]| json!({"operation": operation, "of": of});
        let mut operations = match leading {
            true => vec![linear(0, 0)],
            false => vec![scale(0, 0), linear(1, 0), linear(0, 0), of("add", &[2, 3])],
        };
        let (at, first) = (operations.len(), usize::from(!leading));
        operations.extend([
            of("relu", &[at]),
            scale(at + 1, first),
            linear(at + 2, 1),
            of("relu", &[at + 3]),
            of("add", &[at + 2, at + 4, at + 4]),
            linear(at + 5, 2),
            scale(at + 5, first + 1),
            linear(at + 7, 2),
            of("mean", &[at + 6, at + 8]),
            json!({"operation": "linear_path", "weights": 0}),
            of("add", &[at + 9, at + 10]),
        ]);
        parts.header["version"] = json!(2);
        parts.header["operations"] = Value::Array(operations);
        parts
    }

    /// The same model, version 2, of which every number is the mean of what so many like it put out.
    pub fn with_members(&self, members: usize) -> Self {
        let mut parts = self.with_operations();
        let alone = parts.header["operations"].as_array().unwrap().clone();
        let (mut operations, mut outputs) = (Vec::new(), Vec::new());
        for member in 0..members {
            let begin = operations.len();
            for operation in &alone {
                let mut operation = operation.clone();
                let of = operation["of"][0].as_u64().unwrap() as usize;
                operation["of"] = json!([if of == 0 { 0 } else { begin + of }]);
                // Members share all matrices but the first, of which every other one has one of its own.
                if of == 0 && member % 2 == 1 {
                    operation["weights"] = json!(alone.len());
                }
                operations.push(operation);
            }
            outputs.push(operations.len());
        }
        // Weights are numbered as they are first used.
        let mut numbers: Vec<Value> = Vec::new();
        for operation in operations.iter_mut().filter(|operation| operation["operation"] == "linear") {
            let weights = operation["weights"].clone();
            let number = numbers.iter().position(|known| *known == weights).unwrap_or(numbers.len());
            if number == numbers.len() {
                numbers.push(weights);
            }
            operation["weights"] = json!(number);
        }
        let before = parts.tensors.clone();
        for (number, weights) in numbers.iter().enumerate() {
            let weights = weights.as_u64().unwrap() as usize;
            for part in ["weight", "bias"] {
                let own = weights == alone.len();
                let mut tensor = before[&format!("linear.{}.{part}", if own { 0 } else { weights })].clone();
                if own {
                    tensor.2.reverse();
                    tensor.2.chunks_exact_mut(4).for_each(<[u8]>::reverse);
                }
                parts.tensors.insert(format!("linear.{number}.{part}"), tensor);
            }
        }
        operations.push(json!({"operation": "mean", "of": outputs}));
        parts.header["operations"] = Value::Array(operations);
        parts
    }

    pub fn blob(&self) -> Vec<u8> {
        self.blob_with(&self.header.to_string())
    }

    pub fn blob_with(&self, header: &str) -> Vec<u8> {
        let metadata = HashMap::from([("trails".to_owned(), header.to_owned())]);
        let views = self.tensors.iter().map(|(name, (dtype, shape, bytes))| {
            (name.as_str(), TensorView::new(*dtype, shape.clone(), bytes).unwrap())
        });
        safetensors::serialize(views, Some(metadata)).unwrap()
    }
}

/// A field to be put into a model.
pub struct Made {
    pub header: Value,
    pub tensors: Vec<(&'static str, Dtype, Vec<u8>)>,
}

pub fn categories(column: &str, kind: &str, part: &str, keys: &[i64], buckets: usize, scale: f64) -> Made {
    let mut tensors = vec![("categories", Dtype::I64, keys.iter().flat_map(|key| key.to_le_bytes()).collect())];
    if kind == "text" {
        // The second is of unknown spelling.
        let spelt = |place: usize, key: &i64| if place == 1 { String::new() } else { format!("text {key}") };
        let texts: Vec<String> = keys.iter().enumerate().map(|(place, key)| spelt(place, key)).collect();
        let mut end = 0u32;
        let ends = texts.iter().flat_map(|text| {
            end += text.len() as u32;
            end.to_le_bytes()
        });
        tensors.push(("ends", Dtype::U32, ends.collect()));
        tensors.push(("bytes", Dtype::U8, texts.concat().into_bytes()));
    }
    Made {
        header: header(column, kind, part, "categories", 2 + keys.len() + buckets, buckets, scale, 0.0, 1.0),
        tensors,
    }
}

pub fn bins(column: &str, kind: &str, edges: &[f64]) -> Made {
    let tensors = vec![("edges", Dtype::F64, edges.iter().flat_map(|edge| edge.to_le_bytes()).collect())];
    Made { header: header(column, kind, "value", "bins", 3 + edges.len(), 0, 1.0, 0.0, 1.0), tensors }
}

pub fn scaled(column: &str, kind: &str, mean: f64, std: f64) -> Made {
    Made { header: header(column, kind, "value", "scaled", 3, 0, 1.0, mean, std), tensors: Vec::new() }
}

pub fn interpolated(column: &str, kind: &str, knots: &[f64]) -> Made {
    let tensors = vec![("knots", Dtype::F64, knots.iter().flat_map(|knot| knot.to_le_bytes()).collect())];
    Made { header: header(column, kind, "value", "interpolated", 2 + knots.len(), 0, 1.0, 0.0, 1.0), tensors }
}

#[allow(clippy::too_many_arguments)]
fn header(
    column: &str,
    kind: &str,
    part: &str,
    encoding: &str,
    slots: usize,
    buckets: usize,
    scale: f64,
    mean: f64,
    std: f64,
) -> Value {
    json!({
        "column": column, "kind": kind, "part": part, "encoding": encoding, "first": 0, "slots": slots,
        "buckets": buckets, "scale": scale, "mean": mean, "std": std,
    })
}

/// All sets of loops that this machine runs.
#[cfg(test)]
pub fn every_kernel() -> Vec<crate::Kernels> {
    let mut all = vec![crate::Kernels::portable()];
    if crate::Kernels::best() != crate::Kernels::portable() {
        all.push(crate::Kernels::best());
    }
    all
}
