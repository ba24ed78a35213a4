//! `trails.tfmems`, `trails.filtering_phase`, `trails.profile_filtering`

use std::ffi::CStr;

use pgrx::datum::Interval;
use pgrx::pg_sys;
use pgrx::prelude::*;
use pgrx::JsonB;

use super::{features_of, metrics_of, name_text, required, seconds_of};
use crate::clock::Clock;
use crate::error::Result;
use crate::filtering::{self, MetricFacts};
use crate::rows::{FilteredRelation, FilteringRequest, MetricCost, RankedArchitecture};

/// Architectures returned where nobody says how many.
const DEFAULT_K: i32 = 10;

#[pg_extern(sql = r#"
CREATE FUNCTION tfmems() RETURNS TABLE (
    tfmem pg_catalog.text,
    orientation pg_catalog.text,
    needs pg_catalog.text[],
    whole_space boolean,
    description pg_catalog.text,
    paper pg_catalog.text
) LANGUAGE c STABLE PARALLEL UNSAFE AS '@MODULE_PATHNAME@', '@FUNCTION_NAME@';
COMMENT ON FUNCTION tfmems IS
    'the training-free metrics: whether a higher or a lower score is better, what each reads, where it comes from';
"#)]
#[allow(clippy::type_complexity)]
fn tfmems() -> TableIterator<
    'static,
    (
        name!(tfmem, String),
        name!(orientation, String),
        name!(needs, Vec<String>),
        name!(whole_space, bool),
        name!(description, String),
        name!(paper, String),
    ),
> {
    let metrics = filtering::metrics().unwrap_or_else(|error| error.raise());
    let row = |m: MetricFacts| (m.tfmem, m.orientation, m.needs, m.whole_space, m.description, m.paper);
    TableIterator::new(metrics.into_iter().map(row))
}

#[allow(clippy::too_many_arguments, clippy::type_complexity)]
#[pg_extern(sql = r#"
CREATE FUNCTION filtering_phase(
    source pg_catalog.regclass,
    target pg_catalog.name DEFAULT NULL,
    n integer DEFAULT NULL,
    k integer DEFAULT NULL,
    tfmem trails.tfmem DEFAULT 'expressflow',
    space pg_catalog.text DEFAULT 'mlp4x20',
    batch_size integer DEFAULT 32,
    seed bigint DEFAULT 1,
    features pg_catalog.name[] DEFAULT NULL,
    sampler pg_catalog.text DEFAULT NULL,
    budget interval DEFAULT NULL
) RETURNS TABLE (
    rank integer,
    architecture pg_catalog.text,
    score double precision,
    scores pg_catalog.jsonb,
    parameters bigint,
    flops bigint,
    seconds double precision
) LANGUAGE c VOLATILE PARALLEL UNSAFE AS '@MODULE_PATHNAME@', '@FUNCTION_NAME@';
COMMENT ON FUNCTION filtering_phase IS
    'scores n architectures of a space on a batch of a table or its pictures, without training, and returns the k best';
"#, requires = ["tfmem_type"])]
fn filtering_phase(
    source: Option<pg_sys::Oid>,
    target: Option<&CStr>,
    n: Option<i32>,
    k: Option<i32>,
    tfmem: Option<String>,
    space: Option<String>,
    batch_size: Option<i32>,
    seed: Option<i64>,
    features: Option<Array<&CStr>>,
    sampler: Option<String>,
    budget: Option<Interval>,
) -> TableIterator<
    'static,
    (
        name!(rank, i32),
        name!(architecture, String),
        name!(score, Option<f64>),
        name!(scores, JsonB),
        name!(parameters, i64),
        name!(flops, i64),
        name!(seconds, f64),
    ),
