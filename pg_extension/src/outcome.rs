//! What came of a run.

use crate::candidate::Candidate;
use crate::clock::Clock;
use crate::run::Facts;
use crate::run_so_far::RunSoFar;

/// What was scored; all None where nothing was.
#[derive(Debug, Clone, Default)]
pub struct Scored {
    pub tfmem: Option<String>,
    /// Architectures that the candidates were chosen from.
    pub n: Option<i64>,
    pub scored: Option<i64>,
    pub failed: Option<i64>,
    pub seconds: Option<f64>,
    /// As the caller fixed it.
    pub asked_n: Option<i32>,
    pub batch_size: Option<i32>,
    /// Those that the caller named.
    pub architectures: Option<Vec<String>>,
}

/// What came of a run.
pub struct Outcome {
    /// The number drawn for it.
    pub run: i64,
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
    pub resume_point: Option<ResumePoint>,
    /// The winner, where the caller gave it a name.
    pub model: Option<Vec<u8>>,
    /// What a model that was trained before does on the rows that were held out, where that was asked and can be said.
    pub incumbent: Option<f64>,
}

/// What the run can be resumed from.
pub enum ResumePoint {
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
