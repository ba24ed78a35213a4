//! The reader's columns as a model takes them.

use trails_model::{ColumnData, Data, Model};

use crate::error::Result;
use crate::reader::columns::{Column, Values};
use crate::reader::source::{Source, SourceColumn};

/// The columns that the model was trained with, in its order, found in a source by name and checked to be of a family of
/// types that it takes for its own.
pub fn columns_for(model: &Model, source: &Source) -> Result<Vec<SourceColumn>> {
    model.columns().iter().map(|input| source.for_model(&input.name, input.family.name(), input.reading)).collect()
}

#[inline]
pub fn data_of(column: &Column) -> ColumnData<'_> {
    let data = match &column.values {
        Values::Boolean(v) => Data::Boolean(v),
        Values::Int32(v) => Data::Int32(v),
        Values::Int64(v) => Data::Int64(v),
        Values::Float32(v) => Data::Float32(v),
        Values::Float64(v) => Data::Float64(v),
        Values::Text { hashes, .. } => Data::Text(hashes),
        Values::IdValue(v) => Data::IdValue { ids: &v.ids, values: v.values.as_deref() },
        Values::Date(v) => Data::Date(v),
        Values::Timestamp(v) => Data::Timestamp(v),
        Values::Time(v) => Data::Time(v),
        Values::Interval(v) => Data::Interval(v),
        // Asked for by nobody: no model has such a column.
        Values::Key { .. } => Data::Text(&[]),
    };
    ColumnData { data, nulls: column.nulls.as_deref() }
}
