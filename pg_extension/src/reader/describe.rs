//! What the reader makes of a relation, for people.

use std::collections::HashSet;
use std::ffi::CStr;
use std::fmt::Debug;

use pgrx::pg_sys;

use super::columns::{Column, Values};
use super::source::{RelationColumn, Source, SourceColumn};
use crate::error::Result;
use crate::reader;

/// One column, and what it holds.
pub struct Described {
    pub name: String,
    pub type_name: String,
    /// None for a type that is not read; all that follows is None then, too.
    pub kind: Option<&'static str>,
    pub rows: Option<i64>,
    pub nulls: Option<i64>,
    /// Of texts only.
    pub distinct_texts: Option<i64>,
    /// The smallest and the largest value, not of texts.
    pub range: Option<(String, String)>,
}

/// Reads the named columns of a relation, or all that can be read.
pub fn run(source: pg_sys::Oid, named: Option<&[String]>) -> Result<Vec<Described>> {
    let source = Source::describe(source)?;
    let wanted: Vec<SourceColumn> = match named {
        Some(names) => names.iter().map(|name| source.readable(name)).collect::<Result<_>>()?,
        None => source
            .columns
            .iter()
            .filter(|column| column.cell.is_some())
            .map(|column| source.readable(&column.name))
            .collect::<Result<_>>()?,
    };
    let table = reader::read(&source, &wanted, None)?;
    let mut read = wanted.iter().zip(&table.columns).map(|(of, column)| describe(of, column));
    if named.is_some() {
        return Ok(read.collect());
    }
    let in_order = |of: &RelationColumn| if of.cell.is_some() { read.next() } else { Some(unread(of)) };
    Ok(source.columns.iter().filter_map(in_order).collect())
}

fn unread(of: &RelationColumn) -> Described {
    Described {
        name: of.name.clone(),
        type_name: of.type_name.clone(),
        kind: None,
        rows: None,
        nulls: None,
        distinct_texts: None,
        range: None,
    }
}

fn describe(of: &SourceColumn, column: &Column) -> Described {
    let nulls = column.nulls.as_deref();
    let (mut distinct_texts, mut range) = (None, None);
    match &column.values {
        Values::Boolean(v) => range = ends(v, nulls, |v| (v != 0).to_string()),
        Values::Int32(v) => range = ends(v, nulls, |v| v.to_string()),
        Values::Int64(v) => range = ends(v, nulls, |v| v.to_string()),
        Values::Float32(v) => range = ends(v, nulls, spelt),
        Values::Float64(v) | Values::Interval(v) => range = ends(v, nulls, spelt),
        Values::IdValue(v) => range = ends(&v.ids, nulls, |v| v.to_string()),
        Values::Date(v) => range = ends(v, nulls, |v| as_type(pg_sys::DATEOID, pg_sys::Datum::from(v))),
        Values::Timestamp(v) => range = ends(v, nulls, |v| as_type(pg_sys::TIMESTAMPOID, pg_sys::Datum::from(v))),
        Values::Time(v) => range = ends(v, nulls, |v| as_type(pg_sys::TIMEOID, pg_sys::Datum::from(v))),
        Values::Text { hashes, .. } => {
            let present = hashes.iter().enumerate().filter(|(row, _)| nulls.is_none_or(|mask| mask[*row] == 0));
            distinct_texts = Some(present.map(|(_, hash)| hash).collect::<HashSet<_>>().len() as i64);
        }
        Values::Key { .. } => {}
    }
    Described {
        name: of.name.clone(),
        type_name: of.type_name.clone(),
        kind: Some(column.kind().name()),
        rows: Some(column.len() as i64),
        nulls: Some(column.null_rows() as i64),
        distinct_texts,
        range,
    }
}

/// The smallest and the largest of what is not NULL.
fn ends<T: Copy + PartialOrd>(
    values: &[T],
    nulls: Option<&[u8]>,
    text: impl Fn(T) -> String,
) -> Option<(String, String)> {
    let present = values.iter().enumerate().filter(|(row, _)| nulls.is_none_or(|mask| mask[*row] == 0));
    let found = present.map(|(_, value)| *value).fold(None, |ends, value| match ends {
        None => Some((value, value)),
        Some((low, high)) => Some((if value < low { value } else { low }, if value > high { value } else { high })),
    });
    found.map(|(low, high)| (text(low), text(high)))
}

/// The shortest text that is read back as the same number.
fn spelt<T: Debug>(value: T) -> String {
    format!("{value:?}")
}

/// As the server spells a value of a type.
fn as_type(type_oid: pg_sys::Oid, value: pg_sys::Datum) -> String {
    unsafe {
        let (mut output, mut varlena) = (pg_sys::InvalidOid, false);
        pg_sys::getTypeOutputInfo(type_oid, &mut output, &mut varlena);
        let text = pg_sys::OidOutputFunctionCall(output, value);
        CStr::from_ptr(text).to_string_lossy().into_owned()
    }
}
