//! The one encoding of text that Trails works in.
//!
//! Texts are compared by hashes of their bytes, labels and names go to Python and to JSON and come back: all of that is
//! UTF-8. In a database of another encoding a model of one would not know the texts of the other, and labels would come
//! back as something else; so nothing is learnt there, and nothing predicted.

use std::ffi::CStr;

use pgrx::pg_sys;
use pgrx::prelude::*;

use crate::error::{Result, TrailsError};

/// As PostgreSQL numbers it.
const UTF8: i32 = 6;

/// Refuses a database that is not in UTF-8.
pub fn check() -> Result<()> {
    // SAFETY: it reads what the backend learnt of its database when it started.
    if unsafe { pg_sys::GetDatabaseEncoding() } == UTF8 {
        return Ok(());
    }
    // SAFETY: the name is a constant of the server's, and ends in a NUL byte.
    let encoding = unsafe { CStr::from_ptr(pg_sys::GetDatabaseEncodingName()) }.to_string_lossy();
    Err(TrailsError::new(
        PgSqlErrorCode::ERRCODE_FEATURE_NOT_SUPPORTED,
        format!("Trails needs a database in UTF-8, and this one is in {encoding}"),
    )
    .hint(
        "pg_dump writes the tables in UTF-8 with --encoding=UTF8: load them into a database that was made with \
         CREATE DATABASE ... ENCODING 'UTF8' TEMPLATE template0.",
    ))
}
