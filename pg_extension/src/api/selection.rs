//! `trails.model_selection`, `trails.model_selection_workloads`, `trails.resume`, `trails.drop_run`

use std::ffi::CStr;

use pgrx::datum::Interval;
use pgrx::pg_sys;
use pgrx::prelude::*;
use pgrx::AnyElement;

use super::{compared_by, metrics_of, request_of, required, seconds_of};
use crate::clock::Clock;
use crate::error::Result;
use crate::outcome::Finished;
use crate::protocol::LeaderboardRow;
use crate::rows::FilteringRequest;
use crate::run_request::RunRequest;
use crate::selection::{self, Origin};
use crate::{catalog, installed, unregistered};

/// What a caller is shown of a run: its leaderboard, best first, and what its winner is kept as.
struct Shown {
    leaderboard: Vec<LeaderboardRow>,
    model: Option<String>,
}

impl Shown {
    /// Rank, architecture, score, validation metric, epochs, parameters, seconds, and the model of the first, the winner.
    #[allow(clippy::type_complexity)]
    fn rows(self) -> impl Iterator<Item = (i32, String, Option<f64>, f64, i32, Option<i64>, f64, Option<String>)> {
        let mut model = self.model;
        (1..).zip(self.leaderboard).map(move |(rank, t)| {
            (rank, t.architecture, t.score, t.validation_metric, t.epochs, t.parameters, t.seconds, model.take())
        })
    }
}

impl From<Finished> for Shown {
    fn from(run: Finished) -> Self {
        Self { leaderboard: run.outcome.told.leaderboard, model: run.model }
    }
}

/// The leaderboard of an earlier run, whose winner is kept as `model`.
fn recorded(run: i64, model: String) -> Result<Shown> {
    let leaderboard = Spi::connect(|client| -> Result<Vec<LeaderboardRow>> {
        let rows = client.select(
            "SELECT l.architecture, l.score, l.validation_metric, l.epochs, l.parameters, l.seconds \
             FROM trails.leaderboard($1) l ORDER BY l.rank",
            None,
            &[run.into()],
        )?;
        rows.map(|row| {
            Ok(LeaderboardRow {
                architecture: row.get(1)?.unwrap_or_default(),
                score: row.get(2)?,
                validation_metric: row.get(3)?.unwrap_or_default(),
                validation_loss: None, // what is shown has neither
                best_epoch: None,
                epochs: row.get(4)?.unwrap_or_default(),
                parameters: row.get(5)?,
                seconds: row.get(6)?.unwrap_or_default(),
            })
        })
        .collect()
    })?;
    Ok(Shown { leaderboard, model: Some(model) })
}

/// What a selection is asked for, in this session or in the background.
#[allow(clippy::too_many_arguments)]
pub(super) fn asked(
    source: Option<pg_sys::Oid>,
    target: Option<&CStr>,
    budget: Option<Interval>,
    features: Option<Array<&CStr>>,
    validation: Option<pg_sys::Oid>,
    space: Option<String>,
    tfmem: Option<String>,
    refinement: Option<String>,
    n: Option<i32>,
    k: Option<i32>,
    u: Option<i32>,
    seed: Option<i64>,
    batch_size: Option<i32>,
    options: Option<AnyElement>,
    task: Option<String>,
    split: Option<&CStr>,
    name: Option<String>,
    group_by: Option<&CStr>,
    time_by: Option<&CStr>,
    weight: Option<&CStr>,
    metric: Option<String>,
) -> Result<(RunRequest, FilteringRequest)> {
    let request = request_of(source, target, features, validation, space, refinement, seed, options, task, split)?;
    let request = compared_by(request, group_by, time_by, weight, metric);
    let request = RunRequest { budget: Some(seconds_of(budget)?), k, u, name, ..request };
    let scoring = scoring(&request, tfmem, n, batch_size)?;
    Ok((request, scoring))
}

