//! The labels of an enum type, looked up before a query so that its loop need not ask the catalogue.

use std::ffi::CStr;

use pgrx::pg_sys;
use pgrx::prelude::*;

use super::cell::Cell;
use super::source::SourceColumn;
use super::texts::hash;
use crate::error::Result;

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
        let (mut types, mut values) = ([pg_sys::OIDOID], [pg_sys::Datum::from(enum_type)]);
        let mut labels = Spi::connect(|_| -> Result<Vec<Label>> {
            // SAFETY: within an SPI connection. One type and one value, as many as are said; the rows are looked at before
            // anything else is run, and their texts are copied.
            unsafe {
                // Read-only, unlike pgrx's own way where the transaction has written: no command must be counted beside
                // parallel workers.
                let (types, values) = (types.as_mut_ptr(), values.as_mut_ptr());
                let status = pg_sys::SPI_execute_with_args(QUERY.as_ptr(), 1, types, values, std::ptr::null(), true, 0);
                Spi::check_status(status)?;
                let (table, rows) = (pg_sys::SPI_tuptable, pg_sys::SPI_processed as usize);
                let label = |row: usize| {
                    let (tuple, mut is_null) = (*(*table).vals.add(row), false);
                    let oid = pg_sys::SPI_getbinval(tuple, (*table).tupdesc, 1, &mut is_null);
                    let oid = pg_sys::Oid::from_datum(oid, is_null).unwrap_or(pg_sys::InvalidOid);
                    let text = pg_sys::SPI_getbinval(tuple, (*table).tupdesc, 2, &mut is_null);
                    let text = String::from_datum(text, is_null).unwrap_or_default();
                    Label { oid: oid.to_u32(), hash: hash(text.as_bytes()), text }
                };
                Ok(if table.is_null() { Vec::new() } else { (0..rows).map(label).collect() })
            }
        })?;
        labels.sort_unstable_by_key(|label| label.oid);
        Ok(Self(labels))
    }

    #[inline]
    pub fn find(&self, oid: u32) -> Option<&Label> {
        self.0.binary_search_by_key(&oid, |label| label.oid).ok().map(|place| &self.0[place])
    }
}
