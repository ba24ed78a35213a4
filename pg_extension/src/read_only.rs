//! Queries that only read and count as no command, so that they may run beside parallel workers. pgrx's own way counts
//! one where the transaction has written before.

use std::ffi::CStr;

use pgrx::pg_sys;
use pgrx::prelude::*;

use crate::error::Result;

/// A row that was found; what is read of it is copied.
pub struct Row {
    row: pg_sys::HeapTuple,
    columns: pg_sys::TupleDesc,
}

impl Row {
    /// A column by its place, from 1; None if it is NULL.
    pub fn get<T: FromDatum>(&self, place: i32) -> Option<T> {
        let mut is_null = false;
        // SAFETY: `rows` makes it of a row that lives while it is lent out, and of that row's columns.
        unsafe {
            let value = pg_sys::SPI_getbinval(self.row, self.columns, place, &mut is_null);
            T::from_datum(value, is_null)
        }
    }
}

/// What `one` makes of each row, in the active snapshot. It runs no statement.
pub fn rows<T, const N: usize>(
    query: &CStr,
    arguments: [(pg_sys::Oid, pg_sys::Datum); N],
    one: impl Fn(&Row) -> T,
) -> Result<Vec<T>> {
    Spi::connect(|_client| {
        let mut types = arguments.map(|argument| argument.0);
        let mut values = arguments.map(|argument| argument.1);
        // SAFETY: within an SPI connection and a transaction. As many types and values, none of them NULL, as are said;
        // rows are read before anything else is run.
        unsafe {
            let status = pg_sys::SPI_execute_with_args(
                query.as_ptr(),
                N as i32,
                types.as_mut_ptr(),
                values.as_mut_ptr(),
                std::ptr::null(),
                true,
                0,
            );
            Spi::check_status(status)?;
            let table = pg_sys::SPI_tuptable;
            if table.is_null() {
                return Ok(Vec::new());
            }
            let count = pg_sys::SPI_processed as usize;
            Ok((0..count)
                .map(|place| one(&Row { row: *(*table).vals.add(place), columns: (*table).tupdesc }))
                .collect())
        }
    })
}
