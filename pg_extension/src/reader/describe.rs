//! What the reader makes of a relation, for people.

use std::fmt::Debug;

use pgrx::pg_sys;
use trails_model::Reading;

use super::cell;
use super::columns::{Column, Values};
use super::memory::{bytes_of, no_memory, Exhausted, Memory};
use super::source::{RelationColumn, Source, SourceColumn};
use super::whole::read;
use crate::error::Result;
use crate::settings;

/// One column, and what it holds.
pub struct DescribedColumn {
    pub name: String,
    pub type_name: String,
    /// None for a type that is not read; all that follows is None then, too.
    pub kind: Option<&'static str>,
    /// How its texts are read as that, where it is a column of texts.
    pub reading: Option<&'static str>,
    pub rows: Option<i64>,
    pub nulls: Option<i64>,
    /// Of texts only.
    pub distinct_texts: Option<i64>,
    /// The smallest and the largest value, not of texts.
    pub range: Option<(String, String)>,
}

/// Reads the named columns of a relation, or all that can be read.
pub fn run(source: pg_sys::Oid, named: Option<&[String]>) -> Result<Vec<DescribedColumn>> {
    let source = Source::describe(source)?;
    let wanted: Vec<SourceColumn> = match named {
        Some(names) => names.iter().map(|name| source.as_learnt(name)).collect::<Result<_>>()?,
        None => source.all_as_learnt()?,
    };
    let table = read(&source, &wanted, None, 0)?;
    let mut memory = Memory::new(table.bytes(), settings::reading_memory_limit());
    let mut described = Vec::with_capacity(wanted.len());
    for (of, column) in wanted.iter().zip(&table.columns) {
        let exhausted = |e| no_memory(e, &source.name, table.rows as u64, table.bytes());
        described.push(describe(of, column, &mut memory).map_err(exhausted)?);
    }
    if named.is_some() {
        return Ok(described);
    }
    let mut read = described.into_iter();
    let in_order = |of: &RelationColumn| if of.cell.is_some() { read.next() } else { Some(unread(of)) };
    Ok(source.columns.iter().filter_map(in_order).collect())
}

fn unread(of: &RelationColumn) -> DescribedColumn {
    DescribedColumn {
        name: of.name.clone(),
        type_name: of.type_name.clone(),
        kind: None,
        reading: None,
        rows: None,
        nulls: None,
        distinct_texts: None,
        range: None,
    }
}

fn describe(
    of: &SourceColumn,
    column: &Column,
    memory: &mut Memory,
) -> std::result::Result<DescribedColumn, Exhausted> {
    let nulls = column.nulls.as_deref();
    let (mut distinct_texts, mut range) = (None, None);
    match &column.values {
        Values::Boolean(v) => range = ends(v, nulls, |v| (v != 0).to_string()),
        Values::Int32(v) => range = ends(v, nulls, |v| v.to_string()),
        Values::Int64(v) => range = ends(v, nulls, |v| v.to_string()),
        Values::Float32(v) => range = ends(v, nulls, spelt),
        Values::Float64(v) | Values::Interval(v) => range = ends(v, nulls, spelt),
        Values::IdValue(v) => range = ends(&v.ids, nulls, |v| v.to_string()),
        Values::Date(v) => range = ends(v, nulls, |v| spelt_by_server(pg_sys::DATEOID, pg_sys::Datum::from(v))),
        Values::Timestamp(v) => {
            range = ends(v, nulls, |v| spelt_by_server(pg_sys::TIMESTAMPOID, pg_sys::Datum::from(v)))
        }
        Values::Time(v) => range = ends(v, nulls, |v| spelt_by_server(pg_sys::TIMEOID, pg_sys::Datum::from(v))),
        Values::Text { hashes, .. } => distinct_texts = Some(distinct(hashes, nulls, memory)? as i64),
        Values::Key { .. } => {}
    }
    Ok(DescribedColumn {
        name: of.name.clone(),
        type_name: of.type_name.clone(),
        kind: Some(column.kind().name()),
        reading: column.reading().map(Reading::name),
        rows: Some(column.len() as i64),
        nulls: Some(column.null_rows() as i64),
        distinct_texts,
        range,
    })
}

/// Rows after which a cancel is looked for: less than a millisecond's work.
const PART: usize = 65_536;
/// Hashes are counted in so many parts, told apart by their upper bits, each of which fits the processor's caches.
const PARTS: usize = 4_096;

/// How many different hashes there are where no NULL is. They are put into parts and sorted there, instead of into one
/// large set: that is quicker, takes less memory, and can be interrupted.
fn distinct(hashes: &[i64], nulls: Option<&[u8]>, memory: &mut Memory) -> std::result::Result<usize, Exhausted> {
    let part_of = |hash: i64| (hash as u64 >> 52) as usize;
    let mut ends = vec![0usize; PARTS + 1];
    each_present(hashes, nulls, |hash| ends[part_of(hash) + 1] += 1);
    for part in 0..PARTS {
        ends[part + 1] += ends[part];
    }
    let mut sorted: Vec<i64> = Vec::new();
    memory.fill(&mut sorted, ends[PARTS], 0)?;
    // Where each part ends so far; in the end, where the next one begins.
    each_present(hashes, nulls, |hash| {
        let end = &mut ends[part_of(hash)];
        sorted[*end] = hash;
        *end += 1;
    });
    let (mut begin, mut found) = (0, 0);
    for end in &ends[..PARTS] {
        pgrx::check_for_interrupts!();
        let part = &mut sorted[begin..*end];
        part.sort_unstable();
        found += part.windows(2).filter(|pair| pair[0] != pair[1]).count() + usize::from(!part.is_empty());
        begin = *end;
    }
    memory.release(bytes_of(&sorted));
    Ok(found)
}

/// Every value that is not NULL; a cancel ends it.
fn each_present<T: Copy>(values: &[T], nulls: Option<&[u8]>, mut take: impl FnMut(T)) {
    for (part, values) in values.chunks(PART).enumerate() {
        pgrx::check_for_interrupts!();
        match nulls {
            None => values.iter().for_each(|value| take(*value)),
            Some(mask) => {
                let mask = &mask[part * PART..];
                values.iter().zip(mask).filter(|(_, null)| **null == 0).for_each(|(value, _)| take(*value));
            }
        }
    }
}

/// The smallest and the largest of what is not NULL.
fn ends<T: Copy + PartialOrd>(
    values: &[T],
    nulls: Option<&[u8]>,
    text: impl Fn(T) -> String,
) -> Option<(String, String)> {
    let mut found = None;
    each_present(values, nulls, |value| {
        found = match found {
            None => Some((value, value)),
            Some((low, high)) => Some((if value < low { value } else { low }, if value > high { value } else { high })),
        };
    });
    found.map(|(low, high)| (text(low), text(high)))
}

/// As the server spells a value that is passed as one.
fn spelt_by_server(type_oid: pg_sys::Oid, value: pg_sys::Datum) -> String {
    // SAFETY: the column's values are of the type, and their types are passed by value.
    unsafe { cell::as_text(type_oid, value) }
}

/// The shortest text that is read back as the same number.
fn spelt<T: Debug>(value: T) -> String {
    format!("{value:?}")
}
