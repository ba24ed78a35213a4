//! A budget in seconds: when it is over, and what is said where it is too small. Knows nothing of PostgreSQL.

use std::time::{Duration, Instant};

use crate::limits::{
    LATE_SECONDS, LATE_SHARE, LEAST_TO_TRY, MOST_BUSY, RESERVE_SECONDS, SECONDS_A_CELL, SECONDS_A_ROW,
};

/// When a budget is over for good: what is not there by then is not waited for.
pub fn end_of(began: Instant, budget: f64) -> Instant {
    // Less than nothing is refused elsewhere.
    began + Duration::from_secs_f64(budget.max(0.0) * LATE_SHARE + LATE_SECONDS)
}

/// When the refinement process must have answered, on the clock that `started` is on: what comes after it takes time too.
pub fn deadline(started: f64, budget: f64) -> f64 {
    started + budget - RESERVE_SECONDS
}

/// A guess at the seconds of reading, encoding and the least training; `given` if k or u is, so that the widest network is
/// trained whatever it costs.
pub fn work_seconds(rows: f64, cells: f64, given: bool) -> f64 {
    let alone = cells * SECONDS_A_CELL + if given { rows * SECONDS_A_ROW } else { 0.0 };
    alone * busyness()
}

/// How much longer everything takes than on a machine that is idle, by its load.
fn busyness() -> f64 {
    let mut load = [0.0];
    // SAFETY: there is room for the one number that is asked for.
    let known = unsafe { libc::getloadavg(load.as_mut_ptr(), 1) } == 1;
    // SAFETY: sysconf reads a fact of the system.
    let processors = unsafe { libc::sysconf(libc::_SC_NPROCESSORS_ONLN) }.max(1) as f64;
    if known {
        (load[0] / processors).clamp(1.0, MOST_BUSY)
    } else {
        1.0
    }
}

/// Whole seconds of a budget that is enough where nothing was measured that would tell, and the work is guessed at. `tried`
/// seconds were not: what was `spent` before training is needed again, and twice of what was left for it.
pub fn budget_to_try(tried: f64, spent: f64, work_seconds: f64) -> f64 {
    let twice = spent + (2.0 * (tried - spent)).max(LEAST_TO_TRY);
    twice.max(LEAST_TO_TRY / 2.0 + work_seconds).ceil()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_larger_budget_has_room_for_what_was_spent_before_training() {
        assert_eq!(budget_to_try(5.0, 1.0, 0.0), 11.0);
        assert_eq!(budget_to_try(12.0, 11.5, 0.0), 22.0);
        assert_eq!(budget_to_try(60.0, 10.0, 0.0), 110.0);
        assert_eq!(budget_to_try(30.0, 40.0, 0.0), 50.0);
        assert_eq!(budget_to_try(1.0, 0.0, 0.0), 10.0);
        assert_eq!(budget_to_try(8.0, 2.0, 40.0), 45.0);
    }

    #[test]
    fn a_budget_is_over_a_little_after_its_end_and_its_deadline_before() {
        let began = Instant::now();
        let over = end_of(began, 10.0).duration_since(began).as_secs_f64();
        assert!((over - 10.5).abs() < 1e-9 && end_of(began, -1.0) > began);
        assert!((deadline(100.0, 10.0) - 109.85).abs() < 1e-9);
    }
}
