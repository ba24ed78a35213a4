//! A network's operations with their weights: everything that they read is there, of the right shape and finite.

use crate::blob::Blob;
use crate::error::{fail, Result};
use crate::header::Header;
use crate::operations::{Kind, OperationHeader};

/// Layers of version 1, the output included: many small ones would cost more than their multiply-adds tell.
const MOST_LAYERS: usize = 64;
/// Of version 2, for the same reason.
const MOST_OPERATIONS: usize = 1 << 12;
/// Numbers of all values of a row together, which is more than are held at a time.
const MOST_NUMBERS: u64 = 1 << 22;
/// Multiply-adds of a row, which weights that are used again and again make more of than the file is long.
const MOST_WORK: u64 = 1 << 28;

/// Of a linear operation.
#[derive(Debug)]
pub struct Linear {
    pub inputs: usize,
    pub outputs: usize,
    /// [inputs, outputs]
    pub weight: Vec<f32>,
    pub bias: Vec<f32>,
}

#[derive(Debug)]
pub struct Scale {
    pub factor: Vec<f32>,
    pub shift: Vec<f32>,
}

#[derive(Debug)]
pub struct LinearPath {
    pub outputs: usize,
    /// [embedding rows, outputs]
    pub weight: Vec<f32>,
}

/// An operation; numbers of values and weights are places in the lists of `Program`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operation {
    pub kind: Kind,
    pub of: Vec<usize>,
    pub weights: usize,
}

#[derive(Debug)]
pub struct Program {
    pub operations: Vec<Operation>,
    /// How many numbers a row has of each value: of what is embedded, and of each operation's.
    pub widths: Vec<usize>,
    pub linear: Vec<Linear>,
    pub scales: Vec<Scale>,
    pub paths: Vec<LinearPath>,
}

impl Program {
    /// Reads a network on `embedded` numbers a row, which come from `ids` embedding rows.
    pub fn read(blob: &Blob<'_>, header: &Header, embedded: usize, ids: usize) -> Result<Self> {
        let mut program = Self {
            operations: Vec::new(),
            widths: vec![embedded],
            linear: Vec::new(),
            scales: Vec::new(),
            paths: Vec::new(),
        };
        match &header.operations {
            None => program.read_layers(blob)?,
            Some(operations) => program.read_operations(blob, operations, ids)?,
        }
        program.check_extent(header.fields.len())?;
        let outputs = program.outputs();
        if outputs != header.outputs() {
            fail!("the model has {outputs} outputs, and its task needs {}", header.outputs());
        }
        Ok(program)
    }

    /// Numbers of the last value.
    pub fn outputs(&self) -> usize {
        self.widths.last().copied().unwrap_or(0)
    }

    /// Weights of the linear operations that read what is embedded; none if anything else reads it.
    pub fn leading(&self) -> Vec<usize> {
        let reading = || self.operations.iter().filter(|operation| operation.of.contains(&0));
        match reading().all(|operation| operation.kind == Kind::Linear) {
            true => reading().map(|operation| operation.weights).collect(),
            false => Vec::new(),
        }
    }

    /// How often each value is read.
    pub fn readers(&self) -> Vec<usize> {
        let mut readers = vec![0; self.widths.len()];
        self.operations.iter().flat_map(|operation| &operation.of).for_each(|&value| readers[value] += 1);
        readers
    }

    /// Version 1: hidden layers, each with a ReLU, and the output.
    fn read_layers(&mut self, blob: &Blob<'_>) -> Result<()> {
        let mut names: Vec<String> = Vec::new();
        while names.len() <= MOST_LAYERS && blob.has(&format!("layers.{}.weight", names.len())) {
            names.push(format!("layers.{}", names.len()));
        }
        names.push("output".to_owned());
        if names.len() > MOST_LAYERS {
            fail!("the model has {} layers, and {MOST_LAYERS} are possible", names.len());
        }
        for (number, name) in names.iter().enumerate() {
            let width = self.read_linear(blob, name, self.outputs())?;
            self.push(Kind::Linear, vec![self.operations.len()], number, width);
            if number + 1 < names.len() {
                self.push(Kind::Relu, vec![self.operations.len()], 0, width);
            }
        }
        Ok(())
    }

