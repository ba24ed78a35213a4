//! Rows whose target is known, with what the model puts out for them.

use pgrx::pg_sys;
use trails_model::{Encoded, Family, Task};

use super::answers::{number_of, unknown_class, Answers};
use crate::error::{Result, TrailsError};
use crate::interrupts::ClientWatch;
use crate::prediction::cache::{model_of, Predictor};
use crate::prediction::relation::{encode, run, Input};
use crate::prediction::stored::WantedModel;
use crate::reader::columns::{Column, Table};
use crate::reader::source::{Source, SourceColumn};
use crate::tell;

/// What a caller asked for.
pub struct Asked<'a> {
    pub model: Option<&'a str>,
    pub source: pg_sys::Oid,
    /// None: the column that the model predicts.
    pub target: Option<&'a str>,
    pub weight: Option<&'a str>,
}

/// A model, and a relation that has its columns and the target.
pub struct Labelled {
    pub of: Predictor,
    pub origin: String,
    input: Input,
    family: Family,
    target: String,
    weight: Option<String>,
}

/// One row that counts.
pub struct Row<'a> {
    pub outputs: &'a [f32],
    /// The place of its class, or the number.
    pub answer: f64,
    pub weight: f64,
}

/// How many rows counted, and how many did not.
#[derive(Debug, Clone, Copy, Default)]
struct Counted {
    rows: u64,
    without_target: u64,
    without_weight: u64,
}

impl Labelled {
    /// Refuses a relation that lacks a column, or has it with another type, before anything is read.
    pub fn find(asked: &Asked<'_>) -> Result<Self> {
        let wanted = WantedModel { model: asked.model, source: Some(asked.source), target: asked.target };
        let of = model_of(&wanted)?;
        let source = Source::describe(asked.source)?;
        let model = &of.model;
        let target = asked.target.unwrap_or(&model.target().name).to_owned();
        // Any number may stand where a number is predicted; a class is told apart as it was trained.
        let family = match model.task() {
            Task::Regression => Family::Number,
            _ => model.target().family,
        };
        let column =
            source.for_model(&target, family.name(), None).map_err(|error| without_target(error, &source, &target))?;
        let mut others = vec![column];
        others.extend(asked.weight.map(|weight| weight_of(&source, weight)).transpose()?);
        // Behind the model's columns.
        let spelt = (family == Family::Text).then_some(model.columns().len());
        let input = Input::with(&source, model, others, spelt)?;
        Ok(Self { of, origin: source.name, input, family, target, weight: asked.weight.map(str::to_owned) })
    }

