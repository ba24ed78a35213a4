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

use trails_model::{FieldDescription, Model};

use crate::error::Result;
use registry::Wanted;

/// The model that `name` means, read or found in the session's memory.
fn model_of(wanted: &Wanted<'_>) -> Result<Rc<Model>> {
    let found = registry::find(wanted)?;
    cache::model(&found, || registry::read(&found))
}

/// What a model's encoder has learnt, field by field.
pub fn encoding(name: &str) -> Result<Vec<FieldDescription>> {
    Ok(model_of(&Wanted::named(name))?.describe())
}
