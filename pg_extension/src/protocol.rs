//! What the backend and the refinement process say to each other: one JSON object a line.
//! The Python side is `trails.refinement.protocol`, and `tests/protocol/messages.json` has every message with every field,
//! which both sides are tested against. Knows nothing of PostgreSQL.

use serde::{Deserialize, Serialize};

use crate::error::{code_of, TrailsError};
use crate::limits::FILES_IN_TURN;
use crate::reader::layout::TableLayout;
use crate::settings;

/// First the rows, which travel and are encoded while architectures are filtered; then what to do with them.
#[derive(Debug, Serialize)]
#[serde(tag = "request", rename_all = "lowercase")]
pub enum Request<'a> {
    Rows(RowsRequest<'a>),
    Refine(RefineRequest<'a>),
    Profile(ProfileRequest<'a>),
    Cells(CellsRequest<'a>),
}

/// Where the rows lie, and where and until when to train on them.
#[derive(Debug, Serialize)]
pub struct RowsRequest<'a> {
    pub target: &'a str,
    pub seed: i64,
    /// CLOCK_MONOTONIC seconds, the same clock in both processes.
    pub started: f64,
    /// Seconds of the whole statement; None for no limit.
    pub budget: Option<f64>,
    /// When the result must be out.
    pub deadline: Option<f64>,
    pub device: &'a str,
    pub threads: i32,
    /// Bytes; 0 for none.
    pub memory_limit: i64,
    pub ray_address: Option<&'a str>,
    pub ray_gpus: f64,
    /// Descriptors of the files that checkpoints are written to in turn.
    pub checkpoints: [i32; FILES_IN_TURN],
    /// Descriptors of the files that the best model so far is written to in turn; None keeps none.
    pub models: Option<[i32; FILES_IN_TURN]>,
    pub task: Option<&'a str>,
    /// The column that says which rows are held out.
    pub split: Option<&'a str>,
    /// The column whose groups are held out as a whole.
    pub group_by: Option<&'a str>,
    /// The column by which the latest rows are held out.
    pub time_by: Option<&'a str>,
    /// The column that says what a row counts for.
    pub weight: Option<&'a str>,
    /// Columns that are no features.
    pub aside: &'a [&'a str],
    /// By which candidates are compared; None for that of the task.
    pub metric: Option<&'a str>,
    pub options: &'a serde_json::Value,
    pub train: &'a TableLayout,
    pub validation: Option<&'a TableLayout>,
}

/// Train these candidates, or go on with those of a checkpoint.
#[derive(Debug, Serialize)]
pub struct RefineRequest<'a> {
    pub space: &'a str,
    pub refinement: &'a str,
    pub k: Option<i32>,
    pub u: Option<i32>,
    pub options: &'a serde_json::Value,
    pub score_seconds: f64,
    pub scored: i64,
    /// Architecture and score, best first.
    pub candidates: &'a [(&'a str, Option<f64>)],
    pub resume: Option<Resume>,
}

/// A checkpoint in a file that the process inherited.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Resume {
    pub fd: i32,
    pub length: u64,
}

/// Time the training of these architectures.
#[derive(Debug, Serialize)]
pub struct ProfileRequest<'a> {
    pub space: &'a str,
    pub architectures: &'a [&'a str],
    pub options: &'a serde_json::Value,
}

/// Score networks on pictures; there is no other request then.
#[derive(Debug, Serialize)]
pub struct CellsRequest<'a> {
    pub filtering: CellsAsked<'a>,
    /// When the result must be out.
    pub deadline: Option<f64>,
    pub threads: i32,
    /// Bytes; 0 for none.
    pub memory_limit: i64,
    /// Where the pictures are from, for messages.
    pub column: &'a str,
    pub pictures: &'a PicturesLayout,
}

/// Which cells are scored, by what, and how many of the best are told.
#[derive(Debug, Serialize)]
pub struct CellsAsked<'a> {
    pub space: &'a str,
    pub tfmem: &'a str,
    pub n: Option<i32>,
    pub k: Option<i32>,
    pub batch_size: i32,
    pub seed: i64,
    pub sampler: Option<&'a str>,
}

/// Pictures in a file that the process inherited.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PicturesLayout {
    pub fd: i32,
    /// Bytes, or NumPy's name of the numbers of arrays.
    pub form: &'static str,
    /// That all pictures of the relation have.
    pub classes: usize,
    pub drawn: Vec<PictureLayout>,
}

/// Where one picture lies, the number of its class, and how messages name it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PictureLayout {
    pub offset: u64,
    pub length: u64,
    /// Of the array that it is.
    pub shape: Vec<i32>,
    pub label: usize,
    pub row: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "lowercase")]
