//! One whole selection: read, filter, refine, within the budget.
//!
//! The refinement process is started first, so that it loads torch on another core while this backend reads the table
//! and ranks architectures; the rows are in memory that both can see before filtering begins.

use std::time::{Duration, Instant};

use pgrx::pg_sys;
use pgrx::prelude::*;

use crate::child::{self, Child, Said};
use crate::error::{code_of, Result, TrailsError};
use crate::interrupts::ClientWatch;
use crate::protocol::{Epoch, Event, Plan, Refine, Trained};
use crate::reader::columns;
use crate::reader::source::{Source, SourceColumn};
use crate::reader::Cell;
use crate::rows::{self, Scoring, TrainingRows, Wanted};
use crate::{catalog, progress, settings};

/// Seconds kept back from the refinement process for the catalogue and the result.
const RESERVE_SECONDS: f64 = 0.15;
/// Starting an interpreter and importing torch alone takes longer than this on any machine.
const SMALLEST_BUDGET: f64 = 2.0;
/// Share of the budget that scoring may take where `n` is not given and the metric cannot score the whole space.
const FILTERING_SHARE: f64 = 0.1;
/// How long a child may be silent before its deadline is checked again.
const HEARTBEAT: Duration = Duration::from_millis(250);

/// What the caller asked for.
#[derive(Debug, Clone)]
pub struct Asked {
    pub source: pg_sys::Oid,
    pub target: String,
    /// Seconds.
    pub budget: f64,
    pub features: Option<Vec<String>>,
    pub validation: Option<pg_sys::Oid>,
    pub scoring: Scoring,
    pub k: Option<i32>,
    pub u: Option<i32>,
}

/// Where the time went, in seconds.
#[derive(Debug, Clone, Default)]
pub struct Seconds {
    pub reading: f64,
    pub filtering: f64,
    /// Until the refinement process was ready; it runs beside reading and filtering.
    pub start: Option<f64>,
    pub refinement: f64,
    pub total: f64,
}

/// What came of it.
#[derive(Debug)]
pub struct Outcome {
    pub source: String,
    pub validation: Option<String>,
    pub features: Vec<String>,
    pub left_out: Vec<(String, String)>,
    pub device: Option<String>,
    pub train_rows: i64,
    pub validation_rows: Option<i64>,
    pub unusable_rows: i64,
    pub scored: i64,
    pub failed_scores: i64,
    pub plan: Plan,
    pub candidates: Vec<(String, f64)>,
    pub leaderboard: Vec<Trained>,
    pub trials: Vec<Epoch>,
    pub complete: bool,
    pub seconds: Seconds,
}

/// Runs the selection, writes it to the catalogue, and returns the leaderboard.
pub fn run(asked: &Asked) -> Result<Vec<Trained>> {
    let began = Instant::now();
    check_arguments(asked)?;
    let watch = ClientWatch::start();
    let mut outcome = select(asked, began)?;
    outcome.seconds.total = began.elapsed().as_secs_f64();
    let run = catalog::write(asked, &outcome)?;
    watch.stop();
    report(run, &outcome);
    Ok(outcome.leaderboard)
}

fn check_arguments(asked: &Asked) -> Result<()> {
    if asked.budget < SMALLEST_BUDGET {
        return Err(TrailsError::new(
            PgSqlErrorCode::ERRCODE_CONFIGURATION_LIMIT_EXCEEDED,
            format!("a budget of {} s is too small to train a model", asked.budget),
        )
        .hint("Starting the refinement process alone takes seconds: begin with budget => '10 s'."));
    }
    for (name, value) in [("k", asked.k), ("u", asked.u)] {
        if value.is_some_and(|v| v < 1) {
            return Err(TrailsError::argument(format!("{name} must be at least 1, not {}", value.unwrap_or(0))));
        }
    }
    Ok(())
}

