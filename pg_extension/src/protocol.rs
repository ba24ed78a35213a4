//! What the backend and the refinement process say to each other: one JSON object a line.
//! The Python side is `trails.refinement.protocol`. Knows nothing of PostgreSQL.

use serde::{Deserialize, Serialize};

use crate::reader::columns::TableLayout;

/// The one request: train these candidates on these columns until this deadline.
#[derive(Debug, Serialize)]
pub struct Refine<'a> {
    pub request: &'static str,
    pub target: &'a str,
    pub seed: i64,
    pub space: &'a str,
    pub k: Option<i32>,
    pub u: Option<i32>,
    /// Budget of the whole statement in seconds.
    pub budget: f64,
    /// CLOCK_MONOTONIC seconds, the same clock in both processes.
    pub started: f64,
    pub deadline: f64,
    pub score_seconds: f64,
    pub scored: i64,
    pub device: &'a str,
    pub threads: i32,
    /// Architecture and score, best first.
    pub candidates: &'a [(String, f64)],
    pub train: &'a TableLayout,
    pub validation: Option<&'a TableLayout>,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(tag = "event", rename_all = "lowercase")]
pub enum Event {
    Ready { seconds: f64, device: String },
    Plan(Plan),
    Epoch(Epoch),
    Progress { done: f64, total: f64 },
    Rung { rung: i32, candidates: i32, survivors: Vec<String> },
    Result { leaderboard: Vec<Trained>, complete: bool },
    Error(Failure),
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Plan {
    pub n: i64,
    pub k: i32,
    pub u: i32,
    pub refinement_seconds: f64,
    pub epoch_seconds: f64,
}

/// One finished epoch of one candidate.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Epoch {
    pub architecture: String,
    pub rung: i32,
    pub epoch: i32,
    pub train_loss: Option<f64>,
    pub validation_loss: Option<f64>,
    pub validation_auc: Option<f64>,
    pub seconds: f64,
}

/// A row of the leaderboard.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Trained {
    pub architecture: String,
    pub score: f64,
    pub validation_auc: f64,
    pub epochs: i32,
    pub parameters: Option<i64>,
    pub seconds: f64,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Failure {
    pub message: String,
    pub detail: Option<String>,
    pub hint: Option<String>,
    pub sqlstate: Option<String>,
}

/// Cuts a byte stream into lines.
#[derive(Debug, Default)]
pub struct Lines {
    buffer: Vec<u8>,
}

impl Lines {
    pub fn feed(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole line, without its end.
    pub fn next(&mut self) -> Option<Vec<u8>> {
        let end = self.buffer.iter().position(|&b| b == b'\n')?;
        let mut line: Vec<u8> = self.buffer.drain(..=end).collect();
        line.pop();
        Some(line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_cut_where_they_end() {
        let mut lines = Lines::default();
        lines.feed(b"{\"a\":1}\n{\"b\"");
        assert_eq!(lines.next().as_deref(), Some(&b"{\"a\":1}"[..]));
        assert_eq!(lines.next(), None);
        lines.feed(b":2}\n");
        assert_eq!(lines.next().as_deref(), Some(&b"{\"b\":2}"[..]));
    }

    #[test]
    fn events_are_told_apart_by_name_and_may_carry_more() {
        let event: Event = serde_json::from_str(r#"{"event":"ready","seconds":1.5,"device":"cpu","new":1}"#).unwrap();
        assert_eq!(event, Event::Ready { seconds: 1.5, device: "cpu".into() });
        let event: Event = serde_json::from_str(
            r#"{"event":"epoch","architecture":"8-8","rung":0,"epoch":1,"train_loss":null,"validation_loss":null,"validation_auc":0.5,"seconds":1}"#,
        )
        .unwrap();
        assert!(matches!(event, Event::Epoch(Epoch { validation_auc: Some(a), .. }) if a == 0.5));
        assert!(serde_json::from_str::<Event>(r#"{"event":"unknown"}"#).is_err());
    }
}
