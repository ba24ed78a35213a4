//! Typed column buffers, and their place in memory that another process maps. Knows nothing of PostgreSQL.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use serde::Serialize;

use super::idvalue;

/// The values of one column. A NULL holds a zero here and a one in the column's mask.
#[derive(Debug, Clone, PartialEq)]
pub enum Values {
    Int32(Vec<i32>),
    Int64(Vec<i64>),
    /// The published text form `id:value`; values are kept only once one of them is not 1.
    IdValue {
        ids: Vec<i32>,
        values: Option<Vec<f32>>,
    },
}

#[derive(Debug, Clone, PartialEq)]
pub struct Column {
    pub name: String,
    pub values: Values,
    /// One byte a row, 1 where NULL; absent while no NULL was seen.
    pub nulls: Option<Vec<u8>>,
}

/// The usable rows of one query, column by column.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Table {
    pub rows: usize,
    /// Rows left out because their target is NULL.
    pub unusable: u64,
    pub columns: Vec<Column>,
}

impl Column {
    pub fn new(name: &str, values: Values) -> Self {
        Self { name: name.to_owned(), values, nulls: None }
    }

    pub fn len(&self) -> usize {
        match &self.values {
            Values::Int32(v) => v.len(),
            Values::Int64(v) => v.len(),
            Values::IdValue { ids, .. } => ids.len(),
        }
    }

    #[inline]
    fn mark(&mut self, null: u8) {
        if let Some(mask) = &mut self.nulls {
            mask.push(null);
        }
    }

    pub fn push_null(&mut self) {
        let rows = self.len();
        self.nulls.get_or_insert_with(|| vec![0; rows]).push(1);
        match &mut self.values {
            Values::Int32(v) => v.push(0),
            Values::Int64(v) => v.push(0),
            Values::IdValue { ids, values } => {
                ids.push(0);
                if let Some(values) = values {
                    values.push(0.0);
                }
            }
        }
    }

    #[inline]
    pub fn push_i32(&mut self, value: i32) {
        if let Values::Int32(v) = &mut self.values {
            v.push(value);
        }
        self.mark(0);
    }

    #[inline]
    pub fn push_i64(&mut self, value: i64) {
        if let Values::Int64(v) = &mut self.values {
            v.push(value);
        }
        self.mark(0);
    }

    /// Parses one `id:value`; false, and nothing pushed, when it is not one.
    #[inline]
    pub fn push_id_value(&mut self, text: &[u8]) -> bool {
        let Some((id, value)) = idvalue::parse(text) else { return false };
        if let Values::IdValue { ids, values } = &mut self.values {
            if value != 1.0 && values.is_none() {
                *values = Some(vec![1.0; ids.len()]);
            }
            ids.push(id);
            if let Some(values) = values {
                values.push(value);
            }
        }
        self.mark(0);
        true
    }
}

/// Where one column lies in the shared memory, as the refinement process is told.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ColumnLayout {
    pub name: String,
    pub kind: &'static str,
    pub offset: u64,
    pub nulls: Option<u64>,
    pub values: Option<u64>,
}

/// Where a table lies in the shared memory behind a descriptor.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TableLayout {
    pub fd: i32,
    pub rows: usize,
    pub columns: Vec<ColumnLayout>,
}

const ALIGNMENT: u64 = 64;

/// Writes every column to the file, each at a 64-byte boundary, and returns where they lie.
pub fn write_to(table: &Table, file: &File, descriptor: i32) -> io::Result<TableLayout> {
    let mut end = 0u64;
    let mut place = |bytes: &[u8]| -> io::Result<u64> {
        let offset = end.next_multiple_of(ALIGNMENT);
        file.write_all_at(bytes, offset)?;
        end = offset + bytes.len() as u64;
        Ok(offset)
    };
    let mut columns = Vec::with_capacity(table.columns.len());
    for column in &table.columns {
        let (kind, offset, values) = match &column.values {
            Values::Int32(v) => ("int32", place(bytes_of(v))?, None),
            Values::Int64(v) => ("int64", place(bytes_of(v))?, None),
            Values::IdValue { ids, values } => {
                let offset = place(bytes_of(ids))?;
                ("idvalue", offset, values.as_ref().map(|v| place(bytes_of(v))).transpose()?)
            }
        };
        let nulls = column.nulls.as_ref().map(|mask| place(mask)).transpose()?;
        columns.push(ColumnLayout { name: column.name.clone(), kind, offset, nulls, values });
    }
    // A mapping must not end before the last column does, also when that column is empty.
    file.set_len(end.next_multiple_of(ALIGNMENT).max(ALIGNMENT))?;
    Ok(TableLayout { fd: descriptor, rows: table.rows, columns })
}

fn bytes_of<T: Number>(values: &[T]) -> &[u8] {
    // Plain numbers have no padding and no invalid bytes.
    unsafe { std::slice::from_raw_parts(values.as_ptr().cast(), std::mem::size_of_val(values)) }
}

trait Number: Copy {}
impl Number for i32 {}
impl Number for i64 {}
impl Number for f32 {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_null_keeps_its_row_and_is_marked() {
        let mut column = Column::new("a", Values::Int32(Vec::new()));
        column.push_i32(7);
        column.push_null();
        column.push_i32(9);
        assert_eq!(column.values, Values::Int32(vec![7, 0, 9]));
        assert_eq!(column.nulls, Some(vec![0, 1, 0]));
    }

    #[test]
    fn values_are_kept_only_when_one_is_not_one() {
        let mut column = Column::new("a", Values::IdValue { ids: Vec::new(), values: None });
        assert!(column.push_id_value(b"3:1"));
        assert!(matches!(&column.values, Values::IdValue { values: None, .. }));
        assert!(column.push_id_value(b"4:0.5"));
        column.push_null();
        assert_eq!(column.values, Values::IdValue { ids: vec![3, 4, 0], values: Some(vec![1.0, 0.5, 0.0]) });
        assert!(!column.push_id_value(b"four"));
        assert_eq!(column.len(), 3);
    }

    #[test]
    fn columns_lie_apart_and_aligned() {
        let mut a = Column::new("a", Values::Int32(vec![1, 2, 3]));
        a.nulls = Some(vec![0, 0, 1]);
        let b = Column::new("b", Values::Int64(vec![4, 5, 6]));
        let table = Table { rows: 3, unusable: 0, columns: vec![a, b] };
        let path = std::env::temp_dir().join(format!("trails-layout-{}", std::process::id()));
        let file = File::options().read(true).write(true).create(true).truncate(true).open(&path).unwrap();
        let layout = write_to(&table, &file, 3).unwrap();
        std::fs::remove_file(&path).unwrap();
        assert_eq!(layout.columns[0].offset, 0);
        assert_eq!(layout.columns[0].nulls, Some(64));
        assert_eq!(layout.columns[1].offset, 128);
        let mut bytes = [0u8; 24];
        file.read_exact_at(&mut bytes, 128).unwrap();
        assert_eq!(i64::from_ne_bytes(bytes[8..16].try_into().unwrap()), 5);
        assert_eq!(file.metadata().unwrap().len() % 64, 0);
    }
}
