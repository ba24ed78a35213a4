//! The settings of a session that a run in the background has, too: those that any role may set, and that the session has
//! set for itself. What comes from the server, the database or the role, the worker's login brings; what is for
//! superusers alone is never carried.

use std::collections::BTreeMap;
use std::ffi::{CStr, CString};

use pgrx::pg_sys;

/// Name -> value.
pub type Settings = BTreeMap<String, String>;

/// What is about a client and its statements, of which the worker has neither.
const OF_CLIENTS: [&str; 11] = [
    "application_name",
    "client_connection_check_interval",
    "client_encoding",
    "client_min_messages",
    "exit_on_error",
    "idle_in_transaction_session_timeout",
    "idle_session_timeout",
    "lock_timeout",
    "statement_timeout",
    "trails.progress",
    "transaction_timeout",
];

/// How the calling session is set.
pub fn captured() -> Settings {
    let mut settings = Settings::new();
    for variable in variables() {
        // SAFETY: the server's own description of a setting, which lives as long as the backend.
        let (context, source, flags, name) =
            unsafe { ((*variable).context, (*variable).source, (*variable).flags, CStr::from_ptr((*variable).name)) };
        // The second kind are properties of one transaction or of the session's identity.
        let own = matches!(source, pg_sys::GucSource::PGC_S_CLIENT | pg_sys::GucSource::PGC_S_SESSION);
        let carried = context == pg_sys::GucContext::PGC_USERSET && own && flags as u32 & pg_sys::GUC_NO_RESET_ALL == 0;
        let text = name.to_string_lossy().into_owned();
        if !carried || OF_CLIENTS.contains(&text.as_str()) || text.starts_with("default_transaction_") {
            continue;
        }
        // SAFETY: the name ends in a NUL byte; what is returned is a text in the statement's memory, or null.
        let value = unsafe { pg_sys::GetConfigOptionByName(name.as_ptr(), std::ptr::null_mut(), true) };
        if !value.is_null() {
            // SAFETY: it ends in a NUL byte.
            settings.insert(text, unsafe { CStr::from_ptr(value) }.to_string_lossy().into_owned());
        }
    }
    settings
}

/// Every setting there is.
fn variables() -> Vec<*mut pg_sys::config_generic> {
    // SAFETY: the server returns an array with as many elements as it says.
    #[cfg(feature = "pg15")]
    let (array, number) = unsafe { (pg_sys::get_guc_variables(), pg_sys::GetNumConfigOptions()) };
    #[cfg(not(feature = "pg15"))]
    let (array, number) = {
        let mut number = 0;
        // SAFETY: the same; the number is written into this frame.
        (unsafe { pg_sys::get_guc_variables(&mut number) }, number)
    };
    // SAFETY: see above.
    unsafe { std::slice::from_raw_parts(array, usize::try_from(number).unwrap_or(0)) }.to_vec()
}

/// Sets this session so. What it may not set, or is not there any more, is a warning in the server's log.
pub fn apply(settings: &Settings) {
    for (name, value) in settings {
        let (Ok(name), Ok(value)) = (CString::new(name.as_str()), CString::new(value.as_str())) else { continue };
        // SAFETY: both texts end in NUL bytes and are copied by the server, which checks name, value and the role's right.
        unsafe {
            pg_sys::set_config_option(
                name.as_ptr(),
                value.as_ptr(),
                pg_sys::GucContext::PGC_USERSET,
                pg_sys::GucSource::PGC_S_SESSION,
                pg_sys::GucAction::GUC_ACTION_SET,
                true,
                pg_sys::WARNING as i32,
                false,
            );
        }
    }
}
