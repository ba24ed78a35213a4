//! What a model comes to on labelled rows, as the functions of SQL return it.

use trails_model::Task;

use super::collector::Collector;
pub use super::collector::Measured;
pub use super::curve::Step;
use super::curve::{Curve, Scored};
use super::labelled::{Asked, Labelled, Row};
use super::tallies::{Confusion, TwoClasses};
use crate::error::{shown, Result, TrailsError};
use crate::interrupts::raise_pending;
use crate::reader::memory::{no_memory, Memory};
use crate::registry::check_threshold;
use crate::settings;

/// A cell of the confusion matrix.
pub struct ConfusedRows {
    pub actual: String,
    pub predicted: String,
    pub rows: f64,
    /// Of the rows of the actual class.
    pub share: Option<f64>,
}

type OfCounts = fn(&TwoClasses) -> Option<f64>;

/// What a threshold may be chosen by.
const CHOSEN_BY: [(&str, OfCounts); 4] = [
    ("f1", TwoClasses::f1),
    ("accuracy", TwoClasses::accuracy),
    ("balanced_accuracy", TwoClasses::balanced_accuracy),
    ("mcc", TwoClasses::mcc),
];

/// The threshold that a metric is largest at.
pub struct Chosen {
    pub threshold: f64,
    pub value: f64,
    pub counts: TwoClasses,
}

/// Every metric of the model's task.
pub fn evaluate(asked: &Asked<'_>, threshold: Option<f64>) -> Result<Vec<Measured>> {
    let labelled = with_threshold(Labelled::find(asked)?, threshold)?;
    match asked.weight {
        None => measured::<u64>(&labelled),
        Some(_) => measured::<(u64, f64)>(&labelled),
    }
}

/// The same as candidates are judged: whatever threshold the model is deployed with, two classes are told apart at 0.5.
pub fn evaluate_as_trained(asked: &Asked<'_>) -> Result<Vec<Measured>> {
    let mut labelled = Labelled::find(asked)?;
    labelled.of.threshold = None;
    match asked.weight {
        None => measured::<u64>(&labelled),
        Some(_) => measured::<(u64, f64)>(&labelled),
    }
}

fn measured<T: Scored>(labelled: &Labelled) -> Result<Vec<Measured>> {
    let full = |exhausted| no_memory(exhausted, &labelled.origin, 0, 0);
    let mut collector = Collector::<T>::new(&labelled.of).map_err(full)?;
    labelled.each(|row| collector.add(row).map_err(|exhausted| collector.no_memory(exhausted, &labelled.origin)))?;
    Ok(collector.measured(raise_pending))
}

/// Rows by their class and the one that is predicted, class by class.
pub fn confusion_matrix(asked: &Asked<'_>, threshold: Option<f64>) -> Result<Vec<ConfusedRows>> {
    let labelled = Labelled::find(asked)?;
    if labelled.of.model.task() == Task::Regression {
        return Err(of_a_number("confusion matrix"));
    }
    let labelled = with_threshold(labelled, threshold)?;
    let classes = labelled.of.model.classes();
    let full = |exhausted| no_memory(exhausted, &labelled.origin, 0, 0);
    let mut confusion = Confusion::of(classes.len(), &mut room()).map_err(full)?;
    let mut probabilities = vec![0.0; classes.len()];
    labelled.each(|Row { outputs, answer, weight }| {
        confusion.add(answer as usize, labelled.of.outcome(outputs, &mut probabilities).class, weight);
        Ok(())
    })?;
    let cell = |actual: usize, predicted: usize| {
        let (rows, all) = (confusion.weight(actual, predicted), confusion.of_class(actual));
        let share = (all > 0.0).then(|| rows / all);
        ConfusedRows { actual: classes[actual].clone(), predicted: classes[predicted].clone(), rows, share }
    };
    let places = (0..classes.len()).flat_map(|actual| (0..classes.len()).map(move |predicted| (actual, predicted)));
    Ok(places.map(|(actual, predicted)| cell(actual, predicted)).collect())
}

/// At most `points` thresholds, or all that differ, the largest first.
pub fn threshold_curve(asked: &Asked<'_>, points: Option<i32>) -> Result<Vec<Step>> {
    if let Some(points) = points.filter(|points| *points < 2) {
        return Err(TrailsError::argument(format!("points must be at least 2, not {points}"))
            .hint("NULL returns every threshold at which something changes."));
    }
    let mut curve = curve_of(asked, "threshold curve")?;
    let most = points.map_or(curve.rows().max(2), |points| points as usize);
    Ok(curve.thinned(most, raise_pending))
}

/// The largest threshold among those at which the metric is largest.
pub fn best_threshold(asked: &Asked<'_>, metric: &str) -> Result<Chosen> {
    let Some((_, value_of)) = CHOSEN_BY.into_iter().find(|(name, _)| *name == metric) else {
        let known: Vec<&str> = CHOSEN_BY.iter().map(|(name, _)| *name).collect();
        let message = format!("a threshold cannot be chosen by \"{}\"", shown(metric));
        return Err(TrailsError::argument(message).hint(format!("metric is one of {}.", known.join(", "))));
    };
    let mut best: Option<Chosen> = None;
    curve_of(asked, "threshold")?.steps(raise_pending, |Step { threshold, counts, .. }| {
        let Some(value) = value_of(&counts) else { return };
        if best.as_ref().is_none_or(|best| value > best.value) {
            best = Some(Chosen { threshold, value, counts });
        }
    });
    best.ok_or_else(|| TrailsError::data(format!("{metric} is defined at no threshold")))
}

fn room() -> Memory {
    Memory::new(0, settings::reading_memory_limit())
}

fn of_a_number(what: &str) -> TrailsError {
    TrailsError::argument(format!("the model predicts a number, which there is no {what} of"))
        .hint("trails.evaluate says how far its predictions are off.")
}

/// The model with another threshold than its own, if there is one.
fn with_threshold(mut labelled: Labelled, threshold: Option<f64>) -> Result<Labelled> {
    if let Some(threshold) = threshold {
        check_threshold(labelled.of.model.task().name(), threshold)?;
        labelled.of.threshold = Some(threshold);
    }
    Ok(labelled)
}

/// The scores of a model of two classes on rows of both.
fn curve_of(asked: &Asked<'_>, what: &str) -> Result<Curve<u64>> {
    let labelled = Labelled::find(asked)?;
    match labelled.of.model.task() {
        Task::Binary => {}
        Task::Regression => return Err(of_a_number(what)),
        Task::Multiclass => {
            let classes = labelled.of.model.classes().len();
            return Err(TrailsError::argument(format!("a {what} is of two classes, and the model predicts {classes}"))
                .hint("trails.confusion_matrix and trails.evaluate say how each class fares."));
        }
    }
    let (mut curve, mut memory) = (Curve::default(), room());
    let mut probabilities = [0.0; 2];
    labelled.each(|Row { outputs, answer, weight }| {
        let score = labelled.of.outcome(outputs, &mut probabilities).score;
        let pushed = curve.push(score, answer == 1.0, weight, &mut memory);
        pushed.map_err(|exhausted| no_memory(exhausted, &labelled.origin, curve.rows() as u64, memory.held()))
    })?;
    if !curve.has_both_classes() {
        let message = format!("the rows of {} are of one class, and a {what} needs two", labelled.origin);
        return Err(TrailsError::data(message).hint("Give rows of both classes."));
    }
    Ok(curve)
}
