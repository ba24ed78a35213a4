//! What is left of a run that was cut: the survivors of its last finished rung, from which another run goes on. Reads alone.

use std::fs::File;
use std::os::unix::fs::FileExt;

use pgrx::pg_sys;
use pgrx::prelude::*;
use pgrx::spi::SpiTupleTable;

use crate::candidate::Candidate;
use crate::child;
use crate::error::{shown, Result, TrailsError};
use crate::identity;
use crate::protocol::Epoch;
use crate::run_request::{parse_options, ByColumns, RunRequest};

/// What a new run takes over from the one that it continues.
pub struct Resumed {
    pub run: i64,
    pub tfmem: Option<String>,
    pub n: Option<i64>,
    pub candidates: Vec<Candidate>,
    /// The learning curves up to the last finished rung.
    pub trials: Vec<Epoch>,
    checkpoint: File,
}

impl Resumed {
    /// The checkpoint in memory that another process can map.
    pub fn file(&self) -> Result<File> {
        Ok(self.checkpoint.try_clone()?)
    }
}

/// The row of a run of the caller's.
fn earlier(run: i64) -> Result<Earlier> {
    let found = Spi::connect(|client| -> Result<Option<Earlier>> {
        let rows = client.select(
            "SELECT source, target::pg_catalog.text, validation, features::pg_catalog.text[], space, tfmem, refinement, \
                    options::pg_catalog.text, seed, n, asked_k, asked_u, state, task, split::pg_catalog.text, model, \
                    relation, validation_relation, group_by::pg_catalog.text, time_by::pg_catalog.text, \
                    weight::pg_catalog.text, metric \
             FROM trails.runs WHERE run_id OPERATOR(pg_catalog.=) $1",
            Some(1),
            &[run.into()],
        )?;
        if rows.is_empty() {
            return Ok(None);
        }
        Earlier::from_row(&rows.first()).map(Some)
    })?;
    // A run of somebody else is hidden by row-level security: the error does not tell the two apart.
    found.ok_or_else(|| {
        TrailsError::new(PgSqlErrorCode::ERRCODE_UNDEFINED_OBJECT, format!("you have no run {run}"))
            .hint("SELECT run_id, source, state FROM trails.runs shows your runs.")
    })
}

/// What a run was asked for, to be asked for again on `source`, or on the relation that it was trained on.
pub fn asked(run: i64, source: Option<pg_sys::Oid>, budget: f64) -> Result<RunRequest> {
    earlier(run)?.request(run, source, budget)
}

/// What an earlier run was asked for, and what is left of it.
pub fn read(run: i64, budget: f64) -> Result<(RunRequest, Resumed)> {
    let earlier = earlier(run)?;
    let not_resumable = |message: String| {
        TrailsError::new(PgSqlErrorCode::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE, message)
            .hint("Start a new run, for instance with trails.model_selection.")
    };
    if earlier.complete {
        return Err(not_resumable(format!("run {run} is finished: every rung was trained as planned")));
    }
    let rung = Spi::connect(|client| -> Result<Option<i32>> {
        let rows = client.select(
            "SELECT rung FROM trails.checkpoints WHERE run_id OPERATOR(pg_catalog.=) $1",
            Some(1),
            &[run.into()],
        )?;
        Ok(if rows.is_empty() { None } else { rows.first().get::<i32>(1)? })
    })?;
    let rung = rung.ok_or_else(|| {
        not_resumable(format!("run {run} has no checkpoint to go on from")).detail(
            "It was cut before its first rung had ended, its checkpoint was too large to be written within the \
             budget, or it was loaded from a dump, which holds no checkpoints.",
        )
    })?;
    let (tfmem, n) = (earlier.tfmem.clone(), earlier.n);
    let request = earlier.request(run, None, budget)?;
    let (candidates, trials, checkpoint) = (candidates(run)?, trials(run, rung)?, checkpoint(run)?);
    Ok((request, Resumed { run, tfmem, n, candidates, trials, checkpoint }))
}

/// A row of `trails.runs`.
struct Earlier {
    source: String,
    target: String,
    validation: Option<String>,
    features: Vec<String>,
    space: String,
    tfmem: Option<String>,
    refinement: String,
    options: Option<serde_json::Value>,
    seed: i64,
    n: Option<i64>,
    k: Option<i32>,
    u: Option<i32>,
    complete: bool,
    task: String,
    by: ByColumns,
    metric: String,
    model: Option<String>,
    relation: Option<String>,
    validation_relation: Option<String>,
}

