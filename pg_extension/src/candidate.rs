//! The architectures that refinement may train, as a run knows them. Knows nothing of PostgreSQL.

use crate::protocol::LeaderboardRow;

/// An architecture that refinement may train.
#[derive(Debug, Clone, PartialEq)]
pub struct Candidate {
    pub architecture: String,
    /// None where nothing was scored.
    pub score: Option<f64>,
    /// By score, or in the caller's order; 1 is first. None where only a checkpoint knew of it.
    pub place: Option<i32>,
    pub parameters: Option<i64>,
}

/// By filtering, best first.
pub fn scored_candidates(found: Vec<(String, f64)>) -> Vec<Candidate> {
    let candidate = |((architecture, score), place)| Candidate {
        architecture,
        score: Some(score),
        place: Some(place),
        parameters: None,
    };
    found.into_iter().zip(1..).map(candidate).collect()
}

/// By the caller, in the order given.
pub fn named_candidates(named: Vec<String>) -> Vec<Candidate> {
    let candidate =
        |(architecture, place)| Candidate { architecture, score: None, place: Some(place), parameters: None };
    named.into_iter().zip(1..).map(candidate).collect()
}

/// Candidates that were still waiting for their first rung when the earlier run was cut.
pub fn add_unknown(candidates: &mut Vec<Candidate>, leaderboard: &[LeaderboardRow]) {
    for row in leaderboard {
        if !candidates.iter().any(|c| c.architecture == row.architecture) {
            let LeaderboardRow { architecture, score, parameters, .. } = row.clone();
            candidates.push(Candidate { architecture, score, place: None, parameters });
        }
    }
}
