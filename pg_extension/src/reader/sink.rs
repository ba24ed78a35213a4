//! Where the cells of one column go: what each kind of cell becomes in the column's buffer.

use pgrx::pg_sys;
use trails_model::Reading;

use super::cell::{self, Cell, Plain};
use super::columns::{Column, Form, IdValues, Kind, Values};
use super::fault::Fault;
use super::labels::Labels;
use super::memory::{Exhausted, Memory};
use super::numeric::{self, Odd};
use super::published::Ids;
use super::readings::{are_times, put, Prospect, Tally};
use super::source::SourceColumn;
use super::texts::{hash, Dictionary};

/// What became of a cell.
pub type Taken = Result<(), Fault>;

/// How the cells of one column are read, and what is known of the column beside its values.
pub struct Sink {
    pub name: String,
    /// The type that the column was described with.
    pub described: pg_sys::Oid,
    pub cell: Cell,
    /// Where in a row of the query the cell is.
    pub place: usize,
    labels: Labels,
    /// None where spellings are not wanted.
    dictionary: Option<Dictionary>,
    /// A text column's other reading, as long as every cell has the form `id:value`.
    ids: Option<IdValues>,
    /// How texts are read, where that is known before, and how many could be.
    reading: Option<Reading>,
    tally: Tally,
    /// A text column's further readings.
    prospect: Prospect,
    /// Whether it is learnt from.
    pub feature: bool,
}

impl Sink {
    pub fn new(column: &SourceColumn, place: usize, labels: Labels, spelt: bool) -> Self {
        let text = matches!(column.kind, None | Some(Kind::Text));
        Self {
            name: column.name.clone(),
            described: column.base_type,
            cell: column.cell,
            place,
            labels,
            dictionary: (text && spelt).then(Dictionary::default),
            ids: column.kind.is_none().then(IdValues::default),
            reading: column.reading,
            tally: Tally::default(),
            prospect: if column.kind.is_none() && spelt { Prospect::Open } else { Prospect::Texts },
            feature: column.feature,
        }
    }

    /// Takes over a cell that is not NULL.
    ///
    /// # Safety
    /// The value is of the type that the column was described with.
    #[inline]
    pub unsafe fn store(&mut self, column: &mut Column, datum: pg_sys::Datum, memory: &mut Memory) -> Taken {
        // SAFETY: the caller's promise. What is passed by its address is there for as long as the row is; a UUID is 16 bytes,
        // with any alignment.
        unsafe {
            match self.cell {
                Cell::Int4 => put_i32(memory, column, datum.value() as i32)?,
                Cell::Float4 => {
                    let value = cell::float4(datum);
                    if !value.is_finite() {
                        return put_odd(memory, column, value.is_nan(), value < 0.0);
                    }
                    if let Values::Float32(v) = &mut column.values {
                        memory.push(v, value)?;
                    }
                }
                Cell::Int8 | Cell::Time => put_i64(memory, column, datum.value() as i64)?,
                Cell::Int2 => put_i32(memory, column, i32::from(datum.value() as i16))?,
                Cell::Bool => put_i32(memory, column, i32::from(datum.value() as u8 != 0))?,
                Cell::Float8 => {
                    let value = cell::float8(datum);
                    if !value.is_finite() {
                        return put_odd(memory, column, value.is_nan(), value < 0.0);
                    }
                    put_f64(memory, column, value)?;
                }
                Cell::Numeric => match numeric::to_f64(&Plain::of(datum)) {
                    Ok(value) => put_f64(memory, column, value)?,
                    Err(Odd::TooLarge) => return Err(Fault::TooLarge),
                    Err(Odd::NotANumber) => column.push_null(memory)?,
                    Err(Odd::Infinite { negative }) => return put_odd(memory, column, false, negative),
                },
                Cell::Date => match cell::date(datum) {
                    Some(days) => put_i32(memory, column, days)?,
                    None => column.push_null(memory)?,
                },
                Cell::Timestamp => match cell::timestamp(datum) {
                    Some(microseconds) => put_i64(memory, column, microseconds)?,
                    None => column.push_null(memory)?,
                },
                Cell::Interval => match cell::interval(datum) {
                    Some(seconds) => put_f64(memory, column, seconds)?,
                    None => column.push_null(memory)?,
                },
                Cell::Text => return self.put_text(memory, column, &Plain::of(datum)),
                Cell::BlankPadded => return self.put_text(memory, column, cell::without_padding(&Plain::of(datum))),
                Cell::Uuid => {
                    let text = cell::uuid_text(&*datum.cast_mut_ptr::<[u8; 16]>());
                    return self.put_text(memory, column, &text);
                }
                Cell::Enum => {
                    let label = self.labels.find(datum.value() as u32).ok_or(Fault::UnknownLabel)?;
                    if let Some(dictionary) = &mut self.dictionary {
                        dictionary.add(label.hash, label.text.as_bytes(), memory)?;
                    }
                    put_hash(memory, column, label.hash)?;
                }
            }
        }
        Ok(())
    }

