//! What the backend and the refinement process say to each other: one JSON object a line.
//! The Python side is `trails.refinement.protocol`. Knows nothing of PostgreSQL.

use serde::{Deserialize, Serialize};

use crate::limits::{FILES_IN_TURN, LONGEST_PROTOCOL_LINE};
use crate::reader::columns::TableLayout;

/// First the rows, which travel and are encoded while architectures are filtered; then what to do with them.
#[derive(Debug, Serialize)]
#[serde(tag = "request", rename_all = "lowercase")]
pub enum Request<'a> {
    Rows(Rows<'a>),
    Refine(Refine<'a>),
    Profile(Profile<'a>),
}

/// Where the rows lie, and where and until when to train on them.
#[derive(Debug, Serialize)]
pub struct Rows<'a> {
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
    pub options: &'a serde_json::Value,
    pub train: &'a TableLayout,
    pub validation: Option<&'a TableLayout>,
}

/// Train these candidates, or go on with those of a checkpoint.
#[derive(Debug, Serialize)]
pub struct Refine<'a> {
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
pub struct Profile<'a> {
    pub architectures: &'a [&'a str],
    pub options: &'a serde_json::Value,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(tag = "event", rename_all = "lowercase")]
pub enum Event {
    Ready {
        seconds: f64,
        device: String,
    },
    /// A sign of life.
    Alive {},
    Rows(Encoded),
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
    Checkpoint(Checkpoint),
    Model(Model),
    Result {
        leaderboard: Vec<Trained>,
        complete: bool,
        #[serde(default)]
        timings: Vec<Phase>,
        /// Why the winner's model could not be written.
        #[serde(default)]
        unkept: Option<String>,
    },
    Profile(Profiled),
    Error(Failure),
}

/// `k` and `u` are None where the scheduler has no such number.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Plan {
    pub n: i64,
    pub k: Option<i32>,
    pub u: Option<i32>,
    pub refinement_seconds: f64,
    pub epoch_seconds: f64,
}

/// The rows are encoded; `first_batch` is seconds since the statement began.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Encoded {
    pub first_batch: Option<f64>,
    pub task: String,
    pub metric: String,
}

/// The best model so far is the first `length` bytes of model file `which`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Model {
    pub architecture: String,
    pub which: usize,
    pub length: u64,
}

/// The survivors of a finished rung are the first `length` bytes of checkpoint file `which`.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
pub struct Checkpoint {
    pub rung: i32,
    pub which: usize,
    pub length: u64,
}

/// What a part of the run took; `begin` is seconds since the statement began.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Phase {
    pub phase: String,
    pub begin: f64,
    pub seconds: f64,
}

#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Profiled {
    pub workers: i32,
    pub device: String,
    pub rows: Vec<Cost>,
}

/// What one architecture costs; seconds are those of an epoch.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Cost {
    pub architecture: String,
    pub parameters: i64,
    pub training_seconds: Option<f64>,
    pub evaluation_seconds: Option<f64>,
    pub seconds_alone: Option<f64>,
    pub seconds_shared: Option<f64>,
    pub bytes: Option<i64>,
}

/// One finished epoch of one candidate.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Epoch {
    pub architecture: String,
    pub rung: i32,
    pub epoch: i32,
    pub train_loss: Option<f64>,
    pub validation_loss: Option<f64>,
    pub validation_metric: Option<f64>,
    pub seconds: f64,
}

/// A row of the leaderboard.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Trained {
    pub architecture: String,
    pub score: Option<f64>,
    pub validation_metric: f64,
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
    /// Of an error that nobody foresaw.
    pub traceback: Option<String>,
}

/// A line that does not end.
#[derive(Debug, PartialEq)]
pub struct Endless;

/// Cuts a byte stream into lines.
#[derive(Debug, Default)]
pub struct Lines {
    buffer: Vec<u8>,
    /// Bytes at the beginning that were given out.
    given: usize,
    /// Bytes at the beginning that hold no further end of a line.
    searched: usize,
}

