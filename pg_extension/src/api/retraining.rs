//! `trails.retrain`

use pgrx::datum::Interval;
use pgrx::pg_sys;
use pgrx::prelude::*;

use super::{required, seconds_of};
use crate::clock::Clock;
use crate::error::Result;
use crate::retraining::{self, Retrained};

#[allow(clippy::type_complexity)]
#[pg_extern(sql = r#"
CREATE FUNCTION retrain(
    model pg_catalog.text,
    source pg_catalog.regclass DEFAULT NULL,
    budget interval DEFAULT '20 s',
    deploy pg_catalog.text DEFAULT 'if_better'
) RETURNS TABLE (
    new_model pg_catalog.text,
    run_id bigint,
    architecture pg_catalog.text,
    metric pg_catalog.text,
    value double precision,
    deployed_model pg_catalog.text,
    deployed_value double precision,
    is_deployed boolean,
    decision pg_catalog.text
) LANGUAGE c VOLATILE PARALLEL UNSAFE AS '@MODULE_PATHNAME@', '@FUNCTION_NAME@';
COMMENT ON FUNCTION retrain IS
    'trains the next version of a model of yours from the best architectures of its last run, on the rows that there are now, and deploys it if it is better than the one in use';
"#, requires = ["catalogue", "models"])]
fn retrain(
    model: Option<&str>,
    source: Option<pg_sys::Oid>,
    budget: Option<Interval>,
    deploy: Option<&str>,
) -> TableIterator<
    'static,
    (
        name!(new_model, Option<String>),
        name!(run_id, Option<i64>),
        name!(architecture, String),
        name!(metric, String),
        name!(value, f64),
        name!(deployed_model, Option<String>),
        name!(deployed_value, Option<f64>),
        name!(is_deployed, bool),
        name!(decision, String),
    ),
> {
    let retrained = || -> Result<Retrained> {
        let clock = Clock::start();
        let (model, budget, deploy) = (required(model, "model")?, seconds_of(budget)?, required(deploy, "deploy")?);
        retraining::retrain(model, source, budget, deploy, clock)
    };
    let Retrained { model, run, architecture, metric, value, deployed, deployed_value, is_deployed, decision } =
        retrained().unwrap_or_else(|error| error.raise());
    TableIterator::once((model, run, architecture, metric, value, deployed, deployed_value, is_deployed, decision))
}
