//! A query read in batches, for work that needs a bounded part of a relation at a time.

use std::ffi::{c_long, CString};

use pgrx::pg_sys;
use pgrx::prelude::*;

use super::columns::{Kind, Table};
use super::receiver::Receiver;
use super::source::{Query, SourceColumn};
use super::{error_of, receiver_for, receiver_in_order, Spelling};
use crate::error::{Result, TrailsError};

/// Rows of a query whose columns' kinds are known: a text is a text unless `id:value` is prescribed.
fn prescribed(columns: &[SourceColumn]) -> Vec<SourceColumn> {
    columns.iter().map(|c| c.read_as(c.kind.unwrap_or(Kind::Text))).collect()
}

/// An open query, in the snapshot of the calling statement.
pub struct Batches {
    portal: pg_sys::Portal,
    receiver: Box<Receiver>,
    columns: Vec<SourceColumn>,
    origin: String,
    ended: bool,
}

impl Batches {
    /// Opens a query that returns `columns` in their order; `origin` names the relation in errors.
    pub fn open(query: &str, columns: &[SourceColumn], origin: &str) -> Result<Self> {
        let query = Query { sql: query.to_owned(), places: (0..columns.len()).collect() };
        Self::open_with(&query, columns, origin, 0)
    }

    /// The same for a query whose first rows are wanted soon, and maybe never the last ones.
    pub fn open_for_first_rows(query: &Query, columns: &[SourceColumn], origin: &str) -> Result<Self> {
        Self::open_with(query, columns, origin, pg_sys::CURSOR_OPT_FAST_PLAN)
    }

    fn open_with(query: &Query, columns: &[SourceColumn], origin: &str, options: u32) -> Result<Self> {
        let columns = prescribed(columns);
        let receiver = receiver_for(&columns, &query.places, None, Spelling::Forgotten)?;
        let sql = CString::new(query.sql.as_str()).map_err(|_| TrailsError::argument("a name holds a NUL byte"))?;
        let portal = Spi::connect(|_| unsafe {
            let portal = pg_sys::SPI_cursor_open_with_args(
                std::ptr::null(),
                sql.as_ptr(),
                0,
                std::ptr::null_mut(),
                std::ptr::null_mut(),
                std::ptr::null(),
                true,
                (pg_sys::CURSOR_OPT_NO_SCROLL | options) as i32,
            );
            // So that nothing that the query calls can close it.
            pg_sys::PinPortal(portal);
            portal
        });
        Ok(Self { portal, receiver, columns, origin: origin.to_owned(), ended: false })
    }

    /// The rows of the last call of `next`.
    pub fn table(&self) -> &Table {
        &self.receiver.table
    }

    /// At most `rows` further rows, in memory that the next call uses again; None after the last.
    pub fn next(&mut self, rows: usize) -> Result<Option<&Table>> {
        pgrx::check_for_interrupts!();
        if self.ended {
            return Ok(None);
        }
        self.receiver.clear();
        unsafe {
            pg_sys::PortalRunFetch(
                self.portal,
                pg_sys::FetchDirection::FETCH_FORWARD,
                rows as c_long,
                self.receiver.as_destination(),
            )
        };
        if let Some(bad) = &self.receiver.bad {
            return Err(error_of(bad, &self.columns, &self.origin));
        }
        self.receiver.complete();
        let table = &self.receiver.table;
        self.ended = table.rows < rows;
        Ok((table.rows > 0).then_some(table))
    }
}

impl Drop for Batches {
    fn drop(&mut self) {
        // After an error the end of the transaction closes it.
        if !std::thread::panicking() {
            unsafe {
                pg_sys::UnpinPortal(self.portal);
                pg_sys::SPI_cursor_close(self.portal);
            }
        }
    }
}

/// Single rows that are not of a query, such as a record's.
pub struct RowReader {
    receiver: Box<Receiver>,
    columns: Vec<SourceColumn>,
    origin: String,
}

impl RowReader {
    /// `origin` names in errors where the rows are from.
    pub fn new(columns: &[SourceColumn], origin: &str) -> Result<Self> {
        let columns = prescribed(columns);
        let receiver = receiver_in_order(&columns, Spelling::Forgotten)?;
        Ok(Self { receiver, columns, origin: origin.to_owned() })
    }

    /// A table of this one row, in memory that the next call uses again.
    ///
    /// # Safety
    /// The values are of the columns' types, in their order.
    pub unsafe fn read(&mut self, values: &[pg_sys::Datum], nulls: &[bool]) -> Result<&Table> {
        assert!(values.len() == self.columns.len() && nulls.len() == self.columns.len());
        self.receiver.clear();
        self.receiver.bad = None;
        if !self.receiver.store(values.as_ptr(), nulls.as_ptr()) {
            if let Some(bad) = &self.receiver.bad {
                return Err(error_of(bad, &self.columns, &self.origin));
            }
        }
        self.receiver.complete();
        Ok(&self.receiver.table)
    }
}