    /// Version 2: what the header lists.
    fn read_operations(&mut self, blob: &Blob<'_>, operations: &[OperationHeader], ids: usize) -> Result<()> {
        if !(1..=MOST_OPERATIONS).contains(&operations.len()) {
            fail!("the model has {} operations, and 1 to {MOST_OPERATIONS} are possible", operations.len());
        }
        for (place, operation) in operations.iter().enumerate() {
            let number = place + 1;
            let of = operation.of.iter().map(|&value| usize::try_from(value).unwrap_or(usize::MAX));
            let of: Vec<usize> = of.collect();
            if let Some(late) = of.iter().find(|value| **value >= number) {
                fail!("operation {number} of the model reads value {late}, which there is not before it");
            }
            let reads = of.first().map_or(0, |&value| self.widths[value]);
            if of.iter().any(|&value| self.widths[value] != reads) {
                fail!("operation {number} of the model reads values of different width");
            }
            let weights = self.weights_of(number, operation)?;
            let width = match operation.kind {
                Kind::Linear => {
                    if weights == self.linear.len() {
                        self.read_linear(blob, &format!("linear.{weights}"), reads)?;
                    }
                    let Linear { inputs, outputs, .. } = self.linear[weights];
                    if inputs != reads {
                        fail!("operation {number} reads {reads} numbers, and its weights {inputs}");
                    }
                    outputs
                }
                Kind::Scale => {
                    if weights == self.scales.len() {
                        self.read_scale(blob, &format!("scale.{weights}"))?;
                    }
                    let factors = self.scales[weights].factor.len();
                    if factors != reads {
                        fail!("operation {number} reads {reads} numbers, and scales {factors}");
                    }
                    reads
                }
                Kind::LinearPath => {
                    if weights == self.paths.len() {
                        self.read_path(blob, &format!("linear_path.{weights}"), ids)?;
                    }
                    self.paths[weights].outputs
                }
                Kind::Relu | Kind::Add | Kind::Mean => reads,
            };
            self.push(operation.kind, of, weights, width);
        }
        // What is embedded may be there for the linear path alone, and nothing reads the last value but the outcome.
        let readers = self.readers();
        if let Some(unread) = (1..operations.len()).find(|&value| readers[value] == 0) {
            fail!("the model's value {unread} is computed, and nothing reads it");
        }
        Ok(())
    }

    /// Refuses what would take more memory or time than the length of the file tells.
    fn check_extent(&self, fields: usize) -> Result<()> {
        let numbers: u64 = self.widths.iter().map(|&width| width as u64).sum();
        let work = |(place, operation): (usize, &Operation)| {
            let width = self.widths[place + 1] as u64;
            match operation.kind {
                Kind::Linear => width * self.widths[operation.of[0]] as u64,
                Kind::LinearPath => width * fields as u64,
                Kind::Relu | Kind::Scale | Kind::Add | Kind::Mean => width * operation.of.len() as u64,
            }
        };
        let work = self.operations.iter().enumerate().map(work).fold(0, u64::saturating_add);
        if numbers > MOST_NUMBERS || work > MOST_WORK {
            fail!(
                "the model's operations compute {numbers} numbers and take {work} multiply-adds a row, and \
                 {MOST_NUMBERS} and {MOST_WORK} are possible"
            );
        }
        Ok(())
    }

    /// Weights are numbered in the order in which they are first used, those of each kind from 0.
    fn weights_of(&self, number: usize, operation: &OperationHeader) -> Result<usize> {
        let known = match operation.kind {
            Kind::Linear => self.linear.len(),
            Kind::Scale => self.scales.len(),
            Kind::LinearPath => self.paths.len(),
            Kind::Relu | Kind::Add | Kind::Mean => return Ok(0),
        };
        match usize::try_from(operation.weights) {
            Ok(weights) if weights <= known => Ok(weights),
            _ => fail!(
                "operation {number} of the model has the weights {}, and {known} of its kind come before",
                operation.weights
            ),
        }
    }

    fn push(&mut self, kind: Kind, of: Vec<usize>, weights: usize, width: usize) {
        self.operations.push(Operation { kind, of, weights });
        self.widths.push(width);
    }

    fn read_linear(&mut self, blob: &Blob<'_>, name: &str, inputs: usize) -> Result<usize> {
        let (weight, rows, outputs) = blob.matrix(&format!("{name}.weight"))?;
        let bias = blob.floats_of(&format!("{name}.bias"))?;
        if rows != inputs || bias.len() != outputs || outputs == 0 {
            let biases = bias.len();
            fail!("{name} has weights of shape ({rows}, {outputs}) and {biases} biases, and reads {inputs} numbers");
        }
        self.linear.push(Linear { inputs, outputs, weight, bias });
        Ok(outputs)
    }

    fn read_scale(&mut self, blob: &Blob<'_>, name: &str) -> Result<()> {
        let (factor, shift) = (blob.floats_of(&format!("{name}.factor"))?, blob.floats_of(&format!("{name}.shift"))?);
        if factor.len() != shift.len() {
            fail!("{name} has {} factors and {} shifts", factor.len(), shift.len());
        }
        self.scales.push(Scale { factor, shift });
        Ok(())
    }

    fn read_path(&mut self, blob: &Blob<'_>, name: &str, ids: usize) -> Result<()> {
        let (weight, rows, outputs) = blob.matrix(&format!("{name}.weight"))?;
        if rows != ids || outputs == 0 {
            fail!("{name} has weights of shape ({rows}, {outputs}), and there are {ids} embedding rows");
        }
        self.paths.push(LinearPath { outputs, weight });
        Ok(())
    }
}
