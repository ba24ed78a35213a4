//! Typed column buffers. Knows nothing of PostgreSQL.

use trails_model::Reading;

use super::idvalue;
use super::memory::{bytes_of, Exhausted, Memory};
use super::texts::Texts;

/// What a column is to whoever learns from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Boolean,
    Int32,
    Int64,
    Float32,
    Float64,
    /// Texts as hashes.
    Text,
    /// The published text form `id:value`.
    IdValue,
    Date,
    Timestamp,
    Time,
    Interval,
    /// Texts kept as they are, to say which row is meant; never learnt from.
    Key,
}

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Kind::Int32 => "int32",
            Kind::Int64 => "int64",
            Kind::Float32 => "float32",
            Kind::Float64 => "float64",
            kind => kind.family(),
        }
    }

    /// Bytes of a value, at least.
    pub fn width(self) -> usize {
        match self {
            Kind::Boolean | Kind::Int32 | Kind::Float32 | Kind::Date | Kind::IdValue => 4,
            Kind::Int64 | Kind::Float64 | Kind::Text | Kind::Timestamp | Kind::Time | Kind::Interval | Kind::Key => 8,
        }
    }

    /// Kinds of one family are encoded in the same way, so that one may stand in for another.
    pub fn family(self) -> &'static str {
        match self {
            Kind::Boolean => "boolean",
            Kind::Int32 | Kind::Int64 => "integer",
            Kind::Float32 | Kind::Float64 => "number",
            Kind::Text => "text",
            Kind::IdValue => "idvalue",
            Kind::Date => "date",
            Kind::Timestamp => "timestamp",
            Kind::Time => "time",
            Kind::Interval => "interval",
            Kind::Key => "key",
        }
    }
}

/// The values of one column. A NULL holds a zero here and a one in the column's mask.
#[derive(Debug, Clone, PartialEq)]
pub enum Values {
    /// 0 or 1.
    Boolean(Vec<i32>),
    Int32(Vec<i32>),
    Int64(Vec<i64>),
    Float32(Vec<f32>),
    Float64(Vec<f64>),
    /// XXH3 of each text's bytes (64 bits, seed 0), and how the first distinct ones are spelt.
    Text {
        hashes: Vec<i64>,
        texts: Texts,
    },
    /// Values are kept only once one of them is not 1.
    IdValue(IdValues),
    /// Days since 2000-01-01.
    Date(Vec<i32>),
    /// Microseconds since 2000-01-01, UTC.
    Timestamp(Vec<i64>),
    /// Microseconds since midnight.
    Time(Vec<i64>),
    /// Seconds; a month has 30 days.
    Interval(Vec<f64>),
    /// Where each text ends in the bytes.
    Key {
        ends: Vec<u64>,
        bytes: Vec<u8>,
    },
}

/// Ids and numbers of `id:value` texts; no numbers while all are 1.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct IdValues {
    pub ids: Vec<i32>,
    pub values: Option<Vec<f32>>,
}

impl IdValues {
    /// Parses one `id:value`; false, and nothing pushed, when it is not one.
    #[inline]
    pub fn push(&mut self, text: &[u8], memory: &mut Memory) -> Result<bool, Exhausted> {
        let Some((id, value)) = idvalue::parse(text) else { return Ok(false) };
        if value != 1.0 && self.values.is_none() {
            let mut values = Vec::new();
            memory.fill(&mut values, self.ids.len(), 1.0)?;
            self.values = Some(values);
        }
        if let Some(values) = &mut self.values {
            memory.push(values, value)?;
        }
        memory.push(&mut self.ids, id)?;
        Ok(true)
    }

    pub fn push_null(&mut self, memory: &mut Memory) -> Result<(), Exhausted> {
        if let Some(values) = &mut self.values {
            memory.push(values, 0.0)?;
        }
        memory.push(&mut self.ids, 0)
    }

    pub fn bytes(&self) -> usize {
        bytes_of(&self.ids) + self.values.as_ref().map_or(0, bytes_of)
    }

    fn clear(&mut self) {
        self.ids.clear();
        self.values = None;
    }
}

