//! What those who run the server let others take: settings for superusers alone. What a session asks for beyond one is
//! made less, and told; a budget beyond one is refused, because nobody wants another result than the one that was asked for.

use pgrx::guc::{GucContext, GucFlags, GucRegistry, GucSetting};
use pgrx::prelude::*;

use crate::error::{Result, TrailsError};

// What sessions ask for.
pub static REFINEMENT_THREADS: GucSetting<i32> = GucSetting::<i32>::new(0);
pub static REFINEMENT_MEMORY_LIMIT: GucSetting<i32> = GucSetting::<i32>::new(0);
pub static FILTERING_THREADS: GucSetting<i32> = GucSetting::<i32>::new(0);

// The fences.
static MAX_RUNS: GucSetting<i32> = GucSetting::<i32>::new(4);
static MAX_QUEUED_RUNS: GucSetting<i32> = GucSetting::<i32>::new(100);
static MAX_BUDGET: GucSetting<i32> = GucSetting::<i32>::new(0);
static MAX_REFINEMENT_THREADS: GucSetting<i32> = GucSetting::<i32>::new(0);
static MAX_REFINEMENT_MEMORY: GucSetting<i32> = GucSetting::<i32>::new(0);
static MAX_FILTERING_THREADS: GucSetting<i32> = GucSetting::<i32>::new(0);

/// Registers them; called once, when the library is loaded.
pub fn define() {
    GucRegistry::define_int_guc(
        c"trails.max_runs",
        c"Runs that a database's background workers have under way at once; 0 sets no limit.",
        c"Further runs wait in the order in which they were submitted. Runs in the foreground are not counted.",
        &MAX_RUNS,
        0,
        1024,
        GucContext::Suset,
        GucFlags::default(),
    );
    GucRegistry::define_int_guc(
        c"trails.max_queued_runs",
        c"Runs in the background that a role may have waiting in a database; 0 sets no limit.",
        c"Submitting more is an error.",
        &MAX_QUEUED_RUNS,
        0,
        i32::MAX,
        GucContext::Suset,
        GucFlags::default(),
    );
    GucRegistry::define_int_guc(
        c"trails.max_budget",
        c"The largest budget of a run; 0 sets no limit.",
        c"A larger one, or none, is an error.",
        &MAX_BUDGET,
        0,
        i32::MAX,
        GucContext::Suset,
        GucFlags::UNIT_S,
    );
    GucRegistry::define_int_guc(
        c"trails.max_refinement_threads",
        c"CPU threads that a refinement process may have, whatever trails.refinement_threads says; 0 sets no limit.",
        c"",
        &MAX_REFINEMENT_THREADS,
        0,
        1024,
        GucContext::Suset,
        GucFlags::default(),
    );
    GucRegistry::define_int_guc(
        c"trails.max_refinement_memory",
        c"Memory that a refinement process may use, whatever trails.refinement_memory_limit says; 0 sets no limit.",
        c"",
        &MAX_REFINEMENT_MEMORY,
        0,
        i32::MAX,
        GucContext::Suset,
        GucFlags::UNIT_MB,
    );
    GucRegistry::define_int_guc(
        c"trails.max_filtering_threads",
        c"CPU threads that may score architectures, whatever trails.filtering_threads says; 0 sets no limit.",
        c"",
        &MAX_FILTERING_THREADS,
        0,
        1024,
        GucContext::Suset,
        GucFlags::default(),
    );
}

/// A number of which 0 asks for all there is, with at most as much of it as a fence lets pass; its 0 is no fence.
fn within(asked: i32, most: i32) -> i32 {
    match (asked, most) {
        (_, 0) => asked,
        (0, _) => most,
        _ => asked.min(most),
    }
}

/// Runs in the background at once; None without a limit.
pub fn max_runs() -> Option<usize> {
    usize::try_from(MAX_RUNS.get()).ok().filter(|most| *most > 0)
}

/// Runs of a role that may wait; None without a limit.
pub fn max_queued_runs() -> Option<i64> {
    Some(i64::from(MAX_QUEUED_RUNS.get())).filter(|most| *most > 0)
}

/// 0 for every core.
pub fn refinement_threads() -> i32 {
    within(REFINEMENT_THREADS.get(), MAX_REFINEMENT_THREADS.get())
}

/// In bytes; 0 for none.
pub fn refinement_memory_limit() -> i64 {
    i64::from(within(REFINEMENT_MEMORY_LIMIT.get(), MAX_REFINEMENT_MEMORY.get())) << 20
}

/// 0 for every core.
pub fn filtering_threads() -> i32 {
    within(FILTERING_THREADS.get(), MAX_FILTERING_THREADS.get())
}

/// Refuses seconds, or a run without a limit, that the fence does not let pass.
pub fn check_budget(budget: Option<f64>) -> Result<()> {
    let most = MAX_BUDGET.get();
    if most == 0 || budget.is_some_and(|budget| budget <= f64::from(most)) {
        return Ok(());
    }
    let message = match budget {
        Some(budget) => format!("a budget of {budget} s is more than this server allows, which is {most} s"),
        None => format!("this server allows no run without a budget, and none of more than {most} s"),
    };
    Err(TrailsError::new(PgSqlErrorCode::ERRCODE_CONFIGURATION_LIMIT_EXCEEDED, message).hint(format!(
        "Ask for at most budget => '{most} s'; a run that was cut goes on with trails.resume. \
         A superuser sets trails.max_budget."
    )))
}

/// What a session's refinement gets less of than it asked for, as sentences.
pub fn less_for_refinement() -> Vec<String> {
    let threads =
        less("refinement_threads", "max_refinement_threads", &REFINEMENT_THREADS, &MAX_REFINEMENT_THREADS, "");
    let (asked, most) = (&REFINEMENT_MEMORY_LIMIT, &MAX_REFINEMENT_MEMORY);
    let memory = less("refinement_memory_limit", "max_refinement_memory", asked, most, " MB");
    threads.into_iter().chain(memory).collect()
}

/// The same of filtering.
pub fn less_for_filtering() -> Option<String> {
    less("filtering_threads", "max_filtering_threads", &FILTERING_THREADS, &MAX_FILTERING_THREADS, "")
}

fn less(name: &str, fence: &str, asked: &GucSetting<i32>, most: &GucSetting<i32>, unit: &str) -> Option<String> {
    let (asked, most) = (asked.get(), most.get());
    (within(asked, most) < asked)
        .then(|| format!("trails.{name} is {asked}{unit}, of which trails.{fence} allows {most}{unit}"))
}

#[cfg(test)]
mod tests {
    use super::within;

    #[test]
    fn a_fence_makes_less_of_what_is_more_and_nothing_more() {
        assert_eq!([within(0, 0), within(3, 0), within(0, 2), within(1, 2), within(3, 2)], [0, 3, 2, 1, 2]);
    }
}
