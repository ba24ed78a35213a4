//! The linear operation that a network begins with.
//!
//! It is linear in what is embedded, so the product of an embedding row with its field's share of the weights can be had
//! once, when the model is loaded: then the operation is a sum of rows. A number between two knots is as linear, a sum of
//! the rows of both. Fields whose products would take too much memory are looked up and multiplied row by row, as it is
//! written down.

use crate::blob::{Pause, PAUSE};
use crate::buffer::{padded, Floats};
use crate::error::Result;
use crate::field::Beside;
use crate::kernels::{Kernels, Sum, GROUP};
use crate::layer::{Layer, Start};
use crate::memory::with_room;
use crate::program::Linear;
use crate::vectors::{Block, Embedding, FieldRows};

/// A row of a field's products that is added up: the field's own, or the one behind it.
#[derive(Debug)]
struct Addend {
    rows: FieldRows,
    factor: Factor,
}

#[derive(Debug, Clone, Copy)]
enum Factor {
    One,
    /// What is beside the id, numbered so.
    Number(usize),
    /// Of a share what is left of 1.
    Left(usize),
    /// The share itself, of the row behind.
    Share(usize),
}

#[derive(Debug)]
pub struct Leading {
    /// A padded row for every embedding row of the folded fields.
    products: Floats,
    folded: Vec<Addend>,
    /// The other fields, and the layer that reads them.
    rest: Option<(Embedding, Layer)>,
    bias: Floats,
    outputs: usize,
}

impl Leading {
    /// `memory` bytes may be taken by products had beforehand.
    pub fn new(
        fields: &[FieldRows],
        embedding: &[f32],
        size: usize,
        linear: &Linear,
        memory: usize,
        pause: Pause<'_>,
    ) -> Result<Self> {
        let width = linear.outputs;
        let is_folded = folded(fields, padded(width) * 4, memory);
        let (mut addends, mut looked_up) = (Vec::new(), Vec::new());
        let unfolded = is_folded.iter().filter(|is_folded| !**is_folded).count();
        let mut rest_weight = with_room(unfolded * size * width)?;
        let mut products = 0;
        for (rows, is_folded) in fields.iter().zip(&is_folded) {
            if *is_folded {
                let rows = FieldRows { place: products, ..*rows };
                products += rows.slots;
                match rows.beside {
                    Beside::Nothing => addends.push(Addend { rows, factor: Factor::One }),
                    Beside::Factor(place) => addends.push(Addend { rows, factor: Factor::Number(place) }),
                    Beside::Share(place) => {
                        addends.push(Addend { rows, factor: Factor::Left(place) });
                        addends.push(Addend { rows, factor: Factor::Share(place) });
                    }
                }
            } else {
                rest_weight.extend_from_slice(&linear.weight[rows.field * size * width..][..size * width]);
                looked_up.push(*rows);
            }
        }
        let mut table = Floats::zeros(products * padded(width))?;
        let mut work = 0;
        for Addend { rows, .. } in addends.iter().filter(|addend| !matches!(addend.factor, Factor::Share(_))) {
            let weight = &linear.weight[rows.field * size * width..][..size * width];
            let embedded = embedding[rows.first * size..].chunks_exact(size);
            let out = table[rows.place * padded(width)..].chunks_exact_mut(padded(width));
            for (vector, out) in embedded.zip(out).take(rows.slots) {
                work += size * width;
                if work > PAUSE {
                    work = 0;
                    pause();
                }
                add_product(vector, weight, width, out);
            }
        }
        let rest = match looked_up.len() {
            0 => None,
            many => {
                let layer = Layer::new(many * size, width, &rest_weight, &vec![0.0; width], pause)?;
                Some((Embedding::new(embedding, size, looked_up)?, layer))
            }
        };
        let mut bias = Floats::zeros(padded(width))?;
        bias[..width].copy_from_slice(&linear.bias);
        Ok(Self { products: table, folded: addends, rest, bias, outputs: width })
    }

    /// Floats that a row takes of what is looked up.
    pub fn looked_up(&self) -> usize {
        self.rest.as_ref().map_or(0, |(embedding, _)| padded(embedding.width()))
    }

    pub fn multiply_adds(&self) -> usize {
        let rest = self.rest.as_ref().map_or(0, |(_, layer)| layer.multiply_adds());
        self.folded.len() * padded(self.outputs) + rest
    }

