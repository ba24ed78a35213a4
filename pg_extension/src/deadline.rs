//! The time by which whatever waits for PostgreSQL must have ended: a lock that another session holds, a view that takes
//! its time.
//!
//! The server's own timeouts can end both, and so one of its timers does: it asks for a cancel, and what the server then
//! raises becomes an error that says what the budget was spent on.

use std::cell::Cell;
use std::ffi::c_int;
use std::panic::AssertUnwindSafe;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use pgrx::pg_sys;
use pgrx::prelude::*;

use crate::error::{Result, TrailsError};
use crate::sqlstate::Callbacks;

// utils/timeout.h is not among pgrx's bindings; PostgreSQL 17 added TRANSACTION_TIMEOUT before this one.
#[cfg(any(feature = "pg15", feature = "pg16"))]
pub const USER_TIMEOUT: c_int = 12;
#[cfg(any(feature = "pg17", feature = "pg18"))]
pub const USER_TIMEOUT: c_int = 13;

/// The same in every version.
const STATEMENT_TIMEOUT: c_int = 3;

extern "C" {
    fn RegisterTimeout(id: c_int, handler: extern "C" fn()) -> c_int;
    fn enable_timeout_after(id: c_int, delay_ms: c_int);
    fn disable_timeout(id: c_int, keep_indicator: bool);
    fn get_timeout_finish_time(id: c_int) -> pg_sys::TimestampTz;
}

thread_local! {
    static CURRENT: Cell<Option<Limit>> = const { Cell::new(None) };
    /// What the timer is set to, if it is.
    static ARMED: Cell<Option<Limit>> = const { Cell::new(None) };
}

/// The timer has gone off, and whether a lock was waited for then.
static REACHED: AtomicBool = AtomicBool::new(false);
static LOCKED: AtomicBool = AtomicBool::new(false);
/// Somebody else had asked for a cancel by then.
static FOREIGN: AtomicBool = AtomicBool::new(false);
/// The cancel that the timer asked for has been raised, so that what is pending later is somebody else's.
static RAISED: AtomicBool = AtomicBool::new(false);

/// The class of a wait for a lock, as pg_stat_activity tells it.
const WAIT_CLASS: u32 = 0xff00_0000;
const WAIT_FOR_LOCK: u32 = 0x0300_0000;

#[derive(Debug, Clone, Copy)]
struct Limit {
    at: Instant,
    /// In seconds, as the caller gave it.
    budget: f64,
}

/// While it lives, work within `keep` ends at the end of the budget.
pub struct Deadline {
    outer: Option<Limit>,
}

impl Deadline {
    /// None sets no other deadline than that of a statement around this one, if there is one.
    pub fn of(budget: Option<f64>, began: Instant) -> Self {
        let outer = CURRENT.get();
        let own = budget.and_then(|budget| {
            let at = began.checked_add(Duration::try_from_secs_f64(budget).ok()?)?;
            Some(Limit { at, budget })
        });
        let nearest = match (outer, own) {
            (Some(outer), Some(own)) => Some(if outer.at < own.at { outer } else { own }),
            (outer, own) => outer.or(own),
        };
        CURRENT.set(nearest);
        Self { outer }
    }
}

impl Drop for Deadline {
    fn drop(&mut self) {
        CURRENT.set(self.outer);
    }
}

/// The server's timer, which is set back to what it was when this is dropped.
struct Timer {
    id: c_int,
    outer: Option<Limit>,
}

impl Timer {
    fn start(limit: Limit) -> Self {
        static ID: OnceLock<c_int> = OnceLock::new();
        // SAFETY: once in a backend's life; the handler is a function of this library, which is never unloaded.
        let id = *ID.get_or_init(|| unsafe { RegisterTimeout(USER_TIMEOUT, reached) });
        let outer = ARMED.get();
        let timer = Self { id, outer };
        timer.arm(Some(limit));
        timer
    }

