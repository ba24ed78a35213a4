//! Deleting what was recorded of old runs.

use pgrx::datum::Interval;

use crate::background;
use crate::error::{Result, TrailsError};
use crate::owner::{self, acting, written};

/// Deletes runs of the caller's that ended longer ago than `age`, but the newest `keep`; superusers delete everybody's, and
/// keep as many of each role. A run that a model came from, or whose model waits to be kept, stays unless `with_models`.
/// Returns how many are gone.
pub fn purge(age: Interval, keep: i32, with_models: bool) -> Result<i64> {
    if age.as_micros() < 0 || keep < 0 {
        return Err(TrailsError::argument("older_than and keep must not be negative").hint(
            "trails.purge_runs('90 days', keep => 10) deletes runs that ended 90 days ago, but your ten newest.",
        ));
    }
    let caller = owner::caller();
    let any = owner::is_superuser(caller);
    let of_jobs = [caller.into(), any.into(), age.into()];
    let of_runs = [caller.into(), any.into(), age.into(), i64::from(keep).into(), with_models.into()];
    owner::check_writable("runs cannot be deleted")?;
    // What ended without a word has an end from here on.
    background::settle_dead()?;
    acting(|| {
        // First those that ended without a run's row, which are counted for themselves.
        let alone = written(JOBS, &of_jobs)?;
        let gone = written(RUNS, &of_runs)?;
        written(JOBS, &of_jobs)?;
        Ok((alone + gone) as i64)
    })
}

/// Rows of the background that belong to no run's row.
const JOBS: &str = "DELETE FROM trails.jobs j WHERE (j.owner OPERATOR(pg_catalog.=) $1 OR $2) \
    AND j.finished OPERATOR(pg_catalog.<) (pg_catalog.clock_timestamp() OPERATOR(pg_catalog.-) $3) \
    AND NOT EXISTS (SELECT FROM trails.runs r WHERE r.run_id OPERATOR(pg_catalog.=) j.run_id)";

const RUNS: &str = "DELETE FROM trails.runs r USING (SELECT o.run_id, \
        pg_catalog.row_number() OVER (PARTITION BY o.owner ORDER BY o.run_id DESC) AS place \
        FROM trails.runs o WHERE o.owner OPERATOR(pg_catalog.=) $1 OR $2) n \
    WHERE r.run_id OPERATOR(pg_catalog.=) n.run_id AND n.place OPERATOR(pg_catalog.>) $4 \
      AND r.finished OPERATOR(pg_catalog.<) (pg_catalog.clock_timestamp() OPERATOR(pg_catalog.-) $3) \
      AND ($5 OR NOT EXISTS (SELECT FROM trails.models m WHERE m.run_id OPERATOR(pg_catalog.=) r.run_id) \
        AND NOT EXISTS (SELECT FROM trails.unregistered_models u WHERE u.run_id OPERATOR(pg_catalog.=) r.run_id))";
