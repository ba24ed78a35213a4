//! What a model's encoder looks like from outside.

use crate::encoder::Encoder;

/// One field, for people.
#[derive(Debug, Clone, PartialEq)]
pub struct FieldDescription {
    pub column: String,
    pub kind: &'static str,
    /// How the column's texts are read.
    pub reading: Option<&'static str>,
    pub part: &'static str,
    pub encoding: &'static str,
    /// First of its embedding rows, and how many it has.
    pub first: u64,
    pub slots: u64,
    pub categories: usize,
    pub buckets: u64,
    /// The first categories as text, as far as their spelling is known.
    pub examples: Vec<String>,
    /// Where bins end, or the knots between which is interpolated.
    pub edges: Vec<f64>,
    pub scale: f64,
    pub mean: f64,
    pub std: f64,
}

pub fn describe(encoder: &Encoder) -> Vec<FieldDescription> {
    let describe = |field: &crate::field::Field| FieldDescription {
        column: field.header.column.clone(),
        kind: field.header.family.name(),
        reading: field.header.reading.map(|reading| reading.name()),
        part: field.header.part.name(),
        encoding: field.header.encoding.name(),
        first: field.header.first,
        slots: field.header.slots,
        categories: field.categories,
        buckets: field.header.buckets,
        examples: field.examples.clone(),
        edges: field.edges().to_vec(),
        scale: field.header.scale,
        mean: field.header.mean,
        std: field.header.std,
    };
    encoder.fields.iter().map(describe).collect()
}
