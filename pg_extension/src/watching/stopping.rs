//! Ending a run before its time: `stop` asks it to finish with the best so far, `cancel` has its statement cancelled.
//!
//! Asking writes a word into the run's area and wakes its backend. While it trains, its loop looks at that word. While it
//! reads or filters, PostgreSQL or Python has the thread: a timer of the server's looks, and asks for a cancel, which
//! becomes an error that says what happened. Nothing is trained by then, so that there is nothing to return.

use std::cell::Cell;
use std::ffi::c_int;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::OnceLock;

use pgrx::pg_sys;
use pgrx::prelude::*;

use super::layout::Phase;
use super::run;
use super::seen::{self, UnderWay};
use crate::deadline::{statement_timed_out, USER_TIMEOUT};
use crate::error::{Result, TrailsError};
use crate::owner;
use crate::sqlstate::Callbacks;

/// How often the timer looks.
const LOOK_MS: c_int = 100;

extern "C" {
    fn RegisterTimeout(id: c_int, handler: extern "C" fn()) -> c_int;
    fn enable_timeout_every(id: c_int, first: pg_sys::TimestampTz, delay_ms: c_int);
    fn disable_timeout(id: c_int, keep_indicator: bool);
}

/// The timer has asked for a cancel, which is for one statement alone.
static ASKED: AtomicBool = AtomicBool::new(false);
/// Somebody else had asked for a cancel by then.
static FOREIGN: AtomicBool = AtomicBool::new(false);

/// The innermost run was stopped.
pub fn stopped() -> TrailsError {
    let run = run::number().map_or("the run".to_owned(), |run| format!("run {run}"));
    TrailsError::new(PgSqlErrorCode::ERRCODE_QUERY_CANCELED, format!("{run} was stopped by trails.stop"))
}

/// The same before the first epoch.
pub fn stopped_too_early() -> TrailsError {
    stopped()
        .detail("No epoch had finished by then, so that there is nothing to return.")
        .hint("trails.progress shows best_metric once there is something to return.")
}

/// Runs in a signal handler, where the server's own handler sets the latch.
extern "C" fn look() {
    if !run::stop_asked() || ASKED.swap(true, Ordering::SeqCst) {
        return;
    }
    // SAFETY: a handler of the server's: it runs on the backend's one thread, between any two instructions, and so reads
    // and writes flags alone, volatile as they are everywhere.
    unsafe {
        FOREIGN.store(std::ptr::read_volatile(&raw const pg_sys::QueryCancelPending) != 0, Ordering::SeqCst);
        std::ptr::write_volatile(&raw mut pg_sys::QueryCancelPending, 1);
        std::ptr::write_volatile(&raw mut pg_sys::InterruptPending, 1);
    }
}

thread_local! {
    /// The timer runs.
    static RUNS: Cell<bool> = const { Cell::new(false) };
}

/// The server's timer; when this is dropped it is off, or goes on for the statement around this one.
struct Timer {
    id: c_int,
    outer: bool,
}

impl Timer {
    fn start() -> Self {
        static ID: OnceLock<c_int> = OnceLock::new();
        // SAFETY: once in a backend's life; the handler is a function of this library, which is never unloaded.
        let id = *ID.get_or_init(|| unsafe { RegisterTimeout(USER_TIMEOUT, look) });
        let timer = Self { id, outer: RUNS.replace(true) };
        timer.arm();
        timer
    }

    fn arm(&self) {
        ASKED.store(false, Ordering::SeqCst);
        FOREIGN.store(false, Ordering::SeqCst);
        // SAFETY: the timer is registered, by `start`.
        unsafe { enable_timeout_every(self.id, pg_sys::GetCurrentTimestamp() + i64::from(LOOK_MS) * 1000, LOOK_MS) };
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        // SAFETY: the timer is registered, by `start`.
        unsafe { disable_timeout(self.id, false) };
        RUNS.set(self.outer);
        if self.outer {
            self.arm();
        }
    }
}

/// Does work before the first epoch, and ends it with an error when the run's end is asked for.
pub fn heed<T>(work: impl FnOnce() -> Result<T>) -> Result<T> {
    let (timer, callbacks) = (Timer::start(), Callbacks::now());
    let raised = AtomicBool::new(false);
    let outcome = PgTryBuilder::new(AssertUnwindSafe(work))
        .catch_when(PgSqlErrorCode::ERRCODE_QUERY_CANCELED, |error| {
            let foreign = FOREIGN.load(Ordering::SeqCst) || statement_timed_out();
            if !ASKED.load(Ordering::SeqCst) || foreign {
                error.rethrow()
            }
            raised.store(true, Ordering::SeqCst);
            Err(stopped_too_early())
        })
        .execute();
    callbacks.put_back();
    // SAFETY: the timer is registered.
    unsafe { disable_timeout(timer.id, false) };
    if ASKED.load(Ordering::SeqCst) && !raised.load(Ordering::SeqCst) && !FOREIGN.load(Ordering::SeqCst) {
        // It came too late to end the work, and must not end what comes after.
        // SAFETY: the timer is off; the flag is otherwise written by handlers of signals alone, and one that is lost
        // asked for a cancel of this same statement.
        unsafe { pg_sys::QueryCancelPending = 0 };
    }
    drop(timer);
    match run::stop_asked() {
        true => Err(stopped_too_early()),
        false => outcome,
    }
}

