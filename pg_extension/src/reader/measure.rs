//! How long reading takes, from the query to NumPy arrays.

use std::time::Instant;

use pgrx::pg_sys;
use pyo3::types::PyListMethods;

use super::source::{Source, SourceColumn};
use crate::error::{Result, TrailsError};
use crate::{python, reader};

/// One time through a relation.
#[derive(Debug, Clone, Copy)]
pub struct Reading {
    pub rows: i64,
    pub columns: i32,
    pub seconds: f64,
}

/// Reads every readable column of a relation, `repeats` times.
pub fn run(source: pg_sys::Oid, repeats: i32) -> Result<Vec<Reading>> {
    if repeats < 1 {
        return Err(TrailsError::argument(format!("repeats must be at least 1, not {repeats}")));
    }
    let source = Source::describe(source)?;
    let columns: Vec<SourceColumn> =
        source.columns.iter().filter(|c| c.cell.is_some()).map(|c| source.readable(&c.name)).collect::<Result<_>>()?;
    if columns.is_empty() {
        return Err(TrailsError::argument(format!("{} has no column that can be read", source.name)));
    }
    let query = source.select(&columns);
    // The interpreter's start is no part of reading.
    python::call(|_| Ok(()))?;
    (0..repeats)
        .map(|_| {
            let began = Instant::now();
            let table = reader::read(&query, &columns, None, &source.name)?;
            let rows = table.rows as i64;
            let seconds = python::call(|bridge| {
                let arrays = python::arrays(bridge.py(), table.columns)?;
                let seconds = began.elapsed().as_secs_f64();
                debug_assert_eq!(arrays.len(), columns.len());
                Ok(seconds)
            })?;
            Ok(Reading { rows, columns: columns.len() as i32, seconds })
        })
        .collect()
}
