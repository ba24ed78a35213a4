//! What is true of a run now, and waiting for its end. Rows are read as they are at that moment, whatever the
//! transaction's own snapshot sees.

use std::cell::Cell;
use std::ffi::CStr;
use std::time::{Duration, Instant};

use pgrx::pg_sys;
use pgrx::prelude::*;

use super::start::Start;
use super::{locks, pending, queue};
use crate::error::{Result, TrailsError};
use crate::interrupts::{self, ClientWatch};
use crate::owner::{self, acting};

/// How often is looked whether a run has ended.
const GLANCE: Duration = Duration::from_millis(100);
/// How long a queue that does not move is left alone at first.
const PATIENCE: Duration = Duration::from_secs(1);
const MOST_PATIENCE: Duration = Duration::from_secs(30);

thread_local! {
    /// The run that this session last had a worker started for, and when.
    static STARTED: Cell<Option<(i64, Instant)>> = const { Cell::new(None) };
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
    Spi::connect(|_client| {
        let mut types = [pg_sys::INT8OID];
        let mut values = [run.into_datum().unwrap_or(pg_sys::Datum::null())];
        // SAFETY: within an SPI connection and a transaction. The snapshot is the server's, which copies it; it is the
        // active one while the statement runs, which takes none of its own because it is read-only, and is taken off again;
        // after an error the end of the transaction does that. One type and one value, as many as are said; the row is read
        // before anything else is run, and what is read is copied.
        unsafe {
            pg_sys::PushActiveSnapshot(pg_sys::GetLatestSnapshot());
            let status = pg_sys::SPI_execute_with_args(
                ROW.as_ptr(),
                1,
                types.as_mut_ptr(),
                values.as_mut_ptr(),
                std::ptr::null(),
                true,
                1,
            );
            pg_sys::PopActiveSnapshot();
            Spi::check_status(status)?;
            let table = pg_sys::SPI_tuptable;
            if table.is_null() || pg_sys::SPI_processed == 0 {
                return Ok(None);
            }
            let cell = |place| {
                let mut is_null = false;
                (pg_sys::SPI_getbinval(*(*table).vals, (*table).tupdesc, place, &mut is_null), is_null)
            };
            let (state, role, able, overdue) = (cell(1), cell(2), cell(3), cell(4));
            Ok(Some(Now {
                state: String::from_datum(state.0, state.1).unwrap_or_default(),
                role: pg_sys::Oid::from_datum(role.0, role.1).unwrap_or(pg_sys::InvalidOid),
                able: bool::from_datum(able.0, able.1).unwrap_or(false),
                overdue: bool::from_datum(overdue.0, overdue.1).unwrap_or(false),
            }))
        }
    })
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
fn start(run: i64, role: pg_sys::Oid) -> Result<()> {
    if queue::has_room()? {
        Start { run, role }.try_now();
        STARTED.set(Some((run, Instant::now())));
    }
    Ok(())
}

/// Whether this session has had a worker started for a run a moment ago, which may be on its way.
fn just_started(run: i64) -> bool {
    STARTED.get().is_some_and(|(started, when)| started == run && when.elapsed() < PATIENCE)
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
    let mut patient = (Instant::now(), PATIENCE);
    let state = loop {
        let now = known(run)?.ok_or_else(unknown)?;
        if now.ended() {
            break now.state;
        }
        if now.overdue && !just_started(run) {
            start(run, now.role)?;
        }
        let left = patience.map(|patience| patience.saturating_sub(began.elapsed()));
        if left.is_some_and(|left| left.is_zero()) {
            break now.state;
        }
        if now.state == "queued" && patient.0.elapsed() >= patient.1 {
            if !just_started(run) {
                start(run, now.role)?;
            }
            patient = (Instant::now(), (patient.1 * 2).min(MOST_PATIENCE));
        }
        interrupts::pause(left.map_or(GLANCE, |left| left.min(GLANCE)));
    };
    watch.stop();
    Ok(state)
}
