//! `trails.coordinator`

use pgrx::datum::Interval;
use pgrx::prelude::*;
use pyo3::prelude::*;

use super::{required, seconds_of};
use crate::error::Result;
use crate::python;

/// What the coordinator is asked.
#[derive(IntoPyObject)]
struct CoordinatorArguments {
    score_seconds: f64,
    epoch_seconds: f64,
    budget: f64,
    only_phase1: bool,
    space: String,
}

/// What it decides; there is more in Python's.
#[derive(FromPyObject)]
struct Plan {
    n: i64,
    k: i32,
    u: i32,
    filtering_seconds: f64,
    refinement_seconds: f64,
}

#[pg_extern(sql = r#"
CREATE FUNCTION coordinator(
    score_seconds double precision,
    epoch_seconds double precision,
    budget interval,
    only_phase1 boolean DEFAULT false,
    space pg_catalog.text DEFAULT 'mlp4x20'
) RETURNS TABLE (
    n bigint,
    k integer,
    u integer,
    filtering_seconds double precision,
    refinement_seconds double precision
) LANGUAGE c VOLATILE PARALLEL UNSAFE AS '@MODULE_PATHNAME@', '@FUNCTION_NAME@';
COMMENT ON FUNCTION coordinator IS
    'splits a budget: how many architectures to score (n), how many to train (k), epochs of the first rung (u)';
"#)]
#[allow(clippy::type_complexity)]
fn coordinator(
    score_seconds: Option<f64>,
    epoch_seconds: Option<f64>,
    budget: Option<Interval>,
    only_phase1: Option<bool>,
    space: Option<String>,
) -> TableIterator<
    'static,
    (name!(n, i64), name!(k, i32), name!(u, i32), name!(filtering_seconds, f64), name!(refinement_seconds, f64)),
> {
    let plan = || -> Result<Plan> {
        let arguments = CoordinatorArguments {
            score_seconds: required(score_seconds, "score_seconds")?,
            epoch_seconds: required(epoch_seconds, "epoch_seconds")?,
            budget: seconds_of(budget)?,
            only_phase1: required(only_phase1, "only_phase1")?,
            space: required(space, "space")?,
        };
        python::call(|bridge| bridge.call_method1("plan", (arguments,))?.extract())
    };
    let Plan { n, k, u, filtering_seconds, refinement_seconds } = plan().unwrap_or_else(|error| error.raise());
    TableIterator::once((n, k, u, filtering_seconds, refinement_seconds))
}
