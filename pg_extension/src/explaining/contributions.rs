//! What each column of a row adds to its score: Shapley values (Lundberg and Lee, 2017), sampled.
//!
//! A row is compared with others, the background. For each of these its columns come in one after the other, in a drawn
//! order, and what the score changes by as one comes in is its contribution (Štrumbelj and Kononenko, 2014). Every other order
//! is the one before turned round, which takes most of the noise away. Whatever the orders, the contributions of a row add
//! up to its score less the background's mean score. Gradients, which stored models are not asked for, would
//! add up only about.

use std::collections::HashSet;

use pgrx::pg_sys;
use trails_model::{Encoded, Picked, Task};

use super::mixture::{score_of, Mixture};
use super::sample::Reservoir;
use crate::error::{Result, TrailsError};
use crate::interrupts::ClientWatch;
use crate::prediction::cache::{model_of, Predictor};
use crate::prediction::fault::error_of;
use crate::prediction::predicted_rows::number_string;
use crate::prediction::relation::{encode, Input};
use crate::prediction::stored::WantedModel;
use crate::random::Random;
use crate::reader::columns::{Column, Values};
use crate::reader::memory::{no_memory, Exhausted, Memory};
use crate::reader::source::Source;
use crate::settings;

/// What a caller asked for.
pub struct Wanted<'a> {
    pub model: Option<&'a str>,
    pub source: pg_sys::Oid,
    /// Columns of each row; None: all.
    pub top: Option<i32>,
    /// Primary keys as text, or numbers of rows; None: every row.
    pub keys: Option<Vec<String>>,
    pub background: Option<pg_sys::Oid>,
    pub samples: i32,
    pub seed: i64,
}

/// One column of a row.
#[derive(Debug, Clone)]
pub struct Contribution {
    /// Place of the row among those that are explained, and of the column among the model's.
    row: u32,
    column: u32,
    pub contribution: f64,
}

/// A row that is explained.
#[derive(Debug, Clone)]
struct ExplainedRow {
    class: u32,
    score: f64,
    baseline: f64,
    /// Of score less baseline what the columns that are returned do not make up.
    residual: f64,
    /// Where its key begins among the texts.
    begin: u64,
}

/// All that is returned, with the texts in one place.
#[derive(Default)]
pub struct Explained {
    rows: Vec<ExplainedRow>,
    contributions: Vec<Contribution>,
    texts: Vec<u8>,
    /// Row by row where the key's text ends, and each column's.
    ends: Vec<u64>,
    /// Row by row for each column 1 where it is NULL.
    nulls: Vec<u8>,
}

/// As SQL returns it.
pub struct Line {
    pub key: String,
    pub prediction: String,
    pub score: f64,
    pub baseline: f64,
    pub feature: String,
    pub value: Option<String>,
    pub contribution: f64,
    pub residual: f64,
}

impl Explained {
    /// Every contribution, made as it is asked for.
    pub fn lines(self, of: Predictor) -> impl Iterator<Item = Line> {
        let Self { rows, contributions, texts, ends, nulls } = self;
        let columns = of.model.columns().len();
        let text = move |row: usize, begin: u64, place: usize| {
            let ends = &ends[row * (columns + 1)..];
            let begin = if place == 0 { begin } else { ends[place - 1] };
            String::from_utf8_lossy(&texts[begin as usize..ends[place] as usize]).into_owned()
        };
        contributions.into_iter().map(move |Contribution { row, column, contribution }| {
            let (number, column) = (row as usize, column as usize);
            let row = &rows[number];
            let prediction = match of.model.task() {
                Task::Regression => number_string(row.score),
                _ => of.model.classes()[row.class as usize].clone(),
            };
            Line {
                key: text(number, row.begin, 0),
                prediction,
                score: row.score,
                baseline: row.baseline,
                feature: of.model.columns()[column].name.clone(),
                value: (nulls[number * columns + column] == 0).then(|| text(number, row.begin, column + 1)),
                contribution,
                residual: row.residual,
            }
        })
    }
}

