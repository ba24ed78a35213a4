//! The SQL surface: each function here is a shell over an inner one.

mod background;
mod benchmarks;
mod drifting;
mod explaining;
mod filtering;
mod judging;
mod models;
mod phases;
mod prediction;
mod reading;
mod refinement;
mod retraining;
mod selection;
mod watching;

use std::ffi::CStr;

use pgrx::datum::Interval;
use pgrx::prelude::*;
use pgrx::{direct_function_call, AnyElement};

use crate::error::{Result, TrailsError};
use crate::run_request::{parse_options, ByColumns, RunRequest};

/// A required argument: NULL is an error that names it.
fn required<T>(value: Option<T>, name: &str) -> Result<T> {
    value.ok_or_else(|| TrailsError::argument(format!("{name} must not be NULL")))
}

/// The metrics that a caller named; which there are is Python's to say.
fn metrics_of(tfmem: Option<String>) -> Result<String> {
    let names = required(tfmem, "tfmem")?;
    if names.trim().is_empty() {
        return Err(TrailsError::argument("tfmem names no metric").hint("trails.tfmems() lists those there are."));
    }
    Ok(names)
}

/// More columns than any relation has: they are not even looked at.
const MOST_NAMES: usize = 10_000;

/// The columns that a caller listed.
fn features_of(names: Option<Array<&CStr>>) -> Result<Option<Vec<String>>> {
    let Some(names) = names else { return Ok(None) };
    let holds_null = || {
        TrailsError::argument("features must not hold NULL")
            .hint("Leave it out; a column of that name is written \"NULL\" in an array's text.")
    };
    if names.len() > MOST_NAMES {
        let message = format!("features has {} names, and no relation has as many columns", names.len());
        return Err(TrailsError::new(PgSqlErrorCode::ERRCODE_TOO_MANY_COLUMNS, message).hint("Name each column once."));
    }
    let names: Result<Vec<String>> = names.iter().map(|name| name.map(name_text).ok_or_else(holds_null)).collect();
    names.map(Some)
}

fn name_text(name: &CStr) -> String {
    name.to_string_lossy().into_owned()
}

/// A budget of more is a mistake, and infinity is one.
const LONGEST_BUDGET: f64 = 365.0 * 86_400.0;

fn seconds_of(budget: Option<Interval>) -> Result<f64> {
    let seconds = required(budget, "budget")?.as_micros() as f64 / 1e6;
    if seconds > LONGEST_BUDGET {
        return Err(TrailsError::argument("a budget of more than 365 days is none").hint(
            "Say how long it may take, such as budget => '60 s'; a run that was cut goes on with trails.resume.",
        ));
    }
    Ok(seconds)
}

/// Texts of any number and length: what does not fit into memory is an error, where a failed allocation would end the
/// process.
fn texts_of(texts: Array<&str>, name: &str) -> Result<Vec<String>> {
    let holds_null = || TrailsError::argument(format!("{name} must not hold NULL"));
    let too_many = |_| {
        let message = format!("out of memory while {name} was taken over");
        TrailsError::new(PgSqlErrorCode::ERRCODE_OUT_OF_MEMORY, message).hint("Name fewer, or shorter ones.")
    };
    let mut owned = Vec::new();
    owned.try_reserve_exact(texts.len()).map_err(too_many)?;
    for text in texts.iter() {
        let (text, mut copy) = (text.ok_or_else(holds_null)?, String::new());
        copy.try_reserve_exact(text.len()).map_err(too_many)?;
        copy.push_str(text);
        owned.push(copy);
    }
    Ok(owned)
}

/// Options as they were given. pgrx's own type for jsonb ends in an internal error where JSON says more than is readable.
fn json_of(options: AnyElement) -> Result<serde_json::Value> {
    // SAFETY: the argument is declared as jsonb, which is what jsonb_out takes; it lives as long as the call.
    let text = unsafe { direct_function_call::<&CStr>(pg_sys::jsonb_out, &[Some(options.datum())]) };
    parse_options(&text.map(CStr::to_string_lossy).unwrap_or_default())
}

/// The request of one that may also say of which rows, what they count for, and what candidates are compared by.
fn compared_by(
    request: RunRequest,
    group_by: Option<&CStr>,
    time_by: Option<&CStr>,
    weight: Option<&CStr>,
    metric: Option<String>,
) -> RunRequest {
    let [group_by, time_by, weight] = [group_by, time_by, weight].map(|name| name.map(name_text));
    RunRequest { by: ByColumns { group_by, time_by, weight, ..request.by.clone() }, metric, ..request }
}

/// What every function that trains takes; without k, u and a budget.
#[allow(clippy::too_many_arguments)]
fn request_of(
    source: Option<pg_sys::Oid>,
    target: Option<&CStr>,
    features: Option<Array<&CStr>>,
    validation: Option<pg_sys::Oid>,
    space: Option<String>,
    refinement: Option<String>,
    seed: Option<i64>,
    options: Option<AnyElement>,
    task: Option<String>,
    split: Option<&CStr>,
) -> Result<RunRequest> {
    Ok(RunRequest {
        source: required(source, "source")?,
        target: name_text(required(target, "target")?),
        features: features_of(features)?,
        validation,
        budget: None,
        space: required(space, "space")?,
        seed: required(seed, "seed")?,
        refinement: required(refinement, "refinement")?,
        options: options.map(json_of).transpose()?,
        k: None,
        u: None,
        task,
        by: ByColumns { split: split.map(name_text), ..ByColumns::default() },
        metric: None,
        name: None,
    })
}