pub enum Event {
    Ready {
        seconds: f64,
        device: String,
    },
    /// A sign of life.
    Alive {},
    Rows(RowsEncoded),
    /// Something of the rows that a person should know.
    Warning {
        message: String,
    },
    Plan(Plan),
    Epoch(Epoch),
    Progress {
        done: f64,
        total: f64,
    },
    Rung {
        rung: i32,
        candidates: i32,
        survivors: Vec<String>,
    },
    Checkpoint(CheckpointWritten),
    Model(ModelWritten),
    Result {
        leaderboard: Vec<LeaderboardRow>,
        complete: bool,
        #[serde(default)]
        timings: Vec<Phase>,
        /// Why the winner's model could not be written.
        #[serde(default)]
        unkept: Option<String>,
    },
    Profile(ProfileResult),
    /// The next of the best cells, best first.
    Ranked {
        rows: Vec<CellRow>,
    },
    /// Cells are scored, and the best of them told.
    Scored {
        scored: i64,
        failed: i64,
        notices: Vec<String>,
    },
    Error(Failure),
}

/// `k` and `u` are None where the scheduler has no such number.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    pub n: i64,
    pub k: Option<i32>,
    pub u: Option<i32>,
    pub filtering_seconds: Option<f64>,
    pub refinement_seconds: f64,
    /// The candidates' mean.
    pub epoch_seconds: f64,
}

/// The rows are encoded; `first_batch` is seconds since the statement began.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RowsEncoded {
    /// What encoding took.
    pub seconds: Option<f64>,
    pub first_batch: Option<f64>,
    pub task: String,
    pub metric: String,
    /// Whether the metric, told with its own sign, is a loss.
    #[serde(default)]
    pub less_is_better: bool,
    /// Which rows are held out, for people.
    #[serde(default)]
    pub held_out: serde_json::Value,
}

/// The best model so far is the first `length` bytes of model file `which`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ModelWritten {
    pub architecture: String,
    pub which: usize,
    pub length: u64,
}

/// The survivors of a finished rung are the first `length` bytes of checkpoint file `which`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct CheckpointWritten {
    pub rung: i32,
    pub which: usize,
    pub length: u64,
}

/// What a part of the run took; `begin` is seconds since the statement began.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Phase {
    pub phase: String,
    pub begin: f64,
    pub seconds: f64,
}

/// What epochs take here.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ProfileResult {
    pub workers: i32,
    pub device: String,
    pub rows: Vec<ProfileRow>,
}

/// What one architecture costs; seconds are those of an epoch.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ProfileRow {
    pub architecture: String,
    pub parameters: i64,
    pub training_seconds: Option<f64>,
    pub evaluation_seconds: Option<f64>,
    pub seconds_alone: Option<f64>,
    pub seconds_shared: Option<f64>,
    pub bytes: Option<i64>,
}

/// One scored cell; a score that failed is None.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CellRow {
    pub architecture: String,
    pub score: Option<f64>,
    /// By metric.
    pub scores: Vec<(String, Option<f64>)>,
    pub parameters: i64,
    pub flops: i64,
    pub seconds: f64,
}

/// One finished epoch of one candidate.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Epoch {
    pub architecture: String,
    pub rung: i32,
    pub epoch: i32,
    pub train_loss: Option<f64>,
    pub validation_loss: Option<f64>,
    pub validation_metric: Option<f64>,
    pub seconds: f64,
}

/// A row of the leaderboard: `epochs` counts all training, metric and loss are those of `best_epoch`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LeaderboardRow {
    pub architecture: String,
    pub score: Option<f64>,
    pub validation_metric: f64,
    pub validation_loss: Option<f64>,
    pub epochs: i32,
    pub best_epoch: Option<i32>,
    pub parameters: Option<i64>,
    pub seconds: f64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Failure {
    /// The exception's class.
    pub kind: Option<String>,
    pub message: String,
    pub detail: Option<String>,
    pub hint: Option<String>,
    pub sqlstate: Option<String>,
    /// Of an error that nobody foresaw.
    pub traceback: Option<String>,
    /// Seconds of a budget that would do, where it is known.
    pub minimum: Option<f64>,
}

impl From<Failure> for TrailsError {
    fn from(failure: Failure) -> Self {
        let code = code_of(failure.sqlstate.as_deref().unwrap_or("XX000"));
        let [detail, hint] = [failure.detail, failure.hint].map(|text| text.map(settings::veiled));
        Self { code, message: settings::veiled(failure.message), detail, hint, confidential: failure.traceback }
    }
}

#[cfg(test)]
#[path = "protocol_tests.rs"]
mod tests;
