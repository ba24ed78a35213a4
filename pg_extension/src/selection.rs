//! One run: candidates are found, named or taken over from an earlier run, trained within the budget, and recorded.

use pgrx::pg_sys;
use pgrx::prelude::*;

use crate::candidate::{add_unknown, named_candidates, scored_candidates};
use crate::clock::Clock;
use crate::deadline::Deadline;
use crate::error::{Result, TrailsError};
use crate::interrupts::ClientWatch;
use crate::limits::FILTERING_SHARE;
use crate::lock_wait::{LockWait, CATALOGUE};
use crate::outcome::{Finished, Outcome, ResumePoint, Scored};
use crate::protocol::RefineRequest;
use crate::record::{self, Recorded};
use crate::refinement::Refinement;
use crate::resume::{self, Resumed};
use crate::rows::FilteringRequest;
use crate::run::{add_phases, Begun, Relations};
use crate::run_request::RunRequest;
use crate::run_so_far::RunSoFar;
use crate::watching::stopping::heed;
use crate::watching::{run as watched, Phase};
use crate::{catalog, leaderboard, models, progress, rows};

/// Where the candidates come from.
pub enum Origin {
    /// Filtering ranks them.
    Filtering(FilteringRequest),
    /// The caller names them.
    Named(Vec<String>),
    /// They are an earlier run's best; `incumbent` is a model to compare the winner with.
    Retrained { architectures: Vec<String>, incumbent: Option<Vec<u8>> },
    /// An earlier run's checkpoint holds them.
    Checkpoint(Box<Resumed>),
}

/// What is around a run: a statement of its caller's, or a worker.
pub trait Surroundings {
    /// The run's number, drawn now unless it has one.
    fn number(&self) -> Result<i64> {
        catalog::draw_run()
    }

    /// The number, if the run had one before it began.
    fn known_number(&self) -> Option<i64> {
        None
    }

    /// The rows are read, and nothing of the database is looked at until the run is recorded.
    fn rows_read(&self) {}

    /// What came of it is about to be recorded.
    fn trained(&self) {}
}

/// A statement: its transaction is its caller's.
pub struct Statement;

impl Surroundings for Statement {}

/// Does what `function` was asked for and writes what it did to the catalogue.
pub fn run(function: &'static str, request: &RunRequest, origin: &Origin, clock: Clock) -> Result<Finished> {
    run_in(&Statement, function, request, origin, clock)
}

/// The same, wherever it runs.
pub fn run_in(
    around: &impl Surroundings,
    function: &'static str,
    request: &RunRequest,
    origin: &Origin,
    clock: Clock,
) -> Result<Finished> {
    request.check_budget()?;
    request.check_name()?;
    check_writable()?;
    catalog::keep_extension();
    let watch = ClientWatch::start();
    let _watched = watched::Watched::begin(function, request.budget, request.name.as_deref(), &clock);
    // From here on it can be stopped and cancelled by its number.
    if let Some(run) = around.known_number() {
        watched::drawn(run);
    }
    let mut outcome = train(around, function, request, origin, clock)?;
    around.trained();
    watched::phase(Phase::Writing);
    let Recorded { run, model } = record::record(request, &mut outcome);
    watch.stop();
    report(run, model.as_deref(), &outcome);
    Ok(Finished { run, model, outcome })
}

/// Goes on with the caller's run `earlier` for `budget` seconds.
pub fn resume(earlier: i64, budget: f64, clock: Clock) -> Result<Finished> {
    let wait = LockWait::of(clock.began, Some(budget));
    let (request, resumed) = wait.attempt(CATALOGUE, || resume::read(earlier, budget))?;
    run("resume", &request, &Origin::Checkpoint(Box::new(resumed)), clock).map_err(|error| resume::gone(earlier, error))
}