fn under_way(run: i64) -> Option<UnderWay> {
    seen::all().into_iter().find(|seen| seen.is_here() && seen.state.run == Some(run))
}

/// Whether a backend of this database runs it.
pub fn is_under_way(run: i64) -> bool {
    under_way(run).is_some()
}

/// The run of this number in this database, as far as the caller may end it; whoever may not see it learns nothing of it.
fn found(run: i64) -> Result<UnderWay> {
    match under_way(run) {
        Some(seen) if seen.may_be_ended() => Ok(seen),
        Some(seen) if seen.is_visible() => Err(not_allowed(run, &seen)),
        _ => Err(not_under_way(run)?),
    }
}

fn not_allowed(run: i64, seen: &UnderWay) -> TrailsError {
    let message = format!("permission denied to end run {run}");
    let error = TrailsError::new(PgSqlErrorCode::ERRCODE_INSUFFICIENT_PRIVILEGE, message)
        .detail(format!("It runs as the role {}.", owner::name_of(seen.role())));
    error.hint("Members of that role and of pg_signal_backend may; a superuser's run is for superusers to end.")
}

/// Why there is no such run to end: it has ended, it has not begun, or the caller knows of none.
fn not_under_way(run: i64) -> Result<TrailsError> {
    let ended = Spi::connect(|client| -> Result<Option<(String, String)>> {
        let rows = client.select(
            "SELECT r.state, pg_catalog.to_char(r.finished, 'YYYY-MM-DD HH24:MI:SS TZ') \
             FROM trails.runs r WHERE r.run_id OPERATOR(pg_catalog.=) $1 \
             UNION ALL SELECT b.state, pg_catalog.to_char(b.finished, 'YYYY-MM-DD HH24:MI:SS TZ') \
             FROM trails.background_runs b WHERE b.run_id OPERATOR(pg_catalog.=) $1",
            Some(1),
            &[run.into()],
        )?;
        if rows.is_empty() {
            return Ok(None);
        }
        let first = rows.first();
        Ok(Some((first.get(1)?.unwrap_or_default(), first.get(2)?.unwrap_or_default())))
    })?;
    Ok(match ended {
        Some((state, _)) if matches!(state.as_str(), "queued" | "running") => {
            let message = format!("run {run} cannot be ended at this moment");
            TrailsError::new(PgSqlErrorCode::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE, message)
                .detail(format!(
                    "Its state is \"{state}\": its worker is about to begin or to end, or another session withdraws it."
                ))
                .hint("Ask again in a moment.")
        }
        Some((state, at)) => {
            let message = format!("run {run} has ended");
            TrailsError::new(PgSqlErrorCode::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE, message)
                .detail(match at.as_str() {
                    "" => format!("Its state is \"{state}\"."),
                    at => format!("Its state is \"{state}\", since {at}."),
                })
                .hint(format!("trails.leaderboard({run}) shows what came of it."))
        }
        None => TrailsError::new(PgSqlErrorCode::ERRCODE_UNDEFINED_OBJECT, format!("you have no run {run} under way"))
            .hint("SELECT run_id, source, phase FROM trails.progress shows what is under way."),
    })
}

/// Asks a run to finish now with the best so far. False if that had been asked before, or it is being written down anyway.
pub fn stop(run: i64) -> Result<bool> {
    let seen = found(run)?;
    if seen.state.phase == Phase::Writing {
        return Ok(false);
    }
    let first = seen.ask_to_stop();
    wake(seen.state.pid);
    Ok(first)
}

/// Has the statement that runs it cancelled; false if it could not be told so.
pub fn cancel(run: i64) -> Result<bool> {
    let seen = found(run)?;
    let statement = "SELECT pg_catalog.pg_cancel_backend($1)";
    Ok(Spi::get_one_with_args::<bool>(statement, &[seen.state.pid.into()])?.unwrap_or(false))
}

/// A backend that sleeps looks again.
fn wake(pid: i32) {
    // SAFETY: a look into the array of processes, which takes its lock. The entry is in shared memory for good: should
    // its process have ended meanwhile, whoever has it now looks once more than it had to.
    unsafe {
        let process = pg_sys::BackendPidGetProc(pid);
        if !process.is_null() {
            pg_sys::SetLatch(&raw mut (*process).procLatch);
        }
    }
}
