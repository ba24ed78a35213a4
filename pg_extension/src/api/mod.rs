//! The SQL surface: each function here is a shell over an inner one.

mod benchmarks;
mod phases;
mod selection;

use std::ffi::CStr;

use crate::error::{Result, TrailsError};

/// A required argument: NULL is an error that names it.
fn required<T>(value: Option<T>, name: &str) -> Result<T> {
    value.ok_or_else(|| TrailsError::argument(format!("{name} must not be NULL")))
}

fn name_text(name: &CStr) -> String {
    name.to_string_lossy().into_owned()
}
