//! Runs in the background: submitted by a statement that returns at once, run by a worker that logs in as the role that
//! submitted them.
//!
//! There is no process that waits for work. A transaction that submits runs starts one worker when it commits, and none
//! when it is rolled back; each worker, before it ends, starts those whose turn it is. Who runs is decided by locks alone,
//! which end with whoever held them: a row of `trails.jobs` that says running, and whose run is not locked, is of a worker
//! that was killed, and it is read so before anybody has written it.

mod jobs;
mod latest;
mod locks;
mod pending;
mod queue;
mod session;
mod start;
mod submit;
mod wait;
mod worker;

pub use queue::settle_dead;
pub use submit::{check_primary, submit, withdraw, Work};
pub use wait::{is_running, state_of, wait};
