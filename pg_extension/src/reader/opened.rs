//! A relation as the server's caches have it, for as long as it is open.

use std::ffi::CStr;

use pgrx::spi::quote_qualified_identifier;
use pgrx::{pg_sys, PgTupleDesc};

/// A relation of the server's cache, open and locked.
pub struct Opened(pg_sys::Relation);

impl Opened {
    /// Waits for the lock, which whoever alters or drops the relation holds; None if there is no relation then.
    pub fn locked(relation: pg_sys::Oid) -> Option<Self> {
        // SAFETY: within the calling transaction; an OID of no relation gives null.
        let opened = unsafe { pg_sys::try_relation_open(relation, pg_sys::AccessShareLock as pg_sys::LOCKMODE) };
        // Not made, and so not closed, where there is none.
        (!opened.is_null()).then(|| Self(opened))
    }

    /// Its row of pg_class.
    pub fn form(&self) -> &pg_sys::FormData_pg_class {
        // SAFETY: the relation is open: its row stays where it is until it is closed, also when the cache is brought up to
        // date.
        unsafe { &*(*self.0).rd_rel }
    }

    /// Its columns, those that were dropped among them.
    pub fn shape(&self) -> PgTupleDesc<'_> {
        // SAFETY: the same of its descriptor, which is borrowed; nobody changes the columns under the lock.
        unsafe { PgTupleDesc::from_pg_unchecked((*self.0).rd_att) }
    }

    /// As the planner estimates it: the density when the table was last looked at, and its pages now. None where rows
    /// are hidden from some, or were never counted.
    pub fn rows(&self) -> Option<f64> {
        let form = self.form();
        if form.relrowsecurity || form.relpages <= 0 || form.reltuples <= 0.0 {
            return None;
        }
        // SAFETY: the relation is open, and one with pages is a table, which has a main fork.
        let pages = unsafe { pg_sys::RelationGetNumberOfBlocksInFork(self.0, pg_sys::ForkNumber::MAIN_FORKNUM) };
        Some(f64::from(form.reltuples) / f64::from(form.relpages) * f64::from(pages))
    }

    /// The numbers of the primary key's columns.
    pub fn primary_key(&self) -> Vec<i16> {
        // SAFETY: the relation is open; the list is a copy, of OIDs, in the memory context of the statement.
        unsafe {
            let indexes = pgrx::PgList::<std::ffi::c_void>::from_pg(pg_sys::RelationGetIndexList(self.0));
            let key = (0..indexes.len()).filter_map(|place| indexes.get_oid(place)).find_map(primary_key_of);
            key.unwrap_or_default()
        }
    }
}

impl Drop for Opened {
    fn drop(&mut self) {
        // The lock stays until the transaction ends. After an error the transaction closes it, too.
        if !std::thread::panicking() {
            // SAFETY: it was opened by `locked`, and is closed once.
            unsafe { pg_sys::relation_close(self.0, pg_sys::NoLock as pg_sys::LOCKMODE) };
        }
    }
}

/// For a message, before the relation is locked.
pub fn name_of(relation: pg_sys::Oid) -> String {
    // SAFETY: looks into the server's caches, within the calling transaction; what is not found is null, and the names
    // are copies that end in NUL bytes.
    unsafe {
        let (name, schema) = (pg_sys::get_rel_name(relation), pg_sys::get_rel_namespace(relation));
        let schema = pg_sys::get_namespace_name(schema);
        if name.is_null() || schema.is_null() {
            return format!("the relation with OID {}", relation.to_u32());
        }
        let (schema, name) = (CStr::from_ptr(schema), CStr::from_ptr(name));
        quote_qualified_identifier(schema.to_string_lossy(), name.to_string_lossy())
    }
}

/// The columns of an index, if it is a primary key's; without those that it only includes.
fn primary_key_of(index: pg_sys::Oid) -> Option<Vec<i16>> {
    // SAFETY: a row of pg_index, pinned in the cache until it is released, after which only copies of it are left. What
    // comes before its arrays has fixed offsets behind the header, and there are as many column numbers as it says, key
    // columns first.
    unsafe {
        let row = pg_sys::SearchSysCache1(pg_sys::SysCacheIdentifier::INDEXRELID as i32, pg_sys::Datum::from(index));
        if row.is_null() {
            return None;
        }
        let header = (*row).t_data;
        let form = &*header.cast::<u8>().add(usize::from((*header).t_hoff)).cast::<pg_sys::FormData_pg_index>();
        let key = form.indisprimary.then(|| form.indkey.values.as_slice(form.indnkeyatts as usize).to_vec());
        pg_sys::ReleaseSysCache(row);
        key
    }
}