impl Lines {
    /// Takes what came; an error if the line at the end is longer than any should be.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<(), Endless> {
        self.buffer.drain(..self.given);
        self.searched -= self.given;
        self.given = 0;
        if self.buffer.len() + bytes.len() > LONGEST_PROTOCOL_LINE {
            return Err(Endless);
        }
        self.buffer.extend_from_slice(bytes);
        Ok(())
    }

    /// The next whole line, without its end.
    pub fn next(&mut self) -> Option<&[u8]> {
        let Some(length) = self.buffer[self.searched..].iter().position(|&b| b == b'\n') else {
            self.searched = self.buffer.len();
            return None;
        };
        let (begin, end) = (self.given, self.searched + length);
        (self.given, self.searched) = (end + 1, end + 1);
        Some(&self.buffer[begin..end])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_cut_where_they_end() {
        let mut lines = Lines::default();
        lines.feed(b"{\"a\":1}\n\n{\"b\"").unwrap();
        assert_eq!(lines.next(), Some(&b"{\"a\":1}"[..]));
        assert_eq!(lines.next(), Some(&b""[..]));
        assert_eq!(lines.next(), None);
        lines.feed(b":2}\n").unwrap();
        assert_eq!(lines.next(), Some(&b"{\"b\":2}"[..]));
        assert_eq!(lines.next(), None);
    }

    #[test]
    fn a_line_without_an_end_is_refused_and_not_searched_again_and_again() {
        let mut lines = Lines::default();
        let chunk = [b'x'; 16384];
        let began = std::time::Instant::now();
        let fed = (0..).take_while(|_| lines.feed(&chunk).is_ok() && lines.next().is_none()).count();
        assert_eq!(fed, LONGEST_PROTOCOL_LINE / chunk.len());
        assert!(began.elapsed().as_secs_f64() < 10.0);
    }

    #[test]
    fn numbers_and_depths_that_do_not_fit_are_no_events() {
        for line in [
            r#"{"event":"ready","seconds":1e400,"device":"cpu"}"#.to_owned(),
            r#"{"event":"model","architecture":"8","which":0,"length":-1}"#.to_owned(),
            r#"{"event":"checkpoint","rung":3000000000,"which":0,"length":1}"#.to_owned(),
            format!(r#"{{"event":"alive","deep":{}{}}}"#, "[".repeat(100_000), "]".repeat(100_000)),
        ] {
            assert!(serde_json::from_str::<Event>(&line).is_err(), "{}", &line[..40]);
        }
    }

    #[test]
    fn events_are_told_apart_by_name_and_may_carry_more() {
        let event: Event = serde_json::from_str(r#"{"event":"ready","seconds":1.5,"device":"cpu","new":1}"#).unwrap();
        assert_eq!(event, Event::Ready { seconds: 1.5, device: "cpu".into() });
        let event: Event = serde_json::from_str(
            r#"{"event":"epoch","architecture":"8-8","rung":0,"epoch":1,"train_loss":null,"validation_loss":null,"validation_metric":0.5,"seconds":1}"#,
        )
        .unwrap();
        assert!(matches!(event, Event::Epoch(Epoch { validation_metric: Some(a), .. }) if a == 0.5));
        let event: Event = serde_json::from_str(r#"{"event":"alive","at":1.5}"#).unwrap();
        assert_eq!(event, Event::Alive {});
        assert!(serde_json::from_str::<Event>(r#"{"event":"unknown"}"#).is_err());
    }

    #[test]
    fn requests_carry_their_name_and_their_fields_side_by_side() {
        let options = serde_json::json!({});
        let request = Request::Refine(Refine {
            space: "mlp4x20",
            refinement: "sh",
            k: Some(1),
            u: None,
            options: &options,
            score_seconds: 0.0,
            scored: 0,
            candidates: &[("8-8-8-8", None)],
            resume: Some(Resume { fd: 9, length: 4 }),
        });
        let written = serde_json::to_value(&request).unwrap();
        assert_eq!(written["request"], "refine");
        assert_eq!(written["candidates"], serde_json::json!([["8-8-8-8", null]]));
        assert_eq!(written["resume"], serde_json::json!({"fd": 9, "length": 4}));
        assert!(written["u"].is_null());
    }
}
