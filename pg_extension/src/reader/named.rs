//! Whether a relation is still what it was when it was described.
//!
//! A query names its relation anew, and by then the name can mean another one, or the relation's columns can have other
//! types: by another session while this one waited for a lock, or by this one, in a function that the query calls. What
//! is read as the wrong type is read from the wrong memory, so nothing is read before names and types were compared.

use std::ffi::CString;

use pgrx::prelude::*;
use pgrx::{pg_sys, PgTupleDesc};

use crate::error::{Result, TrailsError};

/// A relation, and the name by which queries reach it.
#[derive(Debug, Clone, PartialEq)]
pub struct NamedRelation {
    pub relation: pg_sys::Oid,
    pub schema: CString,
    pub table: CString,
    /// Schema-qualified and quoted, for messages.
    pub shown: String,
}

impl NamedRelation {
    /// Refuses a name that has come to mean another relation. Cheap enough to be asked once a query.
    pub fn check(&self) -> Result<()> {
        // SAFETY: looks into the server's caches, within the calling transaction; both names end in NUL bytes, and
        // those that name nothing are no error.
        let found = unsafe {
            match pg_sys::get_namespace_oid(self.schema.as_ptr(), true) {
                pg_sys::InvalidOid => pg_sys::InvalidOid,
                schema => pg_sys::get_relname_relid(self.table.as_ptr(), schema),
            }
        };
        if found == self.relation {
            return Ok(());
        }
        Err(altered(&self.shown).detail("Its name has come to mean another relation."))
    }

    /// Refuses rows whose column at `place` is not of the type that `name` was described with.
    ///
    /// # Safety
    /// The shape is a valid descriptor.
    pub unsafe fn check_type(
        &self,
        shape: pg_sys::TupleDesc,
        place: usize,
        described: pg_sys::Oid,
        name: &str,
    ) -> Result<()> {
        // SAFETY: the descriptor is valid, by the caller's promise, and borrowed for this call alone.
        let shape = unsafe { PgTupleDesc::from_pg_unchecked(shape) };
        let Some(attribute) = shape.get(place) else {
            return Err(altered(&self.shown).detail(format!(
                "It has {} columns now, and column \"{name}\" was number {}.",
                shape.len(),
                place + 1
            )));
        };
        // Asking what a domain is over costs a look into the catalogue.
        let found = attribute.atttypid;
        // SAFETY: a look into the server's caches, for the type of a column that has not been dropped.
        if !attribute.attisdropped && (found == described || unsafe { pg_sys::getBaseType(found) } == described) {
            return Ok(());
        }
        Err(altered(&self.shown).detail(format!("Column \"{name}\" is of another type now.")))
    }
}

impl Default for NamedRelation {
    /// Of no relation.
    fn default() -> Self {
        Self {
            relation: pg_sys::InvalidOid,
            schema: CString::default(),
            table: CString::default(),
            shown: String::new(),
        }
    }
}

/// A relation that is not what it was when it was described.
pub fn altered(shown: &str) -> TrailsError {
    TrailsError::new(PgSqlErrorCode::ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE, format!("{shown} was altered meanwhile"))
        .hint("Run the statement again.")
}
