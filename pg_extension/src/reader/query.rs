//! A query of one relation, from its text to a plan that may be run: locked, in a snapshot that sees its rows.

use std::ffi::{CStr, CString};

use pgrx::pg_sys;
use pgrx::prelude::*;

use super::named::{altered, NamedRelation};
use crate::error::{Result, TrailsError};

/// A query, and where in its rows each wanted column is.
#[derive(Debug, Clone, PartialEq)]
pub struct Query {
    pub sql: String,
    pub places: Vec<usize>,
    /// What it reads.
    pub of: NamedRelation,
    /// Columns of the primary key, where the query returns them: errors say with them which row is meant.
    pub key: Vec<(String, usize)>,
}

/// A planned query, whose relations are locked until the transaction ends. Lives within an SPI connection.
pub struct PlannedQuery {
    pub plan: pg_sys::SPIPlanPtr,
    of: NamedRelation,
}

/// The snapshot that a query is run in, until it is dropped.
pub enum Moment {
    /// Of the calling statement.
    Statement,
    Fresh,
}

impl PlannedQuery {
    /// Analyses and plans, by which every relation that the query reads is locked. Without parallel workers: the order in
    /// which they return rows is another one every time.
    pub fn of(query: &Query, options: u32) -> Result<Self> {
        let sql = CString::new(query.sql.as_str()).map_err(|_| TrailsError::argument("a name holds a NUL byte"))?;
        // SAFETY: within an SPI connection; the text ends in a NUL byte, and there are no types of arguments.
        let plan = unsafe { pg_sys::SPI_prepare_cursor(sql.as_ptr(), 0, std::ptr::null_mut(), options as i32) };
        if plan.is_null() {
            let internal = PgSqlErrorCode::ERRCODE_INTERNAL_ERROR;
            return Err(TrailsError::new(internal, format!("{} cannot be read", query.of.shown)));
        }
        Ok(Self { plan, of: query.of.clone() })
    }

    /// Every relation that the plan depends on: those of views and partitions, too.
    fn relations(&self) -> Vec<pg_sys::Oid> {
        // SAFETY: the plan is of the SPI connection that this lives in. What is cached of it is pinned by the call,
        // read, and released; `oids` copies.
        unsafe {
            let cached = pg_sys::SPI_plan_get_cached_plan(self.plan);
            if cached.is_null() {
                return Vec::new();
            }
            let statements = pgrx::PgList::<pg_sys::PlannedStmt>::from_pg((*cached).stmt_list);
            let relations = statements.iter_ptr().flat_map(|statement| oids((*statement).relationOids)).collect();
            // A plan that is not kept has no owner.
            pg_sys::ReleaseCachedPlan(cached, std::ptr::null_mut());
            relations
        }
    }

    /// The snapshot to run it in: the calling statement's, so that one statement sees one state of the database. But a
    /// table that was rewritten or emptied since looks empty in that, or lacks a partition's rows, and nothing would say
    /// so: then it is a fresh one, or an error where the transaction has one snapshot for all.
    pub fn moment(&self) -> Result<Moment> {
        let relations = self.relations();
        self.of.check()?;
        if relations.is_empty() {
            return Ok(Moment::Statement);
        }
        let rewritten = rewritten_since(relations)?;
        let Some(rewritten) = rewritten else { return Ok(Moment::Statement) };
        // SAFETY: a variable of the transaction under way, read on the backend's one thread.
        if unsafe { pg_sys::XactIsoLevel } >= pg_sys::XACT_REPEATABLE_READ as i32 {
            return Err(altered(&self.of.shown)
                .detail(format!("{rewritten} was rewritten after this transaction had taken its snapshot."))
                .hint("Run the transaction again: its snapshot does not see the new rows."));
        }
        // SAFETY: a snapshot of the transaction under way, which the server copies; `Moment` takes it off again.
        unsafe { pg_sys::PushActiveSnapshot(pg_sys::GetTransactionSnapshot()) };
        Ok(Moment::Fresh)
    }
}

/// One of the relations whose rows are in another file than the active snapshot sees them in.
fn rewritten_since(relations: Vec<pg_sys::Oid>) -> Result<Option<String>> {
    // What the snapshot sees of pg_class, beside what the server's caches hold now.
    const QUERY: &CStr = c"SELECT o.relation::pg_catalog.regclass::pg_catalog.text \
        FROM pg_catalog.unnest($1) AS o (relation) \
        LEFT JOIN pg_catalog.pg_class c ON c.oid OPERATOR(pg_catalog.=) o.relation \
        WHERE pg_catalog.pg_relation_filenode(o.relation) IS NOT NULL \
          AND (c.oid IS NULL OR c.relfilenode OPERATOR(pg_catalog.<>) 0::pg_catalog.oid \
            AND c.relfilenode OPERATOR(pg_catalog.<>) pg_catalog.pg_relation_filenode(o.relation))";
    let mut types = [pg_sys::OIDARRAYOID];
    let mut values = [relations.into_datum().unwrap_or(pg_sys::Datum::null())];
    // SAFETY: within an SPI connection. One type and one value, as many as are said. The row is looked at before
    // anything else is run; its text is copied.
    unsafe {
        // Read-only: pgrx's own way would take a new snapshot where the transaction has written.
        let status = pg_sys::SPI_execute_with_args(
            QUERY.as_ptr(),
            1,
            types.as_mut_ptr(),
            values.as_mut_ptr(),
            std::ptr::null(),
            true,
            1,
        );
        Spi::check_status(status)?;
        let table = pg_sys::SPI_tuptable;
        if table.is_null() || pg_sys::SPI_processed == 0 {
            return Ok(None);
        }
        let mut is_null = false;
        let name = pg_sys::SPI_getbinval(*(*table).vals, (*table).tupdesc, 1, &mut is_null);
        Ok(String::from_datum(name, is_null))
    }
}

impl Drop for Moment {
    fn drop(&mut self) {
        // After an error the end of the transaction takes it away.
        if matches!(self, Moment::Fresh) && !std::thread::panicking() {
            // SAFETY: the uppermost snapshot is the one that `moment` pushed: what came above it has ended, because
            // this is no error.
            unsafe { pg_sys::PopActiveSnapshot() };
        }
    }
}

/// # Safety
/// The list is null, or one of OIDs.
unsafe fn oids(list: *mut pg_sys::List) -> Vec<pg_sys::Oid> {
    if list.is_null() {
        return Vec::new();
    }
    // SAFETY: it has so many elements, which are OIDs, by the caller's promise.
    unsafe { (0..(*list).length as usize).map(|place| (*(*list).elements.add(place)).oid_value).collect() }
}
