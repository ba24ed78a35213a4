//! `trails.coordinator`

use pgrx::datum::Interval;
use pgrx::prelude::*;
use pyo3::types::PyAnyMethods;

use super::{required, seconds_of};
use crate::error::Result;
use crate::python;

type Planned = (i64, i32, i32, f64, f64);

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
    let plan = || -> Result<Planned> {
        let arguments = (
            required(score_seconds, "score_seconds")?,
            required(epoch_seconds, "epoch_seconds")?,
            seconds_of(budget)?,
            required(only_phase1, "only_phase1")?,
            required(space, "space")?,
        );
        python::call(|bridge| bridge.call_method1("plan", arguments)?.extract())
    };
    TableIterator::once(plan().unwrap_or_else(|error| error.raise()))
}
