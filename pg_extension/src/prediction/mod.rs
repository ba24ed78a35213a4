//! Predicting with a model of the registry, in this process and without an interpreter.
//!
//! `registry` finds the model that a name means, as the caller; `cache` keeps what was read; `relation` predicts for all
//! rows of a relation, batch by batch, and `rows` writes them; `record` predicts for one row; `profile` tells where the
//! time goes.

mod cache;
mod columns;
pub mod profile;
pub mod record;
mod registry;
pub mod relation;
mod rows;

use std::rc::Rc;

use pgrx::prelude::*;
use trails_model::{Error, FieldDescription, Model};

use crate::error::{Result, TrailsError};
use registry::Wanted;

/// The model that `name` means, read or found in the session's memory.
fn model_of(wanted: &Wanted<'_>) -> Result<Rc<Model>> {
    let found = registry::find(wanted)?;
    cache::model(&found, || registry::read(&found))
}

/// What is wrong with rows that a model is given, or that there is no memory for them.
fn error_of(error: Error) -> TrailsError {
    match error {
        Error::Memory(bytes) => TrailsError::new(PgSqlErrorCode::ERRCODE_OUT_OF_MEMORY, "out of memory")
            .detail(format!("{bytes} bytes for a model or its rows could not be had."))
            .hint("Predict with a smaller model, or when fewer sessions are at work."),
        Error::OutOfRange(sentence) => TrailsError::new(PgSqlErrorCode::ERRCODE_DATETIME_FIELD_OVERFLOW, sentence)
            .hint("Replace it by NULL or an earlier date, for instance in a view."),
        Error::Invalid(sentence) => TrailsError::data(sentence),
    }
}

/// What a model's encoder has learnt, field by field.
pub fn encoding(name: &str) -> Result<Vec<FieldDescription>> {
    Ok(model_of(&Wanted::named(name))?.describe())
}
