//! A whole relation, read at once.

use std::ffi::c_int;

use pgrx::pg_sys;
use pgrx::prelude::*;

use super::columns::{Column, Table};
use super::fault::error_of;
use super::memory::no_memory;
use super::order::ScanOrder;
use super::prepare::{receiver_for, Spelling};
use super::query::PlannedQuery;
use super::receiver::Receiver;
use super::source::{Source, SourceColumn};
use crate::error::{Result, TrailsError};
use crate::{deadline, sqlstate};

fn finish(mut receiver: Receiver, columns: &[SourceColumn], origin: &str) -> Result<Table> {
    if let Some(bad) = &receiver.bad {
        return Err(error_of(bad, columns, origin, receiver.memory.held()));
    }
    let (rows, held) = (receiver.table.rows as u64, receiver.memory.held());
    receiver.complete().map_err(|exhausted| no_memory(exhausted, origin, rows, held))?;
    receiver.table.columns.iter_mut().for_each(Column::fit);
    Ok(receiver.table)
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
            let plan = PlannedQuery::of(&query, 0)?;
            let _moment = plan.moment()?;
            let _order = ScanOrder::start();
            let options = pg_sys::SPIExecuteOptions {
                read_only: true,
                must_return_tuples: true,
                dest: destination,
                ..Default::default()
            };
            // SAFETY: within an SPI connection, with a plan that was just made in it; the destination is the receiver, which
            // is boxed and outlives the query.
            check_status(unsafe { pg_sys::SPI_execute_plan_extended(plan.plan, &options) })
        })
    };
    deadline::keep(&source.name, || sqlstate::kept(run))?;
    finish(*receiver, columns, &source.name)
}
