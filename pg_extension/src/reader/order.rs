//! Rows in the order in which they are stored.

use std::ffi::c_int;

use pgrx::pg_sys;

/// While it lives, scans of large tables begin at the beginning, whatever other sessions scan meanwhile: which rows are
/// held out, and what number a row without a key has, must not depend on them.
pub struct ScanOrder {
    nest_level: Option<c_int>,
}

impl ScanOrder {
    /// Looked at when a scan begins, which is when its first row is asked for.
    pub fn start() -> Self {
        unsafe {
            if !pg_sys::synchronize_seqscans {
                return Self { nest_level: None };
            }
            let nest_level = pg_sys::NewGUCNestLevel();
            pg_sys::set_config_option(
                c"synchronize_seqscans".as_ptr(),
                c"off".as_ptr(),
                pg_sys::GucContext::PGC_USERSET,
                pg_sys::GucSource::PGC_S_SESSION,
                pg_sys::GucAction::GUC_ACTION_SAVE,
                true,
                0,
                false,
            );
            Self { nest_level: Some(nest_level) }
        }
    }
}

impl Drop for ScanOrder {
    fn drop(&mut self) {
        // After an error the end of the transaction puts the session's own setting back.
        if let Some(nest_level) = self.nest_level.filter(|_| !std::thread::panicking()) {
            unsafe { pg_sys::AtEOXact_GUC(true, nest_level) };
        }
    }
}
