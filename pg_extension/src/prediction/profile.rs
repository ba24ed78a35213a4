//! Where the time of predictions goes.

use std::rc::Rc;
use std::time::Instant;

use pgrx::pg_sys;

use super::cache::Predictor;
use super::predicted_rows::PredictedRows;
use super::relation::{run, Input, Spent};
use super::stored::{self, WantedModel};
use crate::error::{Result, TrailsError};
use crate::interrupts::ClientWatch;

/// One phase of predicting, and the median of what it took.
pub struct MedianPhase {
    pub name: &'static str,
    pub rows: usize,
    pub seconds: f64,
}

/// Predicts for a relation `repeats` times and returns the median of every phase; the rows are thrown away. The model is
/// read from the registry every time, as a new session would.
pub fn profile(model: &str, source: pg_sys::Oid, repeats: i32) -> Result<Vec<MedianPhase>> {
    if repeats < 1 {
        return Err(TrailsError::argument(format!("repeats must be at least 1, not {repeats}")));
    }
    let found = stored::find(&WantedModel::named(model))?;
    let watch = ClientWatch::start();
    let mut loading = Vec::new();
    let mut spent = Vec::new();
    for _ in 0..repeats {
        let began = Instant::now();
        let of = Predictor { model: Rc::new(stored::read(&found)?), threshold: found.threshold };
        loading.push(began.elapsed().as_secs_f64());
        let input = Input::find(source, &of.model)?;
        let mut rows = PredictedRows::discarded(&of);
        spent.push(run(&of.model, &input, |outputs, table| rows.write(outputs, input.keys(table)))?);
    }
    watch.stop();
    let rows = spent[0].rows;
    let of = |phase: fn(&Spent) -> f64| median(spent.iter().map(phase).collect());
    let phases = [
        ("load", median(loading)),
        ("read", of(|spent| spent.read)),
        ("encode", of(|spent| spent.encode)),
        ("forward", of(|spent| spent.forward)),
        ("write", of(|spent| spent.write)),
    ];
    Ok(phases.into_iter().map(|(name, seconds)| MedianPhase { name, rows, seconds }).collect())
}

fn median(mut seconds: Vec<f64>) -> f64 {
    seconds.sort_by(f64::total_cmp);
    seconds[seconds.len() / 2]
}
