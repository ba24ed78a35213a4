//! The worker: one run, from its row to its row.
//!
//! It is another backend of the role's, with the role's and the database's settings and those that the submitting session
//! had set. It holds no snapshot while it trains, so that vacuum goes on: the transaction that read the rows ends, and the
//! one that records the run takes its snapshot when there is something to record.

use std::cell::Cell;
use std::ffi::{c_int, CStr, CString};
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use pgrx::pg_sys::{self, PgTryBuilder};
use pgrx::prelude::*;

use super::jobs::{self, End, Locked};
use super::locks;
use super::queue::{self, Turn};
use super::session::{self, Settings};
use super::start::Start;
use super::submit::Work;
use crate::clock::Clock;
use crate::error::{Result, TrailsError};
use crate::outcome::Finished;
use crate::selection::{self, Origin, Surroundings};
use crate::settings::Overridden;
use crate::subtransaction::error_of;
use crate::{catalog, tell};

// Among pgrx's bindings as a function of Rust's, which is no handler.
extern "C-unwind" {
    fn die(signal: c_int);
}

thread_local! {
    /// This process has begun a run and not yet looked whose turn it is after that.
    static OWES: Cell<Option<Start>> = const { Cell::new(None) };
}

/// How often a process that ends tries to have another started, which needs a place of its own.
const TRIES: u32 = 10;
const BETWEEN_TRIES: Duration = Duration::from_millis(10);

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
        // After the transaction under way was aborted, whose callback comes before those of this kind.
        pg_sys::on_shmem_exit(Some(start_another), pg_sys::Datum::from(0));
    }
    // Reading and writing have the budget's deadlines, training lasts as long as was asked for, and an error is written down.
    #[cfg(any(feature = "pg17", feature = "pg18"))]
    overrule(c"transaction_timeout", c"0");
    overrule(c"exit_on_error", c"off");
    if let Err(error) = work(Start { run, role }) {
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

/// Sets what the server, the database or the role may have set otherwise, for good.
fn overrule(name: &CStr, value: &CStr) {
    // SAFETY: both texts end in NUL bytes and are copied; the name is of a setting of the server's that there is.
    unsafe {
        let (context, source) = (pg_sys::GucContext::PGC_SUSET, pg_sys::GucSource::PGC_S_OVERRIDE);
        pg_sys::SetConfigOption(name.as_ptr(), value.as_ptr(), context, source);
    }
}

/// A process that was ended in the middle leaves to another what it owes to those that wait: the run has ended, so that
/// the other one looks whose turn it is, and no more.
#[pg_guard]
unsafe extern "C-unwind" fn start_another(_code: c_int, _argument: pg_sys::Datum) {
    let Ok(Some(start)) = OWES.try_with(Cell::take) else { return };
    locks::let_go_at_exit();
    for _ in 0..TRIES {
        if start.try_now() {
            return;
        }
        std::thread::sleep(BETWEEN_TRIES);
    }
}

fn work(start: Start) -> Result<()> {
    let done = begin_and_end(start);
    // Whatever became of this one, others wait.
    let others = start_others();
    if others.is_ok() {
        OWES.set(None);
    }
    done.and(others)
}

/// Does the run if its turn has come.
fn begin_and_end(start: Start) -> Result<()> {
    let run = start.run;
    let Turn::Now(asked, settings) = of_the_queue(|| queue::turn(run))? else { return Ok(()) };
    OWES.set(Some(start));
    show(&format!("trails.model_selection, run {run}"));
    // Others may have their turn as well: whoever submitted them in one transaction started one worker.
    let done = match start_others() {
        Err(error) if is_cancel(&error) => Err(error), // which was meant for the run
        others => {
            if let Err(error) = others {
                tell::log(&error);
            }
            in_transaction(|| carry_out(run, &asked, &settings))
        }
    };
    no_more_cancels();
    let ended = done.or_else(|error| {
        of_the_queue(|| {
            let (state, fault) = (if is_cancel(&error) { "cancelled" } else { "failed" }, error.disclosed());
            jobs::end(run, "running", Locked::Wait, &End { state, model: None, fault: Some(&fault) })
        })
    });
    let let_go = in_transaction(|| {
        locks::let_go(run);
        Ok(())
    });
    ended.and(let_go)
}

fn is_cancel(error: &TrailsError) -> bool {
    error.code == PgSqlErrorCode::ERRCODE_QUERY_CANCELED
}

/// The run is over, and with it what a cancel could be meant for.
fn no_more_cancels() {
    // SAFETY: the signal is ignored before the flag is written, so that nothing sets it again; the flag is otherwise
    // written by handlers of signals alone.
    unsafe {
        libc::signal(libc::SIGINT, libc::SIG_IGN);
        std::ptr::write_volatile(&raw mut pg_sys::QueryCancelPending, 0);
    }
}

/// Does `work` on the queue in a transaction of its own. A role's lock_timeout is about its own tables.
fn of_the_queue<T>(work: impl FnOnce() -> Result<T>) -> Result<T> {
    in_transaction(|| patiently(work))
}

fn patiently<T>(work: impl FnOnce() -> Result<T>) -> Result<T> {
    let settings = Overridden::begin();
    settings.set(c"lock_timeout", 0);
    let done = work();
    settings.end();
    done
}

/// Starts workers for those whose turn it is.
fn start_others() -> Result<()> {
    let starts = of_the_queue(queue::next)?;
    let (_, in_vain): (Vec<Start>, Vec<Start>) = starts.into_iter().partition(|start| start.try_now());
    if in_vain.is_empty() {
        return Ok(());
    }
    of_the_queue(|| in_vain.iter().try_for_each(|start| jobs::take_back(start.run, false)))
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
    let end = End { state, model: model.as_deref(), fault: fault.as_ref() };
    patiently(|| jobs::end(run, "running", Locked::Wait, &end))
}

/// A worker, with the number of its run.
struct Worker(i64);

impl Surroundings for Worker {
    fn number(&self) -> Result<i64> {
        Ok(self.0)
    }

    fn known_number(&self) -> Option<i64> {
        Some(self.0)
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
        catalog::keep_extension();
        // SAFETY: nothing is looked at in the catalogue now; the snapshot of the look would hold back vacuum.
        unsafe { pg_sys::InvalidateCatalogSnapshot() };
    }

    fn trained(&self) {
        // SAFETY: within the transaction that `rows_read` has begun.
        unsafe { pg_sys::PushActiveSnapshot(pg_sys::GetTransactionSnapshot()) };
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
        locks::renew();
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
        locks::lost();
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
