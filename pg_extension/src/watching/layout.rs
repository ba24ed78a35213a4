//! What a running statement publishes, and where each part of it lies in its area. Knows nothing of PostgreSQL.

use super::words::{Packer, Unpacker};

/// The first word of an area, written last: bytes, and the version of what is below.
pub const MAGIC: u64 = u64::from_be_bytes(*b"TrlsWa\x00\x01");
/// The latest epochs that an area keeps.
pub const TRIALS: usize = 4096;

/// Words of the texts.
const FUNCTION: usize = 4;
const SOURCE: usize = 36;
const MODEL: usize = 16;
const ARCHITECTURE: usize = 12;
const METRIC: usize = 2;

/// Words of a record, without its number.
pub const STATE_WORDS: usize = 128;
pub const TRIAL_WORDS: usize = 24;

/// Words at the beginning of an area, then two records of its state, then its trials.
pub const MAGIC_AT: usize = 0;
/// 1 once somebody has asked for the end.
pub const STOP_AT: usize = 1;
/// Which of the two states is the newest.
pub const NEWEST_AT: usize = 2;
/// Epochs written so far.
pub const WRITTEN_AT: usize = 3;
pub const STATE_AT: [usize; 2] = [8, 8 + 1 + STATE_WORDS];
const TRIALS_AT: usize = STATE_AT[1] + 1 + STATE_WORDS;
pub const WORDS: usize = TRIALS_AT + TRIALS * (1 + TRIAL_WORDS);

/// Where the record of an epoch lies, counted from 1.
pub fn trial_at(place: u64) -> usize {
    TRIALS_AT + (place.wrapping_sub(1) % TRIALS as u64) as usize * (1 + TRIAL_WORDS)
}

/// What a statement does just now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Phase {
    #[default]
    Preparing,
    Reading,
    Filtering,
    Starting,
    Refining,
    Writing,
}

impl Phase {
    const ALL: [Self; 6] =
        [Self::Preparing, Self::Reading, Self::Filtering, Self::Starting, Self::Refining, Self::Writing];

    pub fn name(self) -> &'static str {
        match self {
            Self::Preparing => "preparing",
            Self::Reading => "reading",
            Self::Filtering => "filtering",
            Self::Starting => "starting",
            Self::Refining => "refining",
            Self::Writing => "writing",
        }
    }
}

/// Where a statement is.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct State {
    pub pid: i32,
    /// None of what records no run, and before a number is drawn.
    pub run: Option<i64>,
    /// OIDs of the database, of the role that the statement runs as, and of the session's.
    pub database: u32,
    pub role: u32,
    pub session_role: u32,
    pub function: String,
    pub source: String,
    /// The name that the winner is to be kept under.
    pub model: Option<String>,
    pub phase: Phase,
    /// Seconds since 1970, and on CLOCK_MONOTONIC.
    pub started: f64,
    pub started_monotonic: f64,
    pub budget: Option<f64>,
    pub scored: Option<i64>,
    pub candidates: Option<i32>,
    pub k: Option<i32>,
    pub u: Option<i32>,
    pub rung: Option<i32>,
    /// Finished by this run.
    pub epochs: i64,
    pub metric: Option<String>,
    pub best: Option<(String, f64)>,
}

fn word(value: i32) -> u64 {
    i64::from(value) as u64
}

fn number(word: u64) -> i32 {
    i32::try_from(word as i64).unwrap_or_default()
}

impl State {
    pub fn pack(&self, words: &mut [u64]) {
        let mut packer = Packer::new(words);
        packer.put(word(self.pid));
        packer.put_option(self.run.map(|run| run as u64));
        for oid in [self.database, self.role, self.session_role] {
            packer.put(u64::from(oid));
        }
        packer.put_text(&self.function, FUNCTION);
        packer.put_text(&self.source, SOURCE);
        packer.put(u64::from(self.model.is_some()));
        packer.put_text(self.model.as_deref().unwrap_or_default(), MODEL);
        packer.put(self.phase as u64);
        packer.put(self.started.to_bits());
        packer.put(self.started_monotonic.to_bits());
        packer.put_float(self.budget);
        packer.put_option(self.scored.map(|scored| scored as u64));
        for value in [self.candidates, self.k, self.u, self.rung] {
            packer.put_option(value.map(word));
        }
        packer.put(self.epochs as u64);
        packer.put(u64::from(self.metric.is_some()));
        packer.put_text(self.metric.as_deref().unwrap_or_default(), METRIC);
        let best = self.best.as_ref();
        packer.put_float(best.map(|(_, metric)| *metric));
        packer.put_text(best.map_or("", |(architecture, _)| architecture), ARCHITECTURE);
    }