/// Explains every row, or those with the keys.
pub fn explain(wanted: &Wanted<'_>) -> Result<(Explained, Predictor)> {
    let Wanted { top, samples, .. } = wanted;
    if let Some(top) = top.filter(|top| *top < 1) {
        return Err(
            TrailsError::argument(format!("top must be at least 1, not {top}")).hint("NULL returns every column.")
        );
    }
    if !(1..=10_000).contains(samples) {
        return Err(TrailsError::argument(format!("samples must be from 1 to 10000, not {samples}")));
    }
    let of = model_of(&WantedModel { model: wanted.model, source: Some(wanted.source), target: None })?;
    let watch = ClientWatch::start();
    let source = Source::describe(wanted.source)?;
    let background = match wanted.background {
        None => source.clone(),
        Some(background) => Source::describe(background)?,
    };
    let input = Input::with_texts(&source, &of.model)?;
    let mut reservoir = Reservoir::new(*samples as usize, wanted.seed);
    encode(&of.model, &Input::with(&background, &of.model, Vec::new(), None)?, |encoded, _| {
        (0..encoded.rows()).try_for_each(|row| reservoir.offer(encoded, row).map(|_| ()))
    })?;
    let (rows, random) = reservoir.random();
    if rows.rows() == 0 {
        return Err(TrailsError::data(format!("{} has no row to compare with", background.name))
            .hint("Name a relation that has rows with background => ...."));
    }
    let mut explainer = Explainer::new(&of, rows, random)?;
    let mut found = Explained::default();
    let mut memory = Memory::new(0, settings::reading_memory_limit());
    let keys: Option<HashSet<&[u8]>> = wanted.keys.as_ref().map(|keys| keys.iter().map(|key| key.as_bytes()).collect());
    let mut number = 0u64;
    encode(&of.model, &input, |encoded, table| {
        let texts = &table.columns[of.model.columns().len()..];
        for row in 0..table.rows {
            number += 1;
            let (key_column, values) = if input.has_key() { texts.split_at(1) } else { texts.split_at(0) };
            let key = match key_column.first() {
                Some(column) => text_of(column, row).to_vec(),
                None => number.to_string().into_bytes(),
            };
            if keys.as_ref().is_some_and(|keys| !keys.contains(key.as_slice())) {
                continue;
            }
            let explained = explainer.explain(encoded, row)?;
            found
                .push(explained, *top, &key, values, row, &mut memory)
                .map_err(|exhausted| no_memory(exhausted, &source.name, number, memory.held()))?;
        }
        Ok(())
    })?;
    watch.stop();
    Ok((found, of))
}

/// Of a column of texts.
fn text_of(column: &Column, row: usize) -> &[u8] {
    match &column.values {
        Values::Key { ends, bytes } => {
            let begin = if row == 0 { 0 } else { ends[row - 1] };
            &bytes[begin as usize..ends[row] as usize]
        }
        _ => &[],
    }
}

/// Score, class, baseline, and the contribution of every column.
struct OfOneRow {
    class: usize,
    score: f64,
    baseline: f64,
    contributions: Vec<f64>,
}

impl Explained {
    fn push(
        &mut self,
        of: OfOneRow,
        top: Option<i32>,
        key: &[u8],
        values: &[Column],
        row: usize,
        memory: &mut Memory,
    ) -> std::result::Result<(), Exhausted> {
        let OfOneRow { class, score, baseline, contributions } = of;
        let mut order: Vec<usize> = (0..contributions.len()).collect();
        order.sort_by(|a, b| contributions[*b].abs().total_cmp(&contributions[*a].abs()));
        order.truncate(top.map_or(usize::MAX, |top| top as usize));
        let told: f64 = order.iter().map(|column| contributions[*column]).sum();
        let begin = self.texts.len() as u64;
        memory.extend(&mut self.texts, key)?;
        memory.push(&mut self.ends, self.texts.len() as u64)?;
        for (place, column) in values.iter().enumerate() {
            // Of columns that are not told of there is no need to keep anything.
            if order.contains(&place) {
                memory.extend(&mut self.texts, text_of(column, row))?;
            }
            memory.push(&mut self.ends, self.texts.len() as u64)?;
            memory.push(&mut self.nulls, column.nulls.as_ref().map_or(0, |nulls| nulls[row]))?;
        }
        for column in order {
            let contribution = contributions[column];
            let row = self.rows.len() as u32;
            memory.push(&mut self.contributions, Contribution { row, column: column as u32, contribution })?;
        }
        let residual = score - baseline - told;
        memory.push(&mut self.rows, ExplainedRow { class: class as u32, score, baseline, residual, begin })
    }
}

