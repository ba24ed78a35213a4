//! What every run begins with: names and numbers are checked, the refinement process is started, rows are read and sent.
//!
//! The refinement process is started first, so that it loads torch on another core while this backend reads the table
//! and ranks architectures; the rows are in memory that both can see, and on their way, before filtering begins.

use pgrx::pg_sys;
use pgrx::prelude::*;
use pyo3::prelude::*;

use crate::clock::{Clock, Process};
use crate::error::{Result, TrailsError};
use crate::protocol::Phase;
use crate::reader::columns::Table;
use crate::reader::source::{Source, SourceColumn};
use crate::reader::Kind;
use crate::refinement::{budget_to_try, Refinement, Told};
use crate::rows::{self, ChosenColumns, ReadColumns, TrainingRows};
use crate::shared::Shared;
use crate::{models, progress, python, settings};

/// Seconds kept back from the refinement process for the catalogue and the result.
const RESERVE_SECONDS: f64 = 0.15;
/// Starting an interpreter and importing torch alone takes longer than this on any machine.
const SMALLEST_BUDGET: f64 = 2.0;
/// Reading and encoding take some 0.2 microseconds, texts several times that.
const SECONDS_A_CELL: f64 = 1e-6;
/// The least training of the widest network, which is trained whatever it costs where k or u is given.
const SECONDS_A_ROW: f64 = 30e-6;
/// A load beyond this says more of those who wait than of those who compute.
const MOST_BUSY: f64 = 8.0;

/// How much longer everything takes than on a machine that is idle, by its load.
fn busyness() -> f64 {
    let mut load = [0.0];
    // SAFETY: there is room for the one number that is asked for.
    let known = unsafe { libc::getloadavg(load.as_mut_ptr(), 1) } == 1;
    // SAFETY: sysconf reads a fact of the system.
    let processors = unsafe { libc::sysconf(libc::_SC_NPROCESSORS_ONLN) }.max(1) as f64;
    if known {
        (load[0] / processors).clamp(1.0, MOST_BUSY)
    } else {
        1.0
    }
}

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
}

/// Which rows, and how candidates are trained on them.
#[derive(Debug, Clone)]
pub struct Task {
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
    /// The column that says which rows are held out.
    pub split: Option<String>,
    /// The name under which the winner is kept.
    pub name: Option<String>,
}

