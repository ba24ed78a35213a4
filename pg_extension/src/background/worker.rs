//! The worker: one run, from its row to its row.
//!
//! It is another backend of the role's, with the role's and the database's settings and those that the submitting session
//! had set. It holds no snapshot while it trains, so that vacuum goes on: the transaction that read the rows ends, and the
//! one that records the run takes its snapshot when there is something to record.

use std::ffi::{c_int, CString};
use std::panic::AssertUnwindSafe;

use pgrx::pg_sys::{self, PgTryBuilder};
use pgrx::prelude::*;

use super::jobs::{self, End};
use super::locks;
use super::queue::{self, Turn};
use super::session::{self, Settings};
use super::start::Start;
use super::submit::Work;
use crate::clock::Clock;
use crate::error::{Result, TrailsError};
use crate::outcome::Finished;
use crate::selection::{self, Origin, Surroundings};
use crate::subtransaction::error_of;
use crate::{catalog, tell};

// Among pgrx's bindings as a function of Rust's, which is no handler.
extern "C-unwind" {
    fn die(signal: c_int);
}

/// Where the server begins a worker.
#[pg_guard]
#[no_mangle]
pub extern "C-unwind" fn trails_background_run(_argument: pg_sys::Datum) {
    let Some((database, Start { run, role })) = Start::of_this_worker() else { return };
    // SAFETY: what every background worker does first, once; a cancel is handled by the server's own handler already.
    unsafe {
        end_on(pg_sys::SIGTERM as c_int);
        pg_sys::BackgroundWorkerUnblockSignals();
        pg_sys::BackgroundWorkerInitializeConnectionByOid(database, role, 0);
    }
    if let Err(error) = work(run) {
        // The extension may have been dropped, and its tables with it.
        tell::log(&error);
    }
}

/// As every backend does, when it next looks: a worker's own handler would end it in the middle of anything.
///
/// # Safety
/// Signals are blocked still.
unsafe fn end_on(signal: c_int) {
    // SAFETY: a handler of the server's own.
    #[cfg(feature = "pg18")]
    unsafe {
        pg_sys::pqsignal_be(signal, Some(die));
    }
    // SAFETY: the same.
    #[cfg(not(feature = "pg18"))]
    unsafe {
        pg_sys::pqsignal(signal, Some(die));
    }
}

fn work(run: i64) -> Result<()> {
    let done = begin_and_end(run);
    // Whatever became of this one, others wait.
    let others = start_others();
    done.and(others)
}

/// Does the run if its turn has come.
fn begin_and_end(run: i64) -> Result<()> {
    let Turn::Now(asked, settings) = in_transaction(|| queue::turn(run))? else { return Ok(()) };
    show(&format!("trails.model_selection, run {run}"));
    // Others may have their turn as well: whoever submitted them in one transaction started one worker.
    start_others()?;
    let ended = in_transaction(|| carry_out(run, &asked, &settings)).or_else(|error| {
        let cancelled = error.code == PgSqlErrorCode::ERRCODE_QUERY_CANCELED;
        in_transaction(|| {
            let fault = error.disclosed();
            let end = End { state: if cancelled { "cancelled" } else { "failed" }, model: None, fault: Some(&fault) };
            jobs::end(run, "running", &end)
        })
    });
    let let_go = in_transaction(|| {
        locks::let_go(run);
        Ok(())
    });
    ended.and(let_go)
}

/// Starts workers for those whose turn it is.
fn start_others() -> Result<()> {
    let starts = in_transaction(queue::next)?;
    let (_, in_vain): (Vec<Start>, Vec<Start>) = starts.into_iter().partition(|start| start.try_now());
    if in_vain.is_empty() {
        return Ok(());
    }
    in_transaction(|| in_vain.iter().try_for_each(|start| jobs::take_back(start.run, false)))
}

