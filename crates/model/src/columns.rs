//! Columns as they are handed in: borrowed, typed, each with a mask of NULLs.

/// Types of one family are encoded in the same way, so that one may stand in for another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Family {
    Boolean,
    Integer,
    Number,
    Text,
    IdValue,
    Date,
    Timestamp,
    Time,
    Interval,
}

impl Family {
    pub const ALL: [Self; 9] = [
        Self::Boolean,
        Self::Integer,
        Self::Number,
        Self::Text,
        Self::IdValue,
        Self::Date,
        Self::Timestamp,
        Self::Time,
        Self::Interval,
    ];

    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|family| family.name() == name)
    }

    /// Whether columns of another family are taken for ones of this, without loss: 0 and 1 are whole numbers, whole
    /// numbers are numbers, and a date is its midnight. `trails.table.conform` takes these, and what turns
    /// out to be one of the family by its values.
    pub fn takes(self, other: Self) -> bool {
        match self {
            Family::Integer => matches!(other, Family::Integer | Family::Boolean),
            Family::Number => matches!(other, Family::Number | Family::Integer | Family::Boolean),
            Family::Timestamp => matches!(other, Family::Timestamp | Family::Date),
            _ => other == self,
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Family::Boolean => "boolean",
            Family::Integer => "integer",
            Family::Number => "number",
            Family::Text => "text",
            Family::IdValue => "idvalue",
            Family::Date => "date",
            Family::Timestamp => "timestamp",
            Family::Time => "time",
            Family::Interval => "interval",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Data<'a> {
    /// 0 or 1.
    Boolean(&'a [i32]),
    Int32(&'a [i32]),
    Int64(&'a [i64]),
    Float32(&'a [f32]),
    Float64(&'a [f64]),
    /// XXH3 of the texts' bytes, 64 bits, seed 0.
    Text(&'a [i64]),
    /// Numbers are absent where all are 1.
    IdValue {
        ids: &'a [i32],
        values: Option<&'a [f32]>,
    },
    /// Days since 2000-01-01.
    Date(&'a [i32]),
    /// Microseconds since 2000-01-01, UTC.
    Timestamp(&'a [i64]),
    /// Microseconds since midnight.
    Time(&'a [i64]),
    /// Seconds.
    Interval(&'a [f64]),
}

impl Data<'_> {
    pub fn family(&self) -> Family {
        match self {
            Data::Boolean(_) => Family::Boolean,
            Data::Int32(_) | Data::Int64(_) => Family::Integer,
            Data::Float32(_) | Data::Float64(_) => Family::Number,
            Data::Text(_) => Family::Text,
            Data::IdValue { .. } => Family::IdValue,
            Data::Date(_) => Family::Date,
            Data::Timestamp(_) => Family::Timestamp,
            Data::Time(_) => Family::Time,
            Data::Interval(_) => Family::Interval,
        }
    }

    pub fn rows(&self) -> usize {
        match self {
            Data::Boolean(v) | Data::Int32(v) | Data::Date(v) => v.len(),
            Data::Int64(v) | Data::Text(v) | Data::Timestamp(v) | Data::Time(v) => v.len(),
            Data::Float32(v) => v.len(),
            Data::Float64(v) | Data::Interval(v) => v.len(),
            // Ids and numbers of different length are as good as neither.
            Data::IdValue { ids, values } => match values {
                Some(values) if values.len() != ids.len() => usize::MAX,
                _ => ids.len(),
            },
        }
    }
}

/// One column of a batch of rows.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ColumnData<'a> {
    pub data: Data<'a>,
    /// One byte a row, not 0 where NULL; None without NULLs.
    pub nulls: Option<&'a [u8]>,
}
