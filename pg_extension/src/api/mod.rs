//! The SQL surface: each function here is a shell over an inner one.

mod benchmarks;
mod filtering;
mod phases;
mod selection;

use std::ffi::CStr;

use pgrx::Array;

use crate::error::{Result, TrailsError};

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

fn names_of(names: Array<&CStr>) -> Vec<String> {
    names.iter().flatten().map(name_text).collect()
}

fn name_text(name: &CStr) -> String {
    name.to_string_lossy().into_owned()
}
