//! One run: candidates are found, named or taken over from an earlier run, trained within the budget, and recorded.

use pgrx::pg_sys;
use pgrx::prelude::*;

use crate::clock::Clock;
use crate::deadline::Deadline;
use crate::error::{Result, TrailsError};
use crate::interrupts::ClientWatch;
use crate::limits::FILTERING_SHARE;
use crate::protocol::{LeaderboardRow, RefineRequest};
use crate::record::{self, Recorded};
use crate::refinement::Refinement;
use crate::resume::Resumed;
use crate::rows::Scoring;
use crate::run::{add_phases, Begun, Facts, Relations};
use crate::run_request::RunRequest;
use crate::run_so_far::RunSoFar;
use crate::{catalog, leaderboard, progress};

/// Where the candidates come from.
pub enum Origin {
    /// Filtering ranks them.
    Filtering(Scoring),
    /// The caller names them.
    Named(Vec<String>),
    /// An earlier run's checkpoint holds them.
    Checkpoint(Box<Resumed>),
}

/// An architecture that refinement may train.
#[derive(Debug, Clone, PartialEq)]
pub struct Candidate {
    pub architecture: String,
    /// None where nothing was scored.
    pub score: Option<f64>,
    /// By score, or in the caller's order; 1 is first. None where only a checkpoint knew of it.
    pub place: Option<i32>,
    pub parameters: Option<i64>,
}

/// What was scored; all None where nothing was.
#[derive(Debug, Clone, Default)]
pub struct Scored {
    pub tfmem: Option<String>,
    /// Architectures that the candidates were chosen from.
    pub n: Option<i64>,
    pub scored: Option<i64>,
    pub failed: Option<i64>,
    pub seconds: Option<f64>,
}

/// What came of a run.
pub struct Outcome {
    pub function: &'static str,
    pub continues: Option<i64>,
    pub clock: Clock,
    pub facts: Facts,
    pub scored: Scored,
    pub candidates: Vec<Candidate>,
    pub told: RunSoFar,
    pub refinement_seconds: f64,
    pub total_seconds: f64,
    /// What cut the run, if it was not its deadline.
    pub fault: Option<String>,
    pub checkpoint: Option<Checkpoint>,
    /// The winner, where the caller gave it a name.
    pub model: Option<Vec<u8>>,
}

/// What the run can be resumed from.
pub enum Checkpoint {
    New {
        rung: i32,
        weights: Vec<u8>,
    },
    /// Nothing came after the checkpoint of the run that was continued.
    Continued,
}

/// What a caller is shown of a run.
pub struct Finished {
    /// None if it could not be recorded.
    pub run: Option<i64>,
    /// Name and version of the model that was kept.
    pub model: Option<String>,
    pub outcome: Outcome,
}

impl Finished {
    pub fn leaderboard(self) -> Vec<LeaderboardRow> {
        self.outcome.told.leaderboard
    }
}

/// Runs `function`'s task and writes what it did to the catalogue.
pub fn run(function: &'static str, task: &RunRequest, origin: &Origin, clock: Clock) -> Result<Finished> {
    task.check_budget()?;
    task.check_name()?;
    check_writable()?;
    catalog::keep_extension();
    let watch = ClientWatch::start();
    let mut outcome = train(function, task, origin, clock)?;
    let Recorded { run, model } = record::record(task, &mut outcome);
    watch.stop();
    report(run, model.as_deref(), &outcome);
    Ok(Finished { run, model, outcome })
}

/// What a run did is recorded, which is better refused before it is done.
fn check_writable() -> Result<()> {
    if unsafe { pg_sys::XactReadOnly } {
        return Err(TrailsError::new(
            PgSqlErrorCode::ERRCODE_READ_ONLY_SQL_TRANSACTION,
            "a run cannot be recorded in a read-only transaction",
        )
        .hint("Begin one that may write; trails.filtering_phase and trails.predict need none."));
    }
    catalog::check_rights()
}

/// Refuses names and numbers that no run could use, before anything is read or started.
pub fn check(task: &RunRequest, origin: &Origin) -> Result<()> {
    match origin {
        Origin::Filtering(scoring) => task.check_refinement().and_then(|()| scoring.check(task.k, None, true)),
        Origin::Named(architectures) => {
            task.check_refinement().and_then(|()| task.check_architectures(architectures).map(|_| ()))
        }
        Origin::Checkpoint(_) => task.check_refinement(),
    }
}

