//! Where the time of predictions goes.

use std::time::Instant;

use pgrx::pg_sys;

use super::predicted_rows::PredictedRows;
use super::relation::{run, Input, Spent};
use super::stored::{self, WantedModel};
use crate::error::{Result, TrailsError};
use crate::interrupts::ClientWatch;

/// One phase: its name, rows, seconds.
pub type Phase = (&'static str, usize, f64);

/// Predicts for a relation `repeats` times and returns the median of every phase; the rows are thrown away. The model is
/// read from the registry every time, as a new session would.
pub fn profile(model: &str, source: pg_sys::Oid, repeats: i32) -> Result<Vec<Phase>> {
    if repeats < 1 {
        return Err(TrailsError::argument(format!("repeats must be at least 1, not {repeats}")));
    }
    let found = stored::find(&WantedModel::named(model))?;
    let watch = ClientWatch::start();
    let mut loading = Vec::new();
    let mut spent = Vec::new();
    for _ in 0..repeats {
        let began = Instant::now();
        let model = stored::read(&found)?;
        loading.push(began.elapsed().as_secs_f64());
        let input = Input::find(source, &model)?;
        let mut rows = PredictedRows::discarded(&model);
        spent.push(run(&model, &input, &mut rows)?);
    }
    watch.stop();
    let rows = spent[0].rows;
    let of = |phase: fn(&Spent) -> f64| median(spent.iter().map(phase).collect());
    Ok(vec![
        ("load", rows, median(loading)),
        ("read", rows, of(|spent| spent.read)),
        ("encode", rows, of(|spent| spent.encode)),
        ("forward", rows, of(|spent| spent.forward)),
        ("write", rows, of(|spent| spent.write)),
    ])
}

fn median(mut seconds: Vec<f64>) -> f64 {
    seconds.sort_by(f64::total_cmp);
    seconds[seconds.len() / 2]
}
