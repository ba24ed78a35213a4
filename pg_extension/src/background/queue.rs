//! Whose turn it is. Runs begin in the order in which they were submitted, no more at once than `trails.max_runs`. Whoever
//! looks has the queue to itself until its transaction ends, and that does nothing else.

use pgrx::prelude::*;

use super::jobs::{self, End, Locked};
use super::locks;
use super::session::Settings;
use super::start::Start;
use crate::error::{Result, TrailsError};
use crate::settings;

/// Workers that may end without having begun, before the run is given up: each has had two seconds.
const MOST_OFFERS: i32 = 10;

/// What a worker finds.
pub enum Turn {
    /// Its run begins: what is asked of it, and how its session is set.
    Now(String, Settings),
    Later,
}

/// Begins a run if it is its turn.
pub fn turn(run: i64) -> Result<Turn> {
    locks::take_queue();
    let room = settled()?;
    if !jobs::is_next(run, room)? {
        jobs::take_back(run, true)?;
        return Ok(Turn::Later);
    }
    locks::hold(run);
    Ok(match jobs::begin(run)? {
        Some((work, settings)) => Turn::Now(work, settings),
        None => Turn::Later,
    })
}

/// Workers to start when this transaction is committed.
pub fn next() -> Result<Vec<Start>> {
    locks::take_queue();
    let room = settled()?;
    jobs::offer(room)
}

/// Writes down what has ended without a word; returns how many runs may begin, None without a limit.
fn settled() -> Result<Option<i64>> {
    let alive = settle_dead()?;
    for (run, why) in jobs::barred()? {
        let code = PgSqlErrorCode::ERRCODE_INVALID_AUTHORIZATION_SPECIFICATION;
        let hint = "A run in the background logs in as the role that submitted it.";
        fail(run, "queued", TrailsError::new(code, format!("the run cannot start: {why}")).hint(hint))?;
    }
    for run in jobs::offered_in_vain(MOST_OFFERS)? {
        let message = "the run cannot start: its worker ended before it had begun, again and again";
        fail(run, "queued", TrailsError::external(message).hint("The server's log says why."))?;
    }
    Ok(settings::max_runs().map(|most| (most as i64 - alive).max(0)))
}

/// Writes down that runs have failed whose workers are gone; returns how many have workers that live. Whoever holds the
/// lock of a run holds it before its row says that it runs, so that nobody need have the queue for this.
pub fn settle_dead() -> Result<i64> {
    let mut alive = 0;
    for run in jobs::running()? {
        if locks::is_held(run) {
            alive += 1;
        } else {
            fail(run, "running", died())?;
        }
    }
    Ok(alive)
}

/// Whether one more run may begin, as far as can be seen without having the queue.
pub fn has_room() -> Result<bool> {
    let Some(most) = settings::max_runs() else { return Ok(true) };
    let alive = jobs::running()?.into_iter().filter(|run| locks::is_held(*run)).count();
    Ok(alive < most)
}

fn fail(run: i64, from: &str, fault: TrailsError) -> Result<()> {
    jobs::end(run, from, Locked::Skip, &End { state: "failed", model: None, fault: Some(&fault) })
}

/// What is said of a run whose worker is gone; `trails.background_runs` says the same.
fn died() -> TrailsError {
    let message = "the worker ended: the server was restarted, or it was killed";
    TrailsError::new(PgSqlErrorCode::ERRCODE_ADMIN_SHUTDOWN, message)
}