fn train(function: &'static str, task: &RunRequest, origin: &Origin, clock: Clock) -> Result<Outcome> {
    // Until the rows are read; the refinement process has a deadline of its own.
    let deadline = Deadline::of(task.budget, clock.began);
    // Names and types first: a mistake in them must not cost a process.
    let relations = Relations::describe(task)?;
    check(task, origin)?;
    let resumed = match origin {
        Origin::Checkpoint(resumed) => Some(resumed.as_ref()),
        _ => None,
    };
    let file = resumed.map(Resumed::file).transpose()?;
    let Begun { mut clock, rows, facts, mut refinement } = Begun::new(task, relations, clock, file)?;
    drop(deadline);

    let (mut candidates, scored) = match origin {
        Origin::Filtering(scoring) => {
            let begin = clock.seconds();
            let share = task.budget.map(|budget| budget * FILTERING_SHARE);
            let found = rows.shortlist(scoring, task.k, share)?;
            clock.phase("filter", begin);
            let scored = Scored {
                tfmem: Some(scoring.tfmem.clone()),
                n: Some(found.scored),
                scored: Some(found.scored),
                failed: Some(found.failed),
                seconds: Some(found.seconds),
            };
            (scored_candidates(found.candidates), scored)
        }
        Origin::Named(architectures) => (named_candidates(task.check_architectures(architectures)?), Scored::default()),
        Origin::Checkpoint(resumed) => {
            (resumed.candidates.clone(), Scored { tfmem: resumed.tfmem.clone(), n: resumed.n, ..Scored::default() })
        }
    };
    // Refinement has the rows in memory of its own.
    drop(rows);

    let begin = clock.seconds();
    let mut told = RunSoFar::default();
    let offered: Vec<(&str, Option<f64>)> = match resumed {
        Some(_) => Vec::new(),
        None => candidates.iter().map(|c| (c.architecture.as_str(), c.score)).collect(),
    };
    let fault = refinement.refine(
        RefineRequest {
            space: &task.space,
            refinement: &task.refinement,
            k: task.k,
            u: task.u,
            options: &task.options(),
            score_seconds: scored.seconds.unwrap_or(0.0) / scored.scored.unwrap_or(0).max(1) as f64,
            scored: scored.scored.unwrap_or(0),
            candidates: &offered,
            resume: refinement.resume()?,
        },
        &mut told,
    )?;
    let refinement_seconds = clock.phase("refine", begin);
    add_phases(&mut clock, &refinement, &told);

    let checkpoint = if told.complete { None } else { checkpoint_of(&refinement, &told, resumed) };
    if let Some(resumed) = resumed {
        told.trials = leaderboard::join_curves(&resumed.trials, std::mem::take(&mut told.trials));
    }
    if fault.is_some() || resumed.is_some() {
        let rows = std::mem::take(&mut told.leaderboard);
        told.leaderboard = leaderboard::complete(rows, &told.trials, &candidates);
    }
    if resumed.is_some() {
        add_unknown(&mut candidates, &told.leaderboard);
    }
    let fault = fault.map(warn_of);
    let model = match &task.name {
        Some(_) => kept(refinement.model(&told)),
        None => None,
    };
    let total_seconds = clock.seconds();
    let continues = resumed.map(|r| r.run);
    Ok(Outcome {
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
        checkpoint,
        model,
    })
}

fn scored_candidates(found: Vec<(String, f64)>) -> Vec<Candidate> {
    let candidate = |((architecture, score), place)| Candidate {
        architecture,
        score: Some(score),
        place: Some(place),
        parameters: None,
    };
    found.into_iter().zip(1..).map(candidate).collect()
}

fn named_candidates(named: Vec<String>) -> Vec<Candidate> {
    let candidate =
        |(architecture, place)| Candidate { architecture, score: None, place: Some(place), parameters: None };
    named.into_iter().zip(1..).map(candidate).collect()
}

/// What is left of a run that was cut.
fn checkpoint_of(refinement: &Refinement, told: &RunSoFar, resumed: Option<&Resumed>) -> Option<Checkpoint> {
    match refinement.checkpoint(told) {
        Some((rung, weights)) => Some(Checkpoint::New { rung, weights }),
        // Nothing new, so that there is still what this run began with.
        None if told.checkpoint.is_none() && resumed.is_some() && refinement.keeps_resumed() => {
            Some(Checkpoint::Continued)
        }
        None => None,
    }
}

/// Candidates that were still waiting for their first rung when the earlier run was cut.
fn add_unknown(candidates: &mut Vec<Candidate>, leaderboard: &[LeaderboardRow]) {
    for row in leaderboard {
        if !candidates.iter().any(|c| c.architecture == row.architecture) {
            let LeaderboardRow { architecture, score, parameters, .. } = row.clone();
            candidates.push(Candidate { architecture, score, place: None, parameters });
        }
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
        match (outcome.told.complete, run.filter(|_| outcome.checkpoint.is_some())) {
            (true, _) => "".to_owned(),
            (false, Some(run)) => format!(" (cut: the best so far; trails.resume({run}) goes on)"),
            (false, None) => " (cut: the best so far)".to_owned(),
        },
    ));
}