impl Values {
    pub fn empty(kind: Kind) -> Self {
        match kind {
            Kind::Boolean => Values::Boolean(Vec::new()),
            Kind::Int32 => Values::Int32(Vec::new()),
            Kind::Int64 => Values::Int64(Vec::new()),
            Kind::Float32 => Values::Float32(Vec::new()),
            Kind::Float64 => Values::Float64(Vec::new()),
            Kind::Text => Values::Text { hashes: Vec::new(), texts: Texts::default() },
            Kind::IdValue => Values::IdValue(IdValues::default()),
            Kind::Date => Values::Date(Vec::new()),
            Kind::Timestamp => Values::Timestamp(Vec::new()),
            Kind::Time => Values::Time(Vec::new()),
            Kind::Interval => Values::Interval(Vec::new()),
            Kind::Key => Values::Key { ends: Vec::new(), bytes: Vec::new() },
        }
    }

    pub fn kind(&self) -> Kind {
        match self {
            Values::Boolean(_) => Kind::Boolean,
            Values::Int32(_) => Kind::Int32,
            Values::Int64(_) => Kind::Int64,
            Values::Float32(_) => Kind::Float32,
            Values::Float64(_) => Kind::Float64,
            Values::Text { .. } => Kind::Text,
            Values::IdValue(_) => Kind::IdValue,
            Values::Date(_) => Kind::Date,
            Values::Timestamp(_) => Kind::Timestamp,
            Values::Time(_) => Kind::Time,
            Values::Interval(_) => Kind::Interval,
            Values::Key { .. } => Kind::Key,
        }
    }

    pub fn len(&self) -> usize {
        match self {
            Values::Boolean(v) | Values::Int32(v) | Values::Date(v) => v.len(),
            Values::Int64(v) | Values::Timestamp(v) | Values::Time(v) => v.len(),
            Values::Float32(v) => v.len(),
            Values::Float64(v) | Values::Interval(v) => v.len(),
            Values::Text { hashes, .. } => hashes.len(),
            Values::IdValue(v) => v.ids.len(),
            Values::Key { ends, .. } => ends.len(),
        }
    }

    fn push_zero(&mut self, memory: &mut Memory) -> Result<(), Exhausted> {
        match self {
            Values::Boolean(v) | Values::Int32(v) | Values::Date(v) => memory.push(v, 0),
            Values::Int64(v) | Values::Timestamp(v) | Values::Time(v) => memory.push(v, 0),
            Values::Float32(v) => memory.push(v, 0.0),
            Values::Float64(v) | Values::Interval(v) => memory.push(v, 0.0),
            Values::Text { hashes, .. } => memory.push(hashes, 0),
            Values::IdValue(v) => v.push_null(memory),
            Values::Key { ends, bytes } => memory.push(ends, bytes.len() as u64),
        }
    }

    /// Bytes that are held, used or not.
    pub fn bytes(&self) -> usize {
        match self {
            Values::Boolean(v) | Values::Int32(v) | Values::Date(v) => bytes_of(v),
            Values::Int64(v) | Values::Timestamp(v) | Values::Time(v) => bytes_of(v),
            Values::Float32(v) => bytes_of(v),
            Values::Float64(v) | Values::Interval(v) => bytes_of(v),
            Values::Text { hashes, texts } => bytes_of(hashes) + texts.bytes(),
            Values::IdValue(v) => v.bytes(),
            Values::Key { ends, bytes } => bytes_of(ends) + bytes_of(bytes),
        }
    }

    /// The same values in memory of their own.
    fn try_clone(&self, memory: &mut Memory) -> Result<Self, Exhausted> {
        Ok(match self {
            Values::Boolean(v) => Values::Boolean(copy_of(v, memory)?),
            Values::Int32(v) => Values::Int32(copy_of(v, memory)?),
            Values::Int64(v) => Values::Int64(copy_of(v, memory)?),
            Values::Float32(v) => Values::Float32(copy_of(v, memory)?),
            Values::Float64(v) => Values::Float64(copy_of(v, memory)?),
            Values::Text { hashes, texts } => {
                Values::Text { hashes: copy_of(hashes, memory)?, texts: texts.try_clone(memory)? }
            }
            Values::IdValue(v) => Values::IdValue(IdValues {
                ids: copy_of(&v.ids, memory)?,
                values: v.values.as_ref().map(|values| copy_of(values, memory)).transpose()?,
            }),
            Values::Date(v) => Values::Date(copy_of(v, memory)?),
            Values::Timestamp(v) => Values::Timestamp(copy_of(v, memory)?),
            Values::Time(v) => Values::Time(copy_of(v, memory)?),
            Values::Interval(v) => Values::Interval(copy_of(v, memory)?),
            Values::Key { ends, bytes } => Values::Key { ends: copy_of(ends, memory)?, bytes: copy_of(bytes, memory)? },
        })
    }

