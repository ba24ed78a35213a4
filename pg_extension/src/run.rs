//! What every run begins with: names and numbers are checked, the refinement process is started, rows are read and sent.
//!
//! The refinement process is started first, so that it loads torch on another core while this backend reads the table
//! and ranks architectures; the rows are in memory that both can see, and on their way, before filtering begins.

use pgrx::prelude::*;

use crate::clock::{Clock, Process};
use crate::error::{Result, TrailsError};
use crate::protocol::Phase;
use crate::reader::columns::Table;
use crate::reader::source::{Source, SourceColumn};
use crate::reader::Kind;
use crate::refinement::Refinement;
use crate::rows::{self, ChosenColumns, Learning, ReadColumns, TrainingRows};
use crate::run_request::RunRequest;
use crate::run_so_far::RunSoFar;
use crate::shared::Shared;
use crate::{budget, progress, settings, watching};

/// The relations of a request, looked up; nothing of them is read.
pub struct Relations {
    pub wanted: ChosenColumns,
    pub validation: Option<(Source, Vec<SourceColumn>)>,
}

impl Relations {
    pub fn describe(request: &RunRequest) -> Result<Self> {
        request.check_held_out()?;
        let wanted = ChosenColumns::describe(
            request.source,
            Some(&request.target),
            request.features.as_deref(),
            &request.by,
            request.options.as_ref(),
        )?;
        let validation = match request.validation.map(Source::describe).transpose()? {
            Some(source) => {
                let columns = matching_columns(&source, &wanted.columns())?;
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
    pub fn new(
        request: &RunRequest,
        relations: Relations,
        mut clock: Clock,
        checkpoint: Option<std::fs::File>,
    ) -> Result<Self> {
        let Relations { wanted, validation } = relations;
        let deadline = request.budget.map(|budget| (clock.began, budget));
        settings::less_for_refinement().iter().for_each(|less| progress::phase(less));
        let mut refinement = Refinement::start(&settings::virtualenv()?, deadline, checkpoint)?;
        clock.phase("prepare", 0.0);

        watching::run::phase(watching::Phase::Reading);
        let reading = clock.seconds();
        let (train_file, validation_file) = refinement.columns();
        let train = wanted.read(true)?;
        let columns = as_read(&wanted.columns(), &train);
        let (train_rows, mut unusable) = (train.rows as i64, train.unusable);
        let train = Shared::of(train, train_file.0, train_file.1, &wanted.source.name)?;
        let mut train_layout = train.layout.clone();
        let (mut validation_rows, mut validation_layout) = (None, None);
        if let Some((source, _)) = &validation {
            // A text that turned out to be id:value, or not, must be the same there.
            let columns = matching_columns(source, &columns)?;
            let held_out = rows::read(source, &columns, Some(&request.target), train.bytes())?;
            rows::warn_of_unread(&source.name, &held_out);
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

        let seed = (validation.is_none() && request.by.split.is_none()).then_some(request.seed);
        let columns = ReadColumns::Shared(train);
        let rows = TrainingRows::take(
            &wanted,
            columns,
            Learning {
                task: request.task.as_deref(),
                metric: request.metric.as_deref(),
                options: request.options_text(),
                seed,
            },
        )?;
        for layout in [Some(&mut train_layout), validation_layout.as_mut()].into_iter().flatten() {
            // What says something of the rows is needed there, whether or not it can be learnt from.
            layout.columns.retain(|c| {
                request.by.names().contains(&c.name.as_str()) || !rows.left_out.iter().any(|(name, _)| *name == c.name)
            });
        }
        let started = clock.monotonic_start();
        let deadline = request.budget.map(|budget| budget::deadline(started, budget));
        let aside: Vec<&str> =
            request.by.names().into_iter().filter(|name| !rows.features.iter().any(|f| f == name)).collect();
        refinement.send_rows(request, &aside, started, deadline, &train_layout, validation_layout.as_ref())?;
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
pub fn add_phases(clock: &mut Clock, refinement: &Refinement, told: &RunSoFar) {
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
                Some(kind) => found.in_family(kind.family(), column.reading),
                None => may_be_of_texts(found.kind).then(|| found.clone()),
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

/// Whether a column may match one of texts, of which it is not known yet how they are read.
fn may_be_of_texts(kind: Option<Kind>) -> bool {
    !matches!(kind, Some(Kind::Boolean | Kind::Interval | Kind::IdValue | Kind::Key))
}

/// For hints: how the validation table's column becomes one like the source's.
fn conversion(validation: &Source, column: &SourceColumn) -> String {
    let family = column.kind.unwrap_or(Kind::Text).family();
    validation.find(&column.name).map(|found| found.conversion_to(family)).unwrap_or_default()
}

/// The columns as they turned out to be when they were read.
fn as_read(columns: &[SourceColumn], table: &Table) -> Vec<SourceColumn> {
    columns.iter().zip(&table.columns).map(|(column, read)| column.read_like(read)).collect()
}
