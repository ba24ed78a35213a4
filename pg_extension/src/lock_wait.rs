//! Waiting for other sessions' locks no longer than the budget lasts.

use std::ffi::c_int;
use std::time::{Duration, Instant};

use pgrx::pg_sys;
use pgrx::prelude::*;

use crate::error::{Result, TrailsError};
use crate::settings::Overridden;
use crate::{budget, subtransaction};

/// What a lock may take even where the budget is over: most are held for less.
const LEAST: Duration = Duration::from_millis(100);

/// What earlier runs are read from, as a message names it.
pub const CATALOGUE: &str = "the catalogue of Trails";

/// How long the locks of a statement may be waited for.
#[derive(Debug, Clone, Copy)]
pub struct LockWait {
    /// None leaves it to the session's lock_timeout.
    until: Option<Instant>,
}

impl LockWait {
    /// Until the end of a budget that counts from `began`.
    pub fn of(began: Instant, budget: Option<f64>) -> Self {
        Self { until: budget.map(|seconds| budget::end_of(began, seconds)) }
    }

    /// Does `work` in a subtransaction; see `subtransaction::attempt`. Whatever it locks, `relation` is what it is about.
    pub fn attempt<T>(self, relation: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
        subtransaction::attempt(|| {
            let settings = Overridden::begin();
            // It is about the caller's own tables; ours show each role its own, or an error.
            settings.set(c"row_security", 1);
            if let Some(milliseconds) = self.lock_timeout() {
                settings.set(c"lock_timeout", milliseconds);
            }
            let done = work();
            settings.end();
            done
        })
        .map_err(|error| match error.code {
            PgSqlErrorCode::ERRCODE_LOCK_NOT_AVAILABLE => locked(relation, error),
            _ => error,
        })
    }

    /// In milliseconds; None where the session's own is shorter.
    fn lock_timeout(self) -> Option<c_int> {
        let left = self.until?.saturating_duration_since(Instant::now()).max(LEAST);
        let left = c_int::try_from(left.as_millis()).unwrap_or(c_int::MAX);
        // SAFETY: a setting, read on the backend's one thread.
        let own = unsafe { pg_sys::LockTimeout };
        (own == 0 || left < own).then_some(left)
    }
}

fn locked(relation: &str, error: TrailsError) -> TrailsError {
    // A table is locked with those that its keys refer to.
    let message = format!("another session held a lock on {relation}, or on what it refers to, for too long");
    TrailsError { message, ..error }.hint(
        "SELECT pid, mode FROM pg_catalog.pg_locks WHERE granted AND relation IS NOT NULL shows who holds which lock.",
    )
}
