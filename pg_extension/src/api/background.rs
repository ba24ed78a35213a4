//! `trails.submit`, `trails.wait`, `trails.withdraw`, `trails.purge_runs`, and what `trails.background_runs` asks

use std::ffi::CStr;
use std::time::Duration;

use pgrx::datum::Interval;
use pgrx::pg_sys;
use pgrx::prelude::*;
use pgrx::AnyElement;

use super::required;
use super::selection::asked;
use crate::background::{self, Work};
use crate::error::Result;
use crate::purge;

#[allow(clippy::too_many_arguments)]
#[pg_extern(sql = r#"
CREATE FUNCTION submit(
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
) RETURNS bigint LANGUAGE c VOLATILE PARALLEL UNSAFE AS '@MODULE_PATHNAME@', '@FUNCTION_NAME@';
COMMENT ON FUNCTION submit IS
    'has trails.model_selection run in the background once the transaction is committed; returns the number of the run';
"#, requires = ["jobs", "tfmem_type"])]
fn submit(
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
) -> i64 {
    let submitted = || -> Result<i64> {
        let (request, filtering) = asked(
            source, target, budget, features, validation, space, tfmem, refinement, n, k, u, seed, batch_size, options,
            task, split, name, group_by, time_by, weight, metric,
        )?;
        background::submit(Work { request, filtering })
    };
    submitted().unwrap_or_else(|error| error.raise())
}

#[pg_extern(sql = r#"
CREATE FUNCTION wait(run bigint, timeout interval DEFAULT NULL) RETURNS pg_catalog.text
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS '@MODULE_PATHNAME@', '@FUNCTION_NAME@';
COMMENT ON FUNCTION wait IS
    'waits until a run in the background has ended, or for as long as is said; returns the state that it has then';
"#, requires = ["jobs"])]
fn wait(run: Option<i64>, timeout: Option<Interval>) -> String {
    let waited = || -> Result<String> {
        // An interval may be infinite, or too long to be counted: that is no limit.
        let patience = timeout.and_then(|timeout| {
            let seconds = (timeout.as_micros() as f64 / 1e6).max(0.0);
            Some(Duration::from_secs_f64(seconds)).filter(|_| seconds < 1e9)
        });
        background::wait(required(run, "run")?, patience)
    };
    waited().unwrap_or_else(|error| error.raise())
}

#[pg_extern(sql = r#"
CREATE FUNCTION withdraw(run bigint) RETURNS boolean
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS '@MODULE_PATHNAME@', '@FUNCTION_NAME@';
COMMENT ON FUNCTION withdraw IS 'takes a run that waits for its turn out of the queue; false if it does not wait';
"#, requires = ["jobs"])]
fn withdraw(run: Option<i64>) -> bool {
    let withdrawn = || -> Result<bool> { background::withdraw(required(run, "run")?) };
    withdrawn().unwrap_or_else(|error| error.raise())
}

#[pg_extern(sql = r#"
CREATE FUNCTION job_state(run bigint, state pg_catalog.text) RETURNS pg_catalog.text
    LANGUAGE c VOLATILE STRICT PARALLEL UNSAFE AS '@MODULE_PATHNAME@', '@FUNCTION_NAME@';
COMMENT ON FUNCTION job_state IS
    'what is true now of a run whose row says state: one that says running, and whose worker is gone, has failed';
"#, requires = ["jobs"])]
fn job_state(run: i64, state: &str) -> String {
    background::state_of(run, state).unwrap_or_else(|error| error.raise())
}

#[pg_extern(sql = r#"
CREATE FUNCTION purge_runs(older_than interval, keep integer DEFAULT 0, with_models boolean DEFAULT false) RETURNS bigint
    LANGUAGE c VOLATILE PARALLEL UNSAFE AS '@MODULE_PATHNAME@', '@FUNCTION_NAME@';
COMMENT ON FUNCTION purge_runs IS
    'deletes your runs that ended longer ago, but your newest, and those that models came from; returns how many';
"#, requires = ["jobs", "models"])]
fn purge_runs(older_than: Option<Interval>, keep: Option<i32>, with_models: Option<bool>) -> i64 {
    let purged = || -> Result<i64> {
        let age = required(older_than, "older_than")?;
        purge::purge(age, required(keep, "keep")?, required(with_models, "with_models")?)
    };
    purged().unwrap_or_else(|error| error.raise())
}
