//! `trails.progress`, `trails.live_trials`, `trails.stop`, `trails.cancel`

use std::time::Duration;

use pgrx::prelude::*;

use super::required;
use crate::error::Result;
use crate::watching::{seen, stopping};
use crate::{background, interrupts, owner};

const LOOKS: u32 = 100;
const BETWEEN_LOOKS: Duration = Duration::from_millis(50);

#[allow(clippy::type_complexity)]
#[pg_extern(sql = r#"
CREATE FUNCTION statements_under_way() RETURNS TABLE (
    pid integer,
    run_id bigint,
    function pg_catalog.text,
    database pg_catalog.text,
    role pg_catalog.text,
    source pg_catalog.text,
    model pg_catalog.text,
    phase pg_catalog.text,
    started double precision,
    elapsed double precision,
    budget double precision,
    scored bigint,
    candidates integer,
    k integer,
    u integer,
    rung integer,
    epochs bigint,
    metric pg_catalog.text,
    best_architecture pg_catalog.text,
    best_metric double precision,
    stopping boolean
) LANGUAGE c VOLATILE PARALLEL RESTRICTED AS '@MODULE_PATHNAME@', '@FUNCTION_NAME@';
COMMENT ON FUNCTION statements_under_way IS 'what trails.progress shows, with times in seconds';

CREATE VIEW progress AS
SELECT s.pid, s.run_id, s.function, s.database::pg_catalog.name, s.role::pg_catalog.name, s.source, s.model, s.phase,
       pg_catalog.to_timestamp(s.started) AS started,
       pg_catalog.make_interval(secs => s.elapsed) AS elapsed,
       pg_catalog.make_interval(secs => s.budget) AS budget,
       CASE WHEN s.budget OPERATOR(pg_catalog.>) 0
            THEN LEAST(100, 100 OPERATOR(pg_catalog.*) s.elapsed OPERATOR(pg_catalog./) s.budget) END AS percent,
       CASE WHEN s.budget OPERATOR(pg_catalog.>) 0
            THEN pg_catalog.make_interval(secs => GREATEST(0, s.budget OPERATOR(pg_catalog.-) s.elapsed)) END AS remaining,
       s.scored, s.candidates, s.k, s.u, s.rung, s.epochs, s.metric, s.best_architecture, s.best_metric, s.stopping