impl Task {
    /// Refuses a budget that holds nothing.
    pub fn check_budget(&self) -> Result<()> {
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
        let free = self.k.is_none() && self.u.is_none();
        let alone = cells * SECONDS_A_CELL + if free { 0.0 } else { rows * SECONDS_A_ROW };
        alone * busyness()
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

    /// Refuses names and numbers that no refinement could use.
    pub fn check_refinement(&self) -> Result<()> {
        let arguments = RefinementArguments {
            refinement: &self.refinement,
            k: self.k,
            u: self.u,
            options: self.options_text(),
            device: settings::device(),
            task: self.task.as_deref(),
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

/// The relations of a task, looked up; nothing of them is read.
pub struct Relations {
    pub wanted: ChosenColumns,
    pub validation: Option<(Source, Vec<SourceColumn>)>,
}

impl Relations {
    pub fn describe(task: &Task) -> Result<Self> {
        if task.split.is_some() && task.validation.is_some() {
            return Err(TrailsError::argument("validation and split cannot both say which rows are held out")
                .hint("Leave one of them out."));
        }
        let wanted =
            ChosenColumns::describe(task.source, Some(&task.target), task.features.as_deref(), task.split.as_deref())?;
        let validation = match task.validation.map(Source::describe).transpose()? {
            Some(source) => {
                let columns = matching_columns(&source, &wanted.shared_columns())?;
                Some((source, columns))
            }
            None => None,
        };
        Ok(Self { wanted, validation })
    }
}

/// What is known of the rows of a run.
#[derive(Debug, Clone)]
pub struct Facts {
    pub source: String,
    pub validation: Option<String>,
    pub features: Vec<String>,
    /// Name and reason.
    pub left_out: Vec<(String, String)>,
    pub train_rows: i64,
    pub validation_rows: Option<i64>,
    pub unusable_rows: i64,
    pub reading_seconds: f64,
}

/// A run whose rows are on their way to the refinement process.
pub struct Begun {
    pub clock: Clock,
    pub rows: TrainingRows,
    pub facts: Facts,
    pub refinement: Refinement,
}

impl Begun {
    /// Starts the refinement process, which inherits `checkpoint` if there is one, reads the rows and sends them.
    pub fn new(task: &Task, relations: Relations, mut clock: Clock, checkpoint: Option<std::fs::File>) -> Result<Self> {
        let Relations { wanted, validation } = relations;
        let deadline = task.budget.map(|budget| (clock.began, budget));
        let mut refinement = Refinement::start(&settings::virtualenv()?, deadline, checkpoint)?;
        clock.phase("prepare", 0.0);

        let reading = clock.seconds();
        let (train_file, validation_file) = refinement.columns();
        let train = wanted.read()?;
        let columns = as_read(&wanted.columns(), &train);
        let (train_rows, mut unusable) = (train.rows as i64, train.unusable);
        let train = Shared::of(train, train_file.0, train_file.1, &wanted.source.name)?;
        let mut train_layout = train.layout.clone();
        let (mut validation_rows, mut validation_layout) = (None, None);
        if let Some((source, _)) = &validation {
            // A text that turned out to be id:value, or not, must be the same there.
            let columns = matching_columns(source, &columns)?;
            let held_out = rows::read(source, &columns, Some(&task.target), train.bytes())?;
            validation_rows = Some(held_out.rows as i64);
            unusable += held_out.unusable;
            let shared = Shared::of(held_out, validation_file.0, validation_file.1, &source.name)?;
            validation_layout = Some(shared.layout);
        }
        let reading_seconds = clock.seconds() - reading;
        progress::phase(&format!(
            "read {train_rows} training rows{} in {reading_seconds:.2} s",
            validation_rows.map_or(String::new(), |v| format!(" and {v} validation rows")),
        ));
        rows::warn_of_unusable(unusable);

        let seed = (validation.is_none() && task.split.is_none()).then_some(task.seed);
        let columns = ReadColumns::Shared(train);
        let rows = TrainingRows::take(&wanted, columns, task.task.as_deref(), task.options_text(), seed)?;
        for layout in [Some(&mut train_layout), validation_layout.as_mut()].into_iter().flatten() {
            layout.columns.retain(|c| !rows.left_out.iter().any(|(name, _)| *name == c.name));
        }
        let started = clock.monotonic_start();
        let deadline = task.budget.map(|budget| started + budget - RESERVE_SECONDS);
        refinement.send_rows(task, started, deadline, &train_layout, validation_layout.as_ref())?;
        clock.phase("read", reading);
        let facts = Facts {
            source: wanted.source.name,
            validation: validation.map(|(source, _)| source.name),
            features: rows.features.clone(),
            left_out: rows.left_out.clone(),
            train_rows,
            validation_rows,
            unusable_rows: unusable as i64,
            reading_seconds,
        };
        Ok(Self { clock, rows, facts, refinement })
    }
}

/// Adds what the refinement process did to the clock's phases.
pub fn add_phases(clock: &mut Clock, refinement: &Refinement, told: &Told) {
    if let Some(seconds) = told.start_seconds {
        let begin = refinement.spawned.duration_since(clock.began).as_secs_f64();
        clock.add(Process::Refinement, Phase { phase: "start".into(), begin, seconds });
    }
    for phase in told.timings.iter().filter(|p| p.phase != "start") {
        clock.add(Process::Refinement, phase.clone());
    }
}

/// The same columns of another relation, which must be read in the same way.
fn matching_columns(validation: &Source, wanted: &[SourceColumn]) -> Result<Vec<SourceColumn>> {
    wanted
        .iter()
        .map(|column| {
            let found = validation.readable(&column.name).map_err(|error| {
                error.detail("The validation table needs every feature and the target of the source.")
            })?;
            let alike = match column.kind {
                Some(kind) => found.in_family(kind.family()),
                None => matches!(found.kind, None | Some(Kind::Text)).then(|| found.clone()),
            };
            alike.ok_or_else(|| {
                TrailsError::new(
                    PgSqlErrorCode::ERRCODE_DATATYPE_MISMATCH,
                    format!(
                        "column \"{}\" has type {} in {}, and type {} in the source",
                        column.name, found.type_name, validation.name, column.type_name
                    ),
                )
                .hint(conversion(validation, column))
            })
        })
        .collect()
}

/// For hints: how the validation table's column becomes one like the source's.
fn conversion(validation: &Source, column: &SourceColumn) -> String {
    let family = column.kind.unwrap_or(Kind::Text).family();
    validation.find(&column.name).map(|found| found.conversion_to(family)).unwrap_or_default()
}

/// The columns as they turned out to be when they were read.
fn as_read(columns: &[SourceColumn], table: &Table) -> Vec<SourceColumn> {
    columns.iter().zip(&table.columns).map(|(column, read)| column.read_as(read.kind())).collect()
}
