//! From a query to typed column buffers, as the caller: rights and row-level security apply.

use std::ffi::{c_int, CString};

use pgrx::pg_sys;
use pgrx::prelude::*;

mod batches;
mod cell;
pub mod columns;
pub mod describe;
mod direct;
mod idvalue;
mod labels;
mod layout;
pub mod measure;
mod numeric;
mod receiver;
pub mod source;
mod texts;

pub use batches::{Batches, RowReader};
pub use cell::{cell_of, Cell};
pub use columns::Kind;

use crate::error::{Result, TrailsError};
use columns::{Column, Table};
use labels::Labels;
use receiver::{BadCell, Fault, Receiver, Sink};
use source::{Query, Source, SourceColumn};

/// Whether it is wanted how texts are spelt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Spelling {
    Kept,
    Forgotten,
}

/// A receiver for a query that returns each column at its place.
fn receiver_for(
    columns: &[SourceColumn],
    places: &[usize],
    target: Option<usize>,
    spelling: Spelling,
) -> Result<Box<Receiver>> {
    let mut sinks = Vec::with_capacity(columns.len());
    for (column, place) in columns.iter().zip(places) {
        let labels = if column.cell == Cell::Enum { Labels::of_type(column.base_type)? } else { Labels::default() };
        sinks.push(Sink::new(column.cell, *place, labels, spelling == Spelling::Kept, column.kind));
    }
    let columns = columns.iter().map(|c| Column::new(&c.name, c.kind.unwrap_or(Kind::Text))).collect();
    Ok(Receiver::new(Table { rows: 0, unusable: 0, columns }, sinks, target))
}

/// The same for a query that returns the columns in their order.
fn receiver_in_order(columns: &[SourceColumn], spelling: Spelling) -> Result<Box<Receiver>> {
    let places: Vec<usize> = (0..columns.len()).collect();
    receiver_for(columns, &places, None, spelling)
}

fn finish(mut receiver: Receiver, columns: &[SourceColumn], origin: &str) -> Result<Table> {
    if let Some(bad) = &receiver.bad {
        return Err(error_of(bad, columns, origin));
    }
    receiver.complete();
    Ok(receiver.table)
}

fn error_of(bad: &BadCell, columns: &[SourceColumn], origin: &str) -> TrailsError {
    let SourceColumn { name, type_name, .. } = &columns[bad.column];
    let row = bad.row;
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
    }
}

fn check_status(status: c_int) -> Result<()> {
    Spi::check_status(status).map(|_| ()).map_err(TrailsError::from)
}

/// Reads columns of a relation, in the snapshot of the calling statement.
/// `target` is the place among them of the one whose NULLs make a row unusable. A text column without a prescribed kind
/// becomes `id:value` if every text of it has that form.
pub fn read(source: &Source, columns: &[SourceColumn], target: Option<usize>) -> Result<Table> {
    let Query { sql, places } = source.query(columns);
    let query = CString::new(sql).map_err(|_| TrailsError::argument("a name holds a NUL byte"))?;
    let mut receiver = receiver_for(columns, &places, target, Spelling::Kept)?;
    Spi::connect(|_| {
        let options = pg_sys::SPIExecuteOptions {
            read_only: true,
            must_return_tuples: true,
            dest: receiver.as_destination(),
            ..Default::default()
        };
        check_status(unsafe { pg_sys::SPI_execute_extended(query.as_ptr(), &options) })
    })?;
    finish(*receiver, columns, &source.name)
}