fn select(asked: &Asked, began: Instant) -> Result<Outcome> {
    // Names and types first: a mistake in them must not cost a process.
    let wanted = Wanted::describe(asked.source, Some(&asked.target), asked.features.as_deref())?;
    let validation = asked.validation.map(Source::describe).transpose()?;
    let validation_columns = validation.as_ref().map(|v| matching_columns(v, &wanted.columns())).transpose()?;
    let virtualenv = settings::virtualenv()?;
    asked.scoring.check(asked.k, None, true)?;

    let files = (child::memory_file("trails-train")?, child::memory_file("trails-validation")?);
    let mut refinement = Child::start(&virtualenv, settings::refinement_threads(), &[&files.0, &files.1])?;

    let reading = Instant::now();
    let train = wanted.read()?;
    let held_out = match (&validation, &validation_columns) {
        (Some(from), Some(columns)) => Some(rows::read(from, columns, Some(&asked.target))?),
        _ => None,
    };
    let unusable = train.unusable + held_out.as_ref().map_or(0, |t| t.unusable);
    let mut train_layout = columns::write_to(&train, &files.0, descriptor(&files.0))?;
    let mut validation_layout =
        held_out.as_ref().map(|t| columns::write_to(t, &files.1, descriptor(&files.1))).transpose()?;
    let (train_rows, validation_rows) = (train.rows as i64, held_out.as_ref().map(|t| t.rows as i64));
    drop(held_out);
    let reading_seconds = reading.elapsed().as_secs_f64();
    progress::phase(&format!(
        "read {train_rows} training rows{} in {reading_seconds:.2} s",
        validation_rows.map_or(String::new(), |v| format!(" and {v} validation rows")),
    ));
    rows::warn_of_unusable(unusable);

    let rows = TrainingRows::take(&wanted, train)?;
    for layout in [Some(&mut train_layout), validation_layout.as_mut()].into_iter().flatten() {
        layout.columns.retain(|c| !rows.left_out.iter().any(|(name, _)| *name == c.name));
    }
    let filtered = rows.shortlist(&asked.scoring, asked.k, asked.budget * FILTERING_SHARE)?;
    // Refinement has the rows in memory of its own.
    let (features, left_out) = rows.into_names();

    let mut outcome = Outcome {
        source: wanted.source.name,
        validation: validation.map(|v| v.name),
        features,
        left_out,
        device: None,
        train_rows,
        validation_rows,
        unusable_rows: unusable as i64,
        scored: filtered.scored,
        failed_scores: filtered.failed,
        plan: Plan { n: filtered.scored, k: 0, u: 0, refinement_seconds: 0.0, epoch_seconds: 0.0 },
        candidates: filtered.candidates,
        leaderboard: Vec::new(),
        trials: Vec::new(),
        complete: false,
        seconds: Seconds { reading: reading_seconds, filtering: filtered.seconds, ..Seconds::default() },
    };
    let refining = Instant::now();
    refine(asked, began, &mut refinement, &train_layout, validation_layout.as_ref(), &mut outcome)?;
    outcome.seconds.refinement = refining.elapsed().as_secs_f64();
    Ok(outcome)
}

fn descriptor(file: &std::fs::File) -> i32 {
    use std::os::fd::AsRawFd;
    file.as_raw_fd()
}

/// The same columns of another relation, which must be read in the same way.
fn matching_columns(validation: &Source, wanted: &[SourceColumn]) -> Result<Vec<SourceColumn>> {
    wanted
        .iter()
        .map(|column| {
            let found = validation.readable(&column.name).map_err(|error| {
                error.detail("The validation table needs every feature and the target of the source.")
            })?;
            if (found.cell == Cell::IdValueText) != (column.cell == Cell::IdValueText) {
                return Err(TrailsError::new(
                    PgSqlErrorCode::ERRCODE_DATATYPE_MISMATCH,
                    format!(
                        "column \"{}\" has type {} in {}, and type {} in the source",
                        column.name, found.type_name, validation.name, column.type_name
                    ),
                ));
            }
            Ok(found)
        })
        .collect()
}

/// CLOCK_MONOTONIC now, in seconds: the clock that Python calls `time.monotonic`.
fn monotonic() -> f64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut now) };
    now.tv_sec as f64 + now.tv_nsec as f64 * 1e-9
}

