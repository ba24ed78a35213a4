//! A query read in batches, for work that needs a bounded part of a relation at a time.

use std::ffi::c_long;

use pgrx::pg_sys;
use pgrx::prelude::*;

use super::columns::{Kind, Table};
use super::fault::error_of;
use super::memory::no_memory;
use super::order::ScanOrder;
use super::prepare::{receiver_for, Spelling};
use super::query::{PlannedQuery, Query};
use super::receiver::Receiver;
use super::source::SourceColumn;
use crate::error::Result;
use crate::{deadline, sqlstate};

/// Rows of a query whose columns' kinds are known: a text is a text unless `id:value` is prescribed.
fn prescribed(columns: &[SourceColumn]) -> Vec<SourceColumn> {
    columns.iter().map(|c| c.read_as(c.kind.unwrap_or(Kind::Text))).collect()
}

fn complete(receiver: &mut Receiver, origin: &str) -> Result<()> {
    let (rows, held) = (receiver.table.rows as u64, receiver.memory.held());
    receiver.complete().map_err(|exhausted| no_memory(exhausted, origin, rows, held))
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
    /// Opens a query for `columns`; of the one at `spelt` each batch tells how its texts are spelt.
    pub fn open(query: &Query, columns: &[SourceColumn], spelt: Option<usize>) -> Result<Self> {
        Self::open_with(query, columns, spelt.map_or(Spelling::Forgotten, Spelling::Of), 0)
    }

    /// The same for a query whose first rows are wanted soon, and maybe never the last ones.
    pub fn open_for_first_rows(query: &Query, columns: &[SourceColumn]) -> Result<Self> {
        Self::open_with(query, columns, Spelling::Forgotten, pg_sys::CURSOR_OPT_FAST_PLAN)
    }

    fn open_with(query: &Query, columns: &[SourceColumn], spelling: Spelling, options: u32) -> Result<Self> {
        let columns = prescribed(columns);
        let receiver = receiver_for(&columns, Some(query), None, spelling, 0)?;
        let open = || {
            Spi::connect(|_| -> Result<pg_sys::Portal> {
                let plan = PlannedQuery::of(query, pg_sys::CURSOR_OPT_NO_SCROLL | options)?;
                // The portal keeps the snapshot that it is opened in.
                let _moment = plan.moment()?;
                // SAFETY: within an SPI connection, with a plan that was just made in it and takes no arguments. The
                // portal is pinned, so that it is there until `drop`.
                unsafe {
                    let name = std::ptr::null();
                    let portal = pg_sys::SPI_cursor_open(name, plan.plan, std::ptr::null_mut(), std::ptr::null(), true);
                    // So that nothing that the query calls can close it.
                    pg_sys::PinPortal(portal);
                    Ok(portal)
                }
            })
        };
        let portal = sqlstate::kept(open)?;
        Ok(Self { portal, receiver, columns, origin: query.of.shown.clone(), ended: false })
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
        let (portal, destination) = (self.portal, self.receiver.as_destination());
        deadline::keep(&self.origin, || {
            let _order = ScanOrder::start();
            let forward = pg_sys::FetchDirection::FETCH_FORWARD;
            // SAFETY: the portal is pinned; the destination is the receiver, which is boxed and stays where it is.
            sqlstate::kept(|| unsafe { pg_sys::PortalRunFetch(portal, forward, rows as c_long, destination) });
            Ok(())
        })?;
        if let Some(bad) = &self.receiver.bad {
            return Err(error_of(bad, &self.columns, &self.origin, self.receiver.memory.held()));
        }
        complete(&mut self.receiver, &self.origin)?;
        let table = &self.receiver.table;
        self.ended = table.rows < rows;
        Ok((table.rows > 0).then_some(table))
    }
}

impl Drop for Batches {
    fn drop(&mut self) {
        // After an error the end of the transaction closes it.
        if !std::thread::panicking() {
            // SAFETY: the portal is there, because it is pinned; after an error, which may have taken it away, this is
            // not reached. It is closed once, and nobody else has it.
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
        let receiver = receiver_for(&columns, None, None, Spelling::Forgotten, 0)?;
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
        // SAFETY: there are as many as there are columns, of their types, by the caller's promise.
        if !unsafe { self.receiver.store(values.as_ptr(), nulls.as_ptr()) } {
            if let Some(bad) = &self.receiver.bad {
                return Err(error_of(bad, &self.columns, &self.origin, self.receiver.memory.held()));
            }
        }
        complete(&mut self.receiver, &self.origin)?;
        Ok(&self.receiver.table)
    }
}
