//! Workers that the end of the transaction starts. What was submitted in a transaction that is rolled back is never run,
//! and neither is what a subtransaction submitted that is.

use std::cell::RefCell;
use std::sync::Once;

use pgrx::pg_sys;
use pgrx::prelude::*;

use super::start::{self, Start};
use crate::error::TrailsError;

thread_local! {
    static PENDING: RefCell<Vec<Pending>> = const { RefCell::new(Vec::new()) };
}

struct Pending {
    start: Start,
    level: pg_sys::SubTransactionId,
    /// The run was in the queue before this transaction, and goes on being so if that is rolled back.
    queued_before: bool,
}

/// Starts a worker for a run that this transaction submits, if it is committed.
pub fn at_commit(start: Start) {
    add(start, false);
}

/// Starts a worker however the transaction ends, to look whose turn it is.
pub fn at_end(start: Start) {
    add(start, true);
}

fn add(start: Start, queued_before: bool) {
    static REGISTERED: Once = Once::new();
    // SAFETY: both callbacks are functions of this library, which is never unloaded.
    REGISTERED.call_once(|| unsafe {
        pg_sys::RegisterXactCallback(Some(at_transaction), std::ptr::null_mut());
        pg_sys::RegisterSubXactCallback(Some(at_subtransaction), std::ptr::null_mut());
    });
    // SAFETY: within a transaction.
    let level = unsafe { pg_sys::GetCurrentSubTransactionId() };
    PENDING.with_borrow_mut(|pending| pending.push(Pending { start, level, queued_before }));
}

/// Whether the transaction under way submits a run.
pub fn holds(run: i64) -> bool {
    PENDING.with_borrow(|pending| pending.iter().any(|p| p.start.run == run && !p.queued_before))
}

#[pg_guard]
unsafe extern "C-unwind" fn at_transaction(event: pg_sys::XactEvent::Type, _argument: *mut std::ffi::c_void) {
    use pg_sys::XactEvent::{XACT_EVENT_ABORT, XACT_EVENT_COMMIT, XACT_EVENT_PRE_PREPARE};
    match event {
        XACT_EVENT_PRE_PREPARE if PENDING.with_borrow(|pending| !pending.is_empty()) => {
            let message = "a transaction that has submitted a run cannot be prepared";
            TrailsError::new(PgSqlErrorCode::ERRCODE_FEATURE_NOT_SUPPORTED, message)
                .hint("COMMIT it, or submit the run in a transaction of its own.")
                .raise()
        }
        XACT_EVENT_COMMIT | XACT_EVENT_ABORT => {
            let ended = PENDING.take();
            // One is enough: it starts all whose turn it is.
            let first = ended.iter().find(|p| event == XACT_EVENT_COMMIT || p.queued_before);
            if let Some(Pending { start, queued_before, .. }) = first {
                // Once: the transaction's locks are held still, and nobody may wait for a place with them.
                if !start.try_now() && !queued_before {
                    let message = format!("run {} is submitted, and no background worker could be started", start.run);
                    let warning = start::none_left(message);
                    let hint =
                        "It waits, and starts with the next run that is submitted, or ends, or is waited for with \
                                trails.wait. A superuser sets max_worker_processes, and restarts the server.";
                    TrailsError { code: PgSqlErrorCode::ERRCODE_WARNING, ..warning }.hint(hint).warn();
                }
            }
        }
        _ => {}
    }
}

#[pg_guard]
unsafe extern "C-unwind" fn at_subtransaction(
    event: pg_sys::SubXactEvent::Type,
    level: pg_sys::SubTransactionId,
    parent: pg_sys::SubTransactionId,
    _argument: *mut std::ffi::c_void,
) {
    use pg_sys::SubXactEvent::{SUBXACT_EVENT_ABORT_SUB, SUBXACT_EVENT_COMMIT_SUB};
    PENDING.with_borrow_mut(|pending| match event {
        SUBXACT_EVENT_ABORT_SUB => pending.retain(|p| p.level != level || p.queued_before),
        SUBXACT_EVENT_COMMIT_SUB => pending.iter_mut().filter(|p| p.level == level).for_each(|p| p.level = parent),
        _ => {}
    });
}
