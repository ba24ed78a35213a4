//! Cells that cannot be read, and the errors that they are.

use pgrx::prelude::*;

use super::memory::{no_memory, Exhausted};
use super::source::SourceColumn;
use crate::error::TrailsError;

/// A cell that could not be read.
#[derive(Debug, Clone, PartialEq)]
pub struct BadCell {
    pub column: usize,
    /// Counted from 1, in the order the query returns them.
    pub row: u64,
    /// The row's primary key where the query returns one, such as `id = 7`.
    pub key: Option<String>,
    pub fault: Fault,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Fault {
    /// Holds the beginning of the text.
    NotIdValue(String),
    Infinite(&'static str),
    TooLarge,
    /// A label that the type had not when reading began.
    UnknownLabel,
    /// There is no memory for further rows.
    Exhausted(Exhausted),
}

impl From<Exhausted> for Fault {
    fn from(exhausted: Exhausted) -> Self {
        Self::Exhausted(exhausted)
    }
}

/// `held` are the bytes that reading held when it came to the cell.
pub fn error_of(bad: &BadCell, columns: &[SourceColumn], origin: &str, held: usize) -> TrailsError {
    let SourceColumn { name, type_name, .. } = &columns[bad.column];
    let row = match &bad.key {
        Some(key) => format!("{} ({key})", bad.row),
        None => bad.row.to_string(),
    };
    match &bad.fault {
        Fault::NotIdValue(text) => TrailsError::new(
            PgSqlErrorCode::ERRCODE_INVALID_TEXT_REPRESENTATION,
            format!("column \"{name}\" of {origin} has type {type_name}, and its text is not of the form id:value"),
        )
        .detail(format!("Row {row} holds \"{text}\"."))
        .hint(
            "Every text of this column must be an id and a number, such as 5381:1, as it was in what was learnt from.",
        ),
        Fault::Infinite(text) => TrailsError::new(
            PgSqlErrorCode::ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE,
            format!("column \"{name}\" of {origin} holds {text}"),
        )
        .detail(format!("Row {row} is the first such row."))
        .hint("Replace it by a number or NULL, for instance in a view with NULLIF."),
        Fault::TooLarge => TrailsError::new(
            PgSqlErrorCode::ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE,
            format!("column \"{name}\" of {origin} holds a number that is too large for double precision"),
        )
        .detail(format!("Row {row} is the first such row."))
        .hint("Give a view that scales it down, or its logarithm."),
        Fault::UnknownLabel => TrailsError::new(
            PgSqlErrorCode::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
            format!("column \"{name}\" of {origin} holds a label that {type_name} had not when reading began"),
        )
        .detail(format!("Row {row} is the first such row."))
        .hint("The type has been altered meanwhile: run the statement again."),
        Fault::Exhausted(exhausted) => no_memory(*exhausted, origin, bad.row - 1, held),
    }
}
