//! A model is trained anew on the rows that there are now: from the best architectures of its last run, and deployed if it
//! does better than the version in use.

use std::time::Instant;

use pgrx::pg_sys;
use pgrx::prelude::*;

use crate::clock::Clock;
use crate::deadline::Deadline;
use crate::error::{shown, Result, TrailsError};
use crate::judging::labelled::Asked;
use crate::judging::report::{self, Measured};
use crate::lock_wait::LockWait;
use crate::owner::{caller, first, name_of};
use crate::run_request::RunRequest;
use crate::selection::{self, Origin};
use crate::{registry, resume, subtransaction};

/// Architectures of the last run that are trained again, at most.
const MOST: i64 = 10;

/// When the new version takes the place of the old one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Deploy {
    IfBetter,
    Always,
    Never,
}

impl Deploy {
    fn named(name: &str) -> Result<Self> {
        Ok(match name {
            "if_better" => Self::IfBetter,
            "always" => Self::Always,
            "never" => Self::Never,
            _ => {
                return Err(TrailsError::argument(format!("deploy cannot be \"{}\"", shown(name)))
                    .hint("It is if_better, always or never."))
            }
        })
    }
}

/// What came of it.
pub struct Retrained {
    /// Name and version; None if it could not be kept.
    pub model: Option<String>,
    pub run: Option<i64>,
    pub architecture: String,
    pub metric: String,
    pub value: f64,
    /// The version that was in use, and the same metric of it.
    pub deployed: Option<String>,
    pub deployed_value: Option<f64>,
    pub is_deployed: bool,
    pub decision: String,
}

/// The name of a version of the caller's, and the run that trained it.
fn trained(model: &str) -> Result<(String, i64)> {
    let query = "SELECT m.name, m.version, m.owner::pg_catalog.oid, m.run_id FROM trails.find_model($1) m";
    let (name, version, owner, run) = Spi::connect(|client| -> Result<_> {
        let row = client.select(query, Some(1), &[model.into()])?.first();
        let owner = row.get::<pg_sys::Oid>(3)?.unwrap_or(pg_sys::InvalidOid);
        Ok((row.get::<String>(1)?.unwrap_or_default(), row.get::<i32>(2)?, owner, row.get::<i64>(4)?))
    })?;
    if owner != caller() {
        let message = format!("the model \"{}\" belongs to {}", shown(model), name_of(owner));
        return Err(TrailsError::new(PgSqlErrorCode::ERRCODE_INSUFFICIENT_PRIVILEGE, message)
            .hint("Only its owner can train it again: the next version is of who trains it."));
    }
    let run = run.ok_or_else(|| {
        let version = version.unwrap_or_default();
        let message = format!("nothing is known of the run that trained \"{}\" version {version}", shown(&name));
        TrailsError::new(PgSqlErrorCode::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE, message)
            .detail("It was dropped, or the model was imported.")
            .hint("Name another version, or train it with trails.model_selection(..., name => ...).")
    })?;
    Ok((name, run))
}

/// Architectures of a run, best first.
fn best_of(run: i64) -> Result<Vec<String>> {
    let query = "SELECT c.architecture FROM trails.candidates c WHERE c.run_id OPERATOR(pg_catalog.=) $1 \
                 AND c.rank IS NOT NULL ORDER BY c.rank LIMIT $2";
    let found = Spi::connect(|client| -> Result<Vec<String>> {
        let rows = client.select(query, None, &[run.into(), MOST.into()])?;
        rows.map(|row| Ok(row.get::<String>(1)?.unwrap_or_default())).collect()
    })?;
    match found.is_empty() {
        true => Err(TrailsError::new(
            PgSqlErrorCode::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
            format!("run {run} has no candidates that could be trained again"),
        )
        .hint("Train it with trails.model_selection(..., name => ...).")),
        false => Ok(found),
    }
}

/// The deployed version of a name of the caller's, with its weights.
fn deployed(name: &str) -> Result<Option<(i32, Vec<u8>)>> {
    let query = "SELECT m.version, trails.checked_weights(m) FROM trails.models m \
                 WHERE m.owner OPERATOR(pg_catalog.=) trails.caller() AND m.name OPERATOR(pg_catalog.=) $1 \
                 AND m.state OPERATOR(pg_catalog.=) 'deployed'";
    Spi::connect(|client| {
        let rows = client.select(query, Some(1), &[name.into()])?;
        if rows.is_empty() {
            return Ok(None);
        }
        let row = rows.first();
        Ok(row.get::<i32>(1)?.zip(row.get::<Vec<u8>>(2)?))
    })
}