    /// Lets go of memory that was taken for further values.
    fn fit(&mut self) {
        match self {
            Values::Boolean(v) | Values::Int32(v) | Values::Date(v) => v.shrink_to_fit(),
            Values::Int64(v) | Values::Timestamp(v) | Values::Time(v) => v.shrink_to_fit(),
            Values::Float32(v) => v.shrink_to_fit(),
            Values::Float64(v) | Values::Interval(v) => v.shrink_to_fit(),
            Values::Text { hashes, .. } => hashes.shrink_to_fit(),
            Values::IdValue(v) => {
                v.ids.shrink_to_fit();
                if let Some(values) = &mut v.values {
                    values.shrink_to_fit();
                }
            }
            Values::Key { ends, bytes } => {
                ends.shrink_to_fit();
                bytes.shrink_to_fit();
            }
        }
    }

    fn clear(&mut self) {
        match self {
            Values::Boolean(v) | Values::Int32(v) | Values::Date(v) => v.clear(),
            Values::Int64(v) | Values::Timestamp(v) | Values::Time(v) => v.clear(),
            Values::Float32(v) => v.clear(),
            Values::Float64(v) | Values::Interval(v) => v.clear(),
            Values::Text { hashes, texts } => {
                hashes.clear();
                *texts = Texts::default();
            }
            Values::IdValue(v) => v.clear(),
            Values::Key { ends, bytes } => {
                ends.clear();
                bytes.clear();
            }
        }
    }
}

/// What a column of texts turned out to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Form {
    #[default]
    AsItIs,
    /// Numbers, dates or times; `unread` rows hold something else, which counts as NULL, beside those where it is missing.
    Read { reading: Reading, unread: u64 },
    /// Dates of which days and months could be either.
    AmbiguousDates,
    /// All are `id:value`, and other features of the table are not.
    LikeIds,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Column {
    pub name: String,
    pub values: Values,
    /// One byte a row, 1 where NULL; absent while no NULL was seen.
    pub nulls: Option<Vec<u8>>,
    pub form: Form,
}

/// The usable rows of one query, column by column.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Table {
    pub rows: usize,
    /// Rows left out because their target is NULL or no number.
    pub unusable: u64,
    pub columns: Vec<Column>,
    /// Columns with a reading that was known before, and is not that of their texts.
    pub badly_read: Vec<BadlyRead>,
}

/// A column of texts of which too few could be read as it was said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BadlyRead {
    /// Its place.
    pub column: usize,
    pub reading: Reading,
    /// Rows with a text that is not missing, and those of them that were read.
    pub present: u64,
    pub read: u64,
}

fn copy_of<T: Copy>(items: &[T], memory: &mut Memory) -> Result<Vec<T>, Exhausted> {
    let mut copy = Vec::new();
    memory.reserve(&mut copy, items.len())?;
    copy.extend_from_slice(items);
    Ok(copy)
}

impl Table {
    /// Bytes that are held, used or not.
    pub fn bytes(&self) -> usize {
        self.columns.iter().map(Column::bytes).sum()
    }

    /// The same rows in memory of their own.
    pub fn try_clone(&self, memory: &mut Memory) -> Result<Self, Exhausted> {
        let copy = |column: &Column, memory: &mut Memory| {
            Ok(Column {
                name: column.name.clone(),
                values: column.values.try_clone(memory)?,
                nulls: column.nulls.as_ref().map(|mask| copy_of(mask, memory)).transpose()?,
                form: column.form,
            })
        };
        let columns = self.columns.iter().map(|column| copy(column, memory)).collect::<Result<_, Exhausted>>()?;
        Ok(Self { rows: self.rows, unusable: self.unusable, columns, ..Self::default() })
    }
}

impl Column {
    pub fn new(name: &str, kind: Kind) -> Self {
        Self { name: name.to_owned(), values: Values::empty(kind), nulls: None, form: Form::AsItIs }
    }

    pub fn kind(&self) -> Kind {
        self.values.kind()
    }

    /// How its texts were read, where it is a column of texts.
    pub fn reading(&self) -> Option<Reading> {
        match self.form {
            Form::Read { reading, .. } => Some(reading),
            _ => None,
        }
    }

    pub fn len(&self) -> usize {
        self.values.len()
    }

