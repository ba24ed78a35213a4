//! Filtering alone: a table is read, architectures are ranked, and nothing is trained.

use pgrx::pg_sys;
use pyo3::types::PyAnyMethods;

use crate::error::Result;
use crate::interrupts::ClientWatch;
use crate::python;
use crate::rows::{self, Columns, Profiled, Ranked, Scoring, TrainingRows, Wanted};

/// Which rows are looked at.
#[derive(Debug, Clone)]
pub struct Table {
    pub source: pg_sys::Oid,
    pub target: Option<String>,
    pub features: Option<Vec<String>>,
}

/// Name, orientation, what it reads of a batch, whether it scores a whole space, what it measures, where it is from.
pub type Metric = (String, String, Vec<String>, bool, String, String);

/// The metrics that there are.
pub fn metrics() -> Result<Vec<Metric>> {
    python::call(|bridge| bridge.call_method0("tfmems")?.extract())
}

/// The best `k` of a space on a table.
pub fn rank(table: &Table, asked: &Scoring, k: i32, sampler: Option<&str>) -> Result<Vec<Ranked>> {
    on_rows(table, asked, Some(k), sampler, |rows| rows.rank(asked, k, sampler))
}

/// What scoring costs on a table, by metric.
pub fn profile(table: &Table, asked: &Scoring) -> Result<Vec<Profiled>> {
    on_rows(table, asked, None, None, |rows| rows.profile(asked))
}

fn on_rows<T>(
    table: &Table,
    asked: &Scoring,
    k: Option<i32>,
    sampler: Option<&str>,
    work: impl FnOnce(&TrainingRows) -> Result<T>,
) -> Result<T> {
    let wanted = Wanted::describe(table.source, table.target.as_deref(), table.features.as_deref(), None)?;
    asked.check(k, sampler, wanted.target.is_some())?;
    let watch = ClientWatch::start();
    let read = wanted.read()?;
    rows::warn_of_unusable(read.unusable);
    let answer = work(&TrainingRows::take(&wanted, Columns::Own(read), None, None, None)?)?;
    watch.stop();
    Ok(answer)
}
