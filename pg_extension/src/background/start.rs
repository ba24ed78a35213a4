//! Starting a worker, and what it is told.

use pgrx::bgworkers::{BackgroundWorker, BackgroundWorkerBuilder};
use pgrx::pg_sys;
use pgrx::prelude::*;

use crate::error::{Result, TrailsError};

/// A worker to start: for which run, and as whom. It logs in as that role and so has no more rights than it, and no way
/// back to more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Start {
    pub run: i64,
    pub role: pg_sys::Oid,
}

impl Start {
    /// False where the server has no process left for it. May be called within the end of a transaction.
    pub fn try_now(self) -> bool {
        // SAFETY: it reads shared memory. A standby would keep the worker's place until it is one no more.
        if unsafe { pg_sys::RecoveryInProgress() } {
            return false;
        }
        // SAFETY: set once, when the backend connects.
        let database = unsafe { pg_sys::MyDatabaseId };
        BackgroundWorkerBuilder::new(&format!("trails run {}", self.run))
            .set_type("trails run")
            .set_library("trails")
            .set_function("trails_background_run")
            .set_extra(&format!("{} {} {}", database.to_u32(), self.role.to_u32(), self.run))
            .set_restart_time(None)
            .enable_spi_access()
            .load_dynamic()
            .is_ok()
    }

    /// What this process, a worker, was started for, and in which database.
    pub fn of_this_worker() -> Option<(pg_sys::Oid, Self)> {
        let mut words = BackgroundWorker::get_extra().split(' ');
        let mut number = || words.next()?.parse::<i64>().ok();
        let (database, role, run) = (number()?, number()?, number()?);
        Some((pg_sys::Oid::from(database as u32), Self { run, role: pg_sys::Oid::from(role as u32) }))
    }
}

/// Refuses where no worker can ever start.
pub fn check() -> Result<()> {
    // SAFETY: a setting, read on the backend's one thread.
    match unsafe { pg_sys::max_worker_processes } {
        0 => Err(none_left("this server starts no background worker")),
        _ => Ok(()),
    }
}

/// An error, or a warning, about a worker that could not be started.
pub fn none_left(message: impl Into<String>) -> TrailsError {
    // SAFETY: a setting, read on the backend's one thread.
    let most = unsafe { pg_sys::max_worker_processes };
    TrailsError::new(PgSqlErrorCode::ERRCODE_CONFIGURATION_LIMIT_EXCEEDED, message)
        .detail(format!("max_worker_processes is {most}; parallel queries and other extensions count as well."))
        .hint("A superuser sets max_worker_processes, and restarts the server.")
}