#[allow(clippy::too_many_arguments, clippy::type_complexity)]
#[pg_extern(sql = r#"
CREATE FUNCTION model_selection(
    source pg_catalog.regclass,
    target pg_catalog.name,
    budget interval DEFAULT '60 s',
    features pg_catalog.name[] DEFAULT NULL,
    validation pg_catalog.regclass DEFAULT NULL,
    space pg_catalog.text DEFAULT 'mlp4x20',
    tfmem trails.tfmem DEFAULT 'expressflow',
    refinement pg_catalog.text DEFAULT 'sh',
    n integer DEFAULT NULL,
    k integer DEFAULT NULL,
    u integer DEFAULT NULL,
    seed bigint DEFAULT 1,
    batch_size integer DEFAULT 32,
    options pg_catalog.jsonb DEFAULT NULL,
    task pg_catalog.text DEFAULT NULL,
    split pg_catalog.name DEFAULT NULL,
    name pg_catalog.text DEFAULT NULL,
    group_by pg_catalog.name DEFAULT NULL,
    time_by pg_catalog.name DEFAULT NULL,
    weight pg_catalog.name DEFAULT NULL,
    metric pg_catalog.text DEFAULT NULL
) RETURNS TABLE (
    rank integer,
    architecture pg_catalog.text,
    score double precision,
    validation_metric double precision,
    epochs integer,
    parameters bigint,
    seconds double precision,
    model pg_catalog.text
) LANGUAGE c VOLATILE PARALLEL UNSAFE AS '@MODULE_PATHNAME@', '@FUNCTION_NAME@';
COMMENT ON FUNCTION model_selection IS
    'ranks the architectures of a space without training, trains the best within the budget, returns the leaderboard';
"#, requires = ["catalogue", "tfmem_type"])]
fn model_selection(
    source: Option<pg_sys::Oid>,
    target: Option<&CStr>,
    budget: Option<Interval>,
    features: Option<Array<&CStr>>,
    validation: Option<pg_sys::Oid>,
    space: Option<String>,
    tfmem: Option<String>,
    refinement: Option<String>,
    n: Option<i32>,
    k: Option<i32>,
    u: Option<i32>,
    seed: Option<i64>,
    batch_size: Option<i32>,
    options: Option<AnyElement>,
    task: Option<String>,
    split: Option<&CStr>,
    name: Option<String>,
    group_by: Option<&CStr>,
    time_by: Option<&CStr>,
    weight: Option<&CStr>,
    metric: Option<String>,
) -> TableIterator<
    'static,
    (
        name!(rank, i32),
        name!(architecture, String),
        name!(score, Option<f64>),
        name!(validation_metric, f64),
        name!(epochs, i32),
        name!(parameters, Option<i64>),
        name!(seconds, f64),
        name!(model, Option<String>),
    ),
> {
    let run = || -> Result<Finished> {
        let clock = Clock::start();
        let (request, scoring) = asked(
            source, target, budget, features, validation, space, tfmem, refinement, n, k, u, seed, batch_size, options,
            task, split, name, group_by, time_by, weight, metric,
        )?;
        selection::run("model_selection", &request, &Origin::Filtering(scoring), clock)
    };
    TableIterator::new(Shown::from(run().unwrap_or_else(|error| error.raise())).rows())
}

#[allow(clippy::too_many_arguments, clippy::type_complexity)]
#[pg_extern(sql = r#"
CREATE FUNCTION model_selection_workloads(
    source pg_catalog.regclass,
    target pg_catalog.name,
    n integer,
    k integer,
    u integer DEFAULT 1,
    features pg_catalog.name[] DEFAULT NULL,
    validation pg_catalog.regclass DEFAULT NULL,
    space pg_catalog.text DEFAULT 'mlp4x20',
    tfmem trails.tfmem DEFAULT 'expressflow',
    refinement pg_catalog.text DEFAULT 'sh',
    seed bigint DEFAULT 1,
    batch_size integer DEFAULT 32,
    options pg_catalog.jsonb DEFAULT NULL,
    task pg_catalog.text DEFAULT NULL,
    split pg_catalog.name DEFAULT NULL,
    group_by pg_catalog.name DEFAULT NULL,
    time_by pg_catalog.name DEFAULT NULL,
    weight pg_catalog.name DEFAULT NULL,
    metric pg_catalog.text DEFAULT NULL
) RETURNS TABLE (
    run_id bigint,
    phase pg_catalog.text,
    process pg_catalog.text,
    begin_seconds double precision,
    seconds double precision
) LANGUAGE c VOLATILE PARALLEL UNSAFE AS '@MODULE_PATHNAME@', '@FUNCTION_NAME@';
COMMENT ON FUNCTION model_selection_workloads IS
    'scores n architectures and trains k of them, u epochs first, however long it takes, and tells where the time went';
