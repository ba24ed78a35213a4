//! Rows of the extension's tables as they are at this moment, whatever the transaction's own snapshot sees: in a
//! transaction that reads repeatably, that one is as old as its first statement.

use std::ffi::CStr;

use pgrx::pg_sys;

use crate::error::Result;
use crate::read_only::{self, Row};

/// As `read_only::rows`, of what there is now.
pub fn rows<T, const N: usize>(
    query: &CStr,
    arguments: [(pg_sys::Oid, pg_sys::Datum); N],
    one: impl Fn(&Row) -> T,
) -> Result<Vec<T>> {
    // SAFETY: within a transaction. The snapshot is the server's, which copies it; it is the active one while the query
    // runs, and is taken off again; after an error the end of the transaction does that.
    unsafe { pg_sys::PushActiveSnapshot(pg_sys::GetLatestSnapshot()) };
    let found = read_only::rows(query, arguments, one);
    // SAFETY: the one that was put there.
    unsafe { pg_sys::PopActiveSnapshot() };
    found
}
