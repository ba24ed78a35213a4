//! From embedding rows to outputs: a model's operations, planned when it is loaded.

use std::ops::Range;

use crate::blob::Blob;
use crate::buffer::{padded, Floats};
use crate::encoder::{Encoded, Encoder};
use crate::error::{fail, Result};
use crate::header::Header;
use crate::kernels::{Kernels, TILE};
use crate::layer::{Layer, Start};
use crate::leading::{largest, Leading};
use crate::memory::{resize, with_room};
use crate::plan::{Plan, Step};
use crate::program::{LinearPath, Program, Scale};
use crate::vectors::{add_up, exchange, Block, Embedding, FieldRows};

/// Memory for products that are had beforehand. Beyond it they would come from main memory, where looking up ten numbers
/// and multiplying them is as fast.
const FOLDED_BYTES: usize = 16 << 20;
/// Activations of a block of rows: two such blocks and a layer's weights stay in the second-level cache.
const BLOCK_BYTES: usize = 96 << 10;
const LARGEST_BLOCK: usize = 192;
/// Floats of a row's registers beyond which rows are computed one by one, so that memory is no multiple of it.
const WIDE: usize = 1 << 20;

/// Products beyond which sums would lose digits that count, when one is taken from them again: float32 keeps seven.
const LARGEST_EXCHANGED: f32 = 1e3;

/// Sums over the fields of encoded rows: what every leading operation is before its ReLU, and every linear path.
#[derive(Debug)]
pub struct Sums {
    pub of: Encoded,
    /// [rows, stride] each.
    leading: Vec<Floats>,
    paths: Vec<Floats>,
}

/// What a network's rows are had from.
#[derive(Clone, Copy)]
enum Source<'a> {
    Encoded(&'a Encoded),
    /// Sums of rows, of which some fields are another row's now.
    Exchanged {
        sums: &'a Sums,
        fields: &'a [usize],
        is: &'a Encoded,
    },
}

/// Rows that are computed together.
#[derive(Clone, Copy)]
struct Part<'a> {
    source: Source<'a>,
    begin: usize,
    rows: usize,
}

/// Memory for the rows under way; kept by the caller, so that a call after the first allocates nothing.
#[derive(Debug, Default)]
pub struct Workspace {
    registers: Vec<Floats>,
    looked_up: Floats,
}