    /// Hands on every row that has a target and a weight, with what the model puts out. An error if there is none.
    pub fn each(&self, mut take: impl FnMut(Row<'_>) -> Result<()>) -> Result<()> {
        let (model, mut reader) = (&self.of.model, Reader::of(self));
        let watch = ClientWatch::start();
        run(model, &self.input, |outputs, table| {
            let mut outputs = outputs.chunks_exact(model.outputs());
            reader.each(table, |_, answer, weight, counts| match outputs.next() {
                Some(outputs) if counts => take(Row { outputs, answer, weight }),
                _ => Ok(()),
            })
        })?;
        watch.stop();
        self.tell(&reader.counted)
    }

    /// The same of rows that are encoded: `take` is called with these, the place of one among them, its answer and its weight.
    pub fn each_encoded(&self, mut take: impl FnMut(&Encoded, usize, f64, f64) -> Result<()>) -> Result<()> {
        let mut reader = Reader::of(self);
        let watch = ClientWatch::start();
        encode(&self.of.model, &self.input, |encoded, table| {
            reader.each(table, |row, answer, weight, counts| match counts {
                true => take(encoded, row, answer, weight),
                false => Ok(()),
            })
        })?;
        watch.stop();
        self.tell(&reader.counted)
    }

    /// NaN where there is none.
    fn read_weights(&self, column: &Column, weights: &mut [f64], before: u64, name: &str) -> Result<()> {
        let nulls = column.nulls.as_deref();
        for (row, weight) in weights.iter_mut().enumerate() {
            let is_null = nulls.is_some_and(|nulls| nulls[row] != 0);
            *weight = if is_null { f64::NAN } else { number_of(&column.values, row).unwrap_or(f64::NAN) };
            if *weight < 0.0 {
                let message = format!("the weight \"{name}\" of {} is negative", self.origin);
                return Err(TrailsError::data(message)
                    .detail(format!("Row {} weighs {weight}.", before + row as u64 + 1))
                    .hint("A weight is how often a row counts: 0 or more."));
            }
        }
        Ok(())
    }

    fn tell(&self, counted: &Counted) -> Result<()> {
        if counted.rows == 0 {
            let message = match counted.without_target + counted.without_weight {
                0 => format!("{} has no row that you can see", self.origin),
                left_out => format!("none of the {left_out} rows of {} has a target to compare with", self.origin),
            };
            let hint =
                format!("Give rows whose \"{}\" is known, or name another column with target => ....", self.target);
            return Err(TrailsError::data(message).hint(hint));
        }
        if counted.without_target > 0 {
            tell::notice(&format!("{} rows have no target and were left out", counted.without_target));
        }
        if counted.without_weight > 0 {
            tell::notice(&format!("{} rows have no weight and were left out", counted.without_weight));
        }
        Ok(())
    }
}

/// Answers and weights, batch by batch.
struct Reader<'a> {
    of: &'a Labelled,
    classes: Answers,
    answers: Vec<f64>,
    weights: Vec<f64>,
    /// Rows of the batches before.
    before: u64,
    counted: Counted,
}

impl<'a> Reader<'a> {
    fn of(of: &'a Labelled) -> Self {
        let classes = Answers::of(&of.of.model, of.family);
        Self { of, classes, answers: Vec::new(), weights: Vec::new(), before: 0, counted: Counted::default() }
    }

    /// Calls `take` with each row's place, answer and weight, and whether the row counts.
    fn each(&mut self, table: &Table, mut take: impl FnMut(usize, f64, f64, bool) -> Result<()>) -> Result<()> {
        let Labelled { of: Predictor { model, .. }, origin, target, weight, .. } = self.of;
        let first = model.columns().len();
        self.answers.resize(table.rows, 0.0);
        self.classes.read(&table.columns[first], &mut self.answers).map_err(|unknown| {
            unknown_class(&unknown.shown, self.before + unknown.row as u64 + 1, target, origin, model)
        })?;
        self.weights.resize(table.rows, 0.0);
        match weight {
            None => self.weights.fill(1.0),
            Some(name) => self.of.read_weights(&table.columns[first + 1], &mut self.weights, self.before, name)?,
        }
        for (row, (answer, weight)) in self.answers.iter().zip(&self.weights).enumerate() {
            let (has_answer, has_weight) = (!answer.is_nan(), !weight.is_nan());
            match (has_answer, has_weight) {
                (true, true) => self.counted.rows += 1,
                (true, false) => self.counted.without_weight += 1,
                (false, _) => self.counted.without_target += 1,
            }
            take(row, *answer, *weight, has_answer && has_weight)?;
        }
        self.before += table.rows as u64;
        Ok(())
    }
}

fn without_target(error: TrailsError, source: &Source, target: &str) -> TrailsError {
    if source.columns.iter().any(|column| column.name == target) {
        return error;
    }
    let columns = error.hint.clone().unwrap_or_default();
    error
        .detail("A model is judged by comparing what it predicts with that column.")
        .hint(format!("Give a source with the target, or name its column with target => .... {columns}"))
}

/// A column of numbers.
fn weight_of(source: &Source, name: &str) -> Result<SourceColumn> {
    source.for_model(name, Family::Number.name(), None).map_err(|error| {
        let mismatch = format!("column \"{name}\" of {} cannot be a weight: it holds no numbers", source.name);
        match source.columns.iter().any(|column| column.name == name) {
            true => TrailsError { message: mismatch, ..error },
            false => error,
        }
    })
}
