//! Where columns lie in memory that another process maps.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use serde::{Serialize, Serializer};
use trails_model::Reading;

use super::columns::{Kind, Table, Values};
use crate::limits::ALIGNMENT;

/// Where one column lies in the shared memory, as the refinement process is told.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ColumnLayout {
    pub name: String,
    #[serde(serialize_with = "by_name")]
    pub kind: Kind,
    pub offset: u64,
    pub nulls: Option<u64>,
    pub values: Option<u64>,
    pub texts: Option<TextsLayout>,
    /// How its texts were read, where it is a column of texts.
    pub reading: Option<&'static str>,
}

/// Where the spellings of a text column lie.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TextsLayout {
    pub hashes: u64,
    pub ends: u64,
    pub bytes: u64,
    pub count: usize,
}

/// Where a table lies in the shared memory behind a descriptor.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TableLayout {
    pub fd: i32,
    pub rows: usize,
    pub columns: Vec<ColumnLayout>,
}

impl TableLayout {
    /// Rows times columns.
    pub fn cells(&self) -> f64 {
        self.rows as f64 * self.columns.len() as f64
    }
}

fn by_name<S: Serializer>(kind: &Kind, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(kind.name())
}

/// So much is written between two looks for interrupts.
const PART: usize = 1 << 24;

/// Moves every column to the file, each to a 64-byte boundary, and returns where they lie. A column is let go of as soon as
/// it is written, so that not all of them are there twice. `check` is called every few milliseconds.
pub fn move_to(table: Table, file: &File, descriptor: i32, check: impl Fn()) -> io::Result<TableLayout> {
    let mut end = 0u64;
    let mut place = |bytes: &[u8]| -> io::Result<u64> {
        let offset = end.next_multiple_of(ALIGNMENT as u64);
        end = offset;
        for part in bytes.chunks(PART) {
            check();
            file.write_all_at(part, end)?;
            end += part.len() as u64;
        }
        Ok(offset)
    };
    let mut columns = Vec::with_capacity(table.columns.len());
    for column in table.columns {
        let (mut values, mut texts) = (None, None);
        if let Values::Key { .. } = column.values {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "keys are not learnt from"));
        }
        let offset = place(data_of(&column.values))?;
        match &column.values {
            Values::IdValue(v) => values = v.values.as_ref().map(|v| place(bytes_of(v))).transpose()?,
            Values::Text { texts: spelt, .. } => {
                texts = Some(TextsLayout {
                    hashes: place(bytes_of(&spelt.hashes))?,
                    ends: place(bytes_of(&spelt.ends))?,
                    bytes: place(&spelt.bytes)?,
                    count: spelt.hashes.len(),
                });
            }
            _ => {}
        }
        let nulls = column.nulls.as_ref().map(|mask| place(mask)).transpose()?;
        let reading = column.reading().map(Reading::name);
        columns.push(ColumnLayout { kind: column.kind(), name: column.name, offset, nulls, values, texts, reading });
    }
    // A mapping must not end before the last column does, also when that column is empty.
    file.set_len(end.next_multiple_of(ALIGNMENT as u64).max(ALIGNMENT as u64))?;
    Ok(TableLayout { fd: descriptor, rows: table.rows, columns })
}

/// The data of a column as one run of bytes.
pub fn data_of(values: &Values) -> &[u8] {
    match values {
        Values::Boolean(v) | Values::Int32(v) | Values::Date(v) => bytes_of(v),
        Values::Int64(v) | Values::Timestamp(v) | Values::Time(v) => bytes_of(v),
        Values::Float32(v) => bytes_of(v),
        Values::Float64(v) | Values::Interval(v) => bytes_of(v),
        Values::IdValue(v) => bytes_of(&v.ids),
        Values::Text { hashes, .. } => bytes_of(hashes),
        Values::Key { bytes, .. } => bytes,
    }
}

fn bytes_of<T: Number>(values: &[T]) -> &[u8] {
    // SAFETY: plain numbers have no padding, and any of their bytes is one.
    unsafe { std::slice::from_raw_parts(values.as_ptr().cast(), std::mem::size_of_val(values)) }
}

trait Number: Copy {}
impl Number for u32 {}
impl Number for i32 {}
impl Number for i64 {}
impl Number for f32 {}
impl Number for f64 {}

#[cfg(test)]
mod tests {
    use super::super::columns::{Column, Form};
    use super::super::memory::Memory;
    use super::super::texts::{hash, Dictionary};
    use super::*;

    fn written(table: Table, name: &str) -> (TableLayout, Vec<u8>) {
        let path = std::env::temp_dir().join(format!("trails-layout-{name}-{}", std::process::id()));
        let file = File::options().read(true).write(true).create(true).truncate(true).open(&path).unwrap();
        let layout = move_to(table, &file, 3, || ()).unwrap();
        let bytes = std::fs::read(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        (layout, bytes)
    }

    #[test]
    fn columns_lie_apart_and_aligned() {
        let a = Column {
            name: "a".into(),
            values: Values::Int32(vec![1, 2, 3]),
            nulls: Some(vec![0, 0, 1]),
            form: Form::AsItIs,
        };
        let b =
            Column { name: "b".into(), values: Values::Interval(vec![4.0, 5.5, 6.0]), nulls: None, form: Form::AsItIs };
        let (layout, bytes) = written(Table { rows: 3, columns: vec![a, b], ..Table::default() }, "plain");
        assert_eq!((layout.columns[0].offset, layout.columns[0].nulls), (0, Some(64)));
        assert_eq!((layout.columns[1].offset, layout.columns[1].kind), (128, Kind::Interval));
        assert_eq!(f64::from_ne_bytes(bytes[136..144].try_into().unwrap()), 5.5);
        assert_eq!(bytes.len() % 64, 0);
        assert!(serde_json::to_string(&layout).unwrap().contains("\"kind\":\"interval\""));
    }

    #[test]
    fn a_text_column_lies_with_its_spellings() {
        let mut dictionary = Dictionary::default();
        let hashes: Vec<i64> = [&b"red"[..], b"green", b"red"]
            .iter()
            .map(|text| dictionary.add_text(text, &mut Memory::unlimited()).unwrap())
            .collect();
        let values = Values::Text { hashes, texts: dictionary.take() };
        let column = Column { name: "t".into(), values, nulls: None, form: Form::AsItIs };
        let (layout, bytes) = written(Table { rows: 3, columns: vec![column], ..Table::default() }, "texts");
        let texts = layout.columns[0].texts.as_ref().unwrap();
        assert_eq!(texts.count, 2);
        let (ends, begin) = (texts.ends as usize, texts.bytes as usize);
        assert_eq!(&bytes[ends..ends + 8], [3u32.to_ne_bytes(), 8u32.to_ne_bytes()].concat());
        assert_eq!(&bytes[begin..begin + 8], b"redgreen");
        let first = texts.hashes as usize;
        assert_eq!(bytes[first + 8..first + 16], hash(b"green").to_ne_bytes());
    }

    #[test]
    fn an_empty_table_can_be_mapped() {
        let (layout, bytes) =
            written(Table { columns: vec![Column::new("t", Kind::Text)], ..Table::default() }, "empty");
        assert_eq!((layout.rows, bytes.len()), (0, 64));
    }
}
