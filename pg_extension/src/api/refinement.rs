//! `trails.refinement_options`, `trails.refinement_phase`, `trails.profile_refinement`

use std::collections::HashMap;
use std::ffi::CStr;

use pgrx::datum::Interval;
use pgrx::pg_sys;
use pgrx::prelude::*;
use pgrx::{AnyElement, JsonB};
use pyo3::types::PyAnyMethods;

use super::{compared_by, request_of, required, seconds_of, texts_of};
use crate::clock::Clock;
use crate::error::{Result, TrailsError};
use crate::outcome::Finished;
use crate::protocol::{Epoch, ProfileResult, ProfileRow};
use crate::run_request::RunRequest;
use crate::selection::{self, Origin};
use crate::{epoch_costs, python};

const BYTES_OF_A_MEGABYTE: f64 = 1_048_576.0;

#[pg_extern(sql = r#"
CREATE FUNCTION refinement_options() RETURNS TABLE (
    name pg_catalog.text,
    default_value pg_catalog.jsonb,
    description pg_catalog.text
) LANGUAGE c STABLE PARALLEL UNSAFE AS '@MODULE_PATHNAME@', '@FUNCTION_NAME@';
COMMENT ON FUNCTION refinement_options IS
    'the training options that options => ''{...}'' may name, with their defaults';
"#)]
fn refinement_options(
) -> TableIterator<'static, (name!(name, String), name!(default_value, Option<JsonB>), name!(description, String))> {
    let options: Vec<(String, String, String)> =
        python::call(|bridge| bridge.call_method0("refinement_options")?.extract())
            .unwrap_or_else(|error| error.raise());
    let row = |(name, default, description): (String, String, String)| {
        (name, serde_json::from_str(&default).ok().map(JsonB), description)
    };
    TableIterator::new(options.into_iter().map(row))
}

#[allow(clippy::too_many_arguments, clippy::type_complexity)]
#[pg_extern(sql = r#"
CREATE FUNCTION refinement_phase(
    source pg_catalog.regclass,
    target pg_catalog.name,
    architectures pg_catalog.text[],
    u integer DEFAULT NULL,
    budget interval DEFAULT '60 s',
    features pg_catalog.name[] DEFAULT NULL,
    validation pg_catalog.regclass DEFAULT NULL,
    space pg_catalog.text DEFAULT 'mlp4x20',
    refinement pg_catalog.text DEFAULT 'sh',
    seed bigint DEFAULT 1,
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
    rung integer,
    epoch integer,
    train_loss double precision,
    validation_loss double precision,
    validation_metric double precision,
    seconds double precision
) LANGUAGE c VOLATILE PARALLEL UNSAFE AS '@MODULE_PATHNAME@', '@FUNCTION_NAME@';
COMMENT ON FUNCTION refinement_phase IS
    'trains the named architectures within the budget, and returns their learning curves, best candidate first';
"#, requires = ["catalogue"])]
fn refinement_phase(
    source: Option<pg_sys::Oid>,
    target: Option<&CStr>,
    architectures: Option<Array<&str>>,
    u: Option<i32>,
    budget: Option<Interval>,
    features: Option<Array<&CStr>>,
    validation: Option<pg_sys::Oid>,
    space: Option<String>,
    refinement: Option<String>,
    seed: Option<i64>,
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
        name!(rank, Option<i32>),
        name!(architecture, String),
        name!(rung, i32),
        name!(epoch, i32),
        name!(train_loss, Option<f64>),
        name!(validation_loss, Option<f64>),
        name!(validation_metric, Option<f64>),
        name!(seconds, f64),
    ),
> {
    let run = || -> Result<Finished> {
        let clock = Clock::start();
        let request = request_of(source, target, features, validation, space, refinement, seed, options, task, split)?;
        let request = compared_by(request, group_by, time_by, weight, metric);
        let architectures = texts_of(required(architectures, "architectures")?, "architectures")?;
        let k = i32::try_from(architectures.len()).map_err(|_| TrailsError::argument("too many architectures"))?;
        // Without an architecture there is nothing to count; that is refused with a better message.
        let request = RunRequest { budget: Some(seconds_of(budget)?), k: Some(k.max(1)), u, name, ..request };
        selection::run("refinement_phase", &request, &Origin::Named(architectures), clock)
    };
    let points = curves(run().unwrap_or_else(|error| error.raise()));
    TableIterator::new(points.into_iter().map(|Point { rank, epoch: e }| {
        (rank, e.architecture, e.rung, e.epoch, e.train_loss, e.validation_loss, e.validation_metric, e.seconds)
    }))
}