    #[inline]
    fn put_text(&mut self, memory: &mut Memory, column: &mut Column, text: &[u8]) -> Taken {
        if let Some(reading) = self.reading {
            let read = put(column, reading, text, memory)?;
            self.tally.add(read, text);
            return Ok(());
        }
        match &mut column.values {
            Values::IdValue(v) => {
                if !v.push(text, memory)? {
                    return Err(Fault::NotIdValue(beginning(text)));
                }
            }
            Values::Key { ends, bytes } => {
                memory.extend(bytes, text)?;
                memory.push(ends, bytes.len() as u64)?;
            }
            _ => {
                let hash = match &mut self.dictionary {
                    Some(dictionary) => dictionary.add_text(text, memory)?,
                    None => hash(text),
                };
                put_hash(memory, column, hash)?;
                if let Some(ids) = &mut self.ids {
                    if !ids.push(text, memory)? {
                        memory.release(ids.bytes());
                        self.ids = None;
                    }
                }
                match &mut self.prospect {
                    Prospect::Texts => {}
                    Prospect::Open => {
                        if let Some(dictionary) = self.dictionary.as_ref().filter(|dictionary| dictionary.is_full()) {
                            self.prospect.settle(column, dictionary.texts(), memory)?;
                        }
                    }
                    Prospect::Read(read) => read.push(text, memory)?,
                }
            }
        }
        Ok(())
    }

    #[cold]
    pub fn store_null(&mut self, memory: &mut Memory, column: &mut Column) -> Taken {
        column.push_null(memory)?;
        if let Some(ids) = &mut self.ids {
            ids.push_null(memory)?;
        }
        if let Prospect::Read(read) = &mut self.prospect {
            read.push_null(memory)?;
        }
        Ok(())
    }

    /// The reading that was known before and how many texts had it, where these are too few.
    pub fn badly_read(&self) -> Option<(Reading, Tally)> {
        self.reading.map(|reading| (reading, self.tally)).filter(|(_, tally)| !tally.is_enough())
    }

    /// Whether every text so far has the form `id:value`, which was not known before.
    pub fn may_be_ids(&self) -> bool {
        self.ids.is_some()
    }

    /// Whether every text has the form `id:value`, as far as the column alone tells.
    pub fn ids(&self, column: &Column) -> Ids {
        let is_empty = column.null_rows() == column.len();
        match (&self.ids, &column.values) {
            // A column of NULLs alone has no form.
            _ if is_empty => Ids::Any,
            (_, Values::IdValue(_)) => Ids::Are,
            (Some(_), _) if self.dictionary.as_ref().is_some_and(|known| are_times(known.texts())) => Ids::Times,
            (Some(_), _) => Ids::Are,
            _ => Ids::Not,
        }
    }

    /// After the last row: what the column turned out to be. `published` says whether the table's form is the published one;
    /// `pause` is called every few rows.
    pub fn complete(
        &mut self,
        memory: &mut Memory,
        column: &mut Column,
        published: bool,
        pause: &dyn Fn(),
    ) -> Result<(), Exhausted> {
        column.complete(memory)?;
        let form = self.ids(column);
        if let Some(ids) = self.ids.take() {
            if published && matches!(form, Ids::Are | Ids::Times) {
                memory.release(column.values.bytes());
                column.values = Values::IdValue(ids);
                return Ok(());
            }
            memory.release(ids.bytes());
            if form == Ids::Are {
                column.form = Form::LikeIds;
            }
        }
        let texts = self.dictionary.as_mut().map(Dictionary::take).unwrap_or_default();
        std::mem::replace(&mut self.prospect, Prospect::Texts).complete(column, &texts, memory, pause)?;
        if let Values::Text { texts: spelt, .. } = &mut column.values {
            *spelt = texts;
        }
        Ok(())
    }
}

#[inline]
fn put_i32(memory: &mut Memory, column: &mut Column, value: i32) -> Result<(), Exhausted> {
    match &mut column.values {
        Values::Int32(v) | Values::Boolean(v) | Values::Date(v) => memory.push(v, value),
        _ => Ok(()),
    }
}

#[inline]
fn put_i64(memory: &mut Memory, column: &mut Column, value: i64) -> Result<(), Exhausted> {
    match &mut column.values {
        Values::Int64(v) | Values::Timestamp(v) | Values::Time(v) => memory.push(v, value),
        _ => Ok(()),
    }
}

#[inline]
fn put_f64(memory: &mut Memory, column: &mut Column, value: f64) -> Result<(), Exhausted> {
    match &mut column.values {
        Values::Float64(v) | Values::Interval(v) => memory.push(v, value),
        _ => Ok(()),
    }
}

#[inline]
fn put_hash(memory: &mut Memory, column: &mut Column, hash: i64) -> Result<(), Exhausted> {
    match &mut column.values {
        Values::Text { hashes, .. } => memory.push(hashes, hash),
        _ => Ok(()),
    }
}

#[cold]
fn put_odd(memory: &mut Memory, column: &mut Column, nan: bool, negative: bool) -> Taken {
    if !nan {
        return Err(Fault::Infinite(if negative { "-Infinity" } else { "Infinity" }));
    }
    Ok(column.push_null(memory)?)
}

/// Of a text that a message shows.
pub fn beginning(text: &[u8]) -> String {
    let shown: String = String::from_utf8_lossy(&text[..text.len().min(160)]).chars().take(40).collect();
    if shown.len() < text.len() {
        shown + "..."
    } else {
        shown
    }
}
