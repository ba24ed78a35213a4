//! How much worse a model does when a column's cells are shuffled among the rows (Breiman, 2001).

use std::time::{Duration, Instant};

use trails_model::{Exchange, Picked};

use super::mixture::Mixture;
use super::sample::{check_rows, Reservoir};
use crate::error::{shown, Result, TrailsError};
use crate::interrupts::raise_pending;
use crate::judging::collector::{is_loss, metrics_of, Collector};
use crate::judging::labelled::{Asked, Labelled, Row};
use crate::prediction::fault::error_of;
use crate::random::Random;
use crate::reader::memory::no_memory;
use crate::tell;

/// How it is measured.
pub struct Measuring<'a> {
    /// None: what models of the task are selected by.
    pub metric: Option<&'a str>,
    pub repeats: i32,
    pub sample_rows: i32,
    pub seed: i64,
    pub budget: f64,
}

/// One column.
#[derive(Debug, Clone, PartialEq)]
pub struct Importance {
    pub feature: String,
    /// What the metric loses, the mean of the repeats; None if there was no time for one.
    pub importance: Option<f64>,
    /// Of the repeats; None of fewer than two.
    pub deviation: Option<f64>,
    pub repeats: i32,
    pub baseline: f64,
}

/// Memory for what the network makes of the columns that are not shuffled.
const EXCHANGE_BYTES: usize = 64 << 20;

/// Rows of which the answers are known.
struct Known {
    labelled: Labelled,
    rows: Picked,
    answers: Vec<f64>,
    mixture: Mixture,
    /// The same rows, so that all but the shuffled column is computed once; None where that does not pay.
    exchange: Option<Exchange>,
}

impl Known {
    fn new(labelled: Labelled, rows: Picked, answers: Vec<f64>) -> Result<Self> {
        let exchange = labelled.of.model.exchange(&rows, EXCHANGE_BYTES).map_err(error_of)?;
        Ok(Self { labelled, rows, answers, mixture: Mixture::default(), exchange })
    }

    /// The metric, of the rows as they are or with a column's cells from the rows that are named.
    fn measure(&mut self, metric: &str, shuffled: Option<(usize, &[usize])>) -> Result<Option<f64>> {
        let Self { labelled, rows, answers, mixture, exchange } = self;
        let full = |exhausted| no_memory(exhausted, &labelled.origin, 0, 0);
        let mut collector = Collector::<u64>::new(&labelled.of).map_err(full)?;
        let mut kept = Ok(());
        let take = |row: usize, outputs: &[f32]| {
            if kept.is_ok() {
                kept = collector.add(Row { outputs, answer: answers[row], weight: 1.0 });
            }
        };
        match (shuffled, exchange) {
            (Some((column, from)), Some(exchange)) => {
                mixture.each_exchanged(&labelled.of, exchange, column, from, take)?;
            }
            (Some((shuffled, from)), None) => {
                let cell = |column: usize, row: usize| if column == shuffled { from[row] } else { row };
                mixture.each(&labelled.of, rows, answers.len(), cell, take)?;
            }
            (None, _) => mixture.each(&labelled.of, rows, answers.len(), |_, row| row, take)?,
        }
        kept.map_err(full)?;
        let measured = collector.measured(raise_pending);
        let of_all = measured.into_iter().find(|found| found.metric == metric && found.class.is_none());
        Ok(of_all.and_then(|found| found.value))
    }
}