/// An epoch of a candidate, with the candidate's rank.
struct Point {
    rank: Option<i32>,
    epoch: Epoch,
}

/// Best candidate first, each epoch by epoch; candidates without a rank last.
fn curves(run: Finished) -> Vec<Point> {
    let told = run.outcome.told;
    let ranks: HashMap<String, i32> = told.leaderboard.into_iter().map(|t| t.architecture).zip(1..).collect();
    let point = |epoch: Epoch| Point { rank: ranks.get(&epoch.architecture).copied(), epoch };
    let mut points: Vec<Point> = told.trials.into_iter().map(point).collect();
    fn order(p: &Point) -> (bool, Option<i32>, &str, i32) {
        (p.rank.is_none(), p.rank, &p.epoch.architecture, p.epoch.epoch)
    }
    points.sort_by(|a, b| order(a).cmp(&order(b)));
    points
}

#[allow(clippy::too_many_arguments, clippy::type_complexity)]
#[pg_extern(sql = r#"
CREATE FUNCTION profile_refinement(
    source pg_catalog.regclass,
    target pg_catalog.name,
    architectures pg_catalog.text[] DEFAULT NULL,
    features pg_catalog.name[] DEFAULT NULL,
    validation pg_catalog.regclass DEFAULT NULL,
    space pg_catalog.text DEFAULT 'mlp4x20',
    seed bigint DEFAULT 1,
    options pg_catalog.jsonb DEFAULT NULL,
    task pg_catalog.text DEFAULT NULL,
    split pg_catalog.name DEFAULT NULL
) RETURNS TABLE (
    architecture pg_catalog.text,
    parameters bigint,
    workers integer,
    training_seconds double precision,
    evaluation_seconds double precision,
    seconds_alone double precision,
    seconds_shared double precision,
    megabytes double precision
) LANGUAGE c VOLATILE PARALLEL UNSAFE AS '@MODULE_PATHNAME@', '@FUNCTION_NAME@';
COMMENT ON FUNCTION profile_refinement IS
    'times an epoch of the named architectures, or of five that filtering would offer, on a table; trains nothing to keep';
"#, requires = ["catalogue"])]
fn profile_refinement(
    source: Option<pg_sys::Oid>,
    target: Option<&CStr>,
    architectures: Option<Array<&str>>,
    features: Option<Array<&CStr>>,
    validation: Option<pg_sys::Oid>,
    space: Option<String>,
    seed: Option<i64>,
    options: Option<AnyElement>,
    task: Option<String>,
    split: Option<&CStr>,
) -> TableIterator<
    'static,
    (
        name!(architecture, String),
        name!(parameters, i64),
        name!(workers, i32),
        name!(training_seconds, Option<f64>),
        name!(evaluation_seconds, Option<f64>),
        name!(seconds_alone, Option<f64>),
        name!(seconds_shared, Option<f64>),
        name!(megabytes, Option<f64>),
    ),
> {
    let measured = || -> Result<ProfileResult> {
        let scheduler = Some("sh".to_owned()); // a profile has none
        let request = request_of(source, target, features, validation, space, scheduler, seed, options, task, split)?;
        epoch_costs::run(&request, architectures.map(|a| texts_of(a, "architectures")).transpose()?)
    };
    let ProfileResult { workers, rows, .. } = measured().unwrap_or_else(|error| error.raise());
    let row = move |c: ProfileRow| {
        let megabytes = c.bytes.map(|b| b as f64 / BYTES_OF_A_MEGABYTE);
        let seconds = (c.training_seconds, c.evaluation_seconds, c.seconds_alone, c.seconds_shared);
        (c.architecture, c.parameters, workers, seconds.0, seconds.1, seconds.2, seconds.3, megabytes)
    };
    TableIterator::new(rows.into_iter().map(row))
}