> {
    let ranked = || -> Result<Vec<RankedArchitecture>> {
        let clock = Clock::start();
        let relation = relation(source, target, features)?;
        let budget = budget.map(|budget| seconds_of(Some(budget))).transpose()?;
        let k = k.unwrap_or_else(|| n.map_or(DEFAULT_K, |n| n.clamp(1, DEFAULT_K)));
        let asked = FilteringRequest { n, k: Some(k), sampler, ..request(space, tfmem, batch_size, seed)? };
        filtering::rank(&relation, &asked, budget, clock)
    };
    let rows = ranked().unwrap_or_else(|error| error.raise());
    let row = |(place, ranked): (usize, RankedArchitecture)| {
        let RankedArchitecture { architecture, score, scores, parameters, flops, seconds } = ranked;
        let score = score.is_finite().then_some(score);
        (place as i32 + 1, architecture, score, object(scores), parameters, flops, seconds)
    };
    TableIterator::new(rows.into_iter().enumerate().map(row))
}

#[allow(clippy::too_many_arguments, clippy::type_complexity)]
#[pg_extern(sql = r#"
CREATE FUNCTION profile_filtering(
    source pg_catalog.regclass,
    target pg_catalog.name DEFAULT NULL,
    tfmem trails.tfmem DEFAULT 'expressflow',
    space pg_catalog.text DEFAULT 'mlp4x20',
    batch_size integer DEFAULT 32,
    seed bigint DEFAULT 1,
    features pg_catalog.name[] DEFAULT NULL
) RETURNS TABLE (
    tfmem pg_catalog.text,
    route pg_catalog.text,
    architectures bigint,
    seconds double precision,
    seconds_per_architecture double precision
) LANGUAGE c VOLATILE PARALLEL UNSAFE AS '@MODULE_PATHNAME@', '@FUNCTION_NAME@';
COMMENT ON FUNCTION profile_filtering IS
    'times the scoring of architectures on a batch of a table, metric by metric and route by route';
"#, requires = ["tfmem_type"])]
fn profile_filtering(
    source: Option<pg_sys::Oid>,
    target: Option<&CStr>,
    tfmem: Option<String>,
    space: Option<String>,
    batch_size: Option<i32>,
    seed: Option<i64>,
    features: Option<Array<&CStr>>,
) -> TableIterator<
    'static,
    (
        name!(tfmem, String),
        name!(route, String),
        name!(architectures, i64),
        name!(seconds, f64),
        name!(seconds_per_architecture, f64),
    ),
> {
    let timed = || -> Result<Vec<MetricCost>> {
        let relation = relation(source, target, features)?;
        filtering::costs(&relation, &request(space, tfmem, batch_size, seed)?)
    };
    let rows = timed().unwrap_or_else(|error| error.raise());
    let row = |MetricCost { tfmem, route, architectures, seconds }| {
        (tfmem, route, architectures, seconds, seconds / architectures.max(1) as f64)
    };
    TableIterator::new(rows.into_iter().map(row))
}

fn relation(
    source: Option<pg_sys::Oid>,
    target: Option<&CStr>,
    features: Option<Array<&CStr>>,
) -> Result<FilteredRelation> {
    let source = required(source, "source")?;
    Ok(FilteredRelation { source, target: target.map(name_text), features: features_of(features)? })
}

fn request(
    space: Option<String>,
    tfmem: Option<String>,
    batch_size: Option<i32>,
    seed: Option<i64>,
) -> Result<FilteringRequest> {
    Ok(FilteringRequest {
        space: required(space, "space")?,
        tfmem: metrics_of(tfmem)?,
        n: None,
        k: None,
        batch_size: required(batch_size, "batch_size")?,
        seed: required(seed, "seed")?,
        sampler: None,
    })
}

/// Metric to score; JSON has no number that is not finite, so such a score is null.
fn object(scores: Vec<(String, f64)>) -> JsonB {
    let scores: serde_json::Map<String, serde_json::Value> =
        scores.into_iter().map(|(metric, score)| (metric, score.into())).collect();
    JsonB(scores.into())
}
