//! Staying interruptible: cancel, timeout, shutdown and a client that has gone end any phase.
//!
//! PostgreSQL raises interrupts by longjmp, which must not cross Python frames. So Python calls back into `poll`,
//! which detaches from the interpreter, lets PostgreSQL raise, keeps what it raised in `PENDING`, and tells Python to
//! unwind with an exception; once Python has returned, `resume` lets PostgreSQL's error go on. A FATAL is not raised but
//! ends the process inside `poll`, while Python's threads are still computing: see `survive_exit`.

use std::any::Any;
use std::cell::RefCell;
use std::ffi::{c_int, c_void};
use std::os::fd::RawFd;
use std::panic::{catch_unwind, resume_unwind, AssertUnwindSafe};
use std::sync::Once;
use std::time::Duration;

use pgrx::pg_sys;

use crate::settings::Overridden;

/// How often a running statement looks whether its client is still there.
const CLIENT_CHECK_MS: c_int = 100;

// utils/timeout.h is not among pgrx's bindings; PostgreSQL 17 added TRANSACTION_TIMEOUT before this one.
#[cfg(any(feature = "pg15", feature = "pg16"))]
const CLIENT_CONNECTION_CHECK_TIMEOUT: c_int = 10;
#[cfg(any(feature = "pg17", feature = "pg18"))]
const CLIENT_CONNECTION_CHECK_TIMEOUT: c_int = 11;

extern "C" {
    fn on_exit(handler: extern "C" fn(c_int, *mut c_void), argument: *mut c_void) -> c_int;
    fn enable_timeout_after(id: c_int, delay_ms: c_int);
    fn get_timeout_active(id: c_int) -> bool;
}

thread_local! {
    static PENDING: RefCell<Option<Box<dyn Any + Send>>> = const { RefCell::new(None) };
}

/// While it lives, PostgreSQL itself notices a client that has gone, in the executor as in our own loops.
///
/// A background worker has no client.
pub struct ClientWatch(Option<Overridden>);

impl ClientWatch {
    pub fn start() -> Self {
        // SAFETY: a variable of the backend's one thread.
        if unsafe { pg_sys::MyProcPort.is_null() } {
            return Self(None);
        }
        let settings = Overridden::begin();
        // SAFETY: variables of the backend's one thread; the timeout is registered when a backend starts.
        unsafe {
            if pg_sys::client_connection_check_interval == 0 {
                settings.set(c"client_connection_check_interval", CLIENT_CHECK_MS);
                // The setting alone takes effect with the next statement; this one wants it now.
                if !get_timeout_active(CLIENT_CONNECTION_CHECK_TIMEOUT) {
                    enable_timeout_after(CLIENT_CONNECTION_CHECK_TIMEOUT, CLIENT_CHECK_MS);
                }
            }
        }
        Self(Some(settings))
    }

    /// Puts the session's own setting back. On an error the transaction's end does it.
    pub fn stop(self) {
        if let Some(settings) = self.0 {
            settings.end();
        }
    }
}

/// True when PostgreSQL has something to say to this backend. Cheap, and safe while attached to the interpreter.
pub fn pending() -> bool {
    // SAFETY: the server's flag, which its signal handlers set: hence volatile. Any bits are a number.
    unsafe { std::ptr::read_volatile(&raw const pg_sys::InterruptPending) != 0 }
}

/// Raises what PostgreSQL has to say to this backend, if it has: for loops that know nothing of it.
pub fn raise_pending() {
    pg_sys::check_for_interrupts!();
}

/// Lets PostgreSQL act on pending interrupts. Keeps what it raised for `resume` and returns true if it raised.
/// Must be called detached from the interpreter.
pub fn poll() -> bool {
    match catch_unwind(AssertUnwindSafe(raise_pending)) {
        Ok(()) => false,
        Err(raised) => {
            PENDING.with(|slot| *slot.borrow_mut() = Some(raised));
            true
        }
    }
}

/// Goes on with what `poll` caught, if it caught anything.
pub fn resume() {
    if let Some(raised) = PENDING.with(|slot| slot.borrow_mut().take()) {
        resume_unwind(raised);
    }
}

/// Makes the process end without running libraries' destructors if other threads are still computing: what these take
/// away under a thread would be a segmentation fault, and that restarts the whole server. PostgreSQL's own callbacks have
/// run by then. To be called once the libraries are loaded, because handlers run in the reverse order.
pub fn survive_exit() {
    static REGISTERED: Once = Once::new();
    // SAFETY: the handler is a function of this library, which is never unloaded, and takes no argument.
    REGISTERED.call_once(|| unsafe {
        on_exit(leave_threads_behind, std::ptr::null_mut());
    });
}

extern "C" fn leave_threads_behind(status: c_int, _argument: *mut c_void) {
    let alone = std::fs::read_dir("/proc/self/task").is_ok_and(|threads| threads.count() == 1);
    if !alone {
        // SAFETY: it ends the process, and runs nothing of it any more.
        unsafe { libc::_exit(status) };
    }
}

/// What a wait ended with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Woken {
    Ready,
    TimedOut,
}

/// Which way a descriptor is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    Read,
    Write,
}

/// Sleeps until this backend is woken or the time is over, and raises pending interrupts.
pub fn pause(timeout: Duration) {
    let events = pg_sys::WL_LATCH_SET | pg_sys::WL_TIMEOUT | pg_sys::WL_EXIT_ON_PM_DEATH;
    let milliseconds = timeout.as_millis().min(60_000) as _;
    // SAFETY: the latch is this backend's own.
    unsafe {
        pg_sys::WaitLatch(pg_sys::MyLatch, events as c_int, milliseconds, pg_sys::PG_WAIT_EXTENSION);
        pg_sys::ResetLatch(pg_sys::MyLatch);
    }
    pg_sys::check_for_interrupts!();
}

/// Sleeps until the descriptor is ready or the time is over, and raises pending interrupts.
pub fn wait_for(descriptor: RawFd, direction: Direction, timeout: Duration) -> Woken {
    let readiness = match direction {
        Direction::Read => pg_sys::WL_SOCKET_READABLE,
        Direction::Write => pg_sys::WL_SOCKET_WRITEABLE,
    };
    let events = pg_sys::WL_LATCH_SET | readiness | pg_sys::WL_TIMEOUT | pg_sys::WL_EXIT_ON_PM_DEATH;
    // A look into the catalogue leaves a snapshot behind, which would hold back vacuum for as long as this waits where
    // nothing else does: in the background.
    // SAFETY: it lets go of no snapshot but that one, and of that only where it is the last.
    unsafe { pg_sys::InvalidateCatalogSnapshotConditionally() };
    // SAFETY: the latch is this backend's own, and the descriptor is the caller's, open for as long as this takes.
    let woken = unsafe {
        pg_sys::WaitLatchOrSocket(
            pg_sys::MyLatch,
            events as c_int,
            descriptor,
            timeout.as_millis().min(60_000) as _,
            pg_sys::PG_WAIT_EXTENSION,
        )
    };
    if woken as u32 & pg_sys::WL_LATCH_SET != 0 {
        // SAFETY: the latch is this backend's own.
        unsafe { pg_sys::ResetLatch(pg_sys::MyLatch) };
    }
    pg_sys::check_for_interrupts!();
    if woken as u32 & readiness != 0 {
        Woken::Ready
    } else {
        Woken::TimedOut
    }
}