/// Trains the next version of a model, and deploys it if `policy` says so.
pub fn retrain(model: &str, source: Option<pg_sys::Oid>, budget: f64, policy: &str, clock: Clock) -> Result<Retrained> {
    let policy = Deploy::named(policy)?;
    let (began, (name, run)) = (clock.began, trained(model)?);
    let architectures = best_of(run)?;
    let asked = resume::asked(run, source, budget)?;
    let incumbent = deployed(&name)?;
    let request = RunRequest { name: Some(name.clone()), k: Some(architectures.len() as i32), u: None, ..asked };
    let (version, weights) = incumbent.unzip();
    let before = version.map(|version| format!("{name}@{version}"));
    // Rows of another table are the server's to judge, before the time goes to training; those that are held out, the
    // refinement process does.
    let judged_before = match (request.validation, &before) {
        (Some(validation), Some(before)) => {
            request.check_budget()?;
            selection::check_writable()?;
            Some(judged(before, validation, &request, began, budget))
        }
        _ => None,
    };
    let weights = weights.filter(|_| judged_before.is_none());
    let origin = Origin::Retrained { architectures, incumbent: weights };
    let finished =
        selection::run("refinement_phase", &request, &origin, clock).map_err(|error| resume::gone(run, error))?;
    let Some(best) = finished.outcome.told.leaderboard.first() else {
        return Err(TrailsError::data("no candidate was trained"));
    };
    let metric = finished.outcome.told.metric();
    let before_value = match judged_before {
        Some(measured) => value_of(&measured, metric),
        None => finished.outcome.incumbent,
    };
    // Of the model as it is kept, with calibrated probabilities, because the version in use has such, too.
    let value = match &finished.model {
        Some(model) => kept_value(model, metric)?.unwrap_or(best.validation_metric),
        None => best.validation_metric,
    };
    let less_is_better = finished.outcome.told.encoded.as_ref().is_some_and(|encoded| encoded.less_is_better);
    let (wanted, reason) = match (policy, &before, before_value) {
        (Deploy::Never, _, _) => (false, "as it was asked"),
        (Deploy::Always, _, _) => (true, "as it was asked"),
        (_, None, _) => (true, "no version was in use"),
        (_, _, None) => (false, "the version in use cannot be compared with"),
        (_, _, Some(other)) if (if less_is_better { value < other } else { value > other }) => (true, "it does better"),
        _ => (false, "it does no better"),
    };
    let wait = LockWait::of(began, Some(budget));
    let (is_deployed, decision) = match &finished.model {
        None => (false, "not kept".to_owned()),
        Some(_) if !wanted => (false, format!("not deployed: {reason}")),
        Some(model) => match wait.attempt("trails.models", || put_in_use(model, policy, version)) {
            Ok(true) => (true, format!("deployed: {reason}")),
            Ok(false) => (false, "not deployed: another version was put in use meanwhile".to_owned()),
            Err(error) => {
                let message = format!("{model} is kept and not deployed: {}", error.message);
                TrailsError::warning(message).because_of(error).hint("trails.deploy deploys it.").warn();
                (false, "not deployed: that failed".to_owned())
            }
        },
    };
    Ok(Retrained {
        model: finished.model.clone(),
        run: finished.run,
        architecture: best.architecture.clone(),
        metric: metric.to_owned(),
        value,
        deployed: before,
        deployed_value: before_value,
        is_deployed,
        decision,
    })
}

/// What a version that was kept just now does on the rows that were held out.
fn kept_value(model: &str, metric: &str) -> Result<Option<f64>> {
    let query = "SELECT (m.metrics OPERATOR(pg_catalog.->>) $2)::pg_catalog.float8 FROM trails.find_model($1) m";
    first(query, &[model.into(), metric.into()])
}

/// Within a subtransaction. False if the version that was compared with, `before`, is not the one in use any more.
fn put_in_use(model: &str, policy: Deploy, before: Option<i32>) -> Result<bool> {
    // One that has written nothing reads with the statement's snapshot, which does not have the version.
    // SAFETY: a subtransaction is under way, and gets a number.
    unsafe { pg_sys::GetCurrentTransactionId() };
    match policy {
        Deploy::IfBetter => registry::deploy_instead(model, before).map(|deployed| deployed.is_some()),
        Deploy::Always | Deploy::Never => registry::deploy(model, None).map(|_| true),
    }
}

/// Of the budget, what judging the version in use may take.
const JUDGING_SHARE: f64 = 0.5;

/// All metrics of a version on the rows of a table; none where they cannot be said. Candidates are judged with the
/// threshold 0.5, and so is what they are compared with, whatever it is deployed with.
fn judged(model: &str, source: pg_sys::Oid, request: &RunRequest, began: Instant, budget: f64) -> Vec<Measured> {
    let weight = request.by.weight.as_deref();
    let asked = Asked { model: Some(model), source, target: Some(&request.target), weight };
    let deadline = Deadline::of(Some(budget * JUDGING_SHARE), began);
    let measured = subtransaction::attempt(|| report::evaluate_as_trained(&asked));
    drop(deadline);
    measured.unwrap_or_else(|error| {
        let message = match began.elapsed().as_secs_f64() >= budget * JUDGING_SHARE {
            true => format!("{model} cannot be compared with: that would take more than half of the budget"),
            false => format!("{model} cannot be compared with: {}", error.message),
        };
        TrailsError::warning(message).because_of(error).warn();
        Vec::new()
    })
}

/// What candidates are ranked by.
fn value_of(measured: &[Measured], metric: &str) -> Option<f64> {
    measured.iter().find(|m| m.metric == metric && m.class.is_none()).and_then(|m| m.value)
}
