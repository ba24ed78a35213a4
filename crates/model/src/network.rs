//! From embedding rows to outputs.
//!
//! The first layer is linear in what is embedded, so the product of an embedding row with its field's share of the first
//! layer's weights can be had once, when the model is loaded: then that layer is a sum of rows. Fields whose products
//! would take too much memory are looked up and multiplied row by row, as it is written down.

use crate::blob::{Blob, Pause, PAUSE};
use crate::buffer::{padded, Floats};
use crate::encoder::{Encoded, Encoder};
use crate::error::{fail, Result};
use crate::header::Header;
use crate::kernels::{Kernels, Sum, GROUP};
use crate::layer::{Layer, Start};
use crate::memory::{resize, with_room};

/// Memory for products that are had beforehand. Beyond it they would come from main memory, where looking up ten numbers
/// and multiplying them is as fast.
const FOLDED_BYTES: usize = 16 << 20;
/// Activations of a block of rows: two such blocks and a layer's weights stay in the second-level cache.
const BLOCK_BYTES: usize = 96 << 10;
const LARGEST_BLOCK: usize = 192;
/// Layers, the output included: many small ones would cost more than their multiply-adds tell.
const MOST_LAYERS: usize = 64;

/// Memory for the rows under way; kept by the caller, so that a call after the first allocates nothing.
#[derive(Debug, Default)]
pub struct Workspace {
    now: Floats,
    next: Floats,
    embedded: Floats,
}

/// A field's rows in a table of their own.
#[derive(Debug)]
struct Rows {
    field: usize,
    /// Place of its factors.
    factors: Option<usize>,
    /// Embedding rows of the field, and where they lie in the table.
    first: usize,
    slots: usize,
    place: usize,
}

#[derive(Debug)]
struct FirstLayer {
    /// Products with the first layer's weights, a padded row for every embedding row.
    products: Floats,
    folded: Vec<Rows>,
    /// Embedding rows of the other fields, and the layer that reads them.
    embedding: Vec<f32>,
    looked_up: Vec<Rows>,
    rest: Option<Layer>,
    bias: Floats,
    outputs: usize,
}

#[derive(Debug)]
pub struct Network {
    kernels: Kernels,
    size: usize,
    first: FirstLayer,
    /// All layers behind the first.
    layers: Vec<Layer>,
    outputs: usize,
    block: usize,
}

impl Network {
    pub fn read(blob: &Blob<'_>, header: &Header, encoder: &Encoder, kernels: Kernels) -> Result<Self> {
        Self::with_memory(blob, header, encoder, kernels, FOLDED_BYTES)
    }

    /// `folded` bytes may be taken by products had beforehand.
    pub fn with_memory(
        blob: &Blob<'_>,
        header: &Header,
        encoder: &Encoder,
        kernels: Kernels,
        folded: usize,
    ) -> Result<Self> {
        let (embedding, ids, size) = blob.matrix("embedding")?;
        if ids != encoder.ids() || size as u64 != header.embedding || size == 0 {
            let (wanted, described) = (encoder.ids(), header.embedding);
            fail!("the embedding is of shape ({ids}, {size}), not ({wanted}, {described})");
        }
        let mut names: Vec<String> = Vec::new();
        while names.len() <= MOST_LAYERS && blob.has(&format!("layers.{}.weight", names.len())) {
            names.push(format!("layers.{}", names.len()));
        }
        names.push("output".to_owned());
        if names.len() > MOST_LAYERS {
            fail!("the model has {} layers, and {MOST_LAYERS} are possible", names.len());
        }
        let mut inputs = encoder.fields.len() * size;
        let mut weights = Vec::with_capacity(names.len());
        for name in &names {
            let (weight, rows, outputs) = blob.matrix(&format!("{name}.weight"))?;
            let bias = blob.biases(&format!("{name}.bias"))?;
            if rows != inputs || bias.len() != outputs || outputs == 0 {
                let biases = bias.len();
                fail!(
                    "{name} has weights of shape ({rows}, {outputs}) and {biases} biases, and reads {inputs} numbers"
                );
            }
            weights.push((inputs, outputs, weight, bias));
            inputs = outputs;
        }
        if inputs != header.outputs() {
            fail!("the model has {inputs} outputs, and its task needs {}", header.outputs());
        }
        let (_, width, weight, bias) = weights.remove(0);
        let first = FirstLayer::new(encoder, &embedding, size, width, &weight, &bias, folded, blob.pause)?;
        drop((embedding, weight));
        let layers = weights.iter().map(|(i, o, weight, bias)| Layer::new(*i, *o, weight, bias, blob.pause));
        let layers = layers.collect::<Result<Vec<Layer>>>()?;
        let widest =
            layers.iter().map(Layer::stride).max().unwrap_or(0).max(padded(width)).max(first.looked_up.len() * size);
        let tile = crate::kernels::TILE;
        let block = (BLOCK_BYTES / 4 / widest / tile * tile).clamp(tile, LARGEST_BLOCK);
        Ok(Self { kernels, size, first, layers, outputs: inputs, block })
    }

