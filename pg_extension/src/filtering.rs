//! Filtering alone: a table is read, architectures are ranked, and nothing is trained.

use pyo3::prelude::*;

use crate::clock::Clock;
use crate::error::{Result, TrailsError};
use crate::interrupts::ClientWatch;
use crate::rows::{
    self, ChosenColumns, FilteredRelation, FilteringRequest, Learning, MetricCost, RankedArchitecture, ReadColumns,
    TrainingRows,
};
use crate::run_request::ByColumns;
use crate::watching::{run as watched, Phase};
use crate::{pictures, python, settings};

/// What there is to know of a metric.
#[derive(FromPyObject)]
pub struct MetricFacts {
    pub tfmem: String,
    pub orientation: String,
    /// What it reads of a batch.
    pub needs: Vec<String>,
    /// Whether it scores a whole space at once.
    pub whole_space: bool,
    pub description: String,
    pub paper: String,
}

/// The metrics that there are.
pub fn metrics() -> Result<Vec<MetricFacts>> {
    python::call(|bridge| bridge.call_method0("tfmems")?.extract())
}

/// The best `k` of a space on a relation's rows, or on its pictures.
pub fn rank(
    relation: &FilteredRelation,
    asked: &FilteringRequest,
    budget: Option<f64>,
    clock: Clock,
) -> Result<Vec<RankedArchitecture>> {
    let _watched = watched::Watched::begin("filtering_phase", budget, None, &clock);
    if let Some(wanted) = asked.pictures_wanted()? {
        settings::check_budget(budget)?;
        return pictures::rank(relation, asked, wanted, budget, clock);
    }
    if budget.is_some() {
        return Err(TrailsError::argument(format!("space {} is scored without a budget", asked.space))
            .detail("A budget ends the scoring of networks for pictures, which takes a second or so each.")
            .hint("Say with n how many architectures are scored."));
    }
    on_rows(relation, asked, |rows| rows.rank(asked))
}

/// What scoring costs on a relation's rows, by metric.
pub fn costs(relation: &FilteredRelation, asked: &FilteringRequest) -> Result<Vec<MetricCost>> {
    on_rows(relation, asked, |rows| rows.costs(asked))
}

fn on_rows<T>(
    relation: &FilteredRelation,
    asked: &FilteringRequest,
    work: impl FnOnce(&TrainingRows) -> Result<T>,
) -> Result<T> {
    let FilteredRelation { source, target, features } = relation;
    let chosen = rows::checked(
        ChosenColumns::describe(*source, target.as_deref(), features.as_deref(), &ByColumns::default(), None),
        || asked.check(target.is_some()),
    )?;
    let watch = ClientWatch::start();
    watched::source(&chosen.source.name);
    watched::phase(Phase::Reading);
    let read = chosen.read(false)?;
    rows::warn_of_unusable(read.unusable);
    let rows = TrainingRows::take(&chosen, ReadColumns::Own(read), Learning::default())?;
    watched::phase(Phase::Filtering);
    let answer = work(&rows)?;
    drop(rows);
    watch.stop();
    Ok(answer)
}