    pub fn bytes(&self) -> usize {
        let rest = self.rest.as_ref().map_or(0, |(embedding, layer)| embedding.bytes() + layer.bytes());
        self.products.bytes() + std::mem::size_of_val(&self.folded[..]) + self.bias.bytes() + rest
    }

    /// The outputs of a block of rows; `looked_up` is memory for as many rows.
    pub fn apply(&self, kernels: Kernels, block: Block<'_>, looked_up: &mut Floats, out: &mut Floats, relu: bool) {
        let stride = padded(self.outputs);
        assert!(out.len() >= block.rows * stride);
        if self.folded.is_empty() {
            out.chunks_exact_mut(stride).take(block.rows).for_each(|out| out.copy_from_slice(&self.bias));
        }
        let groups = self.folded.len().div_ceil(GROUP);
        for (number, group) in self.folded.chunks(GROUP).enumerate() {
            let relu = relu && number + 1 == groups && self.rest.is_none();
            self.add_up(kernels, group, block, out, number == 0, relu);
        }
        if let Some((embedding, layer)) = &self.rest {
            embedding.write(block, looked_up);
            layer.apply(kernels, block.rows, looked_up, out, Start::Output, relu);
        }
    }

    /// Adds a group's products to the bias, or to what is there.
    fn add_up(
        &self,
        kernels: Kernels,
        group: &[Addend],
        block: Block<'_>,
        out: &mut Floats,
        from_bias: bool,
        relu: bool,
    ) {
        let stride = padded(self.outputs);
        let has_factors = group.iter().any(|addend| !matches!(addend.factor, Factor::One));
        let mut addresses = [std::ptr::null::<f32>(); GROUP];
        let mut factors = [1.0f32; GROUP];
        let columns: [&[u32]; GROUP] =
            std::array::from_fn(|place| group.get(place).map_or(&[][..], |addend| block.ids(addend.rows.field)));
        // The row is the place in every field's column, and in the factors.
        #[allow(clippy::needless_range_loop)]
        for row in 0..block.rows {
            for (place, Addend { rows, factor }) in group.iter().enumerate() {
                let id = columns[place][row];
                let product = match factor {
                    Factor::One => rows.of(id),
                    Factor::Number(number) => {
                        factors[place] = block.numbers(*number)[row];
                        rows.of(id)
                    }
                    Factor::Left(number) => {
                        factors[place] = 1.0 - block.numbers(*number)[row];
                        rows.of(id)
                    }
                    Factor::Share(number) => {
                        factors[place] = block.numbers(*number)[row];
                        rows.behind(id)
                    }
                };
                // SAFETY: the id lies within the field (`Network::check`), and so does the one behind it; the field's
                // products lie within the table.
                addresses[place] = unsafe { self.products.as_ptr().add(product * stride) };
            }
            // SAFETY: `out` holds this row, as was checked; products and bias are rows of the same width.
            unsafe {
                let out = out.as_mut_ptr().add(row * stride);
                kernels.sum(&Sum {
                    rows: &addresses[..group.len()],
                    factors: if has_factors { &factors[..group.len()] } else { &[] },
                    start: if from_bias { self.bias.as_ptr() } else { out },
                    out,
                    width: stride,
                    relu,
                });
            }
        }
    }
}

/// Adds the product of a vector with weights [vector, width].
fn add_product(vector: &[f32], weight: &[f32], width: usize, out: &mut [f32]) {
    for (x, weights) in vector.iter().zip(weight.chunks_exact(width)) {
        for (out, weight) in out.iter_mut().zip(weights) {
            *out += x * weight;
        }
    }
}

/// Which fields' products have room in so much memory: the smallest fields first, which folds as many as can be.
fn folded(fields: &[FieldRows], row_bytes: usize, memory: usize) -> Vec<bool> {
    let mut order: Vec<usize> = (0..fields.len()).collect();
    order.sort_by_key(|&field| fields[field].slots);
    let mut left = memory;
    let mut is_folded = vec![false; fields.len()];
    for field in order {
        let needed = fields[field].slots.saturating_mul(row_bytes);
        is_folded[field] = needed <= left;
        left = left.saturating_sub(needed);
    }
    is_folded
}
