//! What must be so of a database before anything is done in it: its encoding, and that its objects are of this version.
//!
//! A library is there for all databases as soon as it is installed, the objects of each only once ALTER EXTENSION has
//! been said in it. In between, statements of this version would meet tables and functions of another.

use std::cell::Cell;

use pgrx::prelude::*;

use crate::error::{Result, TrailsError};
use crate::{encoding, read_only};

/// The extension's, whose control file has it from here.
const VERSION: &str = env!("CARGO_PKG_VERSION");

thread_local! {
    /// A session asks until the answer is yes: one prediction must not pay for a query each time.
    static FITS: Cell<bool> = const { Cell::new(false) };
}

/// Refuses a database that is not in UTF-8, or whose objects are of another version than the library.
pub fn check() -> Result<()> {
    encoding::check()?;
    if FITS.get() {
        return Ok(());
    }
    let query = c"SELECT e.extversion FROM pg_catalog.pg_extension e WHERE e.extname OPERATOR(pg_catalog.=) 'trails'";
    let found = read_only::rows(query, [], |row| row.get::<String>(1))?.into_iter().flatten().next();
    if let Some(version) = found.filter(|version| version != VERSION) {
        return Err(TrailsError::new(
            PgSqlErrorCode::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE,
            format!("the extension is of version {version} in this database, and its library of version {VERSION}"),
        )
        .hint(
            "ALTER EXTENSION trails UPDATE brings the database to the version that is installed; a session that was \
             open then keeps the library of before: connect again.",
        ));
    }
    FITS.set(true);
    Ok(())
}