    pub fn outputs(&self) -> usize {
        self.outputs
    }

    pub fn multiply_adds(&self) -> usize {
        let sums = self.first.folded.len() * padded(self.first.outputs);
        sums + self.first.rest.iter().chain(&self.layers).map(Layer::multiply_adds).sum::<usize>()
    }

    pub fn bytes(&self) -> usize {
        let first = self.first.products.bytes() + std::mem::size_of_val(&self.first.embedding[..]);
        first + self.first.rest.iter().chain(&self.layers).map(Layer::bytes).sum::<usize>()
    }

    /// Outputs of every encoded row, [rows, outputs].
    ///
    /// # Errors
    /// There is not enough memory.
    ///
    /// # Panics
    /// The rows were encoded for another model.
    pub fn forward(&self, encoded: &Encoded, workspace: &mut Workspace, outputs: &mut Vec<f32>) -> Result<()> {
        let rows = encoded.rows();
        resize(outputs, rows * self.outputs, 0.0)?;
        if rows == 0 {
            return Ok(());
        }
        self.check(encoded);
        let block = self.block.min(rows);
        let widest = self.layers.iter().map(Layer::stride).fold(padded(self.first.outputs), usize::max);
        let Workspace { now, next, embedded } = workspace;
        now.grow(block * widest)?;
        next.grow(block * widest)?;
        embedded.grow(block * self.first.embedded())?;
        for begin in (0..rows).step_by(block) {
            let rows = block.min(rows - begin);
            let hidden = !self.layers.is_empty();
            self.first.apply(self.kernels, self.size, encoded, begin, rows, embedded, now, hidden);
            for (number, layer) in self.layers.iter().enumerate() {
                layer.apply(self.kernels, rows, now, next, Start::Bias, number + 1 < self.layers.len());
                std::mem::swap(now, next);
            }
            let found = outputs[begin * self.outputs..].chunks_exact_mut(self.outputs);
            for (found, out) in found.zip(now.chunks_exact(padded(self.outputs))).take(rows) {
                found.copy_from_slice(&out[..self.outputs]);
            }
        }
        Ok(())
    }

    /// Every id must lie within its field, because the loops do not look: one pass of comparisons costs next to nothing.
    fn check(&self, encoded: &Encoded) {
        let fields = self.first.folded.iter().chain(&self.first.looked_up);
        assert_eq!(encoded.fields(), self.first.folded.len() + self.first.looked_up.len());
        for Rows { field, first, slots, .. } in fields {
            let (first, slots) = (*first as u32, *slots as u32);
            let inside = encoded.ids(*field).iter().fold(true, |all, id| all & (id.wrapping_sub(first) < slots));
            assert!(inside, "an embedding row of field {field} is another field's");
        }
    }
}

impl FirstLayer {
    #[allow(clippy::too_many_arguments)]
    fn new(
        encoder: &Encoder,
        embedding: &[f32],
        size: usize,
        width: usize,
        weight: &[f32],
        bias: &[f32],
        memory: usize,
        pause: Pause<'_>,
    ) -> Result<Self> {
        let mut firsts = Vec::with_capacity(encoder.fields.len());
        let mut ids = 0;
        for field in &encoder.fields {
            firsts.push(ids);
            ids += field.slots();
        }
        // The smallest fields first: that folds as many as can be.
        let mut order: Vec<usize> = (0..encoder.fields.len()).collect();
        order.sort_by_key(|&field| encoder.fields[field].slots());
        let row_bytes = padded(width) * 4;
        let mut left = memory;
        let mut is_folded = vec![false; order.len()];
        for &field in &order {
            let needed = encoder.fields[field].slots().saturating_mul(row_bytes);
            is_folded[field] = needed <= left;
            left = left.saturating_sub(needed);
        }
        let (mut folded, mut looked_up) = (Vec::new(), Vec::new());
        let unfolded = || (0..is_folded.len()).filter(|field| !is_folded[*field]);
        let mut rest_embedding = with_room(unfolded().map(|field| encoder.fields[field].slots() * size).sum())?;
        let mut rest_weight = with_room(unfolded().count() * size * width)?;
        let mut folded_rows = 0;
        for (field, &first) in firsts.iter().enumerate() {
            let slots = encoder.fields[field].slots();
            let mut rows = Rows { field, factors: encoder.factors[field], first, slots, place: 0 };
            if is_folded[field] {
                rows.place = folded_rows;
                folded_rows += slots;
                folded.push(rows);
            } else {
                rows.place = rest_embedding.len() / size;
                rest_embedding.extend_from_slice(&embedding[first * size..(first + slots) * size]);
                rest_weight.extend_from_slice(&weight[field * size * width..(field + 1) * size * width]);
                looked_up.push(rows);
            }
        }
        let mut products = Floats::zeros(folded_rows * padded(width))?;
        let mut work = 0;
        for rows in &folded {
            let weight = &weight[rows.field * size * width..(rows.field + 1) * size * width];
            let embedded = embedding[rows.first * size..].chunks_exact(size);
            let out = products[rows.place * padded(width)..].chunks_exact_mut(padded(width));
            for (vector, out) in embedded.zip(out).take(rows.slots) {
                work += size * width;
                if work > PAUSE {
                    work = 0;
                    pause();
                }
                for (x, weights) in vector.iter().zip(weight.chunks_exact(width)) {
                    for (out, weight) in out.iter_mut().zip(weights) {
                        *out += x * weight;
                    }
                }
            }
        }
        let rest = match looked_up.len() {
            0 => None,
            fields => Some(Layer::new(fields * size, width, &rest_weight, &vec![0.0; width], pause)?),
        };
        let mut padded_bias = Floats::zeros(padded(width))?;
        padded_bias[..width].copy_from_slice(bias);
        Ok(Self { products, folded, embedding: rest_embedding, looked_up, rest, bias: padded_bias, outputs: width })
    }

