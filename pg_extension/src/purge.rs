//! Deleting what was recorded of old runs.

use pgrx::datum::Interval;

use crate::error::{Result, TrailsError};
use crate::owner::{self, acting, first};

/// Deletes runs of the caller's that ended longer ago than `age`, but the newest `keep`; superusers delete everybody's, and
/// keep as many of each role. A run that a model came from, or whose model waits to be kept, stays unless `with_models`.
/// Returns how many are gone.
pub fn purge(age: Interval, keep: i32, with_models: bool) -> Result<i64> {
    if age.as_micros() < 0 || keep < 0 {
        return Err(TrailsError::argument("older_than and keep must not be negative").hint(
            "trails.purge_runs('90 days', keep => 10) deletes runs that ended 90 days ago, but your ten newest.",
        ));
    }
    let statement = "WITH limits AS (SELECT (pg_catalog.clock_timestamp() OPERATOR(pg_catalog.-) $3) AS before), \
         numbered AS (SELECT r.run_id, r.finished, \
                pg_catalog.row_number() OVER (PARTITION BY r.owner ORDER BY r.run_id DESC) AS place \
            FROM trails.runs r WHERE r.owner OPERATOR(pg_catalog.=) $1 OR $2), \
         runs_gone AS (DELETE FROM trails.runs r USING numbered n, limits l \
            WHERE r.run_id OPERATOR(pg_catalog.=) n.run_id AND n.finished OPERATOR(pg_catalog.<) l.before \
              AND n.place OPERATOR(pg_catalog.>) $4 AND ($5 OR NOT EXISTS (SELECT FROM trails.models m \
                    WHERE m.run_id OPERATOR(pg_catalog.=) r.run_id) \
                AND NOT EXISTS (SELECT FROM trails.unregistered_models u \
                    WHERE u.run_id OPERATOR(pg_catalog.=) r.run_id)) \
            RETURNING r.run_id), \
         jobs_gone AS (DELETE FROM trails.jobs j USING limits l \
            WHERE (j.owner OPERATOR(pg_catalog.=) $1 OR $2) AND j.finished OPERATOR(pg_catalog.<) l.before \
              AND NOT EXISTS (SELECT FROM trails.runs r WHERE r.run_id OPERATOR(pg_catalog.=) j.run_id \
                AND NOT EXISTS (SELECT FROM runs_gone g WHERE g.run_id OPERATOR(pg_catalog.=) r.run_id)) \
            RETURNING j.run_id) \
         SELECT pg_catalog.count(*) FROM (SELECT g.run_id FROM runs_gone g UNION SELECT j.run_id FROM jobs_gone j) gone";
    let caller = owner::caller();
    let any = owner::is_superuser(caller);
    let arguments = [caller.into(), any.into(), age.into(), i64::from(keep).into(), with_models.into()];
    acting(|| first::<i64>(statement, &arguments)).map(Option::unwrap_or_default)
}