    fn arm(&self, limit: Option<Limit>) {
        // SAFETY: the timer is registered, by `start`.
        unsafe { disable_timeout(self.id, false) };
        REACHED.store(false, Ordering::SeqCst);
        LOCKED.store(false, Ordering::SeqCst);
        FOREIGN.store(false, Ordering::SeqCst);
        RAISED.store(false, Ordering::SeqCst);
        ARMED.set(limit);
        if let Some(limit) = limit {
            let left = limit.at.saturating_duration_since(Instant::now()).as_millis();
            // SAFETY: the same, and the time is at least a millisecond.
            unsafe { enable_timeout_after(self.id, left.clamp(1, i32::MAX as u128) as c_int) };
        }
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        // SAFETY: the timer is registered, and off from here on, so that its handler does not run between the look and
        // the write; the flag is otherwise written by handlers of signals alone, and one that is lost asked for a
        // cancel of this same statement.
        unsafe {
            disable_timeout(self.id, false);
            let unraised = !RAISED.load(Ordering::SeqCst) && !FOREIGN.load(Ordering::SeqCst);
            if REACHED.load(Ordering::SeqCst) && unraised {
                // It came too late to end the work, and must not end what comes after.
                pg_sys::QueryCancelPending = 0;
            }
        }
        self.arm(self.outer);
    }
}

/// Whether the statement's own time is over, too, which counts as if it alone were.
pub fn statement_timed_out() -> bool {
    // SAFETY: variables of the backend's one thread; the timeout is registered when a backend starts.
    unsafe {
        let at = get_timeout_finish_time(STATEMENT_TIMEOUT);
        pg_sys::StatementTimeout > 0 && at > 0 && at <= pg_sys::GetCurrentTimestamp()
    }
}

/// Runs in a signal handler, where the server's own handler has set the latch.
extern "C" fn reached() {
    REACHED.store(true, Ordering::SeqCst);
    // SAFETY: a handler of the server's: it runs on the backend's one thread, between any two instructions, and so
    // reads and writes flags alone, volatile as they are everywhere. The wait event's place is valid for as long as
    // the process lives.
    unsafe {
        FOREIGN.store(std::ptr::read_volatile(&raw const pg_sys::QueryCancelPending) != 0, Ordering::SeqCst);
        let event = std::ptr::read_volatile(pg_sys::my_wait_event_info);
        LOCKED.store(event & WAIT_CLASS == WAIT_FOR_LOCK, Ordering::SeqCst);
        std::ptr::write_volatile(&raw mut pg_sys::QueryCancelPending, 1);
        std::ptr::write_volatile(&raw mut pg_sys::InterruptPending, 1);
    }
}

/// Does work that locks or reads what `name` names, and ends it with an error when the budget does.
pub fn keep<T>(name: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
    let Some(limit) = CURRENT.get() else { return work() };
    if Instant::now() >= limit.at {
        return Err(spent(name, limit, false));
    }
    let (timer, callbacks) = (Timer::start(limit), Callbacks::now());
    let outcome = PgTryBuilder::new(AssertUnwindSafe(work))
        .catch_when(PgSqlErrorCode::ERRCODE_QUERY_CANCELED, |error| {
            let foreign = FOREIGN.load(Ordering::SeqCst) || statement_timed_out();
            if REACHED.load(Ordering::SeqCst) && !foreign {
                RAISED.store(true, Ordering::SeqCst);
                Err(TrailsError::external("the time is over"))
            } else {
                error.rethrow()
            }
        })
        .execute();
    callbacks.put_back();
    let (reached, locked) = (REACHED.load(Ordering::SeqCst), LOCKED.load(Ordering::SeqCst));
    drop(timer);
    match reached {
        true => Err(spent(name, limit, locked)),
        false => outcome,
    }
}

fn spent(name: &str, limit: Limit, locked: bool) -> TrailsError {
    let Limit { budget, .. } = limit;
    let error = |message: String| TrailsError::new(PgSqlErrorCode::ERRCODE_CONFIGURATION_LIMIT_EXCEEDED, message);
    if locked {
        return error(format!("{name} is locked by another session, and was so until the budget of {budget} s was spent"))
            .hint("pg_blocking_pids tells who holds the lock. Run the statement again when it is free, or give a larger budget.");
    }
    error(format!("reading {name} took the whole budget of {budget} s")).detail("Nothing was trained.").hint(
        "Give a larger budget than reading alone takes, or read from something that is faster: \
             a materialized view, a sample, fewer columns.",
    )
}
