//! Writing what a run did into the catalogue tables, as the caller, whose right to it is asked for before anything is
//! trained. Numbers of runs are drawn, and written with their rows, as the tables' owner: no role may choose one.
//!
//! Statements here, as all in this crate, run with the caller's search path and beside its temporary types, which come
//! before all others: every type, function and operator is named with its schema, or arrives as a parameter, whose type
//! is an OID. tests/core/test_qualified_sql.py reads them.

use std::collections::{HashMap, HashSet};

use pgrx::datum::DatumWithOid;
use pgrx::prelude::*;

use crate::candidate::Candidate;
use crate::error::{Result, TrailsError};
use crate::outcome::{Outcome, ResumePoint};
use crate::protocol::LeaderboardRow;
use crate::run_request::RunRequest;
use crate::{identity, owner};

// What is written, table by table; a role needs INSERT on these columns and on no others.
const RUN: &str = "function, continues, source, target, validation, features, left_out, budget, space, tfmem, refinement, \
    options, seed, device, train_rows, validation_rows, unusable_rows, scored, failed_scores, n, k, u, state, fault, \
    reading_seconds, filtering_seconds, start_seconds, first_batch_seconds, refinement_seconds, total_seconds, started, \
    finished, asked_k, asked_u, task, metric, model, split, relation, validation_relation, group_by, time_by, weight, \
    held_out, asked_n, batch_size, asked_task, asked_features, asked_architectures";
const CANDIDATE: &str = "run_id, architecture, score, score_rank, rank, validation_metric, epochs, parameters, seconds";
const TRIAL: &str = "run_id, architecture, rung, epoch, train_loss, validation_loss, validation_metric, seconds";
const CHECKPOINT: &str = "run_id, rung, weights";
const TIMING: &str = "run_id, place, phase, process, begin_seconds, seconds";

/// Refuses a caller who could not record a run, before anything is trained for it.
pub fn check_rights() -> Result<()> {
    // A column that somebody has dropped is nobody's right: what cannot be written is told when it is written.
    let lacking = "SELECT pg_catalog.array_agg(a.attname::pg_catalog.text) FILTER (WHERE NOT \
            pg_catalog.has_column_privilege(a.attrelid, a.attnum, 'INSERT')), pg_catalog.count(*) \
         FROM pg_catalog.pg_attribute a WHERE a.attrelid OPERATOR(pg_catalog.=) $1::pg_catalog.regclass \
           AND a.attname::pg_catalog.text OPERATOR(pg_catalog.=) ANY ($2) AND NOT a.attisdropped";
    let tables = [
        ("trails.runs", RUN),
        ("trails.candidates", CANDIDATE),
        ("trails.trials", TRIAL),
        ("trails.checkpoints", CHECKPOINT),
        ("trails.timings", TIMING),
    ];
    for (table, columns) in tables {
        let columns: Vec<&str> = columns.split(", ").collect();
        let (missing, all) = Spi::connect(|client| -> Result<(Vec<String>, i64)> {
            let row = client.select(lacking, Some(1), &[table.into(), columns.into()])?.first();
            Ok((row.get(1)?.unwrap_or_default(), row.get(2)?.unwrap_or_default()))
        })?;
        if !missing.is_empty() {
            let of = match missing.len() as i64 == all {
                true => table.to_owned(),
                false => format!("{} of {table}", missing.join(", ")),
            };
            let (role, message) = (owner::name_of(owner::caller()), "permission denied to record a run");
            return Err(TrailsError::new(PgSqlErrorCode::ERRCODE_INSUFFICIENT_PRIVILEGE, message)
                .detail(format!("The role {role} lacks INSERT on {of}."))
                .hint(format!(
                    "A superuser gives it: GRANT trails_user TO {}; trails.filtering_phase and trails.predict record \
                     nothing.",
                    pgrx::spi::quote_identifier(&role)
                )));
        }
    }
    Ok(())
}

/// The number of a run that begins. Numbers are not given back: a run that ends in an error leaves a gap.
pub fn draw_run() -> Result<i64> {
    let draw = "SELECT pg_catalog.nextval(CAST(pg_catalog.pg_get_serial_sequence('trails.runs', 'run_id') AS \
        pg_catalog.regclass))";
    owner::acting(|| owner::first::<i64>(draw, &[]))?.ok_or_else(|| {
        let message = "trails.runs has no sequence that its numbers come from";
        TrailsError::new(PgSqlErrorCode::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE, message)
            .hint("Somebody altered the column run_id; a new database with the extension has it as it should be.")
    })
}

