//! Acting as the owner of the registry, for what no role may write by itself.
//!
//! State, owner, weights and time of deployment of a model are what the functions say they are only if nobody else
//! writes them: no role has INSERT or UPDATE on `trails.models`. The functions check, as their caller, what the caller may
//! do, and write as the owner. That identity lasts for the statements of one closure and never reaches SQL of a user's.

use std::ffi::CStr;

use pgrx::datum::DatumWithOid;
use pgrx::pg_sys;
use pgrx::prelude::*;

use crate::error::{Result, TrailsError};

/// The role that the statement runs as; within a function with its definer's rights, the definer.
pub fn caller() -> pg_sys::Oid {
    // SAFETY: it reads a variable of the backend's one thread.
    unsafe { pg_sys::GetUserId() }
}

/// A role's name, also of one that is gone.
pub fn name_of(role: pg_sys::Oid) -> String {
    // SAFETY: a look into the server's caches, within the calling transaction; a role that is gone is no error.
    let name = unsafe { pg_sys::GetUserNameFromId(role, true) };
    if name.is_null() {
        return format!("a role that was dropped (OID {})", role.to_u32());
    }
    // SAFETY: it was just made, in the memory context of the statement, and ends in a NUL byte.
    unsafe { CStr::from_ptr(name) }.to_string_lossy().into_owned()
}

/// Whether a role may do everything.
pub fn is_superuser(role: pg_sys::Oid) -> bool {
    // SAFETY: a look into the server's caches, within the calling transaction; a role that is gone is none.
    unsafe { pg_sys::superuser_arg(role) }
}

/// Gives the caller's identity back, also when an ERROR unwinds.
struct Borrowed {
    user: pg_sys::Oid,
    context: i32,
}

impl Borrowed {
    fn from(owner: pg_sys::Oid) -> Self {
        let (mut user, mut context) = (pg_sys::InvalidOid, 0);
        // SAFETY: both are variables of the backend's one thread. No SQL of a user's runs until `drop` has put them
        // back, which happens also when an ERROR unwinds.
        unsafe {
            pg_sys::GetUserIdAndSecContext(&mut user, &mut context);
            let local = context | pg_sys::SECURITY_LOCAL_USERID_CHANGE as i32;
            pg_sys::SetUserIdAndSecContext(owner, local);
        }
        Self { user, context }
    }
}

impl Drop for Borrowed {
    fn drop(&mut self) {
        // SAFETY: these are the identity and context that were there before.
        unsafe { pg_sys::SetUserIdAndSecContext(self.user, self.context) }
    }
}

/// Runs statements on the registry as its owner. `work` runs nothing but statements of this crate's on tables of `trails`.
pub fn acting<T>(work: impl FnOnce() -> Result<T>) -> Result<T> {
    let _borrowed = Borrowed::from(tables_owner()?);
    work()
}

/// Who owns the extension's tables. Looked up without a statement, for which the caller might have no right.
fn tables_owner() -> Result<pg_sys::Oid> {
    let missing = || TrailsError::new(PgSqlErrorCode::ERRCODE_UNDEFINED_TABLE, "there is no registry of models");
    let registry = table(c"models").ok_or_else(missing)?;
    // SAFETY: a look into the server's caches, within the calling transaction; a row of pg_class begins with what is
    // declared of one, and is released once it was read.
    unsafe {
        let row = pg_sys::SearchSysCache1(pg_sys::SysCacheIdentifier::RELOID as _, registry.into());
        if row.is_null() {
            return Err(missing());
        }
        let owner = (*pg_sys::GETSTRUCT(row).cast::<pg_sys::FormData_pg_class>()).relowner;
        pg_sys::ReleaseSysCache(row);
        Ok(owner)
    }
}

/// A table of the extension's, whatever the caller may do in its schema; None if there is none.
pub fn table(name: &CStr) -> Option<pg_sys::Oid> {
    // SAFETY: looks into the server's caches, within the calling transaction; both names end in a NUL byte, and what is
    // missing is no error.
    let found = unsafe {
        let schema = pg_sys::get_namespace_oid(c"trails".as_ptr(), true);
        pg_sys::get_relname_relid(name.as_ptr(), schema)
    };
    (found != pg_sys::InvalidOid).then_some(found)
}

/// The first column of the first row of a statement that may write, in a snapshot of its own; None without a row.
pub fn first<T: FromDatum + IntoDatum>(statement: &str, arguments: &[DatumWithOid<'_>]) -> Result<Option<T>> {
    Spi::connect_mut(|client| {
        let rows = client.update(statement, None, arguments)?;
        Ok(if rows.is_empty() { None } else { rows.first().get::<T>(1)? })
    })
}

/// Refuses to write where nothing can be written. On a standby the server itself would fail at the first lock or at the
/// transaction's number, with an internal error.
pub fn check_writable(refused: &str) -> Result<()> {
    // SAFETY: a variable of the transaction under way, read on the backend's one thread.
    if unsafe { pg_sys::XactReadOnly } {
        let message = format!("{refused} in a read-only transaction");
        return Err(TrailsError::new(PgSqlErrorCode::ERRCODE_READ_ONLY_SQL_TRANSACTION, message)
            .hint("Begin one that may write, on the primary server."));
    }
    Ok(())
}

/// How many rows a statement wrote.
pub fn written(statement: &str, arguments: &[DatumWithOid<'_>]) -> Result<usize> {
    check_writable("what Trails has recorded cannot be changed")?;
    Spi::connect_mut(|client| Ok(client.update(statement, None, arguments)?.len()))
}
