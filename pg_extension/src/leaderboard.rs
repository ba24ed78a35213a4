//! The leaderboard, made from learning curves where the refinement process did not make it. Knows nothing of PostgreSQL.

use std::collections::HashSet;

use crate::candidate::Candidate;
use crate::protocol::{Epoch, Trained};

/// `rows` and, from their learning curves, the candidates that are missing in them; best validation AUC first.
pub fn complete(mut rows: Vec<Trained>, trials: &[Epoch], candidates: &[Candidate]) -> Vec<Trained> {
    let known: HashSet<String> = rows.iter().map(|r| r.architecture.clone()).collect();
    for trial in trials.iter().filter(|t| !known.contains(&t.architecture)) {
        let Some(auc) = trial.validation_metric else { continue };
        match rows.iter_mut().find(|r| r.architecture == trial.architecture) {
            Some(row) => {
                row.validation_metric = row.validation_metric.max(auc);
                row.epochs = row.epochs.max(trial.epoch);
                row.seconds += trial.seconds;
            }
            None => rows.push(Trained {
                architecture: trial.architecture.clone(),
                score: None,
                validation_metric: auc,
                epochs: trial.epoch,
                parameters: None,
                seconds: trial.seconds,
            }),
        }
    }
    for row in &mut rows {
        if let Some(candidate) = candidates.iter().find(|c| c.architecture == row.architecture) {
            row.score = row.score.or(candidate.score);
            row.parameters = row.parameters.or(candidate.parameters);
        }
    }
    rows.sort_by(|a, b| b.validation_metric.total_cmp(&a.validation_metric));
    rows
}

/// The learning curves of a run that was continued: `earlier` ones, and those that came after them.
pub fn join_curves(earlier: &[Epoch], later: Vec<Epoch>) -> Vec<Epoch> {
    let repeated: HashSet<(&str, i32)> = later.iter().map(|t| (t.architecture.as_str(), t.epoch)).collect();
    let mut trials: Vec<Epoch> =
        earlier.iter().filter(|t| !repeated.contains(&(t.architecture.as_str(), t.epoch))).cloned().collect();
    trials.extend(later);
    trials
}

#[cfg(test)]
mod tests {
    use super::*;

    fn epoch(architecture: &str, rung: i32, epoch: i32, validation_metric: Option<f64>) -> Epoch {
        let architecture = architecture.to_owned();
        Epoch { architecture, rung, epoch, train_loss: None, validation_loss: None, validation_metric, seconds: 1.0 }
    }

    fn candidate(architecture: &str, score: f64) -> Candidate {
        Candidate { architecture: architecture.to_owned(), score: Some(score), place: Some(1), parameters: Some(7) }
    }

    #[test]
    fn the_best_epoch_counts_and_those_without_one_are_left_out() {
        let trials = [
            epoch("a", 0, 1, Some(0.7)),
            epoch("a", 0, 2, Some(0.6)),
            epoch("b", 0, 1, Some(0.8)),
            epoch("c", 0, 1, None),
        ];
        let rows = complete(Vec::new(), &trials, &[candidate("a", 2.0)]);
        let names: Vec<&str> = rows.iter().map(|r| r.architecture.as_str()).collect();
        assert_eq!(names, ["b", "a"]);
        assert_eq!((rows[1].validation_metric, rows[1].epochs, rows[1].seconds), (0.7, 2, 2.0));
        assert_eq!((rows[1].score, rows[1].parameters, rows[0].score), (Some(2.0), Some(7), None));
    }

    #[test]
    fn rows_that_are_there_stay_as_they_are() {
        let there = complete(Vec::new(), &[epoch("a", 0, 1, Some(0.9))], &[]);
        let rows = complete(there, &[epoch("a", 0, 2, Some(0.95)), epoch("b", 0, 1, Some(0.5))], &[]);
        assert_eq!(rows.iter().map(|r| r.validation_metric).collect::<Vec<_>>(), [0.9, 0.5]);
    }

    #[test]
    fn an_epoch_that_was_trained_again_counts_once() {
        let earlier = [epoch("a", 0, 1, Some(0.5)), epoch("a", 1, 2, Some(0.6))];
        let joined = join_curves(&earlier, vec![epoch("a", 1, 2, Some(0.7))]);
        assert_eq!(joined, [epoch("a", 0, 1, Some(0.5)), epoch("a", 1, 2, Some(0.7))]);
    }
}
