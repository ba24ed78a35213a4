//! What the refinement process has told of a run so far: the result if it ends before its time.

use crate::error::TrailsError;
use crate::protocol::{CheckpointWritten, Epoch, Event, LeaderboardRow, ModelWritten, Phase, Plan, RowsEncoded};
use crate::{progress, watching::run as watched};

#[derive(Debug, Default)]
pub struct RunSoFar {
    pub device: Option<String>,
    /// From the process's start until it was ready.
    pub start_seconds: Option<f64>,
    pub encoded: Option<RowsEncoded>,
    pub plan: Option<Plan>,
    pub trials: Vec<Epoch>,
    pub checkpoint: Option<CheckpointWritten>,
    pub model: Option<ModelWritten>,
    pub leaderboard: Vec<LeaderboardRow>,
    pub complete: bool,
    pub timings: Vec<Phase>,
    /// Why the process could not write the winner's model.
    pub unkept: Option<String>,
}

impl RunSoFar {
    /// The best metric, if any candidate has one.
    pub fn best(&self) -> Option<f64> {
        let better = if self.less_is_better() { f64::min } else { f64::max };
        self.trials.iter().filter_map(|t| t.validation_metric).reduce(better)
    }

    /// Whether the metric is a loss.
    pub fn less_is_better(&self) -> bool {
        self.encoded.as_ref().is_some_and(|encoded| encoded.less_is_better)
    }

    /// What the validation metric is.
    pub fn metric(&self) -> &str {
        self.encoded.as_ref().map_or("auc", |encoded| &encoded.metric)
    }

    /// The best metric so far as a person reads it.
    fn best_shown(&self) -> Option<String> {
        self.best().map(|best| progress::metric(self.metric(), best))
    }

    /// Keeps what an event tells, and tells the client.
    pub fn note(&mut self, event: Event) {
        match event {
            Event::Ready { seconds, device } => {
                progress::phase(&format!("refinement process ready on {device} after {seconds:.1} s"));
                self.start_seconds = Some(seconds);
                self.device = Some(device);
            }
            Event::Rows(encoded) => {
                watched::metric(&encoded.metric, encoded.less_is_better);
                progress::held_out(&encoded.held_out);
                self.encoded = Some(encoded);
            }
            Event::Warning { message } => TrailsError::warning(message).warn(),
            Event::Plan(plan) => {
                watched::plan(&plan);
                progress::plan(&plan);
                self.plan = Some(plan);
            }
            Event::Epoch(epoch) => {
                watched::epoch(&epoch);
                self.trials.push(epoch);
            }
            Event::Progress { done, total } => progress::epochs(done, total, self.best_shown()),
            Event::Rung { rung, candidates, survivors } => progress::phase(&format!(
                "rung {rung}: {candidates} candidates trained, {} go on{}",
                survivors.len(),
                self.best_shown().map_or(String::new(), |best| format!(", best {best}")),
            )),
            Event::Checkpoint(checkpoint) => self.checkpoint = Some(checkpoint),
            Event::Model(model) => self.model = Some(model),
            Event::Alive {}
            | Event::Result { .. }
            | Event::Profile(_)
            | Event::Ranked { .. }
            | Event::Scored { .. }
            | Event::Error(_) => {}
        }
    }
}