/// Does what a run is asked for, and writes how it ended with what came of it.
fn carry_out(run: i64, asked: &str, settings: &Settings) -> Result<()> {
    let clock = Clock::start();
    session::apply(settings);
    let work: Work = serde_json::from_str(asked)
        .map_err(|error| TrailsError::data("a row of trails.jobs cannot be read").detail(error.to_string()))?;
    let origin = Origin::Filtering(work.filtering);
    let Finished { run: recorded, model, outcome } =
        selection::run_in(&Worker(run), "model_selection", &work.request, &origin, clock)?;
    if recorded.is_none() {
        return Err(TrailsError::external(format!("run {run} is not recorded, and what it found is lost"))
            .hint("The server's log says why; mend the cause, and submit it again."));
    }
    let fault = match (outcome.fault, &work.request.name, &model) {
        (Some(fault), _, _) => Some(TrailsError::external(fault)),
        (None, Some(name), None) => Some(
            TrailsError::external(format!("the model is not kept as \"{name}\""))
                .hint(format!("The server's log says why; SELECT trails.keep_model({run}) keeps it if it waits.")),
        ),
        _ => None,
    };
    let state = if outcome.told.complete { "complete" } else { "best so far" };
    jobs::end(run, "running", &End { state, model: model.as_deref(), fault: fault.as_ref() })
}

/// A worker, with the number of its run.
struct Worker(i64);

impl Surroundings for Worker {
    fn number(&self) -> Result<i64> {
        Ok(self.0)
    }

    fn rows_read(&self) {
        // SAFETY: the transaction and the snapshot are those of `in_transaction`, whose end ends what is begun here; no
        // statement is under way, because reading has ended.
        unsafe {
            pg_sys::PopActiveSnapshot();
            pg_sys::CommitTransactionCommand();
            pg_sys::StartTransactionCommand();
        }
        may_write();
    }

    fn trained(&self) {
        // SAFETY: within the transaction that `rows_read` has begun.
        unsafe { pg_sys::PushActiveSnapshot(pg_sys::GetTransactionSnapshot()) };
        catalog::keep_extension();
    }
}

/// Does `work` in a transaction with a snapshot. If it fails, what it has written is undone, and the error is returned.
fn in_transaction<T>(work: impl FnOnce() -> Result<T>) -> Result<T> {
    // SAFETY: no transaction is under way in this worker, and each way out of here ends the one that begins.
    unsafe {
        pg_sys::SetCurrentStatementStartTimestamp();
        pg_sys::StartTransactionCommand();
    }
    may_write();
    // SAFETY: within the transaction.
    unsafe { pg_sys::PushActiveSnapshot(pg_sys::GetTransactionSnapshot()) };
    let done = PgTryBuilder::new(AssertUnwindSafe(|| {
        let done = work()?;
        // SAFETY: what `work` has pushed, it has popped.
        unsafe {
            pg_sys::PopActiveSnapshot();
            pg_sys::CommitTransactionCommand();
        }
        Ok(done)
    }))
    .catch_others(|caught| Err(error_of(&caught)))
    .execute();
    if done.is_err() {
        // SAFETY: it ends whatever transaction is under way, with its snapshots.
        unsafe { pg_sys::AbortCurrentTransaction() };
    }
    done
}

/// Whatever the role's defaults are: the run was submitted in a transaction that could write, and the queue must be seen
/// as it is once it is this worker's.
fn may_write() {
    // SAFETY: variables of the transaction that has just begun, which has no snapshot yet.
    unsafe {
        pg_sys::XactReadOnly = false;
        pg_sys::XactIsoLevel = pg_sys::XACT_READ_COMMITTED as i32;
    }
}

/// What pg_stat_activity shows of this process.
fn show(doing: &str) {
    let Ok(doing) = CString::new(doing) else { return };
    // SAFETY: the text ends in a NUL byte and is copied.
    unsafe { pg_sys::pgstat_report_activity(pg_sys::BackendState::STATE_RUNNING, doing.as_ptr()) };
}
