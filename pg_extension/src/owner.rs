//! Acting as the owner of the registry, for what no role may write by itself.
//!
//! The functions check, as their caller, what the caller may do, and write as the owner. That identity lasts for the
//! statements of one closure and never reaches SQL of a user's.

use pgrx::datum::DatumWithOid;
use pgrx::pg_sys;
use pgrx::prelude::*;

use crate::error::{Result, TrailsError};

/// Gives the caller's identity back, also when an ERROR unwinds.
struct Borrowed {
    user: pg_sys::Oid,
    context: i32,
}

impl Borrowed {
    fn from(owner: pg_sys::Oid) -> Self {
        let (mut user, mut context) = (pg_sys::InvalidOid, 0);
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
        unsafe { pg_sys::SetUserIdAndSecContext(self.user, self.context) }
    }
}

/// Runs statements on the registry as its owner. `work` runs nothing but statements of this crate's on tables of `trails`.
pub fn acting<T>(work: impl FnOnce() -> Result<T>) -> Result<T> {
    let query = "SELECT c.relowner FROM pg_catalog.pg_class c \
                 WHERE c.oid OPERATOR(pg_catalog.=) 'trails.models'::pg_catalog.regclass";
    let owner = first::<pg_sys::Oid>(query, &[])?
        .ok_or_else(|| TrailsError::new(PgSqlErrorCode::ERRCODE_UNDEFINED_TABLE, "there is no registry of models"))?;
    let _borrowed = Borrowed::from(owner);
    work()
}

/// The first column of the first row of a statement that may write, in a snapshot of its own; None without a row.
pub fn first<T: FromDatum + IntoDatum>(statement: &str, arguments: &[DatumWithOid<'_>]) -> Result<Option<T>> {
    Spi::connect_mut(|client| {
        let rows = client.update(statement, None, arguments)?;
        Ok(if rows.is_empty() { None } else { rows.first().get::<T>(1)? })
    })
}