    /// The mask is brought up to the column's length only when a NULL comes, and in the end by `complete`: values cost
    /// nothing for it.
    #[cold]
    pub fn push_null(&mut self, memory: &mut Memory) -> Result<(), Exhausted> {
        let rows = self.len();
        let mask = self.nulls.get_or_insert_with(Vec::new);
        if mask.capacity() <= rows {
            memory.grow(mask, rows + 1 - mask.len())?;
        }
        mask.resize(rows, 0);
        self.values.push_zero(memory)?;
        mask.push(1);
        Ok(())
    }

    /// After the last row: the mask is as long as the column.
    pub fn complete(&mut self, memory: &mut Memory) -> Result<(), Exhausted> {
        let rows = self.len();
        match &mut self.nulls {
            Some(mask) => memory.fill(mask, rows, 0),
            None => Ok(()),
        }
    }

    /// Lets go of memory that was taken for further rows.
    pub fn fit(&mut self) {
        self.values.fit();
        if let Some(mask) = &mut self.nulls {
            mask.shrink_to_fit();
        }
    }

    /// Bytes that are held, used or not.
    pub fn bytes(&self) -> usize {
        self.values.bytes() + self.nulls.as_ref().map_or(0, bytes_of)
    }

    /// No rows, but the memory of those that were there.
    pub fn clear(&mut self) {
        self.values.clear();
        self.nulls = None;
    }

    pub fn null_rows(&self) -> usize {
        self.nulls.as_ref().map_or(0, |mask| mask.iter().filter(|&&null| null != 0).count())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FREE: Memory = Memory::unlimited();

    #[test]
    fn a_null_keeps_its_row_and_is_marked() {
        let mut column = Column::new("a", Kind::Int32);
        let push = |column: &mut Column, value| match &mut column.values {
            Values::Int32(v) => v.push(value),
            _ => unreachable!(),
        };
        push(&mut column, 7);
        column.push_null(&mut FREE.clone()).unwrap();
        push(&mut column, 9);
        column.complete(&mut FREE.clone()).unwrap();
        assert_eq!(column.values, Values::Int32(vec![7, 0, 9]));
        assert_eq!(column.nulls, Some(vec![0, 1, 0]));
        assert_eq!(column.null_rows(), 1);
    }

    #[test]
    fn every_kind_has_an_empty_column_that_takes_nulls() {
        for kind in [
            Kind::Boolean,
            Kind::Int32,
            Kind::Int64,
            Kind::Float32,
            Kind::Float64,
            Kind::Text,
            Kind::IdValue,
            Kind::Date,
            Kind::Timestamp,
            Kind::Time,
            Kind::Interval,
            Kind::Key,
        ] {
            let mut column = Column::new("a", kind);
            assert_eq!((column.kind(), column.len()), (kind, 0));
            column.push_null(&mut FREE.clone()).unwrap();
            assert_eq!(
                column,
                Table { rows: 1, columns: vec![column.clone()], ..Table::default() }
                    .try_clone(&mut FREE.clone())
                    .unwrap()
                    .columns[0]
            );
            assert_eq!((column.len(), column.nulls.clone()), (1, Some(vec![1])), "{}", kind.name());
            column.clear();
            assert_eq!((column.len(), column.nulls), (0, None));
        }
    }

    #[test]
    fn values_are_kept_only_when_one_is_not_one() {
        let mut column = IdValues::default();
        let mut memory = FREE.clone();
        assert_eq!(column.push(b"3:1", &mut memory), Ok(true));
        assert_eq!(column.values, None);
        assert_eq!(column.push(b"4:0.5", &mut memory), Ok(true));
        column.push_null(&mut memory).unwrap();
        assert_eq!(column, IdValues { ids: vec![3, 4, 0], values: Some(vec![1.0, 0.5, 0.0]) });
        assert_eq!(column.push(b"four", &mut memory), Ok(false));
        assert_eq!((column.ids.len(), memory.held()), (3, column.bytes()));
    }

    #[test]
    fn a_column_that_may_not_grow_says_so() {
        for (kind, text) in [(Kind::IdValue, &b"1:2"[..]), (Kind::Text, b""), (Kind::Float64, b"")] {
            let (mut column, mut memory) = (Column::new("a", kind), Memory::new(0, 2_000));
            let rows = (0..10_000).take_while(|_| column.push_null(&mut memory).is_ok()).count();
            assert!((50..1_000).contains(&rows) && memory.held() <= 2_000, "{kind:?}");
            if let Values::IdValue(ids) = &mut column.values {
                assert_eq!(ids.push(text, &mut memory), Err(Exhausted::Limit));
            }
        }
    }
}
