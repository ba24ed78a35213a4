//! Writing that may fail without the statement failing with it.

use std::panic::AssertUnwindSafe;

use pgrx::pg_sys::panic::CaughtError;
use pgrx::pg_sys::{self, PgTryBuilder};

use crate::error::{sqlstate_of, Result, TrailsError};
use crate::sqlstate::Callbacks;

/// Cancel, statement timeout and the like: whoever interrupts a statement wants its end.
const OPERATOR_INTERVENTION: &str = "57";

/// Does `work` in a subtransaction, as an exception block of PL/pgSQL does. If it fails, what it has written is undone,
/// its locks are released, and the error is returned. Interrupts are raised as ever.
pub fn attempt<T>(work: impl FnOnce() -> Result<T>) -> Result<T> {
    let callbacks = Callbacks::now();
    // SAFETY: variables of the backend's one thread.
    let (context, owner) = unsafe { (pg_sys::CurrentMemoryContext, pg_sys::CurrentResourceOwner) };
    // SAFETY: a transaction is under way, and the context outlives the subtransaction. Every way out of here below
    // ends what begins here: an error of `work` is caught.
    unsafe {
        pg_sys::BeginInternalSubTransaction(std::ptr::null());
        // What `work` returns must outlive the subtransaction.
        pg_sys::MemoryContextSwitchTo(context);
    }
    let done =
        PgTryBuilder::new(AssertUnwindSafe(|| Ok(work()))).catch_others(|caught| Err(Box::new(caught))).execute();
    // SAFETY: the subtransaction is the one begun above: whatever `work` began within it has been ended by it, or is
    // undone now. Context and owner are those of the transaction around it, which is still under way.
    unsafe {
        match done {
            Ok(Ok(_)) => pg_sys::ReleaseCurrentSubTransaction(),
            _ => pg_sys::RollbackAndReleaseCurrentSubTransaction(),
        }
        pg_sys::MemoryContextSwitchTo(context);
        pg_sys::CurrentResourceOwner = owner;
    }
    callbacks.put_back();
    match done {
        Ok(result) => result,
        Err(caught) => {
            let error = error_of(&caught);
            if sqlstate_of(error.code).starts_with(OPERATOR_INTERVENTION) {
                caught.rethrow();
            }
            Err(error)
        }
    }
}

/// What was raised, as an error of this crate.
pub fn error_of(caught: &CaughtError) -> TrailsError {
    let (CaughtError::PostgresError(report)
    | CaughtError::ErrorReport(report)
    | CaughtError::RustPanic { ereport: report, .. }) = caught;
    TrailsError {
        code: report.sql_error_code(),
        message: report.message().to_owned(),
        detail: report.detail().map(str::to_owned),
        hint: report.hint().map(str::to_owned),
        confidential: None,
    }
}