/// What a run did is recorded, which is better refused before it is done.
pub fn check_writable() -> Result<()> {
    // SAFETY: a variable of the transaction under way, read on the backend's one thread.
    if unsafe { pg_sys::XactReadOnly } {
        // SAFETY: it reads shared memory.
        let (place, hint) = match unsafe { pg_sys::RecoveryInProgress() } {
            true => ("on a standby", "Connect to the primary server; this one gets the models that are trained there."),
            false => (
                "in a read-only transaction",
                "Begin one that may write; trails.filtering_phase and trails.predict need none.",
            ),
        };
        let message = format!("a run cannot be recorded {place}");
        return Err(TrailsError::new(PgSqlErrorCode::ERRCODE_READ_ONLY_SQL_TRANSACTION, message).hint(hint));
    }
    catalog::check_rights()
}

/// The relations of a request, looked up, and its names and numbers checked: a mistake in them must not cost a process.
pub fn describe(request: &RunRequest, origin: &Origin) -> Result<Relations> {
    let mut found = rows::checked(Relations::describe(request), || check(request, origin))?;
    if let Origin::Retrained { incumbent: Some(weights), .. } = origin {
        // One that cannot be read cannot be compared with, which is told where that is tried.
        if let Ok(known) = models::forms(weights) {
            found.wanted.keep_forms(&known);
        }
    }
    Ok(found)
}

/// Refuses names and numbers that no run could use, before anything is read or started.
fn check(request: &RunRequest, origin: &Origin) -> Result<()> {
    match origin {
        Origin::Filtering(scoring) => request.check_refinement().and_then(|()| scoring.check(true)),
        Origin::Named(architectures) | Origin::Retrained { architectures, .. } => {
            request.check_refinement().and_then(|()| request.check_architectures(architectures).map(|_| ()))
        }
        Origin::Checkpoint(_) => request.check_refinement(),
    }
}

fn train(
    around: &impl Surroundings,
    function: &'static str,
    request: &RunRequest,
    origin: &Origin,
    clock: Clock,
) -> Result<Outcome> {
    // Until the rows are read; the refinement process has a deadline of its own.
    let deadline = Deadline::of(request.budget, clock.began);
    let relations = heed(|| describe(request, origin))?;
    watched::source(&relations.wanted.source.name);
    let run = LockWait::of(clock.began, request.budget).attempt(CATALOGUE, || around.number())?;
    watched::drawn(run);
    let resumed = match origin {
        Origin::Checkpoint(resumed) => Some(resumed.as_ref()),
        _ => None,
    };
    let file = resumed.map(Resumed::file).transpose()?;
    let Begun { mut clock, rows, facts, mut refinement } = heed(|| Begun::new(request, relations, clock, file))?;
    drop(deadline);
    around.rows_read();

    let (mut candidates, scored) = match origin {
        Origin::Filtering(scoring) => {
            let begin = clock.seconds();
            let share = request.budget.map(|budget| budget * FILTERING_SHARE);
            watched::phase(Phase::Filtering);
            let found = heed(|| rows.shortlist(scoring, share))?;
            watched::scored(found.scored);
            clock.phase("filter", begin);
            let scored = Scored {
                tfmem: Some(scoring.tfmem.clone()),
                n: Some(found.scored),
                scored: Some(found.scored),
                failed: Some(found.failed),
                seconds: Some(found.seconds),
                asked_n: scoring.n,
                batch_size: Some(scoring.batch_size),
                architectures: None,
            };
            (scored_candidates(found.candidates), scored)
        }
        Origin::Named(architectures) | Origin::Retrained { architectures, .. } => {
            let named = request.check_architectures(architectures)?;
            (named_candidates(named.clone()), Scored { architectures: Some(named), ..Scored::default() })
        }
        Origin::Checkpoint(resumed) => {
            (resumed.candidates.clone(), Scored { tfmem: resumed.tfmem.clone(), n: resumed.n, ..Scored::default() })
        }
    };
    let incumbent = match origin {
        Origin::Retrained { incumbent: Some(weights), .. } => {
            compared(rows.metric_of(weights, request.metric.as_deref()))
        }
        _ => None,
    };
    // Refinement has the rows in memory of its own.
    drop(rows);
    watched::candidates(candidates.len(), request.k, request.u);
    watched::phase(Phase::Starting);

    let begin = clock.seconds();
    let mut told = RunSoFar::default();
    let offered: Vec<(&str, Option<f64>)> = match resumed {
        Some(_) => Vec::new(),
        None => candidates.iter().map(|c| (c.architecture.as_str(), c.score)).collect(),
    };
    let fault = refinement.refine(
        RefineRequest {
            space: &request.space,
            refinement: &request.refinement,
            k: request.k,
            u: request.u,
            options: &request.options(),
            score_seconds: scored.seconds.unwrap_or(0.0) / scored.scored.unwrap_or(0).max(1) as f64,
            scored: scored.scored.unwrap_or(0),
            candidates: &offered,
            resume: refinement.resume()?,
        },
        &mut told,
    )?;
    let refinement_seconds = clock.phase("refine", begin);
    add_phases(&mut clock, &refinement, &told);

    let resume_point = if told.complete { None } else { resume_point_of(&refinement, &told, resumed) };
    if let Some(resumed) = resumed {
        told.trials = leaderboard::join_curves(&resumed.trials, std::mem::take(&mut told.trials));
    }
    if fault.is_some() || resumed.is_some() {
        let rows = std::mem::take(&mut told.leaderboard);
        told.leaderboard = leaderboard::complete(rows, &told.trials, &candidates, told.less_is_better());
    }
    if resumed.is_some() {
        add_unknown(&mut candidates, &told.leaderboard);
    }
    let fault = fault.map(warn_of);
    let model = match &request.name {
        Some(_) => kept(refinement.model(&told)),
        None => None,
    };
    let total_seconds = clock.seconds();
    let continues = resumed.map(|r| r.run);
    Ok(Outcome {
        run,
        function,
        continues,
        clock,
        facts,
        scored,
        candidates,
        told,
        refinement_seconds,
        total_seconds,
        fault,
        resume_point,
        model,
        incumbent,
    })
}

