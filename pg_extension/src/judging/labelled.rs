//! Rows whose target is known, with what the model puts out for them.

use pgrx::pg_sys;
use trails_model::{Family, Task};

use super::answers::{number_of, unknown_class, Answers};
use crate::error::{Result, TrailsError};
use crate::interrupts::ClientWatch;
use crate::prediction::cache::{model_of, Predictor};
use crate::prediction::relation::{run, Input};
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
pub struct Counted {
    pub rows: u64,
    pub without_target: u64,
    pub without_weight: u64,
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
            source.for_model(&target, family.name()).map_err(|error| without_target(error, &source, &target))?;
        let mut others = vec![column];
        others.extend(asked.weight.map(|weight| weight_of(&source, weight)).transpose()?);
        // Behind the model's columns.
        let spelt = (family == Family::Text).then_some(model.columns().len());
        let input = Input::with(&source, model, others, spelt)?;
        Ok(Self { of, origin: source.name, input, family, target, weight: asked.weight.map(str::to_owned) })
    }

    /// Hands on every row that has a target and a weight. An error if there is none.
    pub fn each(&self, mut take: impl FnMut(Row<'_>) -> Result<()>) -> Result<Counted> {
        let model = &self.of.model;
        let (first, outputs_of_row) = (model.columns().len(), model.outputs());
        let mut reader = Answers::of(model, self.family);
        let (mut answers, mut weights) = (Vec::new(), Vec::new());
        let (mut counted, mut before) = (Counted::default(), 0u64);
        let batch = |outputs: &[f32], table: &Table| {
            answers.resize(table.rows, 0.0);
            reader.read(&table.columns[first], &mut answers).map_err(|unknown| {
                unknown_class(&unknown.shown, before + unknown.row as u64 + 1, &self.target, &self.origin, model)
            })?;
            weights.resize(table.rows, 0.0);
            match &self.weight {
                None => weights.fill(1.0),
                Some(name) => self.read_weights(&table.columns[first + 1], &mut weights, before, name)?,
            }
            for ((outputs, answer), weight) in outputs.chunks_exact(outputs_of_row).zip(&answers).zip(&weights) {
                if answer.is_nan() {
                    counted.without_target += 1;
                } else if weight.is_nan() {
                    counted.without_weight += 1;
                } else {
                    counted.rows += 1;
                    take(Row { outputs, answer: *answer, weight: *weight })?;
                }
            }
            before += table.rows as u64;
            Ok(())
        };
        let watch = ClientWatch::start();
        run(model, &self.input, batch)?;
        watch.stop();
        self.tell(&counted)?;
        Ok(counted)
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
    source.for_model(name, Family::Number.name()).map_err(|error| {
        let mismatch = format!("column \"{name}\" of {} cannot be a weight: it holds no numbers", source.name);
        match source.columns.iter().any(|column| column.name == name) {
            true => TrailsError { message: mismatch, ..error },
            false => error,
        }
    })
}
