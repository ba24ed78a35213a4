//! The labels of an enum type, looked up before a query so that its loop need not ask the catalogue.

use std::ffi::CStr;

use pgrx::pg_sys;

use super::cell::Cell;
use super::source::SourceColumn;
use super::texts::hash;
use crate::error::Result;
use crate::read_only;

pub struct Label {
    oid: u32,
    pub hash: i64,
    pub text: String,
}

/// Sorted by OID; none for a type that is no enum.
#[derive(Default)]
pub struct Labels(Vec<Label>);

impl Labels {
    /// Those of the column's type.
    pub fn of_column(column: &SourceColumn) -> Result<Self> {
        match column.cell {
            Cell::Enum => Self::of_type(column.base_type),
            _ => Ok(Self::default()),
        }
    }

    fn of_type(enum_type: pg_sys::Oid) -> Result<Self> {
        const QUERY: &CStr = c"SELECT oid, enumlabel::pg_catalog.text FROM pg_catalog.pg_enum \
            WHERE enumtypid OPERATOR(pg_catalog.=) $1";
        let mut labels = read_only::rows(QUERY, [(pg_sys::OIDOID, enum_type.into())], |row| {
            let (oid, text) = (row.get(1).unwrap_or(pg_sys::InvalidOid), row.get::<String>(2).unwrap_or_default());
            Label { oid: oid.to_u32(), hash: hash(text.as_bytes()), text }
        })?;
        labels.sort_unstable_by_key(|label| label.oid);
        Ok(Self(labels))
    }

    #[inline]
    pub fn find(&self, oid: u32) -> Option<&Label> {
        self.0.binary_search_by_key(&oid, |label| label.oid).ok().map(|place| &self.0[place])
    }
}
