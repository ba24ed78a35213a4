//! What the crate of models says is wrong, as an error.

use pgrx::prelude::*;
use trails_model::Error;

use crate::error::TrailsError;

/// What is wrong with rows that a model is given, or that there is no memory for them.
pub fn error_of(error: Error) -> TrailsError {
    match error {
        Error::Memory(bytes) => TrailsError::new(PgSqlErrorCode::ERRCODE_OUT_OF_MEMORY, "out of memory")
            .detail(format!("{bytes} bytes for a model or its rows could not be had."))
            .hint("Predict with a smaller model, or when fewer sessions are at work."),
        Error::OutOfRange(sentence) => TrailsError::new(PgSqlErrorCode::ERRCODE_DATETIME_FIELD_OVERFLOW, sentence)
            .hint("Replace it by NULL or an earlier date, for instance in a view."),
        Error::Invalid(sentence) => TrailsError::data(sentence),
    }
}