    pub fn unpack(words: &[u64]) -> Self {
        let mut unpacker = Unpacker::new(words);
        let pid = number(unpacker.take());
        let run = unpacker.take_option().map(|run| run as i64);
        let [database, role, session_role] = [(); 3].map(|()| unpacker.take() as u32);
        let (function, source) = (unpacker.take_text(FUNCTION), unpacker.take_text(SOURCE));
        let (named, model) = (unpacker.take() == 1, unpacker.take_text(MODEL));
        let phase = Phase::ALL.get(unpacker.take() as usize).copied().unwrap_or_default();
        let [started, started_monotonic] = [(); 2].map(|()| f64::from_bits(unpacker.take()));
        let budget = unpacker.take_float();
        let scored = unpacker.take_option().map(|scored| scored as i64);
        let [candidates, k, u, rung] = [(); 4].map(|()| unpacker.take_option().map(number));
        let epochs = unpacker.take() as i64;
        let (known, metric) = (unpacker.take() == 1, unpacker.take_text(METRIC));
        let (best, architecture) = (unpacker.take_float(), unpacker.take_text(ARCHITECTURE));
        Self {
            pid,
            run,
            database,
            role,
            session_role,
            function,
            source,
            model: named.then_some(model),
            phase,
            started,
            started_monotonic,
            budget,
            scored,
            candidates,
            k,
            u,
            rung,
            epochs,
            metric: known.then_some(metric),
            best: best.map(|best| (architecture, best)),
        }
    }
}

/// One finished epoch of one candidate.
#[derive(Debug, Clone, PartialEq)]
pub struct Trial {
    /// Within the run, from 1.
    pub place: i64,
    pub architecture: String,
    pub rung: i32,
    pub epoch: i32,
    pub train_loss: Option<f64>,
    pub validation_loss: Option<f64>,
    pub validation_metric: Option<f64>,
    pub seconds: f64,
    /// Seconds since 1970.
    pub at: f64,
}

impl Trial {
    pub fn unpack(words: &[u64]) -> Self {
        let mut unpacker = Unpacker::new(words);
        let place = unpacker.take() as i64;
        let (rung, epoch) = (number(unpacker.take()), number(unpacker.take()));
        let [train_loss, validation_loss, validation_metric] = [(); 3].map(|()| unpacker.take_float());
        let [seconds, at] = [(); 2].map(|()| f64::from_bits(unpacker.take()));
        let architecture = unpacker.take_text(ARCHITECTURE);
        Self { place, architecture, rung, epoch, train_loss, validation_loss, validation_metric, seconds, at }
    }
}

/// Packs an epoch without a copy of its architecture; the fields are those of `Trial`.
#[derive(Debug, Clone, Copy)]
pub struct Told<'a> {
    pub architecture: &'a str,
    pub rung: i32,
    pub epoch: i32,
    /// Training loss, validation loss, validation metric.
    pub measured: [Option<f64>; 3],
    pub seconds: f64,
    pub at: f64,
}

impl Told<'_> {
    pub fn pack(&self, place: u64, words: &mut [u64]) {
        let mut packer = Packer::new(words);
        packer.put(place);
        packer.put(word(self.rung));
        packer.put(word(self.epoch));
        self.measured.into_iter().for_each(|value| packer.put_float(value));
        packer.put(self.seconds.to_bits());
        packer.put(self.at.to_bits());
        packer.put_text(self.architecture, ARCHITECTURE);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state() -> State {
        State {
            pid: 4711,
            run: Some(i64::MAX),
            database: u32::MAX,
            role: 10,
            session_role: 16384,
            function: "model_selection_workloads".into(),
            source: format!("\"{}\".\"{}\"", "s".repeat(126), "t".repeat(126)),
            model: Some("churn".into()),
            phase: Phase::Writing,
            started: 1.7e9 + 0.123456,
            started_monotonic: 12.5,
            budget: Some(60.0),
            scored: Some(160_000),
            candidates: Some(1000),
            k: Some(-1),
            u: None,
            rung: Some(i32::MAX),
            epochs: 77,
            metric: Some("accuracy".into()),
            best: Some(("512-512-512-512-512".into(), 0.98)),
        }
    }

    #[test]
    fn a_state_is_read_as_it_was_written() {
        for state in [state(), State::default()] {
            let mut words = [0; STATE_WORDS];
            state.pack(&mut words);
            assert_eq!(State::unpack(&words), state);
            assert_eq!(words[STATE_WORDS - 1], 0, "there is room for all of it");
        }
    }

    #[test]
    fn an_epoch_is_read_as_it_was_written() {
        let measured = [Some(0.5), None, Some(f64::INFINITY)];
        let told = Told { architecture: "8-8-8-8", rung: 2, epoch: 31, measured, seconds: 0.25, at: 1.7e9 };
        let mut words = [0; TRIAL_WORDS];
        told.pack(9, &mut words);
        let read = Trial::unpack(&words);
        assert_eq!((read.place, read.rung, read.epoch, read.architecture.as_str()), (9, 2, 31, "8-8-8-8"));
        assert_eq!([read.train_loss, read.validation_loss, read.validation_metric], measured);
        assert_eq!((read.seconds, read.at), (0.25, 1.7e9));
        assert_eq!(words[TRIAL_WORDS - 1], 0, "there is room for all of it");
    }

    #[test]
    fn trials_go_round() {
        assert_eq!(trial_at(1), TRIALS_AT);
        assert_eq!(trial_at(TRIALS as u64 + 1), trial_at(1));
        assert!(trial_at(TRIALS as u64) + 1 + TRIAL_WORDS <= WORDS);
    }

    #[test]
    fn any_words_are_some_state() {
        let state = State::unpack(&[u64::MAX; STATE_WORDS]);
        assert_eq!((state.run, state.phase, state.function.as_str()), (None, Phase::Preparing, ""));
        assert_eq!(Trial::unpack(&[u64::MAX; 3]).architecture, "");
    }
}
