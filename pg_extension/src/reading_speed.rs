//! How long reading takes, from the query to NumPy arrays, in three ways.

use std::time::Instant;

use pgrx::pg_sys;
use pgrx::prelude::*;
use pgrx::spi::SpiHeapTupleData;
use pyo3::types::PyListMethods;
use xxhash_rust::xxh3::Xxh3Default;

use crate::error::{Result, TrailsError};
use crate::reader::columns::{Column, Kind, Table, Values};
use crate::reader::layout::data_of;
use crate::reader::memory::{Exhausted, Memory};
use crate::reader::order::ScanOrder;
use crate::reader::query::{PlannedQuery, Query};
use crate::reader::source::{Source, SourceColumn};
use crate::reader::texts::hash;
use crate::reader::{Batches, Cell};
use crate::{python, reader, settings, sqlstate};

/// Rows of a batch, where reading is in batches.
const BATCH: usize = 8_192;

/// Which way the rows come.
#[derive(Debug, Clone, Copy)]
pub enum Way {
    /// As every function of Trails that trains reads: tuples go straight into the columns' buffers.
    Receiver,
    /// As prediction reads: the same, so many rows at a time.
    Batches,
    /// Through pgrx's rows, one cell at a time, for comparison.
    Rows,
}

impl Way {
    pub fn parse(name: &str) -> Result<Self> {
        match name {
            "receiver" => Ok(Way::Receiver),
            "batches" => Ok(Way::Batches),
            "rows" => Ok(Way::Rows),
            _ => Err(TrailsError::argument(format!("there is no reader \"{name}\""))
                .hint("There are receiver, batches and rows.")),
        }
    }

    fn read(self, source: &Source, columns: &[SourceColumn]) -> Result<Vec<Table>> {
        let query = source.select(columns);
        match self {
            Way::Receiver => Ok(vec![reader::read(source, columns, None, 0)?]),
            Way::Rows => Ok(vec![rows(&query, columns)?]),
            Way::Batches => {
                let (mut batches, mut tables) = (Batches::open(&query, columns, None)?, Vec::new());
                let (mut memory, mut rows) = (Memory::new(0, settings::reading_memory_limit()), 0);
                while let Some(batch) = batches.next(BATCH)? {
                    rows += batch.rows;
                    let copy = batch.try_clone(&mut memory);
                    tables.push(copy.map_err(|e| reader::no_memory(e, &source.name, rows as u64, memory.held()))?);
                }
                Ok(tables)
            }
        }
    }
}

/// One time through a relation.
#[derive(Debug, Clone, Copy)]
pub struct Reading {
    pub rows: i64,
    pub columns: i32,
    pub seconds: f64,
    /// Of all cells in their order: the same whichever way they came.
    pub checksum: i64,
}

/// Reads every readable column of a relation, `repeats` times.
pub fn run(source: pg_sys::Oid, repeats: i32, way: Way) -> Result<Vec<Reading>> {
    if repeats < 1 {
        return Err(TrailsError::argument(format!("repeats must be at least 1, not {repeats}")));
    }
    let source = Source::describe(source)?;
    let columns = source.all_as_learnt()?;
    if columns.is_empty() {
        return Err(TrailsError::argument(format!("{} has no column that can be read", source.name)));
    }
    // The interpreter's start is no part of reading.
    python::call(|_| Ok(()))?;
    (0..repeats)
        .map(|_| {
            let began = Instant::now();
            let tables = way.read(&source, &columns)?;
            let reading = began.elapsed().as_secs_f64();
            let rows = tables.iter().map(|table| table.rows as i64).sum();
            let checksum = checksum(&tables, columns.len());
            let converting = python::call(|bridge| {
                let began = Instant::now();
                // What has become NumPy's is kept until the clock has stopped.
                let mut arrays = Vec::with_capacity(tables.len());
                for table in tables {
                    arrays.push(python::arrays(bridge.py(), table.columns)?);
                }
                let seconds = began.elapsed().as_secs_f64();
                debug_assert!(arrays.iter().all(|list| list.len() == columns.len()));
                Ok(seconds)
            })?;
            Ok(Reading { rows, columns: columns.len() as i32, seconds: reading + converting, checksum })
        })
        .collect()
}

fn checksum(tables: &[Table], columns: usize) -> i64 {
    const ZEROS: [u8; BATCH] = [0; BATCH];
    let mut whole = Xxh3Default::new();
    for place in 0..columns {
        let (mut data, mut nulls) = (Xxh3Default::new(), Xxh3Default::new());
        for table in tables {
            let column = &table.columns[place];
            in_parts(data_of(&column.values), |part| data.update(part));
            match &column.nulls {
                Some(mask) => in_parts(mask, |part| nulls.update(part)),
                None => {
                    (0..table.rows).step_by(BATCH).for_each(|row| nulls.update(&ZEROS[..BATCH.min(table.rows - row)]));
                }
            }
        }
        whole.update(&data.digest().to_ne_bytes());
        whole.update(&nulls.digest().to_ne_bytes());
    }
    whole.digest() as i64
}