/// What is left of a run that was cut.
fn resume_point_of(refinement: &Refinement, told: &RunSoFar, resumed: Option<&Resumed>) -> Option<ResumePoint> {
    match refinement.checkpoint(told) {
        Some((rung, weights)) => Some(ResumePoint::New { rung, weights }),
        // Nothing new, so that there is still what this run began with.
        None if told.checkpoint.is_none() && resumed.is_some() && refinement.keeps_resumed() => {
            Some(ResumePoint::Continued)
        }
        None => None,
    }
}

/// Tells the client what cut the run, and returns it for the catalogue.
fn warn_of(fault: TrailsError) -> String {
    let message = fault.message.clone();
    TrailsError::warning(format!("{message}; the result is the best of what had finished")).because_of(fault).warn();
    message
}

/// A run whose model is lost has its leaderboard still.
fn kept(model: Result<Vec<u8>>) -> Option<Vec<u8>> {
    model
        .map_err(|fault| {
            TrailsError::warning(format!("the model cannot be kept: {}", fault.message)).because_of(fault).warn();
        })
        .ok()
}

/// A model that cannot be compared with is none that may be replaced unseen.
fn compared(metric: Result<Option<f64>>) -> Option<f64> {
    metric
        .map_err(|fault| {
            TrailsError::warning(format!("the deployed model cannot be compared with: {}", fault.message))
                .because_of(fault)
                .warn();
        })
        .ok()
        .flatten()
}

fn report(run: Option<i64>, model: Option<&str>, outcome: &Outcome) {
    let Some(best) = outcome.told.leaderboard.first() else { return };
    progress::phase(&format!(
        "{}{} reaches {} after {} epochs; {:.1} s in all{}{}",
        run.map_or(String::new(), |run| format!("run {run}: ")),
        best.architecture,
        progress::metric(outcome.told.metric(), best.validation_metric),
        best.epochs,
        outcome.total_seconds,
        model.map_or(String::new(), |model| format!("; kept as {model}")),
        match (outcome.told.complete, run.filter(|_| outcome.resume_point.is_some())) {
            (true, _) => "".to_owned(),
            (false, Some(run)) => format!(" (cut: the best so far; trails.resume({run}) goes on)"),
            (false, None) => " (cut: the best so far)".to_owned(),
        },
    ));
}
