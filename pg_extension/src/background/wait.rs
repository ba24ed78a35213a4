//! What is true of a run now, and waiting for its end. Rows are read as they are at that moment, whatever the
//! transaction's own snapshot sees.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ffi::CStr;
use std::time::{Duration, Instant};

use pgrx::pg_sys;
use pgrx::prelude::*;

use super::start::Start;
use super::{latest, locks, pending, queue};
use crate::error::{Result, TrailsError};
use crate::interrupts::{self, ClientWatch};
use crate::owner::{self, acting};

/// How often is looked whether a run has ended.
const GLANCE: Duration = Duration::from_millis(100);
/// How long a queue that does not move is left alone at first.
const PATIENCE: Duration = Duration::from_secs(1);
const MOST_PATIENCE: Duration = Duration::from_secs(30);

thread_local! {
    /// The runs whose turn this session has looked for, of late.
    static LOOKED: RefCell<BTreeMap<i64, Look>> = const { RefCell::new(BTreeMap::new()) };
}

/// When it was last looked whether a run can begin, and how long it is left alone from then on.
#[derive(Debug, Clone, Copy)]
struct Look {
    when: Instant,
    patience: Duration,
}

/// What a row says at this moment.
struct Now {
    state: String,
    role: pg_sys::Oid,
    /// Its role may log in.
    able: bool,
    /// It waits, and if a worker was started for it that should have come by now.
    overdue: bool,
}

impl Now {
    /// A run that the caller may see.
    fn of(run: i64) -> Result<Option<Self>> {
        let now = acting(|| read(run))?;
        let caller = owner::caller();
        // SAFETY: a look into the server's caches, within the calling transaction; a role that is gone is none.
        Ok(now.filter(|now| unsafe { pg_sys::has_privs_of_role(caller, now.role) }))
    }

    fn ended(&self) -> bool {
        !matches!(self.state.as_str(), "queued" | "running")
    }
}

const ROW: &CStr = c"SELECT j.state, j.owner::pg_catalog.oid, r.oid IS NOT NULL AND r.rolcanlogin AND \
        pg_catalog.has_database_privilege(r.oid, pg_catalog.current_database(), 'CONNECT'), \
        j.state OPERATOR(pg_catalog.=) 'queued' AND COALESCE(j.offered, j.submitted) OPERATOR(pg_catalog.<) \
           (pg_catalog.clock_timestamp() OPERATOR(pg_catalog.-) pg_catalog.make_interval(secs => 2)) \
     FROM trails.jobs j LEFT JOIN pg_catalog.pg_roles r ON r.oid OPERATOR(pg_catalog.=) j.owner::pg_catalog.oid \
     WHERE j.run_id OPERATOR(pg_catalog.=) $1";

fn read(run: i64) -> Result<Option<Now>> {
    let mut found = latest::rows(ROW, [(pg_sys::INT8OID, run.into())], |row| Now {
        state: row.get(1).unwrap_or_default(),
        role: row.get(2).unwrap_or(pg_sys::InvalidOid),
        able: row.get(3).unwrap_or(false),
        overdue: row.get(4).unwrap_or(false),
    })?;
    Ok(found.pop())
}

/// What is true of a run whose row says `state`. Of one whose role's rights the caller has not, that is all that is said.
pub fn state_of(run: i64, state: &str) -> Result<String> {
    Ok(match state {
        "queued" | "running" => known(run)?.map_or(state.to_owned(), |now| now.state),
        ended => ended.to_owned(),
    })
}

/// Whether a run has a worker that lives, of those that the caller may see.
pub fn is_running(run: i64) -> Result<bool> {
    Ok(known(run)?.is_some_and(|now| now.state == "running"))
}

/// A row, with the state that it has in truth.
fn known(run: i64) -> Result<Option<Now>> {
    let Some(mut now) = Now::of(run)? else { return Ok(None) };
    if now.state == "running" && !locks::is_held(run) {
        // It has ended meanwhile, which it wrote before it let go of the lock; or it never will.
        now = match Now::of(run)? {
            Some(again) if again.ended() => again,
            _ => Now { state: "failed".into(), ..now },
        };
    } else if now.state == "queued" && !now.able {
        now.state = "failed".into();
    }
    Ok(Some(now))
}

/// Has a worker started for a run that waits. One that comes looks whose turn it is: the one that should have may have
/// ended with the server, or found no place. Where as many run as may, each starts others when it ends.
///
/// Whoever waits does this, and whoever reads `trails.background_runs` does not: a view that starts processes would do so
/// for whoever looks, in monitoring and in dumps.
///
/// Each look has the next one wait twice as long, in this session's later calls too: of a worker that dies before it has
/// said a word nobody hears, and where others train, they start the next when they end.
fn start(run: i64, role: pg_sys::Oid) -> Result<()> {
    LOOKED.with_borrow_mut(|looked| {
        looked.retain(|_, look| look.when.elapsed() < 2 * MOST_PATIENCE);
        let patience = looked.get(&run).map_or(PATIENCE, |look| (look.patience * 2).min(MOST_PATIENCE));
        looked.insert(run, Look { when: Instant::now(), patience });
    });
    if queue::has_room()? {
        Start { run, role }.try_now();
    }
    Ok(())
}

/// Whether a run has been left alone long enough since this session last looked.
fn left_alone(run: i64) -> bool {
    LOOKED.with_borrow(|looked| looked.get(&run).is_none_or(|look| look.when.elapsed() >= look.patience))
}

/// Waits until a run has ended, for at most `patience`; returns its state then. Of one that does not begin although it
/// could, no moment is too short to have it started: clients may look again and again instead of waiting.
pub fn wait(run: i64, patience: Option<Duration>) -> Result<String> {
    let began = Instant::now();
    if pending::holds(run) {
        let message = format!("run {run} was submitted in this transaction, and begins when that is committed");
        return Err(TrailsError::new(PgSqlErrorCode::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE, message)
            .hint("COMMIT first; then wait for it."));
    }
    let unknown = || {
        TrailsError::new(PgSqlErrorCode::ERRCODE_UNDEFINED_OBJECT, format!("you have submitted no run {run}"))
            .hint("SELECT run_id, state FROM trails.background_runs shows those that you have.")
    };
    let watch = ClientWatch::start();
    let state = loop {
        let now = known(run)?.ok_or_else(unknown)?;
        if now.ended() {
            break now.state;
        }
        if now.state == "queued" && (now.overdue || began.elapsed() >= PATIENCE) && left_alone(run) {
            start(run, now.role)?;
        }
        let left = patience.map(|patience| patience.saturating_sub(began.elapsed()));
        if left.is_some_and(|left| left.is_zero()) {
            break now.state;
        }
        interrupts::pause(left.map_or(GLANCE, |left| left.min(GLANCE)));
    };
    watch.stop();
    Ok(state)
}