/// Some 10 ms of work at a time, between which a cancel ends it.
fn in_parts(bytes: &[u8], mut take: impl FnMut(&[u8])) {
    for part in bytes.chunks(1 << 24) {
        pgrx::check_for_interrupts!();
        take(part);
    }
}

/// The usual way in pgrx: a table of all tuples, and every cell asked for on its own.
fn rows(query: &Query, columns: &[SourceColumn]) -> Result<Table> {
    let mut table = Table {
        columns: columns.iter().map(|c| Column::new(&c.name, c.kind.unwrap_or(Kind::Text))).collect(),
        ..Table::default()
    };
    let mut memory = Memory::new(0, settings::reading_memory_limit());
    Spi::connect(|client| -> Result<()> {
        let plan = PlannedQuery::of(query, 0)?;
        let _moment = plan.moment()?;
        let _order = ScanOrder::start();
        let found = sqlstate::kept(|| client.select(query.sql.as_str(), None, &[]))?;
        query.of.check()?;
        // An empty relation has a shape, too.
        // SAFETY: the SPI connection is open, and its query has just run: the table of its rows is there until the
        // next one.
        let shape = unsafe { (*pg_sys::SPI_tuptable).tupdesc };
        for (place, column) in query.places.iter().zip(columns) {
            // SAFETY: the descriptor is that table's.
            unsafe { query.of.check_type(shape, *place, column.base_type, &column.name)? };
        }
        for row in found {
            for (place, (source, column)) in columns.iter().zip(&mut table.columns).enumerate() {
                let told = |e| reader::no_memory(e, &query.of.shown, table.rows as u64, 0);
                if !take(&row, place + 1, source, column, &mut memory, told)? {
                    column.push_null(&mut memory).map_err(told)?;
                }
            }
            table.rows += 1;
        }
        Ok(())
    })?;
    for column in &mut table.columns {
        column.complete(&mut memory).map_err(|e| reader::no_memory(e, &query.of.shown, table.rows as u64, 0))?;
    }
    Ok(table)
}

/// Takes one cell over; false for NULL.
fn take(
    row: &SpiHeapTupleData<'_>,
    place: usize,
    source: &SourceColumn,
    column: &mut Column,
    memory: &mut Memory,
    exhausted: impl Fn(Exhausted) -> TrailsError,
) -> Result<bool> {
    macro_rules! put {
        ($values:expr, $type:ty, $convert:expr) => {
            match row.get::<$type>(place)? {
                Some(value) => memory.push($values, $convert(value)).map_err(exhausted)?,
                None => return Ok(false),
            }
        };
    }
    match (&mut column.values, source.cell) {
        (Values::Boolean(v), _) => put!(v, bool, i32::from),
        (Values::Int32(v), Cell::Int2) => put!(v, i16, i32::from),
        (Values::Int32(v), _) => put!(v, i32, |value| value),
        (Values::Int64(v), _) => put!(v, i64, |value| value),
        (Values::Float32(v), _) => match row.get::<f32>(place)? {
            Some(value) if !value.is_nan() => memory.push(v, value).map_err(exhausted)?,
            _ => return Ok(false),
        },
        (Values::Float64(v), Cell::Numeric) => {
            put!(v, AnyNumeric, |value: AnyNumeric| f64::try_from(value).unwrap_or(f64::NAN));
        }
        (Values::Float64(v), _) => match row.get::<f64>(place)? {
            Some(value) if !value.is_nan() => memory.push(v, value).map_err(exhausted)?,
            _ => return Ok(false),
        },
        (Values::Date(v), _) => put!(v, Date, |value: Date| value.to_pg_epoch_days()),
        (Values::Timestamp(v), _) if source.base_type == pg_sys::TIMESTAMPTZOID => {
            put!(v, TimestampWithTimeZone, |value: TimestampWithTimeZone| value.into_inner());
        }
        (Values::Timestamp(v), _) => put!(v, Timestamp, |value: Timestamp| value.into_inner()),
        (Values::Text { hashes, .. }, Cell::Text | Cell::BlankPadded) => {
            put!(hashes, &str, |text: &str| hash(text.as_bytes()));
        }
        _ => {
            return Err(TrailsError::new(
                PgSqlErrorCode::ERRCODE_FEATURE_NOT_SUPPORTED,
                format!("the way \"rows\" does not read column \"{}\" of type {}", source.name, source.type_name),
            ))
        }
    }
    Ok(true)
}
