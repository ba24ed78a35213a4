//! A trained model, ready to predict.

use std::ops::Range;

use crate::blob::{Blob, Pause};
use crate::columns::ColumnData;
use crate::describe::{describe, FieldDescription};
use crate::encoder::{Encoded, Encoder, Picked};
use crate::error::{fail, Result};
use crate::header::{Header, Input, Target, Task};
use crate::kernels::Kernels;
use crate::network::{Network, Sums, Workspace};
use crate::outcome::{outcome_of, Outcome};

/// The tensor of how many training rows had each embedding row, which only models of version 2 may have.
const SEEN: &str = "seen";

#[derive(Debug)]
pub struct Model {
    header: Header,
    encoder: Encoder,
    network: Network,
    /// Training rows by embedding row; None where nobody counted them.
    seen: Option<Vec<u32>>,
}

/// Rows of which a column's cells can be exchanged: what the network makes of the others is had already.
#[derive(Debug)]
pub struct Exchange {
    sums: Sums,
    /// The fields of the column in hand; others' are not looked at.
    is: Encoded,
    fields: Vec<usize>,
}

impl Model {
    /// Reads and checks a whole model.
    ///
    /// # Errors
    /// Anything that is not as the format has it, or not enough memory. No input makes this panic, or take more memory
    /// than a small multiple of the blob plus 128 MiB.
    pub fn parse(blob: &[u8]) -> Result<Self> {
        Self::parse_for(blob, Kernels::best(), &|| ())
    }

    /// The same with given loops, to compare them, and with a pause every few milliseconds.
    pub fn parse_for(blob: &[u8], kernels: Kernels, pause: Pause<'_>) -> Result<Self> {
        let blob = Blob::open(blob, pause)?;
        let header = Header::parse(&blob.header)?;
        let encoder = Encoder::read(&blob, &header)?;
        let network = Network::read(&blob, &header, &encoder, kernels)?;
        let seen = match header.operations.is_some() && blob.has(SEEN) {
            true => Some(blob.u32s(SEEN)?),
            false => None,
        };
        if let Some(rows) = seen.as_ref().map(Vec::len).filter(|rows| *rows != encoder.ids()) {
            fail!("rows are counted of {rows} embedding rows, and the encoder has {}", encoder.ids());
        }
        blob.check_all_read()?;
        Ok(Self { header, encoder, network, seen })
    }

    pub(crate) fn encoder(&self) -> &Encoder {
        &self.encoder
    }

    /// Training rows by embedding row; None where nobody counted them.
    pub fn seen(&self) -> Option<&[u32]> {
        self.seen.as_deref()
    }

    pub fn task(&self) -> Task {
        self.header.task
    }

    pub fn architecture(&self) -> &str {
        &self.header.architecture
    }

    pub fn target(&self) -> &Target {
        &self.header.target
    }

    /// Labels in the order of probabilities; of a binary model the negative one first. None of a regression.
    pub fn classes(&self) -> &[String] {
        &self.header.classes
    }

    /// Columns that must be handed in, in this order.
    pub fn columns(&self) -> &[Input] {
        &self.encoder.inputs
    }

    /// Numbers that the network puts out for a row.
    pub fn outputs(&self) -> usize {
        self.network.outputs()
    }

    /// Multiply-adds that one row costs, about.
    pub fn multiply_adds(&self) -> usize {
        self.network.multiply_adds()
    }

    /// Memory that it takes, about.
    pub fn bytes(&self) -> usize {
        let fields: usize = self.encoder.fields.iter().map(|field| field.bytes()).sum();
        let seen = self.seen.as_ref().map_or(0, |seen| std::mem::size_of_val(&seen[..]));
        std::mem::size_of::<Self>() + fields + self.network.bytes() + seen
    }

    pub fn describe(&self) -> Vec<FieldDescription> {
        describe(&self.encoder)
    }

    /// Encodes `rows` rows; `column` hands out the columns in the order of `columns`.
    ///
    /// # Errors
    /// A column is of a family that the model does not take for its own, or has not as many rows; a date is out of range
    /// for timestamp; there is not enough memory.
    pub fn encode<'a>(
        &self,
        rows: usize,
        column: impl Fn(usize) -> ColumnData<'a>,
        encoded: &mut Encoded,
    ) -> Result<()> {
        self.encoder.encode(rows, column, encoded)
    }

    /// Puts `rows` rows together of rows that this model encoded: what belongs to a column, counted as in `columns`, is of
    /// the picked row that `from` says for column and row.
    ///
    /// # Errors
    /// There is not enough memory.
    ///
    /// # Panics
    /// Another model encoded them, or there is no such row.
    pub fn compose(
        &self,
        picked: &Picked,
        rows: usize,
        from: impl Fn(usize, usize) -> usize,
        encoded: &mut Encoded,
    ) -> Result<()> {
        self.encoder.compose(picked, rows, from, encoded)
    }

    /// Outputs of rows that this model encoded, [rows, outputs].
    ///
    /// # Errors
    /// There is not enough memory.
    ///
    /// # Panics
    /// Another model encoded them.
    pub fn forward(&self, encoded: &Encoded, workspace: &mut Workspace, outputs: &mut Vec<f32>) -> Result<()> {
        self.network.forward(encoded, workspace, outputs)
    }

    /// Prepares rows, which this model encoded, to exchange cells of one column at a time; None where that would not be
    /// sooner than `compose` and `forward`, would take more than `most` bytes, or be less exact.
    ///
    /// # Errors
    /// There is not enough memory.
    ///
    /// # Panics
    /// Another model encoded them.
    pub fn exchange(&self, picked: &Picked, most: usize) -> Result<Option<Exchange>> {
        let rows = picked.rows();
        // Ids and numbers, as they were and as they are.
        let encoded = rows.saturating_mul(16 * self.encoder.fields.len());
        if encoded > most {
            return Ok(None);
        }
        let mut was = Encoded::default();
        self.encoder.compose(picked, rows, |_, row| row, &mut was)?;
        let Some(sums) = self.network.sums(was, most - encoded)? else { return Ok(None) };
        let is = sums.of.empty_like()?;
        Ok(Some(Exchange { sums, is, fields: Vec::new() }))
    }

    /// Outputs of some of the rows that are prepared, [rows, outputs], where what belongs to a column is of the row that
    /// `from` says.
    ///
    /// # Errors
    /// There is not enough memory.
    ///
    /// # Panics
    /// Another model prepared them, or there are no such rows.
    pub fn forward_exchanged(
        &self,
        exchange: &mut Exchange,
        column: usize,
        rows: Range<usize>,
        from: impl Fn(usize) -> usize,
        workspace: &mut Workspace,
        outputs: &mut Vec<f32>,
    ) -> Result<()> {
        let Exchange { sums, is, fields } = exchange;
        fields.clear();
        fields.extend(self.encoder.fields_of(column));
        self.encoder.exchange(fields, &sums.of, rows.clone(), from, is);
        self.network.forward_exchanged(sums, fields, is, rows, workspace, outputs)
    }

    /// What the outputs of one row mean; writes a probability for each class.
    pub fn outcome(&self, outputs: &[f32], probabilities: &mut [f64]) -> Outcome {
        outcome_of(&self.header, outputs, probabilities)
    }
}

#[cfg(test)]
#[path = "model_tests.rs"]
mod tests;

#[cfg(test)]
#[path = "mutation_tests.rs"]
mod mutations;
