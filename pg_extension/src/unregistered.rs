//! Models that could not be kept under their names when their runs ended. They wait in `trails.unregistered_models`, which
//! no role may write to: what is kept from there is a run's own, and not brought in from elsewhere.

use pgrx::prelude::*;

use crate::clock::Clock;
use crate::error::{Result, TrailsError};
use crate::lock_wait::{LockWait, CATALOGUE};
use crate::models::{self, Trained};
use crate::owner::{acting, check_writable, first};
use crate::progress;

/// Has the model of a run of the caller's wait.
pub fn put(run: i64, weights: &[u8]) -> Result<()> {
    let statement = "INSERT INTO trails.unregistered_models (run_id, weights) VALUES ($1, $2) RETURNING run_id";
    acting(|| first::<i64>(statement, &[run.into(), weights.into()])).map(|_| ())
}

/// Keeps the model of a run of the caller's that waits, under `name` or the one that was meant; returns name and version.
pub fn keep(run: i64, name: Option<&str>) -> Result<String> {
    check_writable("a model cannot be kept")?;
    // A superuser sees all runs, and keeps its own, too.
    let of_run = Spi::connect(|client| -> Result<Option<(Trained, Option<String>)>> {
        let query = "SELECT r.source, r.relation, r.model FROM trails.runs r \
                     WHERE r.run_id OPERATOR(pg_catalog.=) $1 AND r.owner OPERATOR(pg_catalog.=) trails.caller()";
        let rows = client.select(query, Some(1), &[run.into()])?;
        if rows.is_empty() {
            return Ok(None);
        }
        let row = rows.first();
        let on = Trained { source: row.get(1)?.unwrap_or_default(), relation: row.get(2)? };
        Ok(Some((on, row.get(3)?)))
    })?;
    let (on, meant) = of_run.ok_or_else(|| none_waits(run))?;
    // The run first, as whoever deletes it does.
    let lock = "SELECT r.run_id FROM trails.runs r WHERE r.run_id OPERATOR(pg_catalog.=) $1 FOR KEY SHARE";
    acting(|| first::<i64>(lock, &[run.into()]))?.ok_or_else(|| none_waits(run))?;
    // Two sessions that keep it at once do not both do so: the later one waits, and finds none.
    let statement =
        "DELETE FROM trails.unregistered_models u WHERE u.run_id OPERATOR(pg_catalog.=) $1 RETURNING u.weights";
    let weights = acting(|| first::<Vec<u8>>(statement, &[run.into()]))?.ok_or_else(|| none_waits(run))?;
    let name = name.or(meant.as_deref()).ok_or_else(|| TrailsError::argument("the model has no name"))?;
    models::store(name, Some(run), Some(on), &weights)
}

/// The same within `budget` seconds, if that is all that is left of the run to do.
pub fn keep_within(run: i64, budget: f64, clock: &Clock) -> Result<Option<String>> {
    let wait = LockWait::of(clock.began, Some(budget));
    if !wait.attempt(CATALOGUE, || waits(run))? {
        return Ok(None);
    }
    let model = wait.attempt("trails.models", || keep(run, None))?;
    progress::phase(&format!("run {run}: kept as {model}"));
    Ok(Some(model))
}

fn none_waits(run: i64) -> TrailsError {
    TrailsError::new(
        PgSqlErrorCode::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
        format!("no model of a run {run} of yours waits to be kept"),
    )
    .hint("SELECT run_id FROM trails.unregistered_models shows those that wait, trails.models those that are kept.")
}

/// Whether the model of a run of the caller's waits, and nothing else is left of the run to go on from.
fn waits(run: i64) -> Result<bool> {
    let waits = Spi::connect(|client| {
        client
            .select(
                "SELECT EXISTS (SELECT FROM trails.unregistered_models u WHERE u.run_id OPERATOR(pg_catalog.=) $1) \
                 AND NOT EXISTS (SELECT FROM trails.checkpoints c WHERE c.run_id OPERATOR(pg_catalog.=) $1)",
                Some(1),
                &[run.into()],
            )?
            .first()
            .get_one::<bool>()
    })?;
    Ok(waits.unwrap_or(false))
}
