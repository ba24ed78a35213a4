//! The SQL surface: each function here is a shell over an inner one.

mod benchmarks;
mod filtering;
mod models;
mod phases;
mod prediction;
mod reading;
mod refinement;
mod selection;

use std::ffi::CStr;

use pgrx::datum::Interval;
use pgrx::{pg_sys, Array, JsonB};

use crate::error::{Result, TrailsError};
use crate::run::Task;

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

/// The columns that a caller listed.
fn features_of(names: Option<Array<&CStr>>) -> Result<Option<Vec<String>>> {
    let Some(names) = names else { return Ok(None) };
    let holds_null = || {
        TrailsError::argument("features must not hold NULL")
            .hint("Leave it out; a column of that name is written \"NULL\" in an array's text.")
    };
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

fn texts_of(texts: Vec<Option<String>>, name: &str) -> Result<Vec<String>> {
    let holds_null = || TrailsError::argument(format!("{name} must not hold NULL"));
    texts.into_iter().map(|text| text.ok_or_else(holds_null)).collect()
}

/// What every function that trains takes; without k, u and a budget.
#[allow(clippy::too_many_arguments)]
fn task_of(
    source: Option<pg_sys::Oid>,
    target: Option<&CStr>,
    features: Option<Array<&CStr>>,
    validation: Option<pg_sys::Oid>,
    space: Option<String>,
    refinement: Option<String>,
    seed: Option<i64>,
    options: Option<JsonB>,
    task: Option<String>,
    split: Option<&CStr>,
) -> Result<Task> {
    Ok(Task {
        source: required(source, "source")?,
        target: name_text(required(target, "target")?),
        features: features_of(features)?,
        validation,
        budget: None,
        space: required(space, "space")?,
        seed: required(seed, "seed")?,
        refinement: required(refinement, "refinement")?,
        options: options.map(|o| o.0),
        k: None,
        u: None,
        task,
        split: split.map(name_text),
        name: None,
    })
}