/// The run itself, under the number that was drawn for it.
pub fn write_run(run: i64, request: &RunRequest, outcome: &Outcome) -> Result<()> {
    let Outcome { facts, scored, told, .. } = outcome;
    let left_out: serde_json::Map<String, serde_json::Value> =
        facts.left_out.iter().map(|(name, reason)| (name.clone(), reason.clone().into())).collect();
    let (plan, encoded) = (told.plan.as_ref(), told.encoded.as_ref());
    let arguments: Vec<DatumWithOid> = vec![
        outcome.function.into(),
        outcome.continues.into(),
        facts.source.clone().into(),
        request.target.clone().into(),
        facts.validation.clone().into(),
        facts.features.clone().into(),
        pgrx::JsonB(left_out.into()).into(),
        request.budget.into(),
        request.space.clone().into(),
        scored.tfmem.clone().into(),
        request.refinement.clone().into(),
        request.options.clone().map(pgrx::JsonB).into(),
        request.seed.into(),
        told.device.clone().into(),
        facts.train_rows.into(),
        facts.validation_rows.into(),
        facts.unusable_rows.into(),
        scored.scored.into(),
        scored.failed.into(),
        scored.n.into(),
        plan.and_then(|p| p.k).or(request.k).into(),
        plan.and_then(|p| p.u).or(request.u).into(),
        (if told.complete { "complete" } else { "best so far" }).into(),
        outcome.fault.clone().into(),
        facts.reading_seconds.into(),
        scored.seconds.into(),
        told.start_seconds.into(),
        encoded.and_then(|e| e.first_batch).into(),
        outcome.refinement_seconds.into(),
        outcome.total_seconds.into(),
        request.k.into(),
        request.u.into(),
        encoded.map_or("binary", |e| e.task.as_str()).into(),
        told.metric().to_owned().into(),
        request.name.clone().into(),
        request.by.split.clone().into(),
        identity::of(request.source).into(),
        request.validation.map(identity::of).into(),
        request.by.group_by.clone().into(),
        request.by.time_by.clone().into(),
        request.by.weight.clone().into(),
        encoded.map(|e| e.held_out.clone()).filter(|held_out| !held_out.is_null()).map(pgrx::JsonB).into(),
        scored.asked_n.into(),
        scored.batch_size.into(),
        request.task.clone().into(),
        request.features.clone().into(),
        scored.architectures.clone().into(),
        run.into(),
        owner::caller().into(),
    ];
    let statement = format!(
        "INSERT INTO trails.runs ({RUN}, run_id, owner) OVERRIDING SYSTEM VALUE \
             VALUES ($1, $2, $3, $4::pg_catalog.name, $5, $6::pg_catalog.name[], $7, \
                pg_catalog.make_interval(secs => $8), $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, \
                $20, $21, $22, $23, $24, $25, $26, $27, $28, \
                $29, $30, pg_catalog.clock_timestamp() OPERATOR(pg_catalog.-) pg_catalog.make_interval(secs => $30), \
                pg_catalog.clock_timestamp(), $31, $32, $33, $34, $35, $36::pg_catalog.name, $37, $38, \
                $39::pg_catalog.name, $40::pg_catalog.name, $41::pg_catalog.name, $42, $43, $44, $45, \
                $46::pg_catalog.name[], $47, $48, $49::pg_catalog.regrole)"
    );
    owner::acting(|| owner::written(&statement, &arguments)).map(|_| ())
}

/// Those that refinement trained at all; what it was offered is many times as much.
pub fn write_candidates(run: i64, outcome: &Outcome) -> Result<()> {
    let trained: HashMap<&str, (usize, &LeaderboardRow)> =
        outcome.told.leaderboard.iter().enumerate().map(|(place, t)| (t.architecture.as_str(), (place, t))).collect();
    let tried: HashSet<&str> =
        outcome.told.trials.iter().map(|t| t.architecture.as_str()).chain(trained.keys().copied()).collect();
    let candidates: Vec<&Candidate> =
        outcome.candidates.iter().filter(|c| tried.contains(c.architecture.as_str())).collect();
    let of = |candidate: &Candidate| trained.get(candidate.architecture.as_str());
    let arguments: Vec<DatumWithOid> = vec![
        run.into(),
        candidates.iter().map(|c| c.architecture.clone()).collect::<Vec<_>>().into(),
        candidates.iter().map(|c| c.score).collect::<Vec<_>>().into(),
        candidates.iter().map(|c| c.place).collect::<Vec<_>>().into(),
        candidates.iter().map(|c| of(c).map(|(place, _)| *place as i32 + 1)).collect::<Vec<_>>().into(),
        candidates.iter().map(|c| of(c).map(|(_, t)| t.validation_metric)).collect::<Vec<_>>().into(),
        candidates.iter().map(|c| of(c).map_or(0, |(_, t)| t.epochs)).collect::<Vec<_>>().into(),
        candidates.iter().map(|c| of(c).and_then(|(_, t)| t.parameters)).collect::<Vec<_>>().into(),
        candidates.iter().map(|c| of(c).map(|(_, t)| t.seconds)).collect::<Vec<_>>().into(),
    ];
    Spi::run_with_args(
        &format!(
            "INSERT INTO trails.candidates ({CANDIDATE}) \
             SELECT $1, c.* FROM ROWS FROM (pg_catalog.unnest($2), pg_catalog.unnest($3), pg_catalog.unnest($4), \
                pg_catalog.unnest($5), pg_catalog.unnest($6), pg_catalog.unnest($7), pg_catalog.unnest($8), \
                pg_catalog.unnest($9)) c"
        ),
        &arguments,
    )?;
    Ok(())
}

