//! Rows in the order in which they are stored.

use pgrx::pg_sys;

use crate::settings::Overridden;

/// While it lives, scans of large tables begin at the beginning, whatever other sessions scan meanwhile: which rows are
/// held out, and what number a row without a key has, must not depend on them.
pub struct ScanOrder(Option<Overridden>);

impl ScanOrder {
    /// Looked at when a scan begins, which is when its first row is asked for.
    pub fn start() -> Self {
        // SAFETY: a setting, read on the backend's one thread.
        if !unsafe { pg_sys::synchronize_seqscans } {
            return Self(None);
        }
        let settings = Overridden::begin();
        settings.set(c"synchronize_seqscans", 0);
        Self(Some(settings))
    }
}

impl Drop for ScanOrder {
    fn drop(&mut self) {
        // After an error the end of the transaction puts the session's own setting back.
        if let Some(settings) = self.0.take().filter(|_| !std::thread::panicking()) {
            settings.end();
        }
    }
}
