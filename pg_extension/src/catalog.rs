//! Writing what a run did into the catalogue tables, as the caller.

use std::collections::{HashMap, HashSet};

use pgrx::datum::DatumWithOid;
use pgrx::prelude::*;

use crate::error::Result;
use crate::protocol::{Epoch, Trained};
use crate::selection::{Asked, Outcome};

/// Writes the run, its candidates and its trials; returns the run's id.
pub fn write(asked: &Asked, outcome: &Outcome) -> Result<i64> {
    let run = write_run(asked, outcome)?;
    write_candidates(run, outcome)?;
    write_trials(run, &outcome.trials)?;
    Ok(run)
}

fn write_run(asked: &Asked, outcome: &Outcome) -> Result<i64> {
    let left_out: serde_json::Map<String, serde_json::Value> =
        outcome.left_out.iter().map(|(name, reason)| (name.clone(), reason.clone().into())).collect();
    let seconds = &outcome.seconds;
    let arguments: Vec<DatumWithOid> = vec![
        outcome.source.clone().into(),
        asked.target.clone().into(),
        outcome.validation.clone().into(),
        outcome.features.clone().into(),
        pgrx::JsonB(left_out.into()).into(),
        asked.budget.into(),
        asked.scoring.space.clone().into(),
        asked.scoring.tfmem.clone().into(),
        asked.scoring.seed.into(),
        outcome.device.clone().into(),
        outcome.train_rows.into(),
        outcome.validation_rows.into(),
        outcome.unusable_rows.into(),
        outcome.scored.into(),
        outcome.failed_scores.into(),
        outcome.plan.n.into(),
        outcome.plan.k.into(),
        outcome.plan.u.into(),
        (if outcome.complete { "complete" } else { "best so far" }).into(),
        seconds.reading.into(),
        seconds.filtering.into(),
        seconds.start.into(),
        seconds.refinement.into(),
        seconds.total.into(),
    ];
    let run = Spi::get_one_with_args::<i64>(
        "INSERT INTO trails.runs (source, target, validation, features, left_out, budget, space, tfmem, seed, device, \
            train_rows, validation_rows, unusable_rows, scored, failed_scores, n, k, u, state, reading_seconds, \
            filtering_seconds, start_seconds, refinement_seconds, total_seconds, started, finished) \
         VALUES ($1, $2::name, $3, $4::name[], $5, pg_catalog.make_interval(secs => $6), $7, $8, $9, $10, \
            $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, $23, $24, \
            pg_catalog.clock_timestamp() OPERATOR(pg_catalog.-) pg_catalog.make_interval(secs => $24), \
            pg_catalog.clock_timestamp()) RETURNING run_id",
        &arguments,
    )?;
    Ok(run.expect("an insert of one row returns one row"))
}

/// Those that refinement trained at all; what it was offered is many times as much.
fn write_candidates(run: i64, outcome: &Outcome) -> Result<()> {
    let trained: HashMap<&str, (usize, &Trained)> =
        outcome.leaderboard.iter().enumerate().map(|(place, t)| (t.architecture.as_str(), (place, t))).collect();
    let tried: HashSet<&str> =
        outcome.trials.iter().map(|t| t.architecture.as_str()).chain(trained.keys().copied()).collect();
    let candidates: Vec<(&str, f64, i32)> = outcome
        .candidates
        .iter()
        .zip(1..)
        .map(|((architecture, score), place)| (architecture.as_str(), *score, place))
        .filter(|(architecture, ..)| tried.contains(architecture))
        .collect();
    let of = |architecture: &str| trained.get(architecture);
    let arguments: Vec<DatumWithOid> = vec![
        run.into(),
        candidates.iter().map(|(a, ..)| a.to_string()).collect::<Vec<_>>().into(),
        candidates.iter().map(|(_, score, _)| *score).collect::<Vec<_>>().into(),
        candidates.iter().map(|(.., place)| *place).collect::<Vec<_>>().into(),
        candidates.iter().map(|(a, ..)| of(a).map(|(place, _)| *place as i32 + 1)).collect::<Vec<_>>().into(),
        candidates.iter().map(|(a, ..)| of(a).map(|(_, t)| t.validation_auc)).collect::<Vec<_>>().into(),
        candidates.iter().map(|(a, ..)| of(a).map_or(0, |(_, t)| t.epochs)).collect::<Vec<_>>().into(),
        candidates.iter().map(|(a, ..)| of(a).and_then(|(_, t)| t.parameters)).collect::<Vec<_>>().into(),
        candidates.iter().map(|(a, ..)| of(a).map(|(_, t)| t.seconds)).collect::<Vec<_>>().into(),
    ];
    Spi::run_with_args(
        "INSERT INTO trails.candidates \
            (run_id, architecture, score, score_rank, rank, validation_auc, epochs, parameters, seconds) \
         SELECT $1, c.* FROM ROWS FROM (pg_catalog.unnest($2::text[]), pg_catalog.unnest($3::float8[]), \
            pg_catalog.unnest($4::int4[]), pg_catalog.unnest($5::int4[]), pg_catalog.unnest($6::float8[]), \
            pg_catalog.unnest($7::int4[]), pg_catalog.unnest($8::int8[]), pg_catalog.unnest($9::float8[])) c",
        &arguments,
    )?;
    Ok(())
}

fn write_trials(run: i64, trials: &[Epoch]) -> Result<()> {
    let arguments: Vec<DatumWithOid> = vec![
        run.into(),
        trials.iter().map(|t| t.architecture.clone()).collect::<Vec<_>>().into(),
        trials.iter().map(|t| t.rung).collect::<Vec<_>>().into(),
        trials.iter().map(|t| t.epoch).collect::<Vec<_>>().into(),
        trials.iter().map(|t| t.train_loss).collect::<Vec<_>>().into(),
        trials.iter().map(|t| t.validation_loss).collect::<Vec<_>>().into(),
        trials.iter().map(|t| t.validation_auc).collect::<Vec<_>>().into(),
        trials.iter().map(|t| t.seconds).collect::<Vec<_>>().into(),
    ];
    Spi::run_with_args(
        "INSERT INTO trails.trials \
            (run_id, architecture, rung, epoch, train_loss, validation_loss, validation_auc, seconds) \
         SELECT $1, t.* FROM ROWS FROM (pg_catalog.unnest($2::text[]), pg_catalog.unnest($3::int4[]), \
            pg_catalog.unnest($4::int4[]), pg_catalog.unnest($5::float8[]), pg_catalog.unnest($6::float8[]), \
            pg_catalog.unnest($7::float8[]), pg_catalog.unnest($8::float8[])) t",
        &arguments,
    )?;
    Ok(())
}