/// The learning curves.
pub fn write_trials(run: i64, outcome: &Outcome) -> Result<()> {
    let trials = &outcome.told.trials;
    let arguments: Vec<DatumWithOid> = vec![
        run.into(),
        trials.iter().map(|t| t.architecture.clone()).collect::<Vec<_>>().into(),
        trials.iter().map(|t| t.rung).collect::<Vec<_>>().into(),
        trials.iter().map(|t| t.epoch).collect::<Vec<_>>().into(),
        trials.iter().map(|t| t.train_loss).collect::<Vec<_>>().into(),
        trials.iter().map(|t| t.validation_loss).collect::<Vec<_>>().into(),
        trials.iter().map(|t| t.validation_metric).collect::<Vec<_>>().into(),
        trials.iter().map(|t| t.seconds).collect::<Vec<_>>().into(),
    ];
    Spi::run_with_args(
        &format!(
            "INSERT INTO trails.trials ({TRIAL}) \
             SELECT $1, t.* FROM ROWS FROM (pg_catalog.unnest($2), pg_catalog.unnest($3), pg_catalog.unnest($4), \
                pg_catalog.unnest($5), pg_catalog.unnest($6), pg_catalog.unnest($7), pg_catalog.unnest($8)) t"
        ),
        &arguments,
    )?;
    Ok(())
}

/// Only a run that was cut has something to go on from.
pub fn write_checkpoint(run: i64, outcome: &Outcome) -> Result<()> {
    match (outcome.resume_point.as_ref(), outcome.continues) {
        (Some(ResumePoint::New { rung, weights }), _) => Spi::run_with_args(
            &format!("INSERT INTO trails.checkpoints ({CHECKPOINT}) VALUES ($1, $2, $3)"),
            &[run.into(), (*rung).into(), weights.as_slice().into()],
        )?,
        (Some(ResumePoint::Continued), Some(earlier)) => {
            let statement = format!(
                "INSERT INTO trails.checkpoints ({CHECKPOINT}) \
                 SELECT $1, rung, weights FROM trails.checkpoints WHERE run_id OPERATOR(pg_catalog.=) $2"
            );
            if owner::written(&statement, &[run.into(), earlier.into()])? == 0 {
                let message = format!("run {earlier}, which it went on with, was dropped meanwhile, or its checkpoint");
                return Err(TrailsError::new(PgSqlErrorCode::ERRCODE_UNDEFINED_OBJECT, message));
            }
        }
        _ => {}
    }
    Ok(())
}

/// Where the time went, until now.
pub fn write_timings(run: i64, outcome: &Outcome) -> Result<()> {
    let timings = outcome.clock.timings();
    let arguments: Vec<DatumWithOid> = vec![
        run.into(),
        timings.iter().map(|t| t.phase.phase.clone()).collect::<Vec<_>>().into(),
        timings.iter().map(|t| t.process.name()).collect::<Vec<_>>().into(),
        timings.iter().map(|t| t.phase.begin).collect::<Vec<_>>().into(),
        timings.iter().map(|t| t.phase.seconds).collect::<Vec<_>>().into(),
    ];
    Spi::run_with_args(
        &format!(
            "INSERT INTO trails.timings ({TIMING}) \
             SELECT $1, t.place, t.phase, t.process, t.begin, t.seconds FROM ROWS FROM (pg_catalog.unnest($2), \
                pg_catalog.unnest($3), pg_catalog.unnest($4), pg_catalog.unnest($5)) \
                WITH ORDINALITY t (phase, process, begin, seconds, place)"
        ),
        &arguments,
    )?;
    Ok(())
}

/// Deletes a run of the caller's, or only its checkpoint; superusers may delete everybody's. False if there is none.
pub fn drop_run(run: i64, checkpoint_only: bool) -> Result<bool> {
    let caller = owner::caller();
    let any = owner::is_superuser(caller);
    let statement = match checkpoint_only {
        true => {
            "DELETE FROM trails.checkpoints c USING trails.runs r WHERE c.run_id OPERATOR(pg_catalog.=) $1 \
             AND r.run_id OPERATOR(pg_catalog.=) c.run_id AND (r.owner OPERATOR(pg_catalog.=) $2 OR $3)"
        }
        false => {
            "DELETE FROM trails.runs r WHERE r.run_id OPERATOR(pg_catalog.=) $1 \
             AND (r.owner OPERATOR(pg_catalog.=) $2 OR $3)"
        }
    };
    owner::acting(|| owner::written(statement, &[run.into(), caller.into(), any.into()])).map(|rows| rows > 0)
}

/// Keeps the extension until the transaction ends: a run must find its tables, and its result a type, when it is over.
pub fn keep_extension() {
    // SAFETY: the name ends in a NUL byte; looked up and locked within the calling transaction, which releases the
    // lock.
    unsafe {
        let extension = pgrx::pg_sys::get_extension_oid(c"trails".as_ptr(), true);
        let lock = pgrx::pg_sys::AccessShareLock as pgrx::pg_sys::LOCKMODE;
        pgrx::pg_sys::LockDatabaseObject(pgrx::pg_sys::ExtensionRelationId, extension, 0, lock);
    }
}
