//! Which relation a row of the catalogue means, whatever the relation is called by now.
//!
//! An OID says so within one database of one cluster. A dump, a logical replica or a copy of the database carries rows
//! elsewhere, where the same OID may be any table: so the cluster and the database are part of what is recorded, and
//! where they are others, or the relation is gone, the recorded name is what is left.

use pgrx::pg_sys;
use pgrx::prelude::*;

use crate::error::Result;

/// As it is recorded: system identifier, database, relation.
pub fn of(relation: pg_sys::Oid) -> String {
    format!("{}:{}", home(), relation.to_u32())
}

fn home() -> String {
    // SAFETY: both are set once, when the backend starts, and read on its one thread.
    unsafe { format!("{}:{}", pg_sys::GetSystemIdentifier(), pg_sys::MyDatabaseId.to_u32()) }
}

/// The relation that was recorded, if it is one of this database and still there.
pub fn relation(recorded: &str) -> Option<pg_sys::Oid> {
    let oid = recorded.strip_prefix(&home())?.strip_prefix(':')?.parse::<u32>().ok().map(pg_sys::Oid::from)?;
    // What dropped it and made nothing of that OID since.
    // SAFETY: a look into the server's caches, within the transaction of the calling statement; any OID may be asked
    // for.
    let kind = unsafe { pg_sys::get_rel_relkind(oid) };
    (kind != 0).then_some(oid)
}

/// The relation that was recorded, or else the one that has its qualified name; None if there is neither. A name that
/// names nothing, or is in a schema that the caller may not use, is no error.
pub fn find(recorded: Option<&str>, name: &str) -> Result<Option<pg_sys::Oid>> {
    if let Some(found) = recorded.and_then(relation) {
        return Ok(Some(found));
    }
    let query = "SELECT c.oid FROM pg_catalog.pg_class c \
                 JOIN pg_catalog.pg_namespace n ON n.oid OPERATOR(pg_catalog.=) c.relnamespace \
                 WHERE pg_catalog.format('%I.%I', n.nspname, c.relname) OPERATOR(pg_catalog.=) $1";
    Spi::connect(|client| {
        let rows = client.select(query, Some(1), &[name.into()])?;
        Ok(if rows.is_empty() { None } else { rows.first().get::<pg_sys::Oid>(1)? })
    })
}