/// Every column of the model, the most important first.
pub fn importance(asked: &Asked<'_>, how: &Measuring<'_>) -> Result<Vec<Importance>> {
    let began = Instant::now();
    if how.repeats < 1 {
        return Err(TrailsError::argument(format!("repeats must be at least 1, not {}", how.repeats)));
    }
    let sample_rows = check_rows(how.sample_rows)?;
    if how.budget <= 0.0 {
        return Err(
            TrailsError::argument("budget must be more than nothing").hint("Say how long it may take, such as '10 s'.")
        );
    }
    let labelled = Labelled::find(asked)?;
    let model = labelled.of.model.clone();
    let known_metrics = metrics_of(model.task());
    let metric = how.metric.unwrap_or(known_metrics[0]);
    if !known_metrics.contains(&metric) || metric == "base_rate" {
        let listed: Vec<&str> = known_metrics.iter().copied().filter(|name| *name != "base_rate").collect();
        return Err(TrailsError::argument(format!("importance cannot be measured by \"{}\"", shown(metric)))
            .hint(format!("metric is one of {}.", listed.join(", "))));
    }
    let mut reservoir = Reservoir::new(sample_rows, how.seed);
    let mut answers = Vec::new();
    labelled.each_encoded(|encoded, row, answer, _| {
        match reservoir.offer(encoded, row)? {
            Some(place) if place == answers.len() => answers.push(answer),
            Some(place) => answers[place] = answer,
            None => {}
        }
        Ok(())
    })?;
    let (rows, mut random) = reservoir.random();
    let mut known = Known::new(labelled, rows, answers)?;
    let Some(baseline) = known.measure(metric, None)? else {
        let message = format!("{metric} is not defined on the rows of {}", known.labelled.origin);
        return Err(TrailsError::data(message)
            .hint("Give rows of more than one class, or another metric => ..., such as log_loss."));
    };
    let names: Vec<&str> = model.columns().iter().map(|input| input.name.as_str()).collect();
    let mut losses = vec![Vec::new(); names.len()];
    let until = began + Duration::from_secs_f64(how.budget);
    measure_all(&mut known, &mut random, how, metric, baseline, until, &mut losses)?;
    let fewest = losses.iter().map(Vec::len).min().unwrap_or(0);
    if fewest < how.repeats as usize {
        tell::notice(&format!(
            "the budget was enough for {fewest} of {} repeats of every column; a larger budget, or fewer sample_rows, allows all",
            how.repeats
        ));
    }
    let mut found: Vec<Importance> =
        names.into_iter().zip(&losses).map(|(name, losses)| importance_of(name, losses, baseline)).collect();
    let order = |importance: &Importance| importance.importance.unwrap_or(f64::NEG_INFINITY);
    found.sort_by(|a, b| order(b).total_cmp(&order(a)));
    Ok(found)
}

/// Repeat by repeat, so that with little time every column has had about as much of it.
#[allow(clippy::too_many_arguments)]
fn measure_all(
    known: &mut Known,
    random: &mut Random,
    how: &Measuring<'_>,
    metric: &str,
    baseline: f64,
    until: Instant,
    losses: &mut [Vec<f64>],
) -> Result<()> {
    let mut shuffled: Vec<usize> = (0..known.answers.len()).collect();
    let sign = if is_loss(metric) { -1.0 } else { 1.0 };
    for _ in 0..how.repeats {
        for (column, losses) in losses.iter_mut().enumerate() {
            if Instant::now() >= until {
                return Ok(());
            }
            random.shuffle(&mut shuffled);
            if let Some(value) = known.measure(metric, Some((column, &shuffled)))? {
                losses.push(sign * (baseline - value));
            }
        }
    }
    Ok(())
}

fn importance_of(name: &str, losses: &[f64], baseline: f64) -> Importance {
    let repeats = losses.len() as f64;
    let importance = (!losses.is_empty()).then(|| losses.iter().sum::<f64>() / repeats);
    let deviation = importance
        .filter(|_| losses.len() > 1)
        .map(|mean| (losses.iter().map(|loss| (loss - mean) * (loss - mean)).sum::<f64>() / (repeats - 1.0)).sqrt());
    Importance { feature: name.to_owned(), importance, deviation, repeats: losses.len() as i32, baseline }
}

#[cfg(test)]
mod tests {
    use super::importance_of;

    #[test]
    fn mean_and_deviation_are_of_the_repeats() {
        let found = importance_of("a", &[0.1, 0.3, 0.2], 0.9);
        assert!((found.importance.unwrap() - 0.2).abs() < 1e-12);
        assert!((found.deviation.unwrap() - 0.1).abs() < 1e-12);
        assert_eq!((found.repeats, found.baseline), (3, 0.9));
        let once = importance_of("a", &[0.5], 0.9);
        assert_eq!((once.importance, once.deviation), (Some(0.5), None));
        assert_eq!(importance_of("a", &[], 0.9).importance, None);
    }
}