#[derive(Debug)]
pub struct Network {
    kernels: Kernels,
    fields: Vec<FieldRows>,
    plan: Plan,
    /// What is embedded, where it is read as it is.
    embedding: Option<Embedding>,
    leading: Vec<Leading>,
    /// By number of their weights; none where no step has them.
    layers: Vec<Option<Layer>>,
    scales: Vec<Scale>,
    paths: Vec<LinearPath>,
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
        let (vectors, ids, size) = blob.matrix("embedding")?;
        if ids != encoder.ids() || size as u64 != header.embedding || size == 0 {
            let (wanted, described) = (encoder.ids(), header.embedding);
            fail!("the embedding is of shape ({ids}, {size}), not ({wanted}, {described})");
        }
        let program = Program::read(blob, header, encoder.fields.len() * size, ids)?;
        let fields = FieldRows::all(encoder);
        // What several would look up is embedded once for all of them.
        let widths = program.leading().into_iter().map(|weights| padded(program.linear[weights].outputs));
        let together = ids.saturating_mul(4 * widths.sum::<usize>()) <= folded;
        let plan = Plan::of(&program, together);
        let outputs = program.outputs();
        let mut leading = with_room(plan.leading.len())?;
        for weights in &plan.leading {
            leading.push(Leading::new(&fields, &vectors, size, &program.linear[*weights], folded, blob.pause)?);
        }
        let embedding = match plan.steps.first() {
            Some(Step::Embed { .. }) => Some(Embedding::new(&vectors, size, fields.clone())?),
            _ => None,
        };
        drop(vectors);
        let mut layers = Vec::with_capacity(program.linear.len());
        for (number, linear) in program.linear.into_iter().enumerate() {
            let is_used =
                plan.steps.iter().any(|step| matches!(step, Step::Linear { weights, .. } if *weights == number));
            let layer = || Layer::new(linear.inputs, linear.outputs, &linear.weight, &linear.bias, blob.pause);
            layers.push(is_used.then(layer).transpose()?);
        }
        let all: usize = plan.registers.iter().sum();
        let looked_up = leading.iter().map(Leading::looked_up).max().unwrap_or(0);
        let widest = plan.registers.iter().copied().max().unwrap_or(0).max(all / 2).max(looked_up);
        let block = match all + looked_up {
            wide if wide > WIDE => 1,
            _ => (BLOCK_BYTES / 4 / widest.max(1) / TILE * TILE).clamp(TILE, LARGEST_BLOCK),
        };
        let (scales, paths) = (program.scales, program.paths);
        Ok(Self { kernels, fields, plan, embedding, leading, layers, scales, paths, outputs, block })
    }

    pub fn outputs(&self) -> usize {
        self.outputs
    }

    pub fn multiply_adds(&self) -> usize {
        let cost = |step: &Step| match step {
            Step::Embed { .. } => self.embedding.as_ref().map_or(0, Embedding::width),
            Step::Leading { number, .. } => self.leading[*number].multiply_adds(),
            Step::Linear { weights, .. } => self.layers[*weights].as_ref().map_or(0, Layer::multiply_adds),
            Step::Relu { width, .. } => *width,
            Step::Scale { weights, .. } => self.scales[*weights].factor.len(),
            Step::Add { of, width, .. } => of.len() * width,
            Step::LinearPath { weights, .. } => self.fields.len() * self.paths[*weights].outputs,
        };
        self.plan.steps.iter().map(cost).sum()
    }

    pub fn bytes(&self) -> usize {
        let scales = self.scales.iter().map(|scale| std::mem::size_of_val(&scale.factor[..]) * 2);
        let paths = self.paths.iter().map(|path| std::mem::size_of_val(&path.weight[..]));
        self.embedding.as_ref().map_or(0, Embedding::bytes)
            + self.leading.iter().map(Leading::bytes).sum::<usize>()
            + self.layers.iter().flatten().map(Layer::bytes).sum::<usize>()
            + scales.chain(paths).sum::<usize>()
            + std::mem::size_of_val(&self.plan.steps[..])
            + std::mem::size_of_val(&self.fields[..])
    }

    /// Outputs of every encoded row, [rows, outputs].
    ///
    /// # Errors
    /// There is not enough memory.
    ///
    /// # Panics
    /// The rows were encoded for another model.
    pub fn forward(&self, encoded: &Encoded, workspace: &mut Workspace, outputs: &mut Vec<f32>) -> Result<()> {
        if encoded.rows() > 0 {
            self.check(encoded);
        }
        self.compute(Source::Encoded(encoded), 0..encoded.rows(), workspace, outputs)
    }

    /// Outputs of some of the rows that `sums` are of, [rows, outputs], where the fields in `fields` are those of `is`.
    ///
    /// # Errors
    /// There is not enough memory.
    ///
    /// # Panics
    /// The sums are another network's, or there are no such rows.
    pub fn forward_exchanged(
        &self,
        sums: &Sums,
        fields: &[usize],
        is: &Encoded,
        rows: Range<usize>,
        workspace: &mut Workspace,
        outputs: &mut Vec<f32>,
    ) -> Result<()> {
        assert!((sums.leading.len(), sums.paths.len()) == (self.leading.len(), self.paths.len()));
        assert!(is.rows() == sums.of.rows() && rows.end <= is.rows());
        for encoded in [&sums.of, is] {
            assert_eq!(encoded.fields(), self.fields.len());
            fields.iter().for_each(|field| self.check_field(&self.fields[*field], &encoded.ids(*field)[rows.clone()]));
        }
        self.compute(Source::Exchanged { sums, fields, is }, rows, workspace, outputs)
    }

    /// Sums over all fields of every row; None where the network does not begin with such sums, where they take more than
    /// `most` bytes, or where they are so large that what is taken from them again would leave too few digits.
    ///
    /// # Errors
    /// There is not enough memory.
    ///
    /// # Panics
    /// The rows were encoded for another model.
    pub fn sums(&self, of: Encoded, most: usize) -> Result<Option<Sums>> {
        let rows = of.rows();
        let strides = || {
            let paths = self.paths.iter().map(|path| padded(path.outputs));
            self.leading.iter().map(Leading::stride).chain(paths)
        };
        let floats = strides().sum::<usize>().saturating_mul(rows);
        let is_embedded = matches!(self.plan.steps.first(), Some(Step::Embed { .. }));
        if is_embedded || rows == 0 || floats > most / 4 || !self.leading.iter().all(Leading::is_folded) {
            return Ok(None);
        }
        let weights = self.paths.iter().map(|path| largest(&path.weight));
        let numbers = largest(of.all_numbers());
        let is_small = |x: f32| x <= LARGEST_EXCHANGED && x * numbers <= LARGEST_EXCHANGED;
        if !self.leading.iter().map(Leading::largest).chain(weights).all(is_small) {
            return Ok(None);
        }
        self.check(&of);
        let block = Block { encoded: &of, begin: 0, rows };
        let mut sums = strides().map(|stride| Floats::zeros(rows * stride)).collect::<Result<Vec<_>>>()?;
        let mut paths = sums.split_off(self.leading.len());
        for (leading, sums) in self.leading.iter().zip(&mut sums) {
            leading.apply(self.kernels, block, &mut Floats::default(), sums, false);
        }
        for (path, sums) in self.paths.iter().zip(&mut paths) {
            add_up(path, &self.fields, block, sums);
        }
        Ok(Some(Sums { of, leading: sums, paths }))
    }

    /// Outputs of some rows, [rows, outputs].
    fn compute(
        &self,
        source: Source<'_>,
        range: Range<usize>,
        workspace: &mut Workspace,
        outputs: &mut Vec<f32>,
    ) -> Result<()> {
        let rows = range.len();
        resize(outputs, rows * self.outputs, 0.0)?;
        if rows == 0 {
            return Ok(());
        }
        let at_once = self.block.min(rows);
        let Workspace { registers, looked_up } = workspace;
        if registers.len() < self.plan.registers.len() {
            registers.resize_with(self.plan.registers.len(), Floats::default);
        }
        for (register, width) in registers.iter_mut().zip(&self.plan.registers) {
            register.grow(at_once * width)?;
        }
        looked_up.grow(at_once * self.leading.iter().map(Leading::looked_up).max().unwrap_or(0))?;
        for begin in (0..rows).step_by(at_once) {
            let block = Part { source, begin: range.start + begin, rows: at_once.min(rows - begin) };
            for step in &self.plan.steps {
                self.run(step, block, registers, looked_up);
            }
            let found = outputs[begin * self.outputs..].chunks_exact_mut(self.outputs);
            let last = registers[self.plan.last].chunks_exact(padded(self.outputs));
            for (found, out) in found.zip(last).take(block.rows) {
                found.copy_from_slice(&out[..self.outputs]);
            }
        }
        Ok(())
    }

    /// Computes a block's value of one step; the register that it goes to is none that it reads.
    fn run(&self, step: &Step, part: Part<'_>, registers: &mut [Floats], looked_up: &mut Floats) {
        let Part { source, begin, rows } = part;
        let block = |encoded| Block { encoded, begin, rows };
        match step {
            Step::Embed { to } => {
                let embedding = self.embedding.as_ref().expect("a plan with this step has one");
                let Source::Encoded(encoded) = source else { unreachable!("there are no sums of such a network") };
                embedding.write(block(encoded), &mut registers[*to]);
            }
            Step::Leading { number, to, relu } => {
                let (leading, out) = (&self.leading[*number], &mut registers[*to]);
                match source {
                    Source::Encoded(encoded) => leading.apply(self.kernels, block(encoded), looked_up, out, *relu),
                    Source::Exchanged { sums, fields, is } => {
                        let known = &sums.leading[*number][begin * leading.stride()..];
                        leading.exchange(self.kernels, [block(&sums.of), block(is)], fields, known, out, *relu);
                    }
                }
            }
            Step::Linear { weights, of, to, relu } => {
                let layer = self.layers[*weights].as_ref().expect("weights of a step are laid out");
                let [x, out] = registers.get_disjoint_mut([*of, *to]).expect("they are two of the plan's");
                layer.apply(self.kernels, rows, x, out, Start::Bias, *relu);
            }
            Step::Relu { of, to, width } => {
                let mut out = std::mem::take(&mut registers[*to]);
                let rectified = out[..rows * width].iter_mut().zip(&registers[*of][..rows * width]);
                rectified.for_each(|(out, x)| *out = x.max(0.0));
                registers[*to] = out;
            }
            Step::Scale { weights, of, to } => {
                let Scale { factor, shift } = &self.scales[*weights];
                let mut out = std::mem::take(&mut registers[*to]);
                let (width, stride) = (factor.len(), padded(factor.len()));
                let rows_of = registers[*of].chunks_exact(stride);
                for (out, x) in out.chunks_exact_mut(stride).zip(rows_of).take(rows) {
                    let learnt = factor.iter().zip(shift);
                    out.iter_mut().zip(x).zip(learnt).for_each(|((out, x), (factor, shift))| *out = x * factor + shift);
                    out[width..].fill(0.0);
                }
                registers[*to] = out;
            }
            Step::Add { of, to, width, by } => {
                let mut out = std::mem::take(&mut registers[*to]);
                let sums = &mut out[..rows * width];
                sums.copy_from_slice(&registers[of[0]][..rows * width]);
                for value in &of[1..] {
                    sums.iter_mut().zip(&registers[*value][..rows * width]).for_each(|(sum, x)| *sum += x);
                }
                if *by > 1 {
                    sums.iter_mut().for_each(|sum| *sum /= *by as f32);
                }
                registers[*to] = out;
            }
            Step::LinearPath { weights, to } => {
                let path = &self.paths[*weights];
                let stride = padded(path.outputs);
                let out = &mut registers[*to][..rows * stride];
                match source {
                    Source::Encoded(encoded) => {
                        out.fill(0.0);
                        add_up(path, &self.fields, block(encoded), out);
                    }
                    Source::Exchanged { sums, fields, is } => {
                        out.copy_from_slice(&sums.paths[*weights][begin * stride..][..rows * stride]);
                        for field in fields.iter().map(|field| &self.fields[*field]) {
                            exchange(path, field, [block(&sums.of), block(is)], out);
                        }
                    }
                }
            }
        }
    }

    /// Every id must lie within its field, because the loops do not look: one pass of comparisons costs next to nothing.
    fn check(&self, encoded: &Encoded) {
        assert_eq!(encoded.fields(), self.fields.len());
        self.fields.iter().for_each(|rows| self.check_field(rows, encoded.ids(rows.field)));
    }

    fn check_field(&self, rows: &FieldRows, ids: &[u32]) {
        let (first, slots) = (rows.first as u32, rows.slots as u32);
        let inside = ids.iter().fold(true, |all, id| all & (id.wrapping_sub(first) < slots));
        assert!(inside, "an embedding row of field {} is another field's", rows.field);
    }
}
