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

    /// The factors or shares numbered `place`: not all fields have some.
    pub fn numbers(&self, place: usize) -> &[f32] {
        &self.numbers[place * self.rows..][..self.rows]
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