FROM trails.statements_under_way() s;
COMMENT ON VIEW progress IS 'selections and filtering phases that run just now: a role''s own, in every database';
"#, requires = ["catalogue"])]
fn statements_under_way() -> TableIterator<
    'static,
    (
        name!(pid, i32),
        name!(run_id, Option<i64>),
        name!(function, String),
        name!(database, Option<String>),
        name!(role, String),
        name!(source, Option<String>),
        name!(model, Option<String>),
        name!(phase, &'static str),
        name!(started, f64),
        name!(elapsed, f64),
        name!(budget, Option<f64>),
        name!(scored, Option<i64>),
        name!(candidates, Option<i32>),
        name!(k, Option<i32>),
        name!(u, Option<i32>),
        name!(rung, Option<i32>),
        name!(epochs, i64),
        name!(metric, Option<String>),
        name!(best_architecture, Option<String>),
        name!(best_metric, Option<f64>),
        name!(stopping, bool),
    ),
> {
    TableIterator::new(seen::visible().into_iter().map(|seen| {
        let (elapsed, role, database) = (seen.elapsed(), owner::name_of(seen.role()), seen.state.database);
        let s = seen.state;
        let (architecture, best) = s.best.unzip();
        (
            s.pid,
            s.run,
            s.function,
            seen::database_name(database),
            role,
            Some(s.source).filter(|source| !source.is_empty()),
            s.model,
            s.phase.name(),
            s.started,
            elapsed,
            s.budget,
            s.scored,
            s.candidates,
            s.k,
            s.u,
            s.rung,
            s.epochs,
            s.metric,
            architecture,
            best,
            seen.stopping,
        )
    }))
}

#[allow(clippy::type_complexity)]
#[pg_extern(sql = r#"
CREATE FUNCTION trials_under_way() RETURNS TABLE (
    pid integer,
    run_id bigint,
    place bigint,
    architecture pg_catalog.text,
    rung integer,
    epoch integer,
    train_loss double precision,
    validation_loss double precision,
    validation_metric double precision,
    seconds double precision,
    at double precision
) LANGUAGE c VOLATILE PARALLEL RESTRICTED AS '@MODULE_PATHNAME@', '@FUNCTION_NAME@';
COMMENT ON FUNCTION trials_under_way IS 'what trails.live_trials shows, with times in seconds';

CREATE VIEW live_trials AS
SELECT t.pid, t.run_id, t.place, t.architecture, t.rung, t.epoch, t.train_loss, t.validation_loss, t.validation_metric,
       t.seconds, pg_catalog.to_timestamp(t.at) AS at
FROM trails.trials_under_way() t;
COMMENT ON VIEW live_trials IS 'the latest 4,096 epochs of each run that trains just now';
"#, requires = ["catalogue"])]
fn trials_under_way() -> TableIterator<
    'static,
    (
        name!(pid, i32),
        name!(run_id, Option<i64>),
        name!(place, i64),
        name!(architecture, String),
        name!(rung, i32),
        name!(epoch, i32),
        name!(train_loss, Option<f64>),
        name!(validation_loss, Option<f64>),
        name!(validation_metric, Option<f64>),
        name!(seconds, f64),
        name!(at, f64),
    ),
> {
    let rows = seen::visible().into_iter().flat_map(|seen| {
        let (pid, run, trials) = (seen.state.pid, seen.state.run, seen.trials());
        trials.into_iter().map(move |t| {
            let (place, rung, epoch) = (t.place, t.rung, t.epoch);
            let measured = (t.train_loss, t.validation_loss, t.validation_metric);
            (pid, run, place, t.architecture, rung, epoch, measured.0, measured.1, measured.2, t.seconds, t.at)
        })
    });
    TableIterator::new(rows)
}

#[pg_extern(sql = r#"
CREATE FUNCTION stop(run bigint) RETURNS boolean
LANGUAGE c VOLATILE PARALLEL UNSAFE AS '@MODULE_PATHNAME@', '@FUNCTION_NAME@';
COMMENT ON FUNCTION stop IS
    'has a run that is under way finish now with the best so far; false if that was asked before, or it is ending anyway';
"#, requires = ["catalogue"])]
fn stop(run: Option<i64>) -> bool {
    let asked = || -> Result<bool> { withdrawn_or(required(run, "run")?, stopping::stop) };
    asked().unwrap_or_else(|error| error.raise())
}

#[pg_extern(sql = r#"
CREATE FUNCTION cancel(run bigint) RETURNS boolean
LANGUAGE c VOLATILE PARALLEL UNSAFE AS '@MODULE_PATHNAME@', '@FUNCTION_NAME@';
COMMENT ON FUNCTION cancel IS 'cancels the statement that runs a run: nothing of it is kept';
"#, requires = ["catalogue"])]
fn cancel(run: Option<i64>) -> bool {
    let asked = || -> Result<bool> { withdrawn_or(required(run, "run")?, stopping::cancel) };
    asked().unwrap_or_else(|error| error.raise())
}

/// A run that waits for its turn in the background never begins; any other is ended by `end`.
fn withdrawn_or(run: i64, end: fn(i64) -> Result<bool>) -> Result<bool> {
    background::check_primary("a run cannot be ended on a standby")?;
    if background::withdraw(run)? {
        return Ok(true);
    }
    // A worker that has begun may not have said so yet.
    for _ in 0..LOOKS {
        if stopping::is_under_way(run) || !background::is_running(run)? {
            break;
        }
        interrupts::pause(BETWEEN_LOOKS);
    }
    end(run)
}
