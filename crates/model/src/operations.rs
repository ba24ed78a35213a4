//! What a network computes, as the header lists it: operations on values, each of which has the value of those before.

use crate::error::{fail, Result};
use crate::json::Object;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A product with weights, and biases.
    Linear,
    /// What is below 0 becomes 0.
    Relu,
    /// Number by number a factor, and a shift.
    Scale,
    /// The sum of values.
    Add,
    /// Their mean.
    Mean,
    /// A vector for each embedding row, times the field's factor, added up over the fields.
    LinearPath,
}

impl Kind {
    const ALL: [Self; 6] = [Self::Linear, Self::Relu, Self::Scale, Self::Add, Self::Mean, Self::LinearPath];

    pub fn name(self) -> &'static str {
        match self {
            Kind::Linear => "linear",
            Kind::Relu => "relu",
            Kind::Scale => "scale",
            Kind::Add => "add",
            Kind::Mean => "mean",
            Kind::LinearPath => "linear_path",
        }
    }

    /// Whether it has learnt something.
    pub fn has_weights(self) -> bool {
        matches!(self, Kind::Linear | Kind::Scale | Kind::LinearPath)
    }

    /// Whether it reads any number of values; others read one, and the linear path reads the row.
    fn reads_several(self) -> bool {
        matches!(self, Kind::Add | Kind::Mean)
    }
}

/// One operation. Values are numbered: 0 is what is embedded, and n what the operation numbered n from 1 has computed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OperationHeader {
    pub kind: Kind,
    /// The values that it reads.
    pub of: Vec<u64>,
    /// Number of its weights among those of its kind; 0 where it has none.
    pub weights: u64,
}

impl OperationHeader {
    pub fn read(described: &Object<'_>) -> Result<Self> {
        let kind = described.one_of("operation", &Kind::ALL, Kind::name)?;
        let of = if kind == Kind::LinearPath { Vec::new() } else { described.wholes("of")? };
        let possible = match kind {
            Kind::LinearPath => true,
            _ if kind.reads_several() => !of.is_empty(),
            _ => of.len() == 1,
        };
        if !possible {
            fail!("an operation {} of the model reads {} values", kind.name(), of.len());
        }
        let weights = if kind.has_weights() { described.whole("weights")? } else { 0 };
        Ok(Self { kind, of, weights })
    }
}
