//! What a session sees of the statements under way: its role's own, and those of roles that it is a member of; members of
//! pg_read_all_stats see all. Reads memory that other backends write, and trusts none of it.

use std::sync::atomic::Ordering;

use pgrx::pg_sys;

use super::area::{self, Seen};
use super::layout::{self, State, Trial, NEWEST_AT, STATE_AT, STATE_WORDS, STOP_AT, TRIALS, TRIAL_WORDS, WRITTEN_AT};
use super::words;
use crate::owner;

/// Takes of a state while its statement goes on; each finds the other record whole unless it was long away.
const ATTEMPTS: usize = 3;

/// A statement under way.
pub struct UnderWay {
    pub state: State,
    /// Its end was asked for.
    pub stopping: bool,
    area: Seen,
}

/// Whether the caller has what members of `role` may do.
fn has_privileges_of(role: pg_sys::Oid) -> bool {
    // SAFETY: a look into the server's caches, within the calling transaction; a role that is gone has no members.
    unsafe { pg_sys::has_privs_of_role(owner::caller(), role) }
}

/// Every statement under way, in every database, whoever may see it.
pub fn all() -> Vec<UnderWay> {
    area::all().into_iter().filter_map(UnderWay::of).collect()
}

/// Those that the caller may see.
pub fn visible() -> Vec<UnderWay> {
    let mut seen = all();
    seen.retain(UnderWay::is_visible);
    seen.sort_by(|a, b| a.state.started.total_cmp(&b.state.started));
    seen
}

impl UnderWay {
    fn of(area: Seen) -> Option<Self> {
        let words = area.words();
        let mut values = [0; STATE_WORDS];
        let whole = (0..ATTEMPTS).any(|_| {
            let newest = (words[NEWEST_AT].load(Ordering::Acquire) & 1) as usize;
            words::read(&words[STATE_AT[newest]..][..1 + STATE_WORDS], &mut values)
        });
        let stopping = words[STOP_AT].load(Ordering::Relaxed) != 0;
        whole.then(|| Self { state: State::unpack(&values), stopping, area })
    }

    /// The role that it runs as.
    pub fn role(&self) -> pg_sys::Oid {
        pg_sys::Oid::from(self.state.role)
    }

    pub fn is_visible(&self) -> bool {
        has_privileges_of(self.role()) || has_privileges_of(pg_sys::Oid::from(pg_sys::ROLE_PG_READ_ALL_STATS))
    }

    /// Whether the caller may end it: as with pg_terminate_backend, a superuser's for superusers alone.
    pub fn may_be_ended(&self) -> bool {
        let superusers = [self.state.role, self.state.session_role].map(|role| owner::is_superuser(role.into()));
        if superusers.contains(&true) {
            return owner::is_superuser(owner::caller());
        }
        has_privileges_of(self.role()) || has_privileges_of(pg_sys::Oid::from(pg_sys::ROLE_PG_SIGNAL_BACKEND))
    }

    /// Of this database, whose numbers of runs it has.
    pub fn is_here(&self) -> bool {
        // SAFETY: a variable of the backend's one thread.
        self.state.database == unsafe { pg_sys::MyDatabaseId }.to_u32()
    }

    /// Asks for its end; false if somebody had before.
    pub fn ask_to_stop(&self) -> bool {
        self.area.words()[STOP_AT].swap(1, Ordering::SeqCst) == 0
    }

    /// Since the call.
    pub fn elapsed(&self) -> f64 {
        (crate::clock::monotonic() - self.state.started_monotonic).max(0.0)
    }

    /// The latest epochs, the first one first.
    pub fn trials(&self) -> Vec<Trial> {
        let words = self.area.words();
        let written = words[WRITTEN_AT].load(Ordering::Acquire);
        let mut trials = Vec::new();
        for place in written.saturating_sub(TRIALS as u64 - 1).max(1)..=written {
            let mut values = [0; TRIAL_WORDS];
            let record = &words[layout::trial_at(place)..][..1 + TRIAL_WORDS];
            // One that was written over meanwhile is the oldest, and gone.
            if words::read(record, &mut values) && values[0] == place {
                trials.push(Trial::unpack(&values));
            }
        }
        trials
    }
}

/// The name of a database, unless it is gone.
pub fn database_name(database: u32) -> Option<String> {
    // SAFETY: a look into the server's caches, within the calling transaction.
    let name = unsafe { pg_sys::get_database_name(database.into()) };
    if name.is_null() {
        return None;
    }
    // SAFETY: it was just made, in the memory context of the statement, and ends in a NUL byte.
    Some(unsafe { std::ffi::CStr::from_ptr(name) }.to_string_lossy().into_owned())
}