/// The background, and what the model says of it.
struct Explainer<'a> {
    of: &'a Predictor,
    /// The rows of the background, and behind them the one that is explained.
    rows: Picked,
    count: usize,
    /// Of each row of the background the order in which columns come in: of a column its place in it.
    places: Vec<Vec<usize>>,
    /// [row of the background, output].
    outputs: Vec<f32>,
    mixture: Mixture,
    probabilities: Vec<f64>,
}

impl<'a> Explainer<'a> {
    fn new(of: &'a Predictor, rows: Picked, mut random: Random) -> Result<Self> {
        let (count, columns) = (rows.rows(), of.model.columns().len());
        let mut places: Vec<Vec<usize>> = Vec::with_capacity(count);
        for number in 0..count {
            let order = match number % 2 {
                0 => {
                    let mut order: Vec<usize> = (0..columns).collect();
                    random.shuffle(&mut order);
                    order
                }
                _ => places[number - 1].iter().map(|place| columns - 1 - place).collect(),
            };
            places.push(order);
        }
        let mut mixture = Mixture::default();
        let mut outputs = vec![0.0; count * of.model.outputs()];
        mixture.each(
            of,
            &rows,
            count,
            |_, row| row,
            |row, found| {
                outputs[row * found.len()..][..found.len()].copy_from_slice(found);
            },
        )?;
        let probabilities = vec![0.0; of.model.classes().len()];
        Ok(Self { of, rows, count, places, outputs, mixture, probabilities })
    }

    fn explain(&mut self, encoded: &Encoded, row: usize) -> Result<OfOneRow> {
        let Self { of, rows, count, places, outputs, mixture, probabilities } = self;
        let (of, count, columns, width) = (*of, *count, of.model.columns().len(), of.model.outputs());
        rows.put(count, encoded, row).map_err(error_of)?;
        let (mut class, mut score) = (0, 0.0);
        mixture.each(
            of,
            rows,
            1,
            |_, _| count,
            |_, found| {
                let outcome = of.outcome(found, probabilities);
                (class, score) = (outcome.class, outcome.score);
                if of.model.task() == Task::Multiclass {
                    score = probabilities[class];
                }
            },
        )?;
        // Row by row of the background: what the score is with one more column at each step, but for none and for all.
        let between = columns - 1;
        let from = |column: usize, mixed: usize| {
            let (background, step) = (mixed / between, mixed % between);
            if places[background][column] <= step {
                count
            } else {
                background
            }
        };
        let mut contributions = vec![0.0; columns];
        let mut baseline = 0.0;
        let mut scores = vec![0.0; columns + 1];
        let mut finish = |background: usize, scores: &[f64]| {
            for (column, place) in places[background].iter().enumerate() {
                contributions[column] += (scores[place + 1] - scores[*place]) / count as f64;
            }
            baseline += scores[0] / count as f64;
        };
        let mut other = vec![0.0; probabilities.len()];
        let mut first = |background: usize| score_of(of, &outputs[background * width..][..width], class, &mut other);
        scores[columns] = score;
        if between == 0 {
            for background in 0..count {
                scores[0] = first(background);
                finish(background, &scores);
            }
        } else {
            mixture.each(of, rows, count * between, from, |mixed, found| {
                let (background, step) = (mixed / between, mixed % between);
                if step == 0 {
                    scores[0] = first(background);
                }
                scores[step + 1] = score_of(of, found, class, probabilities);
                if step + 1 == between {
                    finish(background, &scores);
                }
            })?;
        }
        Ok(OfOneRow { class, score, baseline, contributions })
    }
}
