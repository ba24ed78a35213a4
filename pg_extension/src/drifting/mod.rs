//! How far rows are from those that a model was trained on: read and encoded as for prediction, in this process, as the
//! caller, without an interpreter. What is counted and compared is the matter of `trails_model`.

use pgrx::pg_sys;
use pgrx::prelude::*;
use trails_model::{Drift, Drifted};

use crate::error::{Result, TrailsError};
use crate::interrupts::ClientWatch;
use crate::prediction::cache::model_of;
use crate::prediction::fault::error_of;
use crate::prediction::relation::{encode, Input};
use crate::prediction::stored::WantedModel;
use crate::reader::source::Source;

/// Every column of the model, those farthest off first.
pub fn drift(model: Option<&str>, source: pg_sys::Oid, threshold: f64) -> Result<Vec<Drifted>> {
    if !(threshold > 0.0 && threshold.is_finite()) {
        return Err(TrailsError::argument(format!("threshold must be above 0, not {threshold}"))
            .hint("0.1 is where a change is worth a look, 0.25 where it is a large one."));
    }
    let of = model_of(&WantedModel { model, source: Some(source), target: None })?;
    let described = Source::describe(source)?;
    let Some(mut counted) = Drift::of(&of.model).map_err(error_of)? else {
        let message = "the model does not hold how its training rows were spread";
        return Err(TrailsError::new(PgSqlErrorCode::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE, message)
            .detail("It was trained by a release that did not keep that.")
            .hint("Train it again, for instance with trails.retrain."));
    };
    let input = Input::with(&described, &of.model, Vec::new(), None)?;
    let watch = ClientWatch::start();
    encode(&of.model, &input, |encoded, _| {
        counted.add(encoded);
        Ok(())
    })?;
    watch.stop();
    if counted.rows == 0 {
        return Err(TrailsError::data(format!("{} has no row that you can see", described.name))
            .hint("Give rows to compare with those of training."));
    }
    let mut found = counted.columns();
    found.sort_by(|a, b| b.value.total_cmp(&a.value));
    Ok(found)
}
