//! From columns to embedding rows, and what is beside them.

use crate::blob::Blob;
use crate::calendar::MICROSECONDS_A_DAY;
use crate::columns::{ColumnData, Data, Family};
use crate::error::{fail, Error, Result};
use crate::field::{Beside, Field};
use crate::header::{Header, Input};
use crate::memory::resize;

/// Memory that all fields' tables of keys may take beyond what their categories account for.
const DIRECT_BYTES: usize = 8 << 20;

/// Encoded rows, field by field; kept by the caller, so that the next batch finds its memory.
#[derive(Debug, Default)]
pub struct Encoded {
    rows: usize,
    /// The rows of the first field, then those of the second, ...
    ids: Vec<u32>,
    /// In the same order, factors and shares of the fields that have some.
    numbers: Vec<f32>,
    /// Dates that are taken for timestamps.
    midnights: Vec<i64>,
}

impl Encoded {
    pub fn rows(&self) -> usize {
        self.rows
    }

    pub fn fields(&self) -> usize {
        self.ids.len().checked_div(self.rows).unwrap_or(0)
    }

    pub fn ids(&self, field: usize) -> &[u32] {
        &self.ids[field * self.rows..][..self.rows]
    }

    /// All factors and shares.
    pub fn all_numbers(&self) -> &[f32] {
        &self.numbers
    }

    /// As many rows with as many fields, of which nothing is known.
    pub fn empty_like(&self) -> Result<Self> {
        let (mut ids, mut numbers) = (Vec::new(), Vec::new());
        resize(&mut ids, self.ids.len(), 0)?;
        resize(&mut numbers, self.numbers.len(), 0.0)?;
        Ok(Self { rows: self.rows, ids, numbers, midnights: Vec::new() })
    }

    /// The factors or shares numbered `place`: not all fields have some.
    pub fn numbers(&self, place: usize) -> &[f32] {
        &self.numbers[place * self.rows..][..self.rows]
    }
}

/// Encoded rows that were picked out of others, row by row.
#[derive(Debug, Default)]
pub struct Picked {
    rows: usize,
    fields: usize,
    numbered: usize,
    ids: Vec<u32>,
    numbers: Vec<f32>,
}

impl Picked {
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Copies a row to a place, which is another's or the one behind the last.
    ///
    /// # Errors
    /// There is not enough memory.
    ///
    /// # Panics
    /// The place is further behind, or the rows are of different models.
    pub fn put(&mut self, place: usize, of: &Encoded, row: usize) -> Result<()> {
        let (fields, numbered) = (of.fields(), of.numbers.len().checked_div(of.rows).unwrap_or(0));
        if self.rows == 0 {
            (self.fields, self.numbered) = (fields, numbered);
        }
        assert!(place <= self.rows && (self.fields, self.numbered) == (fields, numbered));
        if place == self.rows {
            // By half as much again, so that rows are not moved each time; `resize` takes what it is asked for and no more.
            let room = (self.rows + 1).max(self.rows + self.rows / 2);
            crate::memory::reserve(&mut self.ids, (room - self.rows) * fields)?;
            crate::memory::reserve(&mut self.numbers, (room - self.rows) * numbered)?;
            self.rows += 1;
            self.ids.resize(self.rows * fields, 0);
            self.numbers.resize(self.rows * numbered, 0.0);
        }
        for (field, id) in self.ids[place * fields..][..fields].iter_mut().enumerate() {
            *id = of.ids(field)[row];
        }
        for (number, value) in self.numbers[place * numbered..][..numbered].iter_mut().enumerate() {
            *value = of.numbers(number)[row];
        }
        Ok(())
    }
}

#[derive(Debug)]
pub struct Encoder {
    pub inputs: Vec<Input>,
    pub fields: Vec<Field>,
    /// What every field has beside its ids, with its place among those that have something.
    pub beside: Vec<Beside<usize>>,
}

impl Encoder {
    pub fn read(blob: &Blob<'_>, header: &Header) -> Result<Self> {
        let mut first = 0;
        let mut room = DIRECT_BYTES;
        let mut fields = Vec::with_capacity(header.fields.len());
        for (number, field) in header.fields.iter().enumerate() {
            fields.push(Field::read(blob, number, field, header.column_of[number], first, &mut room)?);
            first += field.slots;
        }
        let mut places = 0..;
        let beside = fields.iter().map(|field: &Field| field.beside().placed(&mut places)).collect();
        Ok(Self { inputs: header.columns.clone(), fields, beside })
    }

    /// Embedding rows over all fields together.
    pub fn ids(&self) -> usize {
        self.fields.iter().map(Field::slots).sum()
    }

