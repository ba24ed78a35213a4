//! From a query to typed column buffers, as the caller: rights and row-level security apply.

use std::ffi::{c_int, CString};

use pgrx::pg_sys;
use pgrx::prelude::*;

pub mod columns;
mod idvalue;
pub mod measure;
mod receiver;
pub mod source;

pub use receiver::Cell;

use crate::error::{Result, TrailsError};
use columns::{Column, Table, Values};
use receiver::Receiver;
use source::SourceColumn;

fn empty_table(columns: &[SourceColumn]) -> Table {
    let columns = columns
        .iter()
        .map(|c| {
            let values = match c.cell {
                Cell::Bool | Cell::Int2 | Cell::Int4 => Values::Int32(Vec::new()),
                Cell::Int8 => Values::Int64(Vec::new()),
                Cell::IdValueText => Values::IdValue { ids: Vec::new(), values: None },
            };
            Column::new(&c.name, values)
        })
        .collect();
    Table { rows: 0, unusable: 0, columns }
}

fn receiver_for(columns: &[SourceColumn], target: Option<usize>) -> Box<Receiver> {
    Receiver::new(empty_table(columns), columns.iter().map(|c| c.cell).collect(), target)
}

fn finish(receiver: Receiver, columns: &[SourceColumn], origin: &str) -> Result<Table> {
    match receiver.bad {
        None => Ok(receiver.table),
        Some(bad) => {
            let column = &columns[bad.column];
            Err(TrailsError::new(
                PgSqlErrorCode::ERRCODE_FEATURE_NOT_SUPPORTED,
                format!(
                    "column \"{}\" of {origin} has type {}, and its text is not of the form id:value",
                    column.name, column.type_name
                ),
            )
            .detail(format!("Row {} holds \"{}\".", bad.row, bad.text))
            .hint("Name the columns to learn from with features => ARRAY[...], or store categories as integers."))
        }
    }
}

fn check_status(status: c_int) -> Result<()> {
    Spi::check_status(status).map(|_| ()).map_err(TrailsError::from)
}

/// Runs a query that returns `columns` in their order, in the snapshot of the calling statement.
/// `target` is the place of the column whose NULLs make a row unusable.
pub fn read(query: &str, columns: &[SourceColumn], target: Option<usize>, origin: &str) -> Result<Table> {
    let query = CString::new(query).map_err(|_| TrailsError::argument("a name holds a NUL byte"))?;
    let mut receiver = receiver_for(columns, target);
    Spi::connect(|_| {
        let options = pg_sys::SPIExecuteOptions {
            read_only: true,
            must_return_tuples: true,
            dest: receiver.as_destination(),
            ..Default::default()
        };
        check_status(unsafe { pg_sys::SPI_execute_extended(query.as_ptr(), &options) })
    })?;
    finish(*receiver, columns, origin)
}

/// A query prepared once and read again and again with other parameters; lives inside one SPI connection.
pub struct Prepared<'a> {
    plan: pg_sys::SPIPlanPtr,
    columns: &'a [SourceColumn],
    origin: &'a str,
}

impl<'a> Prepared<'a> {
    /// All parameters are bigint.
    pub fn new(query: &str, parameters: usize, columns: &'a [SourceColumn], origin: &'a str) -> Result<Self> {
        let query = CString::new(query).map_err(|_| TrailsError::argument("a name holds a NUL byte"))?;
        let mut types = vec![pg_sys::INT8OID; parameters];
        let plan = unsafe { pg_sys::SPI_prepare(query.as_ptr(), parameters as c_int, types.as_mut_ptr()) };
        if plan.is_null() {
            return Err(TrailsError::new(PgSqlErrorCode::ERRCODE_INTERNAL_ERROR, "the query cannot be prepared"));
        }
        Ok(Self { plan, columns, origin })
    }

    pub fn read(&self, parameters: &[i64]) -> Result<Table> {
        let mut receiver = receiver_for(self.columns, None);
        let status = unsafe {
            let list = pg_sys::makeParamList(parameters.len() as c_int);
            let slots = (*list).params.as_mut_slice(parameters.len());
            for (slot, value) in slots.iter_mut().zip(parameters) {
                slot.value = pg_sys::Datum::from(*value);
                slot.isnull = false;
                slot.pflags = pg_sys::PARAM_FLAG_CONST as u16;
                slot.ptype = pg_sys::INT8OID;
            }
            let options = pg_sys::SPIExecuteOptions {
                params: list,
                read_only: true,
                must_return_tuples: true,
                dest: receiver.as_destination(),
                ..Default::default()
            };
            let status = pg_sys::SPI_execute_plan_extended(self.plan, &options);
            pg_sys::pfree(list.cast());
            status
        };
        check_status(status)?;
        finish(*receiver, self.columns, self.origin)
    }
}
