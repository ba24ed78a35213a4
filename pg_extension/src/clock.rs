//! The clock of one statement, and where its time goes. Knows nothing of PostgreSQL.

use std::time::Instant;

use crate::protocol::Phase;

/// Which of the two processes spent the time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Process {
    Backend,
    Refinement,
}

impl Process {
    pub fn name(self) -> &'static str {
        match self {
            Self::Backend => "backend",
            Self::Refinement => "refinement",
        }
    }
}

/// A part of a run.
#[derive(Debug, Clone)]
pub struct Timing {
    pub process: Process,
    pub phase: Phase,
}

/// Started when the function is called, because the budget counts from there.
#[derive(Debug)]
pub struct Clock {
    pub began: Instant,
    timings: Vec<Timing>,
}

impl Clock {
    pub fn start() -> Self {
        Self { began: Instant::now(), timings: Vec::new() }
    }

    /// Since the call.
    pub fn seconds(&self) -> f64 {
        self.began.elapsed().as_secs_f64()
    }

    /// CLOCK_MONOTONIC at the call, in seconds: the clock that Python calls `time.monotonic`.
    pub fn monotonic_start(&self) -> f64 {
        monotonic() - self.seconds()
    }

    /// The backend's phase that began at `begin` ends now; returns what it took.
    pub fn phase(&mut self, phase: &str, begin: f64) -> f64 {
        let seconds = self.seconds() - begin;
        self.add(Process::Backend, Phase { phase: phase.to_owned(), begin, seconds });
        seconds
    }

    pub fn add(&mut self, process: Process, phase: Phase) {
        self.timings.push(Timing { process, phase });
    }

    /// Every phase so far, by its begin.
    pub fn timings(&self) -> Vec<Timing> {
        let mut timings = self.timings.clone();
        timings.sort_by(|a, b| a.phase.begin.total_cmp(&b.phase.begin));
        timings
    }
}

/// CLOCK_MONOTONIC now, in seconds: one clock for all processes of the machine.
pub fn monotonic() -> f64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: it writes one timespec, into this one.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &mut now) };
    now.tv_sec as f64 + now.tv_nsec as f64 * 1e-9
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phases_come_by_their_begin() {
        let mut clock = Clock::start();
        let taken = clock.phase("late", 0.0);
        assert!((0.0..1.0).contains(&taken));
        clock.add(Process::Refinement, Phase { phase: "early".into(), begin: -1.0, seconds: 2.0 });
        let names: Vec<String> = clock.timings().into_iter().map(|t| t.phase.phase).collect();
        assert_eq!(names, ["early", "late"]);
    }
}