"#, requires = ["catalogue", "tfmem_type"])]
fn model_selection_workloads(
    source: Option<pg_sys::Oid>,
    target: Option<&CStr>,
    n: Option<i32>,
    k: Option<i32>,
    u: Option<i32>,
    features: Option<Array<&CStr>>,
    validation: Option<pg_sys::Oid>,
    space: Option<String>,
    tfmem: Option<String>,
    refinement: Option<String>,
    seed: Option<i64>,
    batch_size: Option<i32>,
    options: Option<AnyElement>,
    task: Option<String>,
    split: Option<&CStr>,
    group_by: Option<&CStr>,
    time_by: Option<&CStr>,
    weight: Option<&CStr>,
    metric: Option<String>,
) -> TableIterator<
    'static,
    (
        name!(run_id, Option<i64>),
        name!(phase, String),
        name!(process, &'static str),
        name!(begin_seconds, f64),
        name!(seconds, f64),
    ),
> {
    let run = || -> Result<Finished> {
        let clock = Clock::start();
        let request = request_of(source, target, features, validation, space, refinement, seed, options, task, split)?;
        let request = compared_by(request, group_by, time_by, weight, metric);
        let request = RunRequest { k: Some(required(k, "k")?), u, ..request };
        let origin = Origin::Filtering(scoring(&request, tfmem, Some(required(n, "n")?), batch_size)?);
        selection::run("model_selection_workloads", &request, &origin, clock).map_err(|error| {
            // u has a default here, so that a caller who gave none may be told of it.
            let of_u = error.hint.is_none() && error.message.starts_with("u = ");
            if of_u {
                error.hint("Say u => NULL.")
            } else {
                error
            }
        })
    };
    let Finished { run, outcome, .. } = run().unwrap_or_else(|error| error.raise());
    let row = move |t: crate::clock::Timing| (run, t.phase.phase, t.process.name(), t.phase.begin, t.phase.seconds);
    TableIterator::new(outcome.clock.timings().into_iter().map(row))
}

#[allow(clippy::type_complexity)]
#[pg_extern(sql = r#"
CREATE FUNCTION resume(
    run bigint,
    budget interval DEFAULT '60 s'
) RETURNS TABLE (
    rank integer,
    architecture pg_catalog.text,
    score double precision,
    validation_metric double precision,
    epochs integer,
    parameters bigint,
    seconds double precision,
    model pg_catalog.text
) LANGUAGE c VOLATILE PARALLEL UNSAFE AS '@MODULE_PATHNAME@', '@FUNCTION_NAME@';
COMMENT ON FUNCTION resume IS
    'goes on with a run of yours that was cut, as a new run, or keeps the model that a run could not; returns the leaderboard';
"#, requires = ["catalogue"])]
fn resume(
    run: Option<i64>,
    budget: Option<Interval>,
) -> TableIterator<
    'static,
    (
        name!(rank, i32),
        name!(architecture, String),
        name!(score, Option<f64>),
        name!(validation_metric, f64),
        name!(epochs, i32),
        name!(parameters, Option<i64>),
        name!(seconds, f64),
        name!(model, Option<String>),
    ),
> {
    let resumed = || -> Result<Shown> {
        let (clock, run, budget) = (Clock::start(), required(run, "run")?, seconds_of(budget)?);
        installed::check()?;
        if let Some(model) = unregistered::keep_within(run, budget, &clock)? {
            return recorded(run, model);
        }
        Ok(selection::resume(run, budget, clock)?.into())
    };
    TableIterator::new(resumed().unwrap_or_else(|error| error.raise()).rows())
}

#[pg_extern(sql = r#"
CREATE FUNCTION drop_run(run bigint, checkpoint_only boolean DEFAULT false) RETURNS boolean
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS '@MODULE_PATHNAME@', '@FUNCTION_NAME@';
COMMENT ON FUNCTION drop_run IS
    'deletes a run of yours with all that was recorded of it but its models, or its checkpoint alone; false if there is none';
"#, requires = ["catalogue"])]
fn drop_run(run: Option<i64>, checkpoint_only: Option<bool>) -> bool {
    let dropped =
        || -> Result<bool> { catalog::drop_run(required(run, "run")?, required(checkpoint_only, "checkpoint_only")?) };
    dropped().unwrap_or_else(|error| error.raise())
}

fn scoring(
    request: &RunRequest,
    tfmem: Option<String>,
    n: Option<i32>,
    batch_size: Option<i32>,
) -> Result<FilteringRequest> {
    Ok(FilteringRequest {
        space: request.space.clone(),
        tfmem: metrics_of(tfmem)?,
        n,
        k: request.k,
        batch_size: required(batch_size, "batch_size")?,
        seed: request.seed,
        sampler: None,
    })
}
