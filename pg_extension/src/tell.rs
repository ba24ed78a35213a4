//! How people are told: the one place where errors become PostgreSQL's, and the one way in which a running statement says
//! something without ending, to its client or to the server's log alone.
//!
//! PostgreSQL acts on pending interrupts at the end of every report, and so raises a cancel by longjmp. pgrx reports below
//! ERROR without a guard: the longjmp would pass over our frames, and the refinement process, memory files and arrays that
//! they hold would stay for as long as the session lives. Here it becomes a panic, which unwinds.

use std::ffi::{c_char, c_int, CString};

use pgrx::pg_sys;
use pgrx::pg_sys::panic::ErrorReport;
use pgrx::prelude::*;

use crate::error::{cut, TrailsError};
use crate::settings;

// Not among pgrx's bindings, which leave reports to `ereport!`.
extern "C-unwind" {
    fn errstart(level: c_int, domain: *const c_char) -> bool;
    fn errcode(code: c_int) -> c_int;
    fn errmsg_internal(format: *const c_char, ...) -> c_int;
    fn errdetail_internal(format: *const c_char, ...) -> c_int;
    fn errhint(format: *const c_char, ...) -> c_int;
    fn errfinish(file: *const c_char, line: c_int, function: *const c_char);
}

/// Characters of a message, at most: a caller's argument may be part of it, and a caller may give any.
const LONGEST_MESSAGE: usize = 1_000;
/// The same of a detail or hint, which may hold the end of a log or every column of a table.
const LONGEST_DETAIL: usize = 100_000;

impl TrailsError {
    /// As the client is told it. What must be kept from it is written to the server's log, so that pending interrupts
    /// may be raised.
    pub fn disclosed(mut self) -> Self {
        self.message = cut(self.message, LONGEST_MESSAGE);
        let [detail, hint] = [self.detail, self.hint].map(|text| text.map(|text| cut(text, LONGEST_DETAIL)));
        (self.detail, self.hint) = (detail, hint);
        let Some(confidential) = self.confidential.take() else { return self };
        let told = if settings::visible() {
            confidential
        } else {
            log(&Self::new(self.code, self.message.clone()).detail(confidential));
            "The server's log has the details.".to_owned()
        };
        self.detail = Some(self.detail.map_or(told.clone(), |detail| format!("{detail}\n{told}")));
        self
    }

    /// Ends the statement with this error. Must not be called while attached to the interpreter.
    pub fn raise(self) -> ! {
        let this = self.disclosed();
        let mut report = ErrorReport::new(this.code, this.message, "");
        if let Some(detail) = this.detail {
            report = report.set_detail(detail);
        }
        if let Some(hint) = this.hint {
            report = report.set_hint(hint);
        }
        report.report(PgLogLevel::ERROR);
        unreachable!("reporting an ERROR does not return")
    }

    /// Tells the client without ending the statement. Raises pending interrupts.
    pub fn warn(self) {
        warn(&self.disclosed());
    }
}

/// The client is told, if its `client_min_messages` asks for it.
pub fn notice(message: &str) {
    let code = PgSqlErrorCode::ERRCODE_SUCCESSFUL_COMPLETION;
    report(PgLogLevel::NOTICE, &TrailsError::new(code, message));
}

/// Something that does not end the statement.
pub fn warn(warning: &TrailsError) {
    report(PgLogLevel::WARNING, warning);
}

/// For those who run the server: nothing of it reaches the client, whatever its `client_min_messages`.
pub fn log(entry: &TrailsError) {
    report(PgLogLevel::LOG_SERVER_ONLY, entry);
}

/// Raises pending interrupts.
fn report(level: PgLogLevel, told: &TrailsError) {
    let message = c_text(&told.message);
    let detail = told.detail.as_deref().map(c_text);
    let hint = told.hint.as_deref().map(c_text);
    let pointer = |text: &Option<CString>| text.as_ref().map_or(std::ptr::null(), |text| text.as_ptr());
    let (message, detail, hint) = (message.as_ptr(), pointer(&detail), pointer(&hint));
    let (level, code) = (level as c_int, told.code as c_int);
    let format = c"%s".as_ptr();
    // SAFETY: nothing in the closure has a destructor, so that it may be left by longjmp. Every text ends in a NUL byte and
    // outlives the report, which copies it; the format takes one text, and one is given.
    unsafe {
        pg_sys::ffi::pg_guard_ffi_boundary(|| {
            if errstart(level, std::ptr::null()) {
                errcode(code);
                errmsg_internal(format, message);
                if !detail.is_null() {
                    errdetail_internal(format, detail);
                }
                if !hint.is_null() {
                    errhint(format, hint);
                }
                errfinish(c"tell.rs".as_ptr(), 0, c"report".as_ptr());
            }
        });
    }
}

fn c_text(text: &str) -> CString {
    CString::new(text.replace('\0', "\u{fffd}")).expect("every NUL byte has been replaced")
}