    /// Floats that a row takes of what is looked up.
    fn embedded(&self) -> usize {
        self.rest.as_ref().map_or(0, |rest| padded(rest.inputs()))
    }

    /// The layer's outputs for rows `begin..begin + rows`, whose ids have been checked.
    #[allow(clippy::too_many_arguments)]
    fn apply(
        &self,
        kernels: Kernels,
        size: usize,
        encoded: &Encoded,
        begin: usize,
        rows: usize,
        embedded: &mut Floats,
        out: &mut Floats,
        relu: bool,
    ) {
        let stride = padded(self.outputs);
        assert!(out.len() >= rows * stride);
        if self.folded.is_empty() {
            out.chunks_exact_mut(stride).take(rows).for_each(|out| out.copy_from_slice(&self.bias));
        }
        let groups = self.folded.len().div_ceil(GROUP);
        for (number, group) in self.folded.chunks(GROUP).enumerate() {
            let relu = relu && number + 1 == groups && self.rest.is_none();
            self.add_up(kernels, group, encoded, begin, rows, out, number == 0, relu);
        }
        if let Some(rest) = &self.rest {
            let inputs = self.embedded();
            for (place, field) in self.looked_up.iter().enumerate() {
                let ids = &encoded.ids(field.field)[begin..begin + rows];
                let factors = field.factors.map(|place| &encoded.factors(place)[begin..begin + rows]);
                for (row, id) in ids.iter().enumerate() {
                    let from = (field.place + *id as usize - field.first) * size;
                    let vector = &self.embedding[from..from + size];
                    let to = &mut embedded[row * inputs + place * size..][..size];
                    match factors {
                        None => to.copy_from_slice(vector),
                        Some(factors) => to.iter_mut().zip(vector).for_each(|(to, x)| *to = x * factors[row]),
                    }
                }
            }
            rest.apply(kernels, rows, embedded, out, Start::Output, relu);
        }
    }

    /// Adds a group's products to the bias, or to what is there.
    #[allow(clippy::too_many_arguments)]
    fn add_up(
        &self,
        kernels: Kernels,
        group: &[Rows],
        encoded: &Encoded,
        begin: usize,
        rows: usize,
        out: &mut Floats,
        from_bias: bool,
        relu: bool,
    ) {
        let stride = padded(self.outputs);
        let has_factors = group.iter().any(|field| field.factors.is_some());
        let mut addresses = [std::ptr::null::<f32>(); GROUP];
        let mut factors = [1.0f32; GROUP];
        let columns: [&[u32]; GROUP] =
            std::array::from_fn(|place| group.get(place).map_or(&[][..], |field| &encoded.ids(field.field)[begin..]));
        // The row is the place in every field's column, and in the factors.
        #[allow(clippy::needless_range_loop)]
        for row in 0..rows {
            for (place, field) in group.iter().enumerate() {
                let product = field.place + columns[place][row] as usize - field.first;
                // SAFETY: the id lies within the field (`Network::check`), whose products lie within the table.
                addresses[place] = unsafe { self.products.as_ptr().add(product * stride) };
                if let Some(place_of_factor) = field.factors {
                    factors[place] = encoded.factors(place_of_factor)[begin + row];
                }
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
