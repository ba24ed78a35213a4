//! What this backend's running statement tells those who watch. Each call costs less than a microsecond; where there is no
//! area, because the disk is full say, nothing is told and the statement runs as ever.

use std::cell::RefCell;
use std::ffi::c_int;
use std::sync::atomic::{AtomicPtr, AtomicU64, Ordering};
use std::sync::Once;
use std::time::{SystemTime, UNIX_EPOCH};

use pgrx::pg_sys;
use pgrx::prelude::*;

use super::area::Own;
use super::layout::{self, Phase, State, Told, NEWEST_AT, STATE_AT, STATE_WORDS, STOP_AT, TRIAL_WORDS, WRITTEN_AT};
use super::words;
use crate::clock::Clock;
use crate::error::TrailsError;
use crate::leaderboard::is_better;
use crate::protocol::{Epoch, Plan};
use crate::{owner, tell};

/// A statement under way. Statements nest: reading a view may call a function that selects.
struct Running {
    state: State,
    /// The metric is a loss.
    less_is_better: bool,
    /// Of the best epoch.
    best_loss: Option<f64>,
    area: Option<Own>,
}

thread_local! {
    static RUNNING: RefCell<Vec<Running>> = const { RefCell::new(Vec::new()) };
}

/// Where the innermost statement's end is asked for, for a handler of signals; null where nobody can.
static STOP: AtomicPtr<AtomicU64> = AtomicPtr::new(std::ptr::null_mut());

/// While it lives, the statement is among those that others see. An ERROR unwinds, and so drops it.
pub struct Watched {
    depth: usize,
}

impl Watched {
    /// `model` is the name that the winner is to be kept under.
    pub fn begin(function: &str, budget: Option<f64>, model: Option<&str>, clock: &Clock) -> Self {
        static REGISTERED: Once = Once::new();
        static AREAS: AtomicU64 = AtomicU64::new(0);
        // SAFETY: the callback is a function of this library, which is never unloaded.
        REGISTERED.call_once(|| unsafe { pg_sys::on_proc_exit(Some(remove_at_exit), pg_sys::Datum::from(0)) });
        // SAFETY: variables of the backend's one thread.
        let (pid, database, session) = unsafe { (pg_sys::MyProcPid, pg_sys::MyDatabaseId, pg_sys::GetSessionUserId()) };
        let state = State {
            pid,
            database: database.to_u32(),
            role: owner::caller().to_u32(),
            session_role: session.to_u32(),
            function: function.to_owned(),
            model: model.map(str::to_owned),
            started: now() - clock.seconds(),
            started_monotonic: clock.monotonic_start(),
            budget,
            ..State::default()
        };
        let area = Own::make(pid, AREAS.fetch_add(1, Ordering::Relaxed)).map_err(|error| {
            let message = format!("trails.progress cannot show what {function} does: {error}");
            tell::log(&TrailsError::warning(message));
        });
        let running = Running { state, less_is_better: false, best_loss: None, area: area.ok() };
        running.publish();
        if let Some(area) = &running.area {
            area.open();
        }
        let depth = RUNNING.with_borrow_mut(|all| {
            all.push(running);
            all.len()
        });
        innermost();
        Self { depth }
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        STOP.store(std::ptr::null_mut(), Ordering::SeqCst);
        RUNNING.with_borrow_mut(|all| all.truncate(self.depth - 1));
        innermost();
    }
}

/// A session that ends within a statement does not unwind.
#[pg_guard]
unsafe extern "C-unwind" fn remove_at_exit(_code: c_int, _argument: pg_sys::Datum) {
    STOP.store(std::ptr::null_mut(), Ordering::SeqCst);
    let _ = RUNNING.try_with(|all| all.try_borrow_mut().map(|mut all| all.clear()));
}

/// Whose end may be asked for from now on.
fn innermost() {
    let stop = RUNNING.with_borrow(|all| {
        let area = all.last().and_then(|running| running.area.as_ref());
        area.map_or(std::ptr::null_mut(), |area| (&raw const area.words()[STOP_AT]).cast_mut())
    });
    STOP.store(stop, Ordering::SeqCst);
}

