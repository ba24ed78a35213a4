//! From a query to typed column buffers, as the caller: rights and row-level security apply.

use std::ffi::c_int;

use pgrx::pg_sys;
use pgrx::prelude::*;

mod batches;
mod cell;
pub mod columns;
pub mod describe;
mod direct;
mod identity;
mod idvalue;
mod labels;
mod layout;
pub mod measure;
mod memory;
mod numeric;
mod order;
pub mod query;
mod receiver;
pub mod source;
mod texts;

pub use batches::{Batches, RowReader};
pub use cell::{cell_of, Cell};
pub use columns::Kind;

use crate::error::{Result, TrailsError};
use crate::{deadline, reserve, settings, sqlstate};
use columns::{Column, Table};
use labels::Labels;
pub use memory::Exhausted;
use memory::Memory;
use order::ScanOrder;
use query::{Plan, Query};
use receiver::{BadCell, Fault, Receiver, Sink};
use source::{Source, SourceColumn};

/// Whether it is wanted how texts are spelt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Spelling {
    Kept,
    Forgotten,
}

/// A receiver for a query, or for rows that are of none and have the columns in their order.
fn receiver_for(
    columns: &[SourceColumn],
    query: Option<&Query>,
    target: Option<usize>,
    spelling: Spelling,
    held: usize,
) -> Result<Box<Receiver>> {
    reserve::fill();
    let mut sinks = Vec::with_capacity(columns.len());
    for (index, column) in columns.iter().enumerate() {
        let place = query.map_or(index, |query| query.places[index]);
        let labels = if column.cell == Cell::Enum { Labels::of_type(column.base_type)? } else { Labels::default() };
        sinks.push(Sink::new(column, place, labels, spelling == Spelling::Kept));
    }
    let columns = columns.iter().map(|c| Column::new(&c.name, c.kind.unwrap_or(Kind::Text))).collect();
    let memory = Memory::new(held, settings::reading_memory_limit());
    let (of, key) = query.map(|query| (query.of.clone(), query.key.clone())).unzip();
    Ok(Receiver::new(Table { rows: 0, unusable: 0, columns }, sinks, target, of, key.unwrap_or_default(), memory))
}

fn finish(mut receiver: Receiver, columns: &[SourceColumn], origin: &str) -> Result<Table> {
    if let Some(bad) = &receiver.bad {
        return Err(error_of(bad, columns, origin, receiver.memory.held()));
    }
    let (rows, held) = (receiver.table.rows as u64, receiver.memory.held());
    receiver.complete().map_err(|exhausted| no_memory(exhausted, origin, rows, held))?;
    receiver.table.columns.iter_mut().for_each(Column::fit);
    Ok(receiver.table)
}

const MEGABYTE: usize = 1 << 20;

/// What to do where a relation does not fit.
const FEWER: &str =
    "Read fewer columns, with features => ARRAY[...] where there is that argument, or give a view with a sample of the rows, such as \
                     SELECT * FROM t TABLESAMPLE BERNOULLI (10).";

/// There is no memory for what is read after `row` rows.
pub fn no_memory(exhausted: Exhausted, origin: &str, row: u64, held: usize) -> TrailsError {
    let held = held.div_ceil(MEGABYTE);
    let error = TrailsError::new(
        PgSqlErrorCode::ERRCODE_OUT_OF_MEMORY,
        match exhausted {
            Exhausted::Limit => format!("reading {origin} takes more than trails.reading_memory_limit"),
            Exhausted::System => format!("out of memory while {origin} was read"),
        },
    );
    let error = error.detail(format!("{held} MB were held after {row} rows."));
    match exhausted {
        Exhausted::Limit => error.hint(format!("{FEWER} A superuser can raise trails.reading_memory_limit.")),
        Exhausted::System => error.hint(FEWER),
    }
}

fn error_of(bad: &BadCell, columns: &[SourceColumn], origin: &str, held: usize) -> TrailsError {
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

fn check_status(status: c_int) -> Result<()> {
    Spi::check_status(status).map(|_| ()).map_err(TrailsError::from)
}

/// Reads columns of a relation, in the snapshot of the calling statement.
/// `target` is the place among them of the one whose NULLs make a row unusable. A text column without a prescribed kind
/// becomes `id:value` if every text of it has that form. `held` are the bytes of tables that the statement holds already.
pub fn read(source: &Source, columns: &[SourceColumn], target: Option<usize>, held: usize) -> Result<Table> {
    source.check_size(columns, held)?;
    let query = source.query(columns);
    let mut receiver = receiver_for(columns, Some(&query), target, Spelling::Kept, held)?;
    let destination = receiver.as_destination();
    let run = || {
        Spi::connect(|_| {
            let plan = Plan::of(&query, 0)?;
            let _moment = plan.moment()?;
            let _order = ScanOrder::start();
            let options = pg_sys::SPIExecuteOptions {
                read_only: true,
                must_return_tuples: true,
                dest: destination,
                ..Default::default()
            };
            check_status(unsafe { pg_sys::SPI_execute_plan_extended(plan.plan, &options) })
        })
    };
    deadline::keep(&source.name, || sqlstate::kept(run))?;
    finish(*receiver, columns, &source.name)
}
