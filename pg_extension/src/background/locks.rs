//! Which runs have a worker that lives, and whose turn it is: advisory locks of a kind that SQL cannot take, so that
//! nobody else can hold one.

use std::cell::Cell;

use pgrx::pg_sys;

use crate::owner;

thread_local! {
    /// The run that this process is the worker of, which its own lock does not keep from itself.
    static OWN: Cell<Option<i64>> = const { Cell::new(None) };
    /// The end of a transaction that failed has taken the first of the two locks away.
    static LOST: Cell<bool> = const { Cell::new(false) };
}

/// Runs are counted from 1.
const QUEUE: i64 = 0;

const DO_NOT_WAIT: bool = true;
const OF_SESSION: bool = true;

/// A transaction that fails lets go of the session's locks as well, but not of those of this kind; these are what
/// pg_advisory_unlock_all lets go of, which a view may call. A worker holds both, so that no moment is without one.
const KINDS: [u32; 2] = [pg_sys::DEFAULT_LOCKMETHOD, pg_sys::USER_LOCKMETHOD];

/// None where there is no table of jobs.
fn tag(run: i64) -> Option<pg_sys::LOCKTAG> {
    let jobs = owner::table(c"jobs")?;
    Some(pg_sys::LOCKTAG {
        // SAFETY: set once, when the backend connects.
        locktag_field1: unsafe { pg_sys::MyDatabaseId }.to_u32(),
        locktag_field2: jobs.to_u32(),
        locktag_field3: run as u32,
        locktag_field4: (run >> 32) as u16,
        locktag_type: pg_sys::LockTagType::LOCKTAG_OBJECT as u8,
        locktag_lockmethodid: pg_sys::DEFAULT_LOCKMETHOD as u8,
    })
}

const SHARED: pg_sys::LOCKMODE = pg_sys::ShareLock as pg_sys::LOCKMODE;
const ALONE: pg_sys::LOCKMODE = pg_sys::ExclusiveLock as pg_sys::LOCKMODE;

/// Waits until no other transaction looks whose turn it is. The end of the transaction lets go of it.
pub fn take_queue() {
    if let Some(tag) = tag(QUEUE) {
        // SAFETY: within a transaction; the object need not be one.
        unsafe { pg_sys::LockAcquire(&tag, ALONE, !OF_SESSION, !DO_NOT_WAIT) };
    }
}

/// Makes this process the worker of a run, until it ends or lets go.
pub fn hold(run: i64) {
    if let Some(tag) = tag(run) {
        KINDS.into_iter().for_each(|kind| hold_of(kind, tag));
        OWN.set(Some(run));
    }
}

fn hold_of(kind: u32, tag: pg_sys::LOCKTAG) {
    let tag = pg_sys::LOCKTAG { locktag_lockmethodid: kind as u8, ..tag };
    // SAFETY: within a transaction; a lock of the session outlives it, and ends with the process at the latest.
    unsafe { pg_sys::LockAcquire(&tag, ALONE, OF_SESSION, !DO_NOT_WAIT) };
}

/// A transaction of this process has failed.
pub fn lost() {
    LOST.set(OWN.get().is_some());
}

/// Takes what that has taken away again. Within a transaction.
pub fn renew() {
    if let Some(tag) = OWN.get().filter(|_| LOST.take()).and_then(tag) {
        hold_of(pg_sys::DEFAULT_LOCKMETHOD, tag);
    }
}

/// Lets go of everything: the process ends, and whoever is started looks which runs have workers that live.
pub fn let_go_at_exit() {
    // SAFETY: no transaction is under way any more, and the process has its place among the others still.
    KINDS.into_iter().for_each(|kind| unsafe { pg_sys::LockReleaseAll(kind as pg_sys::LOCKMETHODID, true) });
}

/// The run has ended, and its row says so.
pub fn let_go(run: i64) {
    if let (Some(tag), Some(_)) = (tag(run), OWN.take()) {
        for kind in KINDS {
            let tag = pg_sys::LOCKTAG { locktag_lockmethodid: kind as u8, ..tag };
            // SAFETY: this session holds it; what a view has let go of is a warning.
            unsafe { pg_sys::LockRelease(&tag, ALONE, OF_SESSION) };
        }
    }
}

/// Whether the worker of a run lives. A standby cannot know, and takes it for alive.
pub fn is_held(run: i64) -> bool {
    // SAFETY: it reads shared memory.
    if OWN.get() == Some(run) || unsafe { pg_sys::RecoveryInProgress() } {
        return true;
    }
    let Some(tag) = tag(run) else { return false };
    KINDS.into_iter().any(|kind| is_held_of(pg_sys::LOCKTAG { locktag_lockmethodid: kind as u8, ..tag }))
}

fn is_held_of(tag: pg_sys::LOCKTAG) -> bool {
    // Shared, so that two who look at once do not take each other for a worker; a worker waits the moment that it takes.
    // SAFETY: within a transaction; what was taken is let go of at once.
    unsafe {
        let taken = pg_sys::LockAcquire(&tag, SHARED, !OF_SESSION, DO_NOT_WAIT);
        if taken == pg_sys::LockAcquireResult::LOCKACQUIRE_NOT_AVAIL {
            return true;
        }
        pg_sys::LockRelease(&tag, SHARED, !OF_SESSION);
    }
    false
}
