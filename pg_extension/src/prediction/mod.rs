//! Predicting with a model of the registry, in this process and without an interpreter.
//!
//! `stored` finds the model that a name means, as the caller; `cache` keeps what was read; `relation` predicts for all
//! rows of a relation, batch by batch, and `predicted_rows` writes them; `one_row` predicts for a record; `profile` tells
//! where the time goes.

pub mod cache;
pub mod fault;
pub mod inputs;
pub mod one_row;
pub mod predicted_rows;
pub mod profile;
pub mod relation;
pub mod stored;

use trails_model::FieldDescription;

use crate::error::Result;
use stored::WantedModel;

/// What a model's encoder has learnt, field by field.
pub fn encoding(name: &str) -> Result<Vec<FieldDescription>> {
    Ok(cache::model_of(&WantedModel::named(name))?.model.describe())
}
