//! Vectors of embedding rows: where each field's lie in a table, and what they are multiplied by.

use crate::buffer::padded;
use crate::encoder::{Encoded, Encoder};
use crate::error::Result;
use crate::field::Beside;
use crate::memory::with_room;
use crate::program::LinearPath;

/// Rows that are computed together, from `begin` on; their ids have been checked.
#[derive(Clone, Copy)]
pub struct Block<'a> {
    pub encoded: &'a Encoded,
    pub begin: usize,
    pub rows: usize,
}

impl<'a> Block<'a> {
    pub fn ids(&self, field: usize) -> &'a [u32] {
        &self.encoded.ids(field)[self.begin..][..self.rows]
    }

    pub fn numbers(&self, place: usize) -> &'a [f32] {
        &self.encoded.numbers(place)[self.begin..][..self.rows]
    }
}

/// A field's rows in a table.
#[derive(Debug, Clone, Copy)]
pub struct FieldRows {
    pub field: usize,
    pub beside: Beside<usize>,
    /// Embedding rows of the field, and where they lie in the table.
    pub first: usize,
    pub slots: usize,
    pub place: usize,
}

impl FieldRows {
    /// Every field's, in a table of all embedding rows.
    pub fn all(encoder: &Encoder) -> Vec<Self> {
        let mut first = 0;
        let fields = encoder.fields.iter().zip(&encoder.beside).enumerate().map(|(number, (field, beside))| {
            let rows = Self { field: number, beside: *beside, first, slots: field.slots(), place: first };
            first += rows.slots;
            rows
        });
        fields.collect()
    }

    /// Where an embedding row lies.
    #[inline]
    pub fn of(&self, id: u32) -> usize {
        self.place + id as usize - self.first
    }

    /// Where the one behind it lies; the last has itself behind it.
    #[inline]
    pub fn behind(&self, id: u32) -> usize {
        self.place + (id as usize - self.first + 1).min(self.slots - 1)
    }

    /// Calls `put` with each row of the block, a row of the table and its factor, and whether it is the first: a number
    /// between two knots has two.
    #[inline]
    fn each(&self, block: Block<'_>, mut put: impl FnMut(usize, usize, f32, bool)) {
        let ids = block.ids(self.field).iter().enumerate();
        match self.beside {
            Beside::Nothing => ids.for_each(|(row, id)| put(row, self.of(*id), 1.0, true)),
            Beside::Factor(place) => {
                let factors = block.numbers(place);
                ids.for_each(|(row, id)| put(row, self.of(*id), factors[row], true));
            }
            Beside::Share(place) => {
                let shares = block.numbers(place);
                ids.for_each(|(row, id)| {
                    put(row, self.of(*id), 1.0 - shares[row], true);
                    put(row, self.behind(*id), shares[row], false);
                });
            }
        }
    }
}

/// What some fields look up, one vector behind the other.
#[derive(Debug)]
pub struct Embedding {
    size: usize,
    vectors: Vec<f32>,
    fields: Vec<FieldRows>,
}

impl Embedding {
    /// The vectors of `fields`, out of `embedding`, where all embedding rows lie.
    pub fn new(embedding: &[f32], size: usize, mut fields: Vec<FieldRows>) -> Result<Self> {
        let mut vectors = with_room(fields.iter().map(|rows| rows.slots * size).sum())?;
        for rows in &mut fields {
            rows.place = vectors.len() / size;
            vectors.extend_from_slice(&embedding[rows.first * size..][..rows.slots * size]);
        }
        Ok(Self { size, vectors, fields })
    }

    /// Numbers of a row.
    pub fn width(&self) -> usize {
        self.fields.len() * self.size
    }

    pub fn bytes(&self) -> usize {
        std::mem::size_of_val(&self.vectors[..]) + std::mem::size_of_val(&self.fields[..])
    }

    /// Writes padded rows.
    pub fn write(&self, block: Block<'_>, out: &mut [f32]) {
        let (size, stride) = (self.size, padded(self.width()));
        out.chunks_exact_mut(stride).take(block.rows).for_each(|out| out[self.width()..].fill(0.0));
        for (place, field) in self.fields.iter().enumerate() {
            field.each(block, |row, from, factor, is_first| {
                let vector = &self.vectors[from * size..][..size];
                let to = &mut out[row * stride + place * size..][..size];
                match is_first {
                    true => to.iter_mut().zip(vector).for_each(|(to, x)| *to = x * factor),
                    false => to.iter_mut().zip(vector).for_each(|(to, x)| *to += x * factor),
                }
            });
        }
    }
}

/// Adds the vectors of a linear path to padded rows.
pub fn add_up(path: &LinearPath, fields: &[FieldRows], block: Block<'_>, out: &mut [f32]) {
    for field in fields {
        add_field(path, field, block, 1.0, |_| true, out);
    }
}

/// Takes the vectors of a field's cells that were from padded rows, and adds those of the cells that are; rows where they
/// are the same stay as they are, to the last digit.
pub fn exchange(path: &LinearPath, field: &FieldRows, [was, is]: [Block<'_>; 2], out: &mut [f32]) {
    let (ids, numbers) =
        ([was.ids(field.field), is.ids(field.field)], |block: Block<'_>, row: usize| match field.beside {
            Beside::Nothing => 1.0,
            Beside::Factor(place) | Beside::Share(place) => block.numbers(place)[row],
        });
    let is_other = |row: usize| ids[0][row] != ids[1][row] || numbers(was, row) != numbers(is, row);
    add_field(path, field, was, -1.0, is_other, out);
    add_field(path, field, is, 1.0, is_other, out);
}

fn add_field(
    path: &LinearPath,
    field: &FieldRows,
    block: Block<'_>,
    sign: f32,
    wanted: impl Fn(usize) -> bool,
    out: &mut [f32],
) {
    let (width, stride) = (path.outputs, padded(path.outputs));
    field.each(block, |row, from, factor, _| {
        if wanted(row) {
            let to = out[row * stride..][..width].iter_mut();
            to.zip(&path.weight[from * width..][..width]).for_each(|(to, x)| *to += x * (sign * factor));
        }
    });
}