/// Hands the columns and the candidates over, and listens until the result or the end of the budget.
fn refine(
    asked: &Asked,
    began: Instant,
    refinement: &mut Child,
    train: &columns::TableLayout,
    validation: Option<&columns::TableLayout>,
    outcome: &mut Outcome,
) -> Result<()> {
    let started = monotonic() - began.elapsed().as_secs_f64();
    // A child that does not answer in time is not waited for: the budget is kept without it.
    let patience = began + Duration::from_secs_f64(asked.budget * 1.03 + 0.2);
    let device = settings::device();
    refinement.send(&Refine {
        request: "refine",
        target: &asked.target,
        seed: asked.scoring.seed,
        space: &asked.scoring.space,
        k: asked.k,
        u: asked.u,
        budget: asked.budget,
        started,
        deadline: started + asked.budget - RESERVE_SECONDS,
        score_seconds: outcome.seconds.filtering / outcome.scored.max(1) as f64,
        scored: outcome.scored,
        device: &device,
        threads: settings::refinement_threads(),
        candidates: &outcome.candidates,
        train,
        validation,
    })?;
    let mut best: Option<f64> = None;
    loop {
        match refinement.next(HEARTBEAT)? {
            Said::Event(event) => match event {
                Event::Ready { seconds, device } => {
                    progress::phase(&format!("refinement process ready on {device} after {seconds:.1} s"));
                    outcome.seconds.start = Some(seconds);
                    outcome.device = Some(device);
                }
                Event::Plan(plan) => {
                    progress::phase(&format!(
                        "plan: n = {}, k = {}, u = {}; refinement takes {:.1} s at {:.2} s an epoch",
                        plan.n, plan.k, plan.u, plan.refinement_seconds, plan.epoch_seconds
                    ));
                    outcome.plan = plan;
                }
                Event::Epoch(epoch) => {
                    best = best.into_iter().chain(epoch.validation_auc).reduce(f64::max);
                    outcome.trials.push(epoch);
                }
                Event::Progress { done, total } => progress::epochs(done, total, best),
                Event::Rung { rung, candidates, survivors } => progress::phase(&format!(
                    "rung {rung}: {candidates} candidates trained, {} go on{}",
                    survivors.len(),
                    best.map_or(String::new(), |auc| format!(", best validation AUC {auc:.4}")),
                )),
                Event::Result { leaderboard, complete } => {
                    refinement.end();
                    outcome.leaderboard = leaderboard;
                    outcome.complete = complete;
                    return Ok(());
                }
                Event::Error(failure) => {
                    let mut error =
                        TrailsError::new(code_of(failure.sqlstate.as_deref().unwrap_or("XX000")), failure.message);
                    error.detail = failure.detail;
                    error.hint = failure.hint;
                    return Err(error);
                }
            },
            Said::Gone => return best_so_far(refinement.death(), outcome),
            Said::Nothing => {}
        }
        if Instant::now() > patience {
            let error = TrailsError::new(
                PgSqlErrorCode::ERRCODE_CONFIGURATION_LIMIT_EXCEEDED,
                format!("no model was trained within the budget of {} s", asked.budget),
            )
            .hint(format!("Try budget => '{} s'.", (asked.budget * 2.0).ceil().max(20.0)));
            refinement.end();
            return best_so_far(error, outcome);
        }
    }
}

/// After a fault: the leaderboard of what finished, with the fault as a warning; the fault itself if nothing did.
fn best_so_far(fault: TrailsError, outcome: &mut Outcome) -> Result<()> {
    if outcome.trials.is_empty() {
        return Err(fault);
    }
    outcome.leaderboard = leaderboard_of(&outcome.trials, &outcome.candidates);
    outcome.complete = false;
    let mut warning = fault;
    warning.code = PgSqlErrorCode::ERRCODE_WARNING;
    warning.message = format!("{}; the result is the best of what had finished", warning.message);
    warning.warn();
    Ok(())
}

/// Best epoch of every candidate, best candidate first.
fn leaderboard_of(trials: &[Epoch], candidates: &[(String, f64)]) -> Vec<Trained> {
    let mut rows: Vec<Trained> = Vec::new();
    for trial in trials {
        let auc = trial.validation_auc.unwrap_or(f64::NAN);
        match rows.iter_mut().find(|r| r.architecture == trial.architecture) {
            Some(row) => {
                row.validation_auc = row.validation_auc.max(auc);
                row.epochs = row.epochs.max(trial.epoch);
                row.seconds += trial.seconds;
            }
            None => rows.push(Trained {
                architecture: trial.architecture.clone(),
                score: candidates.iter().find(|(a, _)| *a == trial.architecture).map_or(f64::NAN, |(_, s)| *s),
                validation_auc: auc,
                epochs: trial.epoch,
                parameters: None,
                seconds: trial.seconds,
            }),
        }
    }
    rows.sort_by(|a, b| b.validation_auc.total_cmp(&a.validation_auc));
    rows
}

fn report(run: i64, outcome: &Outcome) {
    let Some(best) = outcome.leaderboard.first() else { return };
    progress::phase(&format!(
        "run {run}: {} reaches validation AUC {:.4} after {} epochs; {:.1} s in all{}",
        best.architecture,
        best.validation_auc,
        best.epochs,
        outcome.seconds.total,
        if outcome.complete { "" } else { " (cut: the best so far)" },
    ));
}