impl Earlier {
    /// The same to be asked for again.
    fn request(self, run: i64, source: Option<pg_sys::Oid>, budget: f64) -> Result<RunRequest> {
        let source = match source {
            Some(source) => source,
            None => relation(run, "source", &self.source, self.relation.as_deref())?,
        };
        Ok(RunRequest {
            source,
            target: self.target,
            features: Some(self.features),
            validation: self
                .validation
                .map(|name| relation(run, "validation table", &name, self.validation_relation.as_deref()))
                .transpose()?,
            budget: Some(budget),
            space: self.space,
            seed: self.seed,
            refinement: self.refinement,
            options: self.options,
            k: self.k,
            u: self.u,
            task: Some(self.task),
            by: self.by,
            // That of the task has always been the one of earlier releases.
            metric: Some(self.metric),
            name: self.model,
        })
    }

    fn from_row(row: &SpiTupleTable<'_>) -> Result<Self> {
        let missing = || TrailsError::new(PgSqlErrorCode::ERRCODE_DATA_CORRUPTED, "a run's row lacks a value");
        Ok(Self {
            source: row.get(1)?.ok_or_else(missing)?,
            target: row.get(2)?.ok_or_else(missing)?,
            validation: row.get(3)?,
            features: row
                .get::<Vec<Option<String>>>(4)?
                .and_then(|names| names.into_iter().collect())
                .ok_or_else(missing)?,
            space: row.get(5)?.ok_or_else(missing)?,
            tfmem: row.get(6)?,
            refinement: row.get(7)?.ok_or_else(missing)?,
            options: row.get::<String>(8)?.map(|options| parse_options(&options)).transpose()?,
            seed: row.get(9)?.ok_or_else(missing)?,
            n: row.get(10)?,
            k: row.get(11)?,
            u: row.get(12)?,
            complete: row.get::<String>(13)?.is_some_and(|state| state == "complete"),
            task: row.get(14)?.ok_or_else(missing)?,
            by: ByColumns { split: row.get(15)?, group_by: row.get(19)?, time_by: row.get(20)?, weight: row.get(21)? },
            metric: row.get(22)?.ok_or_else(missing)?,
            model: row.get(16)?,
            relation: row.get(17)?,
            validation_relation: row.get(18)?,
        })
    }
}

const SAME_ROWS: &str = "A run goes on with the rows that it began with; start a new one with trails.model_selection.";

/// The relation of an earlier run, whatever it is called now.
fn relation(run: i64, what: &str, name: &str, recorded: Option<&str>) -> Result<pg_sys::Oid> {
    identity::find(recorded, name)?.ok_or_else(|| {
        TrailsError::new(
            PgSqlErrorCode::ERRCODE_UNDEFINED_TABLE,
            format!("{}, the {what} of run {run}, does not exist any more", shown(name)),
        )
        .hint(SAME_ROWS)
    })
}

/// A column that is gone is told as one of the earlier run.
pub fn gone(run: i64, error: TrailsError) -> TrailsError {
    if error.code != PgSqlErrorCode::ERRCODE_UNDEFINED_COLUMN {
        return error;
    }
    error.detail(format!("Run {run} was trained with it.")).hint(SAME_ROWS)
}

fn candidates(run: i64) -> Result<Vec<Candidate>> {
    Spi::connect(|client| {
        let rows = client.select(
            "SELECT architecture, score, score_rank, parameters FROM trails.candidates \
             WHERE run_id OPERATOR(pg_catalog.=) $1 ORDER BY score_rank",
            None,
            &[run.into()],
        )?;
        rows.map(|row| {
            Ok(Candidate {
                architecture: row.get(1)?.unwrap_or_default(),
                score: row.get(2)?,
                place: row.get(3)?,
                parameters: row.get(4)?,
            })
        })
        .collect()
    })
}

fn trials(run: i64, rung: i32) -> Result<Vec<Epoch>> {
    Spi::connect(|client| {
        let rows = client.select(
            "SELECT architecture, rung, epoch, train_loss, validation_loss, validation_metric, seconds FROM trails.trials \
             WHERE run_id OPERATOR(pg_catalog.=) $1 AND rung OPERATOR(pg_catalog.<=) $2 ORDER BY rung, epoch",
            None,
            &[run.into(), rung.into()],
        )?;
        rows.map(|row| {
            Ok(Epoch {
                architecture: row.get(1)?.unwrap_or_default(),
                rung: row.get(2)?.unwrap_or_default(),
                epoch: row.get(3)?.unwrap_or_default(),
                train_loss: row.get(4)?,
                validation_loss: row.get(5)?,
                validation_metric: row.get(6)?,
                seconds: row.get(7)?.unwrap_or_default(),
            })
        })
        .collect()
    })
}

fn checkpoint(run: i64) -> Result<File> {
    let file = child::memory_file("trails-resumed")?;
    Spi::connect(|client| -> Result<()> {
        let rows = client.select(
            "SELECT weights FROM trails.checkpoints WHERE run_id OPERATOR(pg_catalog.=) $1",
            Some(1),
            &[run.into()],
        )?;
        let first = rows.first();
        file.write_all_at(first.get::<&[u8]>(1)?.unwrap_or_default(), 0)?;
        Ok(())
    })?;
    Ok(file)
}
