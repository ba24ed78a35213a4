//! How long reading takes, from the query to NumPy arrays, in three ways.

use std::time::Instant;

use pgrx::pg_sys;
use pgrx::prelude::*;
use pgrx::spi::SpiHeapTupleData;
use pyo3::types::PyListMethods;
use xxhash_rust::xxh3::Xxh3Default;

use super::columns::{Column, Kind, Table, Values};
use super::layout::data_of;
use super::source::{Source, SourceColumn};
use super::texts::hash;
use super::{Batches, Cell};
use crate::error::{Result, TrailsError};
use crate::{python, reader};

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
            Way::Receiver => Ok(vec![reader::read(source, columns, None)?]),
            Way::Rows => Ok(vec![rows(&query, columns)?]),
            Way::Batches => {
                let (mut batches, mut tables) = (Batches::open(&query, columns, &source.name)?, Vec::new());
                while let Some(batch) = batches.next(BATCH)? {
                    tables.push(batch.clone());
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
    let columns: Vec<SourceColumn> =
        source.columns.iter().filter(|c| c.cell.is_some()).map(|c| source.readable(&c.name)).collect::<Result<_>>()?;
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
    let mut whole = Xxh3Default::new();
    for place in 0..columns {
        let (mut data, mut nulls) = (Xxh3Default::new(), Xxh3Default::new());
        for table in tables {
            let column = &table.columns[place];
            data.update(data_of(&column.values));
            match &column.nulls {
                Some(mask) => nulls.update(mask),
                None => nulls.update(&vec![0; table.rows]),
            }
        }
        whole.update(&data.digest().to_ne_bytes());
        whole.update(&nulls.digest().to_ne_bytes());
    }
    whole.digest() as i64
}

/// The usual way in pgrx: a table of all tuples, and every cell asked for on its own.
fn rows(query: &str, columns: &[SourceColumn]) -> Result<Table> {
    let mut table = Table {
        columns: columns.iter().map(|c| Column::new(&c.name, c.kind.unwrap_or(Kind::Text))).collect(),
        ..Table::default()
    };
    Spi::connect(|client| -> Result<()> {
        for row in client.select(query, None, &[])? {
            for (place, (source, column)) in columns.iter().zip(&mut table.columns).enumerate() {
                if !take(&row, place + 1, source, column)? {
                    column.push_null();
                }
            }
            table.rows += 1;
        }
        Ok(())
    })?;
    table.columns.iter_mut().for_each(Column::complete);
    Ok(table)
}

/// Takes one cell over; false for NULL.
fn take(row: &SpiHeapTupleData<'_>, place: usize, source: &SourceColumn, column: &mut Column) -> Result<bool> {
    macro_rules! put {
        ($values:expr, $type:ty, $convert:expr) => {
            match row.get::<$type>(place)? {
                Some(value) => $values.push($convert(value)),
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
            Some(value) if !value.is_nan() => v.push(value),
            _ => return Ok(false),
        },
        (Values::Float64(v), Cell::Numeric) => {
            put!(v, AnyNumeric, |value: AnyNumeric| f64::try_from(value).unwrap_or(f64::NAN));
        }
        (Values::Float64(v), _) => match row.get::<f64>(place)? {
            Some(value) if !value.is_nan() => v.push(value),
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