/// Whether somebody has asked the innermost statement to end. Reads memory alone: a handler of signals may call it.
pub fn stop_asked() -> bool {
    let stop = STOP.load(Ordering::SeqCst);
    // SAFETY: it points into the mapping of an area that is let go of after this pointer is taken back, on this thread.
    !stop.is_null() && unsafe { &*stop }.load(Ordering::Relaxed) != 0
}

/// The number of the innermost run.
pub fn number() -> Option<i64> {
    RUNNING.with_borrow(|all| all.last().and_then(|running| running.state.run))
}

impl Running {
    /// Into the older one of the two states, which then is the newest: a reader always finds one that is whole.
    fn publish(&self) {
        let Some(area) = &self.area else { return };
        let mut values = [0; STATE_WORDS];
        self.state.pack(&mut values);
        let words = area.words();
        let next = 1 - (words[NEWEST_AT].load(Ordering::Relaxed) & 1);
        words::write(&words[STATE_AT[next as usize]..][..1 + STATE_WORDS], &values);
        words[NEWEST_AT].store(next, Ordering::Release);
    }

    fn publish_trial(&self, told: Told<'_>) {
        let Some(area) = &self.area else { return };
        let (words, place) = (area.words(), self.state.epochs as u64);
        let mut values = [0; TRIAL_WORDS];
        told.pack(place, &mut values);
        words::write(&words[layout::trial_at(place)..][..1 + TRIAL_WORDS], &values);
        words[WRITTEN_AT].store(place, Ordering::Release);
    }
}

fn change(change: impl FnOnce(&mut Running)) {
    RUNNING.with_borrow_mut(|all| {
        if let Some(running) = all.last_mut() {
            change(running);
            running.publish();
        }
    });
}

/// Seconds since 1970.
fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}

/// The run has a number.
pub fn drawn(run: i64) {
    change(|running| running.state.run = Some(run));
}

/// What is read.
pub fn source(name: &str) {
    change(|running| running.state.source = name.to_owned());
}

pub fn phase(phase: Phase) {
    change(|running| running.state.phase = phase);
}

pub fn scored(scored: i64) {
    change(|running| running.state.scored = Some(scored));
}

/// What refinement is offered, and what the caller fixed.
pub fn candidates(candidates: usize, k: Option<i32>, u: Option<i32>) {
    change(|running| {
        (running.state.candidates, running.state.k, running.state.u) = (i32::try_from(candidates).ok(), k, u);
    });
}

/// By what candidates are compared, and whether that is a loss.
pub fn metric(metric: &str, less_is_better: bool) {
    change(|running| {
        running.state.metric = Some(metric.to_owned());
        running.less_is_better = less_is_better;
    });
}

pub fn plan(plan: &Plan) {
    change(|running| {
        running.state.phase = Phase::Refining;
        (running.state.k, running.state.u) = (plan.k.or(running.state.k), plan.u.or(running.state.u));
    });
}

pub fn epoch(epoch: &Epoch) {
    change(|running| {
        let state = &mut running.state;
        state.epochs += 1;
        state.rung = Some(epoch.rung);
        if let Some(metric) = epoch.validation_metric {
            let better = state.best.as_ref().is_none_or(|(_, best)| {
                is_better(running.less_is_better, metric, epoch.validation_loss, (*best, running.best_loss))
            });
            if better {
                state.best = Some((epoch.architecture.clone(), metric));
                running.best_loss = epoch.validation_loss;
            }
        }
        let measured = [epoch.train_loss, epoch.validation_loss, epoch.validation_metric];
        let Epoch { architecture, rung, epoch, seconds, .. } = epoch;
        let (rung, epoch, seconds) = (*rung, *epoch, *seconds);
        running.publish_trial(Told { architecture, rung, epoch, measured, seconds, at: now() });
    });
}
