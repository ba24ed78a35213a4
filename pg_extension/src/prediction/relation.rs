//! Predictions for all rows of a relation, batch by batch, on one core.

use std::time::Instant;

use pgrx::pg_sys;
use trails_model::{Encoded, Model, Workspace};

use super::cache::model_of;
use super::fault::error_of;
use super::inputs::{columns_for, data_of};
use super::predicted_rows::PredictedRows;
use super::stored::WantedModel;
use crate::error::Result;
use crate::interrupts::ClientWatch;
use crate::reader::columns::{Column, Table};
use crate::reader::query::Query;
use crate::reader::source::{Source, SourceColumn};
use crate::reader::Batches;

/// Rows of a batch: enough that what a batch costs by itself does not matter.
const LARGEST_BATCH: usize = 8192;
/// Multiply-adds of a batch, at most: some 25 ms, after which it is time to look for interrupts.
const LARGEST_WORK: usize = 1 << 30;
/// Cells of a batch, at most.
const MOST_CELLS: usize = 1 << 20;
/// Also of a network whose single row is more work than that.
const SMALLEST_BATCH: usize = 6;

/// What a caller asked for.
pub struct Asked<'a> {
    pub model: Option<&'a str>,
    pub source: pg_sys::Oid,
    pub target: Option<&'a str>,
}

/// Seconds by what they were spent on.
#[derive(Debug, Clone, Copy, Default)]
pub struct Spent {
    pub rows: usize,
    pub read: f64,
    pub encode: f64,
    pub forward: f64,
    pub write: f64,
}

/// A relation with all columns that a model needs.
pub struct Input {
    query: Query,
    columns: Vec<SourceColumn>,
    has_key: bool,
    spelt: Option<usize>,
}

impl Input {
    /// Refuses a relation that lacks a column, or has it with another type.
    pub fn find(source: pg_sys::Oid, model: &Model) -> Result<Self> {
        let source = Source::describe(source)?;
        let mut columns = columns_for(model, &source)?;
        let key = source.key_text();
        let has_key = key.is_some();
        columns.extend(key);
        Ok(Self { query: source.select(&columns), columns, has_key, spelt: None })
    }

    /// The model's columns in its order, and others behind them, of which the one at `spelt` tells how its texts are spelt.
    pub fn with(source: &Source, model: &Model, others: Vec<SourceColumn>, spelt: Option<usize>) -> Result<Self> {
        let mut columns = columns_for(model, source)?;
        columns.extend(others);
        Ok(Self { query: source.query(&columns), columns, has_key: false, spelt })
    }

    /// The model's columns in its order, then the primary key if there is one, and then each of these columns as text.
    pub fn with_texts(source: &Source, model: &Model) -> Result<Self> {
        let mut columns = columns_for(model, source)?;
        let texts = columns.iter().map(|column| source.text(&column.name)).collect::<Result<Vec<_>>>()?;
        let key = source.key_text();
        let has_key = key.is_some();
        columns.extend(key);
        columns.extend(texts);
        Ok(Self { query: source.select(&columns), columns, has_key, spelt: None })
    }

    pub fn has_key(&self) -> bool {
        self.has_key
    }

    /// The primary key of a batch's rows.
    pub fn keys<'a>(&self, table: &'a Table) -> Option<&'a Column> {
        self.has_key.then(|| table.columns.last()).flatten()
    }
}

/// Reads and encodes, and hands on batch by batch, until there are no more rows.
pub fn encode(model: &Model, input: &Input, mut take: impl FnMut(&Encoded, &Table) -> Result<()>) -> Result<()> {
    let mut encoded = Encoded::default();
    let rows = (MOST_CELLS / input.columns.len()).clamp(SMALLEST_BATCH, LARGEST_BATCH);
    let mut batches = Batches::open(&input.query, &input.columns, input.spelt)?;
    while let Some(table) = batches.next(rows)? {
        model.encode(table.rows, |place| data_of(&table.columns[place]), &mut encoded).map_err(error_of)?;
        take(&encoded, table)?;
    }
    Ok(())
}

/// Predicts into the result of the function call under way.
///
/// # Safety
/// `fcinfo` is of the call under way, of a function that returns a set of predictions.
pub unsafe fn predict(asked: &Asked<'_>, fcinfo: pg_sys::FunctionCallInfo) -> Result<()> {
    let wanted = WantedModel { model: asked.model, source: Some(asked.source), target: asked.target };
    let of = model_of(&wanted)?;
    let input = Input::find(asked.source, &of.model)?;
    // SAFETY: the caller's promise.
    let mut rows = unsafe { PredictedRows::result_of(fcinfo, &of)? };
    let watch = ClientWatch::start();
    run(&of.model, &input, |outputs, table| rows.write(outputs, input.keys(table)))?;
    watch.stop();
    Ok(())
}

/// Reads, encodes, computes and hands on outputs and rows, batch by batch, until there are no more.
pub fn run(model: &Model, input: &Input, mut take: impl FnMut(&[f32], &Table) -> Result<()>) -> Result<Spent> {
    let mut spent = Spent::default();
    let (mut encoded, mut workspace, mut outputs) = (Encoded::default(), Workspace::default(), Vec::new());
    let batch = (LARGEST_WORK / model.multiply_adds().max(1)).min(MOST_CELLS / input.columns.len());
    let batch = batch.clamp(SMALLEST_BATCH, LARGEST_BATCH);
    let mut began = Instant::now();
    let mut lap = |phase: &mut f64| {
        let now = Instant::now();
        *phase += (now - began).as_secs_f64();
        began = now;
    };
    let mut batches = Batches::open(&input.query, &input.columns, input.spelt)?;
    while let Some(table) = batches.next(batch)? {
        lap(&mut spent.read);
        model.encode(table.rows, |place| data_of(&table.columns[place]), &mut encoded).map_err(error_of)?;
        lap(&mut spent.encode);
        model.forward(&encoded, &mut workspace, &mut outputs).map_err(error_of)?;
        lap(&mut spent.forward);
        take(&outputs, table)?;
        lap(&mut spent.write);
        spent.rows += table.rows;
    }
    lap(&mut spent.read);
    Ok(spent)
}
