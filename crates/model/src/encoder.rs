//! From columns to embedding rows and factors.

use crate::blob::Blob;
use crate::columns::ColumnData;
use crate::error::{fail, Result};
use crate::field::Field;
use crate::header::{Header, Input};

/// Encoded rows, field by field; kept by the caller, so that the next batch finds its memory.
#[derive(Debug, Default)]
pub struct Encoded {
    rows: usize,
    /// The rows of the first field, then those of the second, ...
    ids: Vec<u32>,
    /// In the same order, of the fields that have factors.
    factors: Vec<f32>,
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

    /// Of the factors numbered `place`: not all fields have some.
    pub fn factors(&self, place: usize) -> &[f32] {
        &self.factors[place * self.rows..][..self.rows]
    }
}

#[derive(Debug)]
pub struct Encoder {
    pub inputs: Vec<Input>,
    pub fields: Vec<Field>,
    /// Of every field its place among those that have factors.
    pub factors: Vec<Option<usize>>,
}

impl Encoder {
    pub fn read(blob: &Blob<'_>, header: &Header) -> Result<Self> {
        if header.fields.is_empty() {
            fail!("the model reads nothing");
        }
        let mut first = 0;
        let mut fields = Vec::with_capacity(header.fields.len());
        for (number, field) in header.fields.iter().enumerate() {
            fields.push(Field::read(blob, number, field, header.column_of(field)?, first)?);
            first += field.slots;
        }
        let mut place = 0;
        let factors = fields.iter().map(|field: &Field| {
            let found = field.has_factors().then_some(place);
            place += usize::from(field.has_factors());
            found
        });
        let factors = factors.collect();
        Ok(Self { inputs: header.columns.clone(), fields, factors })
    }

    /// Embedding rows over all fields together.
    pub fn ids(&self) -> usize {
        self.fields.iter().map(Field::slots).sum()
    }

    /// Encodes `rows` rows; `column` hands out the columns in the order of `inputs`.
    pub fn encode<'a>(
        &self,
        rows: usize,
        column: impl Fn(usize) -> ColumnData<'a>,
        encoded: &mut Encoded,
    ) -> Result<()> {
        encoded.rows = rows;
        encoded.ids.resize(rows * self.fields.len(), 0);
        encoded.factors.resize(rows * self.factors.iter().flatten().count(), 0.0);
        for ((place, field), factors) in self.fields.iter().enumerate().zip(&self.factors) {
            let ColumnData { data, nulls } = column(field.column);
            let input = &self.inputs[field.column];
            if data.family() != input.family {
                let (given, wanted) = (data.family().name(), input.family.name());
                fail!("column \"{}\" is of kind {given}, and the model was trained with {wanted}", input.name);
            }
            if data.rows() != rows || nulls.is_some_and(|nulls| nulls.len() != rows) {
                fail!("column \"{}\" has not {rows} rows", input.name);
            }
            let ids = &mut encoded.ids[place * rows..][..rows];
            let factors = factors.map(|place| &mut encoded.factors[place * rows..][..rows]);
            field.encode(&data, nulls, ids, factors);
        }
        Ok(())
    }
}
