//! Error codes that a user's function has made up, in a view say.
//!
//! pgrx knows the codes of PostgreSQL, and raises an error of any other one again as an internal one. So a callback of the
//! server's, which sees every report, keeps the code of what is raised within `kept`, and gives it back when pgrx raises it.

use std::cell::Cell;
use std::ffi::{c_int, c_void};

use pgrx::pg_sys;
use pgrx::prelude::*;

extern "C-unwind" {
    // Not among pgrx's bindings, which leave reports to `ereport!`.
    fn errcode(code: c_int) -> c_int;
    fn geterrcode() -> c_int;
}

thread_local! {
    /// Calls of `kept` under way.
    static DEPTH: Cell<usize> = const { Cell::new(0) };
    /// The code of the last report in them, if pgrx does not know it; 0 if it does.
    static CODE: Cell<c_int> = const { Cell::new(0) };
    /// It has ended one of them, and is to be raised again.
    static RAISED: Cell<bool> = const { Cell::new(false) };
}

/// Does work that may call functions of users, and keeps the code of an error that it raises.
pub fn kept<T>(work: impl FnOnce() -> T) -> T {
    let _watch = Watch::start();
    work()
}

struct Watch(*mut pg_sys::ErrorContextCallback);

impl Watch {
    fn start() -> Self {
        // SAFETY: the stack of callbacks is the backend's one thread's. The entry lies on the heap, so that it stays
        // where it is until `drop` frees it, or is left there.
        unsafe {
            let entry = pg_sys::ErrorContextCallback {
                previous: pg_sys::error_context_stack,
                callback: Some(look),
                arg: std::ptr::null_mut(),
            };
            let entry = Box::into_raw(Box::new(entry));
            pg_sys::error_context_stack = entry;
            DEPTH.set(DEPTH.get() + 1);
            Self(entry)
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        DEPTH.set(DEPTH.get() - 1);
        if std::thread::panicking() {
            // The entry must see the error raised again. Whoever catches that puts the stack back as it was before, and
            // the entry's few bytes are nobody's.
            RAISED.set(true);
            return;
        }
        CODE.set(0);
        // SAFETY: the entry is a box of `start`'s and the uppermost, because watches end in the reverse order; taken
        // off, nobody has its address.
        unsafe {
            pg_sys::error_context_stack = (*self.0).previous;
            drop(Box::from_raw(self.0));
        }
    }
}

/// Called by the server while it makes a report.
///
/// # Safety
/// A report is being made: only then is there a code to ask for.
unsafe extern "C-unwind" fn look(_argument: *mut c_void) {
    // SAFETY: the caller's promise.
    let code = unsafe { geterrcode() };
    if RAISED.get() && code == PgSqlErrorCode::ERRCODE_INTERNAL_ERROR as c_int {
        RAISED.set(false);
        if CODE.get() != 0 {
            // SAFETY: the same.
            unsafe { errcode(CODE.get()) };
        }
    } else if DEPTH.get() > 0 {
        let known = PgSqlErrorCode::from(code) as c_int == code;
        CODE.set(if known { 0 } else { code });
    }
}

/// The server's callbacks as they are now, to be put back by whoever catches an error.
pub struct Callbacks(*mut pg_sys::ErrorContextCallback);

impl Callbacks {
    pub fn now() -> Self {
        // SAFETY: a variable of the backend's one thread; what it points to is not looked at here.
        Self(unsafe { pg_sys::error_context_stack })
    }

    pub fn put_back(self) {
        RAISED.set(false);
        // SAFETY: entries of `now` are still there: whoever put them there has not returned yet.
        unsafe { pg_sys::error_context_stack = self.0 };
    }
}
