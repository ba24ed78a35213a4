//! The leaderboard, made from learning curves where the refinement process did not make it. The package has the same rules in
//! `trails.refinement.leaderboard`; `tests/protocol/leaderboard.json` holds both to them. Knows nothing of PostgreSQL.

use std::cmp::Ordering;
use std::collections::{HashMap, HashSet};

use crate::candidate::Candidate;
use crate::protocol::{Epoch, LeaderboardRow};

/// `rows` and, from their learning curves, the candidates that are missing in them; best validation metric first, which is
/// the smallest of a loss, and of equal ones the smallest validation loss. Of those that are equal in both, `rows` come first,
/// as they are, then the others in the order in which they were offered.
pub fn complete(
    mut rows: Vec<LeaderboardRow>,
    trials: &[Epoch],
    candidates: &[Candidate],
    less_is_better: bool,
) -> Vec<LeaderboardRow> {
    let known: HashSet<&str> = rows.iter().map(|r| r.architecture.as_str()).collect();
    let missing = trials.iter().filter(|t| !known.contains(t.architecture.as_str()));
    let offered: HashMap<&str, (usize, &Candidate)> =
        candidates.iter().enumerate().map(|(place, c)| (c.architecture.as_str(), (place, c))).collect();
    let mut made = of_epochs(missing, less_is_better);
    made.sort_by_key(|row| offered.get(row.architecture.as_str()).map_or(usize::MAX, |(place, _)| *place));
    rows.extend(made);
    for row in &mut rows {
        if let Some((_, candidate)) = offered.get(row.architecture.as_str()) {
            row.score = row.score.or(candidate.score);
            row.parameters = row.parameters.or(candidate.parameters);
        }
    }
    let sign = sign_of(less_is_better);
    rows.sort_by(|a, b| {
        by_standing(sign, (a.validation_metric, a.validation_loss), (b.validation_metric, b.validation_loss))
    });
    rows
}

/// A row for every candidate that has a metric, in the order of their first epochs. An epoch without one has failed.
fn of_epochs<'a>(trials: impl Iterator<Item = &'a Epoch>, less_is_better: bool) -> Vec<LeaderboardRow> {
    let sign = sign_of(less_is_better);
    let mut rows: Vec<LeaderboardRow> = Vec::new();
    let mut places: HashMap<&str, usize> = HashMap::new();
    for trial in trials {
        let Some(metric) = trial.validation_metric else { continue };
        let place = *places.entry(&trial.architecture).or_insert(rows.len());
        if place == rows.len() {
            rows.push(LeaderboardRow {
                architecture: trial.architecture.clone(),
                score: None,
                validation_metric: sign * f64::NEG_INFINITY,
                validation_loss: None,
                epochs: 0,
                best_epoch: None,
                parameters: None,
                seconds: 0.0,
            });
        }
        let row = &mut rows[place];
        let best = (row.validation_metric, row.validation_loss);
        if by_standing(sign, (metric, trial.validation_loss), best) == Ordering::Less {
            row.validation_metric = metric;
            row.validation_loss = trial.validation_loss;
            row.best_epoch = Some(trial.epoch);
        }
        row.epochs = row.epochs.max(trial.epoch);
        row.seconds += trial.seconds;
    }
    rows
}

/// Metric and loss of two epochs or candidates, the best first. Where the metric cannot tell, as between AUCs of 1, the loss
/// does; one that is not known, or not a number, is behind every other.
fn by_standing(sign: f64, a: (f64, Option<f64>), b: (f64, Option<f64>)) -> Ordering {
    // A metric is a number; 0 and -0 are one number.
    let [metric, other] = [a.0, b.0].map(|metric| sign * metric + 0.0);
    let [loss, other_loss] = [a.1, b.1].map(|loss| loss.filter(|loss| !loss.is_nan()).unwrap_or(f64::INFINITY) + 0.0);
    other.total_cmp(&metric).then(loss.total_cmp(&other_loss))
}

/// Whether an epoch of a run that is under way is better than the best so far.
pub fn is_better(less_is_better: bool, metric: f64, loss: Option<f64>, best: (f64, Option<f64>)) -> bool {
    by_standing(sign_of(less_is_better), (metric, loss), best) == Ordering::Less
}

/// What makes a metric one of which more is better.
fn sign_of(less_is_better: bool) -> f64 {
    if less_is_better {
        -1.0
    } else {
        1.0
    }
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

    #[derive(serde::Deserialize)]
    struct Case {
        about: String,
        candidates: Vec<(String, Option<f64>)>,
        epochs: Vec<Epoch>,
        #[serde(default)]
        less_is_better: bool,
        leaderboard: Vec<LeaderboardRow>,
    }

    #[test]
    fn epochs_make_the_leaderboard_that_the_package_makes_of_them() {
        let cases: Vec<Case> = serde_json::from_str(include_str!("../../tests/protocol/leaderboard.json")).unwrap();
        assert!(cases.len() > 5);
        for case in cases {
            let offered = case.candidates.into_iter();
            let candidates: Vec<Candidate> = offered
                .map(|(architecture, score)| Candidate { architecture, score, place: None, parameters: None })
                .collect();
            let made = complete(Vec::new(), &case.epochs, &candidates, case.less_is_better);
            assert_eq!(made, case.leaderboard, "{}", case.about);
        }
    }

    #[test]
    fn what_is_known_of_a_candidate_is_told() {
        let rows = complete(
            Vec::new(),
            &[epoch("a", 0, 1, Some(0.7)), epoch("b", 0, 1, Some(0.8))],
            &[candidate("a", 2.0)],
            false,
        );
        assert_eq!((rows[1].score, rows[1].parameters, rows[0].score), (Some(2.0), Some(7), None));
    }

    #[test]
    fn rows_that_are_there_stay_in_their_order_among_equal_ones() {
        let there = complete(Vec::new(), &[epoch("b", 0, 1, Some(0.5))], &[], false);
        let rows = complete(there, &[epoch("a", 0, 1, Some(0.5))], &[candidate("a", 2.0), candidate("b", 1.0)], false);
        assert_eq!(rows.iter().map(|r| r.architecture.as_str()).collect::<Vec<_>>(), ["b", "a"]);
    }

    #[test]
    fn rows_that_are_there_stay_as_they_are() {
        let there = complete(Vec::new(), &[epoch("a", 0, 1, Some(0.9))], &[], false);
        let rows = complete(there, &[epoch("a", 0, 2, Some(0.95)), epoch("b", 0, 1, Some(0.5))], &[], false);
        assert_eq!(rows.iter().map(|r| r.validation_metric).collect::<Vec<_>>(), [0.9, 0.5]);
    }

    #[test]
    fn an_epoch_that_was_trained_again_counts_once() {
        let earlier = [epoch("a", 0, 1, Some(0.5)), epoch("a", 1, 2, Some(0.6))];
        let joined = join_curves(&earlier, vec![epoch("a", 1, 2, Some(0.7))]);
        assert_eq!(joined, [epoch("a", 0, 1, Some(0.5)), epoch("a", 1, 2, Some(0.7))]);
    }
}
