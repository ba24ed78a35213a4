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

    /// Whether all fields' products were had beforehand.
    pub fn is_folded(&self) -> bool {
        self.rest.is_none()
    }

    /// The largest number among the products, whatever its sign; NaN if there is one.
    pub fn largest(&self) -> f32 {
        largest(&self.products)
    }

    /// Floats of a row of the outputs.
    pub fn stride(&self) -> usize {
        padded(self.outputs)
    }

    /// The outputs of a block of rows; `looked_up` is memory for as many rows.
    pub fn apply(&self, kernels: Kernels, block: Block<'_>, looked_up: &mut Floats, out: &mut [f32], relu: bool) {
        let stride = self.stride();
        assert!(out.len() >= block.rows * stride);
        if self.folded.is_empty() {
            out.chunks_exact_mut(stride).take(block.rows).for_each(|out| out.copy_from_slice(&self.bias));
        }
        let groups = self.folded.len().div_ceil(GROUP);
        for (number, group) in self.folded.chunks(GROUP).enumerate() {
            let relu = relu && number + 1 == groups && self.rest.is_none();
            let terms: [Term<'_>; GROUP] = std::array::from_fn(|place| Term::of(group.get(place), block, 1.0));
            let start = if number == 0 { From::Same(&self.bias) } else { From::Output };
            self.add_up(kernels, &terms[..group.len()], block.rows, start, out, relu);
        }
        if let Some((embedding, layer)) = &self.rest {
            embedding.write(block, looked_up);
            layer.apply(kernels, block.rows, looked_up, out, Start::Output, relu);
        }
    }

    /// The outputs of rows of which `sums` [rows, stride] are had already, where the fields in `fields` were those of `was`
    /// and are those of `is`. All fields must be folded.
    pub fn exchange(
        &self,
        kernels: Kernels,
        [was, is]: [Block<'_>; 2],
        fields: &[usize],
        sums: &[f32],
        out: &mut [f32],
        relu: bool,
    ) {
        let stride = self.stride();
        assert!(
            self.is_folded() && was.rows == is.rows && sums.len() >= is.rows * stride && out.len() >= is.rows * stride
        );
        let mut start = From::Rows(sums);
        let mut terms = [Term::of(None, is, 1.0); GROUP];
        let mut count = 0;
        let mut addends = self.folded.iter().filter(|addend| fields.contains(&addend.rows.field)).peekable();
        while let Some(addend) = addends.next() {
            terms[count] = Term::of(Some(addend), was, -1.0);
            terms[count + 1] = Term::of(Some(addend), is, 1.0);
            count += 2;
            let is_last = addends.peek().is_none();
            if is_last || count == GROUP {
                self.add_up(kernels, &terms[..count], is.rows, start, out, relu && is_last);
                (start, count) = (From::Output, 0);
            }
        }
        if matches!(start, From::Rows(_)) {
            // A column without fields changes nothing.
            self.add_up(kernels, &[], is.rows, start, out, relu);
        }
    }

    /// Adds a few terms to what the sums start from.
    fn add_up(&self, kernels: Kernels, terms: &[Term<'_>], rows: usize, start: From<'_>, out: &mut [f32], relu: bool) {
        let stride = self.stride();
        let has_factors = terms.iter().any(|term| !matches!(term.factor, Factor::One) || term.sign != 1.0);
        let mut addresses = [std::ptr::null::<f32>(); GROUP];
        let mut factors = [1.0f32; GROUP];
        // What is taken away and added again is as it was: the same terms twice would leave a rounding behind.
        let is_pairs = terms.len().is_multiple_of(2) && terms.iter().step_by(2).all(|term| term.sign < 0.0);
        for row in 0..rows {
            let mut count = 0;
            for (place, term) in terms.iter().enumerate() {
                let product;
                (product, factors[count]) = term.at(row);
                // SAFETY: the id lies within the field (`Network::check`), and so does the one behind it; the field's
                // products lie within the table.
                addresses[count] = unsafe { self.products.as_ptr().add(product * stride) };
                count += 1;
                let is_second = is_pairs && place % 2 == 1;
                if is_second
                    && addresses[count - 1] == addresses[count - 2]
                    && factors[count - 1] == -factors[count - 2]
                {
                    count -= 2;
                }
            }
            let out = out[row * stride..][..stride].as_mut_ptr();
            let start = match start {
                From::Same(start) => start[..stride].as_ptr(),
                From::Rows(start) => start[row * stride..][..stride].as_ptr(),
                From::Output => out,
            };
            // SAFETY: `out` and what it starts from were sliced as long as the products are wide.
            unsafe {
                kernels.sum(&Sum {
                    rows: &addresses[..count],
                    factors: if has_factors { &factors[..count] } else { &[] },
                    start,
                    out,
                    width: stride,
                    relu,
                });
            }
        }
    }
}

/// What a block's sums start from.
#[derive(Clone, Copy)]
enum From<'a> {
    /// The same in every row.
    Same(&'a [f32]),
    Rows(&'a [f32]),
    /// What is in the output already.
    Output,
}

/// The rows of products that an addend is for a block's rows.
#[derive(Clone, Copy)]
struct Term<'a> {
    rows: FieldRows,
    factor: Factor,
    ids: &'a [u32],
    numbers: &'a [f32],
    sign: f32,
}

impl<'a> Term<'a> {
    /// Of no addend one that is not looked at.
    fn of(addend: Option<&Addend>, block: Block<'a>, sign: f32) -> Self {
        let Some(Addend { rows, factor }) = addend else {
            let rows = FieldRows { field: 0, beside: Beside::Nothing, first: 0, slots: 0, place: 0 };
            return Self { rows, factor: Factor::One, ids: &[], numbers: &[], sign };
        };
        let numbers = match factor {
            Factor::One => &[][..],
            Factor::Number(place) | Factor::Left(place) | Factor::Share(place) => block.numbers(*place),
        };
        Self { rows: *rows, factor: *factor, ids: block.ids(rows.field), numbers, sign }
    }

    /// Which row of the products, and times what.
    #[inline]
    fn at(&self, row: usize) -> (usize, f32) {
        let id = self.ids[row];
        match self.factor {
            Factor::One => (self.rows.of(id), self.sign),
            Factor::Number(_) => (self.rows.of(id), self.sign * self.numbers[row]),
            Factor::Left(_) => (self.rows.of(id), self.sign * (1.0 - self.numbers[row])),
            Factor::Share(_) => (self.rows.behind(id), self.sign * self.numbers[row]),
        }
    }
}

/// The largest of the numbers, whatever their sign; NaN if there is one.
pub fn largest(numbers: &[f32]) -> f32 {
    numbers.iter().fold(0.0, |largest: f32, x| if x.abs() > largest || x.is_nan() { x.abs() } else { largest })
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