    /// The factors of a field's rows, if it has some.
    pub fn factors<'a>(&self, field: usize, encoded: &'a Encoded) -> Option<&'a [f32]> {
        match self.beside[field] {
            Beside::Factor(place) => Some(encoded.numbers(place)),
            _ => None,
        }
    }

    /// Puts `rows` rows together: the fields of a column are of the picked row that `from` says for column and row.
    pub fn compose(
        &self,
        picked: &Picked,
        rows: usize,
        from: impl Fn(usize, usize) -> usize,
        encoded: &mut Encoded,
    ) -> Result<()> {
        assert!(picked.rows == 0 || picked.fields == self.fields.len());
        encoded.rows = 0;
        resize(&mut encoded.ids, rows * self.fields.len(), 0)?;
        resize(&mut encoded.numbers, rows * picked.numbered, 0.0)?;
        for ((place, field), beside) in self.fields.iter().enumerate().zip(&self.beside) {
            let ids = encoded.ids[place * rows..][..rows].iter_mut().enumerate();
            ids.for_each(|(row, id)| *id = picked.ids[from(field.column, row) * picked.fields + place]);
            if let Beside::Factor(place) | Beside::Share(place) = beside {
                let numbers = encoded.numbers[place * rows..][..rows].iter_mut().enumerate();
                numbers.for_each(|(row, x)| *x = picked.numbers[from(field.column, row) * picked.numbered + place]);
            }
        }
        encoded.rows = rows;
        Ok(())
    }

    /// Fields of a column.
    pub fn fields_of(&self, column: usize) -> impl Iterator<Item = usize> + '_ {
        self.fields.iter().enumerate().filter(move |(_, field)| field.column == column).map(|(place, _)| place)
    }

    /// Fills some fields of rows of `is`, which has as many rows as `was`, with those of the rows of `was` that `from` says.
    pub fn exchange(
        &self,
        fields: &[usize],
        was: &Encoded,
        rows: std::ops::Range<usize>,
        from: impl Fn(usize) -> usize,
        is: &mut Encoded,
    ) {
        for &place in fields {
            let source = was.ids(place);
            let ids = is.ids[place * is.rows..][rows.clone()].iter_mut();
            ids.zip(rows.clone()).for_each(|(id, row)| *id = source[from(row)]);
            if let Beside::Factor(place) | Beside::Share(place) = self.beside[place] {
                let source = was.numbers(place);
                let numbers = is.numbers[place * is.rows..][rows.clone()].iter_mut();
                numbers.zip(rows.clone()).for_each(|(x, row)| *x = source[from(row)]);
            }
        }
    }

    /// Encodes `rows` rows; `column` hands out the columns in the order of `inputs`, each of a family that its field
    /// takes.
    pub fn encode<'a>(
        &self,
        rows: usize,
        column: impl Fn(usize) -> ColumnData<'a>,
        encoded: &mut Encoded,
    ) -> Result<()> {
        // Until all is done they hold nothing: rows half encoded must not be taken for whole ones.
        encoded.rows = 0;
        let Encoded { ids, numbers: all_numbers, midnights, .. } = encoded;
        resize(ids, rows * self.fields.len(), 0)?;
        let numbered = self.beside.iter().filter(|beside| **beside != Beside::Nothing).count();
        resize(all_numbers, rows * numbered, 0.0)?;
        for ((place, field), beside) in self.fields.iter().enumerate().zip(&self.beside) {
            let ColumnData { data, nulls } = column(field.column);
            let input = &self.inputs[field.column];
            if !input.family.takes(data.family()) {
                let (given, wanted) = (data.family().name(), input.family.name());
                fail!("column \"{}\" is of kind {given}, and the model was trained with {wanted}", input.name);
            }
            if data.rows() != rows || nulls.is_some_and(|nulls| nulls.len() != rows) {
                fail!("column \"{}\" has not {rows} rows", input.name);
            }
            let data = match data {
                // Zeros and ones are whole numbers as they are, and a field of numbers reads whole numbers.
                Data::Boolean(v) if input.family != Family::Boolean => Data::Int32(v),
                Data::Date(days) if input.family == Family::Timestamp => {
                    Data::Timestamp(midnights_of(days, nulls, &input.name, midnights)?)
                }
                data => data,
            };
            let ids = &mut ids[place * rows..][..rows];
            let numbers = match beside {
                Beside::Nothing => None,
                Beside::Factor(place) | Beside::Share(place) => Some(&mut all_numbers[place * rows..][..rows]),
            };
            field.encode(&data, nulls, ids, numbers);
        }
        encoded.rows = rows;
        Ok(())
    }
}

/// The microseconds of each day's beginning, which dates have more of than timestamps; what is NULL is not looked at.
fn midnights_of<'a>(days: &[i32], nulls: Option<&[u8]>, name: &str, midnights: &'a mut Vec<i64>) -> Result<&'a [i64]> {
    resize(midnights, days.len(), 0)?;
    for (row, (midnight, day)) in midnights.iter_mut().zip(days).enumerate() {
        *midnight = match i64::from(*day).checked_mul(MICROSECONDS_A_DAY) {
            Some(microseconds) => microseconds,
            None if nulls.is_some_and(|nulls| nulls[row] != 0) => 0,
            None => {
                return Err(Error::OutOfRange(format!(
                    "column \"{name}\" holds a date that is out of range for timestamp"
                )))
            }
        };
    }
    Ok(midnights)
}
