//! What a model puts out for rows that are put together of others, column by column.

use std::ops::Range;

use trails_model::{Encoded, Exchange, Model, Picked, Task, Workspace};

use crate::error::Result;
use crate::prediction::cache::Predictor;
use crate::prediction::fault::error_of;

/// Multiply-adds between two looks for interrupts: some 25 ms.
const LARGEST_WORK: usize = 1 << 30;
/// Rows at once, at most and at least.
const LARGEST_BATCH: usize = 8192;
const SMALLEST_BATCH: usize = 6;

/// Memory that every computation uses again.
#[derive(Default)]
pub struct Mixture {
    encoded: Encoded,
    workspace: Workspace,
    part: Vec<f32>,
}

impl Mixture {
    /// Calls `take` with the outputs of each of `rows` rows; `from` says for a column (counted as the model reads them) and
    /// a row which of the picked rows the cell is of.
    pub fn each(
        &mut self,
        of: &Predictor,
        picked: &Picked,
        rows: usize,
        from: impl Fn(usize, usize) -> usize,
        mut take: impl FnMut(usize, &[f32]),
    ) -> Result<()> {
        let model = &of.model;
        for part in parts(model, rows) {
            let cell = |column: usize, row: usize| from(column, part.start + row);
            model.compose(picked, part.len(), cell, &mut self.encoded).map_err(error_of)?;
            model.forward(&self.encoded, &mut self.workspace, &mut self.part).map_err(error_of)?;
            part.zip(self.part.chunks_exact(model.outputs())).for_each(|(row, outputs)| take(row, outputs));
        }
        Ok(())
    }

    /// The same for all rows that are prepared, where a column's cells are of the rows that `from` says.
    pub fn each_exchanged(
        &mut self,
        of: &Predictor,
        exchange: &mut Exchange,
        column: usize,
        from: &[usize],
        mut take: impl FnMut(usize, &[f32]),
    ) -> Result<()> {
        let model = &of.model;
        for part in parts(model, from.len()) {
            let rows = part.clone();
            let (workspace, outputs) = (&mut self.workspace, &mut self.part);
            model.forward_exchanged(exchange, column, rows, |row| from[row], workspace, outputs).map_err(error_of)?;
            part.zip(self.part.chunks_exact(model.outputs())).for_each(|(row, outputs)| take(row, outputs));
        }
        Ok(())
    }
}

/// Rows in batches, with a look for interrupts before each.
fn parts(model: &Model, rows: usize) -> impl Iterator<Item = Range<usize>> {
    let batch = (LARGEST_WORK / model.multiply_adds().max(1)).clamp(SMALLEST_BATCH, LARGEST_BATCH);
    (0..rows).step_by(batch).map(move |begin| {
        pgrx::check_for_interrupts!();
        begin..rows.min(begin + batch)
    })
}

/// What is explained of outputs: the probability of a class, which of two is the second; or the number.
pub fn score_of(of: &Predictor, outputs: &[f32], class: usize, probabilities: &mut [f64]) -> f64 {
    let outcome = of.outcome(outputs, probabilities);
    match of.model.task() {
        Task::Multiclass => probabilities[class],
        Task::Binary | Task::Regression => outcome.score,
    }
}
