//! The one way in which a running statement says something without ending: to its client, or to the server's log alone.
//!
//! PostgreSQL acts on pending interrupts at the end of every report, and so raises a cancel by longjmp. pgrx reports below
//! ERROR without a guard: the longjmp would pass over our frames, and the refinement process, memory files and arrays that
//! they hold would stay for as long as the session lives. Here it becomes a panic, which unwinds.

use std::ffi::{c_char, c_int, CString};

use pgrx::pg_sys;
use pgrx::prelude::*;

use crate::error::TrailsError;

// Not among pgrx's bindings, which leave reports to `ereport!`.
extern "C-unwind" {
    fn errstart(level: c_int, domain: *const c_char) -> bool;
    fn errcode(code: c_int) -> c_int;
    fn errmsg_internal(format: *const c_char, ...) -> c_int;
    fn errdetail_internal(format: *const c_char, ...) -> c_int;
    fn errhint(format: *const c_char, ...) -> c_int;
    fn errfinish(file: *const c_char, line: c_int, function: *const c_char);
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
    // Nothing in the closure has a destructor, so that it may be left by longjmp.
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
