//! What came of a run is written down. Whatever fails then, the leaderboard has been paid for: it is returned, and a
//! warning says what was not kept, why, and what can be done.

use crate::error::{sqlstate_of, Result, TrailsError};
use crate::lock_wait::LockWait;
use crate::models::{self, Trained};
use crate::outcome::Outcome;
use crate::run_request::RunRequest;
use crate::{catalog, identity, unregistered};

/// What was written.
pub struct Recorded {
    pub run: Option<i64>,
    /// Name and version of the model that was kept.
    pub model: Option<String>,
}

/// Writes the run, and the model if the request names one.
pub fn record(request: &RunRequest, outcome: &mut Outcome) -> Recorded {
    let wait = LockWait::of(outcome.clock.began, request.budget);
    let begin = outcome.clock.seconds();
    let run = wait
        .attempt("trails.runs", || catalog::write_run(outcome.run, request, outcome))
        .map(|()| outcome.run)
        .map_err(|error| {
            let hint = "Mend the cause, and run it again for a record of it.";
            hinting(warn("the run is not recorded", error), hint).warn();
        })
        .ok();
    if let Some(run) = run {
        type TableWriter = (&'static str, &'static str, fn(i64, &Outcome) -> Result<()>);
        let writers: [TableWriter; 3] = [
            ("candidates", "without its candidates", catalog::write_candidates),
            ("trials", "without its learning curves", catalog::write_trials),
            ("checkpoints", "without its checkpoint, so that it cannot be resumed", catalog::write_checkpoint),
        ];
        for (table, without, write) in writers {
            let written = write_table(wait, run, outcome, table, without, write);
            if !written && table == "checkpoints" {
                outcome.resume_point = None; // there is nothing to go on from
            }
        }
        outcome.clock.phase("write", begin);
        write_table(wait, run, outcome, "timings", "without its timings", catalog::write_timings);
    }
    let weights = outcome.model.take();
    let model = match (&request.name, weights) {
        (Some(name), Some(weights)) => {
            let on = || Trained { source: outcome.facts.source.clone(), relation: Some(identity::of(request.source)) };
            keep(wait, name, run, on, &weights)
        }
        _ => None,
    };
    Recorded { run, model }
}

fn write_table(
    wait: LockWait,
    run: i64,
    outcome: &Outcome,
    table: &str,
    without: &str,
    write: fn(i64, &Outcome) -> Result<()>,
) -> bool {
    let attempt = wait.attempt(&format!("trails.{table}"), || write(run, outcome));
    let written = attempt.is_ok();
    if let Err(error) = attempt {
        warn(&format!("run {run} is recorded {without}"), error).warn();
    }
    written
}

/// Keeps the model under its name, or else where `trails.keep_model` finds it.
fn keep(wait: LockWait, name: &str, run: Option<i64>, on: impl FnOnce() -> Trained, weights: &[u8]) -> Option<String> {
    let error = match wait.attempt("trails.models", || models::store(name, run, Some(on()), weights)) {
        Ok(model) => return Some(model),
        Err(error) => error,
    };
    let warning = warn(&format!("the model is not kept as \"{name}\""), error);
    let waits = run.map(|run| (run, wait.attempt("trails.unregistered_models", || unregistered::put(run, weights))));
    const AGAIN: &str = "Mend the cause, and run the selection again.";
    let warning = match waits {
        Some((run, Ok(()))) => {
            let hint = format!("It waits: SELECT trails.keep_model({run}) keeps it, without training it again.");
            hinting(warning, &hint)
        }
        Some((_, Err(second))) => {
            let first = warning.detail.as_deref().unwrap_or_default();
            let detail = format!("{first}\nNor could it be put into trails.unregistered_models: {}", second.message);
            hinting(warning.detail(detail), AGAIN)
        }
        None => hinting(warning, AGAIN),
    };
    warning.warn();
    None
}

/// `what`, and why: the message of the error, and its code and detail.
fn warn(what: &str, error: TrailsError) -> TrailsError {
    let detail = format!("SQLSTATE {}", sqlstate_of(error.code));
    let detail = error.detail.as_deref().map_or(format!("{detail}."), |more| format!("{detail}: {more}"));
    TrailsError::warning(format!("{what}: {}", error.message)).because_of(error).detail(detail)
}

/// What to do, before what the cause's own hint says.
fn hinting(warning: TrailsError, hint: &str) -> TrailsError {
    let more = warning.hint.as_deref().map_or(String::new(), |more| format!(" {more}"));
    warning.hint(format!("{hint}{more}"))
}
