//! What a run is asked for: which rows, what is learnt of them, and how. Names and numbers are checked before anything is
//! started.

use pgrx::pg_sys;
use pgrx::prelude::*;
use pyo3::prelude::*;
use serde::{Deserialize, Serialize};

use crate::budget::{budget_to_try, work_seconds};
use crate::error::{Result, TrailsError};
use crate::limits::SMALLEST_BUDGET;
use crate::{models, python, settings};

/// Training options from their JSON text; what they mean is Python's to say.
pub fn parse_options(text: &str) -> Result<serde_json::Value> {
    serde_json::from_str(text).map_err(|error| {
        TrailsError::argument("options cannot be read")
            .detail(format!("{error}."))
            .hint("They are a JSON object of names and values, such as '{\"learning_rate\": 0.01}'.")
    })
}

/// What Python checks of a refinement.
#[derive(IntoPyObject)]
struct RefinementArguments<'a> {
    refinement: &'a str,
    k: Option<i32>,
    u: Option<i32>,
    options: Option<String>,
    device: String,
    task: Option<&'a str>,
    metric: Option<&'a str>,
}

/// Names of the columns that say something of the rows themselves.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct ByColumns {
    /// Says which rows are held out.
    pub split: Option<String>,
    /// Rows of the same value are held out together.
    pub group_by: Option<String>,
    /// The latest rows are held out.
    pub time_by: Option<String>,
    /// What a row counts for.
    pub weight: Option<String>,
}

impl ByColumns {
    /// Each of them once.
    pub fn names(&self) -> Vec<&str> {
        let mut names: Vec<&str> = Vec::new();
        for name in [&self.split, &self.group_by, &self.time_by, &self.weight].into_iter().flatten() {
            if !names.contains(&name.as_str()) {
                names.push(name);
            }
        }
        names
    }

    /// Refuses several that say which rows are held out.
    fn check(&self, validation: bool) -> Result<()> {
        let ways = [
            ("validation", validation),
            ("split", self.split.is_some()),
            ("group_by", self.group_by.is_some()),
            ("time_by", self.time_by.is_some()),
        ];
        let given: Vec<&str> = ways.into_iter().filter_map(|(name, given)| given.then_some(name)).collect();
        match given.as_slice() {
            [] | [_] => Ok(()),
            several => {
                let both = if several.len() == 2 { "both" } else { "all" };
                let message = format!("{} cannot {both} say which rows are held out", several.join(" and "));
                Err(TrailsError::argument(message).hint("Leave all but one of them out."))
            }
        }
    }
}

/// Which rows, and how candidates are trained on them.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RunRequest {
    pub source: pg_sys::Oid,
    pub target: String,
    pub features: Option<Vec<String>>,
    pub validation: Option<pg_sys::Oid>,
    /// Seconds of the whole statement; None for no limit.
    pub budget: Option<f64>,
    pub space: String,
    pub seed: i64,
    pub refinement: String,
    pub options: Option<serde_json::Value>,
    pub k: Option<i32>,
    pub u: Option<i32>,
    /// What is learnt of the target; None infers it.
    pub task: Option<String>,
    pub by: ByColumns,
    /// By which metric candidates are compared; None for that of the task.
    pub metric: Option<String>,
    /// The name under which the winner is kept.
    pub name: Option<String>,
}

impl RunRequest {
    /// Refuses a budget that holds nothing, or more than the server allows.
    pub fn check_budget(&self) -> Result<()> {
        settings::check_budget(self.budget)?;
        match self.budget {
            Some(budget) if budget < SMALLEST_BUDGET => Err(TrailsError::new(
                PgSqlErrorCode::ERRCODE_CONFIGURATION_LIMIT_EXCEEDED,
                format!("a budget of {budget} s is too small to train a model"),
            )
            .hint(format!(
                "Starting the refinement process alone takes seconds: begin with budget => '{} s'.",
                budget_to_try(budget, 0.0, self.work_expected()?)
            ))),
            _ => Ok(()),
        }
    }

    /// A guess at the seconds of reading, encoding and the least training.
    pub fn work_seconds(&self, rows: f64, cells: f64) -> f64 {
        work_seconds(rows, cells, self.k.is_some() || self.u.is_some())
    }

    /// The same by what the catalogue knows of the source, which may be nothing.
    fn work_expected(&self) -> Result<f64> {
        let found = Spi::get_two_with_args::<f64, f64>(
            "SELECT GREATEST(reltuples, 0)::pg_catalog.float8, relnatts::pg_catalog.float8 \
             FROM pg_catalog.pg_class WHERE oid OPERATOR(pg_catalog.=) $1",
            &[self.source.into()],
        );
        let (rows, columns) = match found {
            Err(pgrx::spi::Error::InvalidPosition) => return Ok(0.0), // there is no such relation
            found => found?,
        };
        let rows = rows.unwrap_or(0.0);
        Ok(self.work_seconds(rows, rows * columns.unwrap_or(0.0)))
    }

    /// Refuses a name that no model can have.
    pub fn check_name(&self) -> Result<()> {
        self.name.as_deref().map_or(Ok(()), models::check_name)
    }

    /// Refuses several answers to which rows are held out.
    pub fn check_held_out(&self) -> Result<()> {
        self.by.check(self.validation.is_some())
    }

    /// Refuses names and numbers that no refinement could use.
    pub fn check_refinement(&self) -> Result<()> {
        let arguments = RefinementArguments {
            refinement: &self.refinement,
            k: self.k,
            u: self.u,
            options: self.options_text(),
            device: settings::device(),
            task: self.task.as_deref(),
            metric: self.metric.as_deref(),
        };
        python::call(|bridge| bridge.call_method1("check_refinement", (arguments,)).map(|_| ()))
    }

    /// The architectures as the space writes them; one that is not in it is an error.
    pub fn check_architectures(&self, architectures: &[String]) -> Result<Vec<String>> {
        python::call(|bridge| {
            let arguments = (&self.space, architectures, python::check(bridge.py())?);
            bridge.call_method1("check_architectures", arguments)?.extract()
        })
    }

    /// The options as JSON text.
    pub fn options_text(&self) -> Option<String> {
        self.options.as_ref().map(ToString::to_string)
    }

    /// The options as the refinement process takes them.
    pub fn options(&self) -> serde_json::Value {
        match &self.options {
            Some(options) if options.is_object() => options.clone(),
            _ => serde_json::json!({}),
        }
    }
}
