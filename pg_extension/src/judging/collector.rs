//! All that is counted and kept of a model's rows, and the metrics that follow.

use trails_model::Task;

use super::curve::{Curve, Scored};
use super::labelled::Row;
use super::ranking::Ranking;
use super::tallies::{log_loss, mean_of, Confusion, Mean, Numbers};
use crate::error::TrailsError;
use crate::prediction::cache::Predictor;
use crate::reader::memory::{no_memory, Exhausted, Memory};
use crate::settings;

/// One metric, of a class or of all rows.
#[derive(Debug, Clone, PartialEq)]
pub struct Measured {
    pub metric: &'static str,
    pub class: Option<String>,
    /// None where it is not defined.
    pub value: Option<f64>,
    pub rows: u64,
}

/// Metrics of all rows by task; of each the first is what models are selected by.
pub fn metrics_of(task: Task) -> &'static [&'static str] {
    match task {
        Task::Binary => &[
            "auc",
            "average_precision",
            "log_loss",
            "brier",
            "calibration_error",
            "accuracy",
            "balanced_accuracy",
            "precision",
            "recall",
            "f1",
            "mcc",
            "base_rate",
        ],
        Task::Multiclass => &["accuracy", "auc", "log_loss", "calibration_error", "balanced_accuracy"],
        Task::Regression => &["r2", "rmse", "mae", "median_ae", "mape"],
    }
}

/// Whether a metric gets better as it gets smaller.
pub fn is_loss(metric: &str) -> bool {
    matches!(metric, "log_loss" | "brier" | "calibration_error" | "rmse" | "mae" | "median_ae" | "mape")
}

pub struct Collector<'a, T> {
    of: &'a Predictor,
    probabilities: Vec<f64>,
    memory: Memory,
    rows: u64,
    confusion: Confusion,
    /// Of two classes one, of several one for each.
    curves: Vec<Curve<T>>,
    /// Of several classes, the likeliest one's probability, and whether it is the row's.
    certainty: Curve<T>,
    loss: Mean,
    brier: Mean,
    numbers: Numbers,
    errors: Ranking<(u64, f64)>,
}

impl<'a, T: Scored> Collector<'a, T> {
    pub fn new(of: &'a Predictor) -> Result<Self, Exhausted> {
        let mut memory = Memory::new(0, settings::reading_memory_limit());
        let classes = of.model.classes().len();
        let curves = match of.model.task() {
            Task::Regression => 0,
            Task::Binary => 1,
            Task::Multiclass => classes,
        };
        Ok(Self {
            of,
            probabilities: vec![0.0; classes],
            rows: 0,
            confusion: Confusion::of(classes, &mut memory)?,
            curves: (0..curves).map(|_| Curve::default()).collect(),
            certainty: Curve::default(),
            loss: Mean::default(),
            brier: Mean::default(),
            numbers: Numbers::default(),
            errors: Ranking::default(),
            memory,
        })
    }

    #[inline]
    pub fn add(&mut self, Row { outputs, answer, weight }: Row<'_>) -> Result<(), Exhausted> {
        let outcome = self.of.outcome(outputs, &mut self.probabilities);
        self.rows += 1;
        let task = self.of.model.task();
        if task == Task::Regression {
            self.numbers.add(answer, outcome.score, weight);
            // The bits of numbers that are not negative are in their order.
            return self.errors.push(((outcome.score - answer).abs().to_bits(), weight), &mut self.memory);
        }
        let actual = answer as usize;
        self.confusion.add(actual, outcome.class, weight);
        self.loss.add(log_loss(self.probabilities[actual]), weight);
        if task == Task::Binary {
            self.brier.add((outcome.score - answer) * (outcome.score - answer), weight);
            return self.curves[0].push(outcome.score, actual == 1, weight, &mut self.memory);
        }
        for (class, (curve, score)) in self.curves.iter_mut().zip(&self.probabilities).enumerate() {
            curve.push(*score, class == actual, weight, &mut self.memory)?;
        }
        self.certainty.push(outcome.score, outcome.class == actual, weight, &mut self.memory)
    }

    /// The error that rows are for which there is no memory.
    pub fn no_memory(&self, exhausted: Exhausted, origin: &str) -> TrailsError {
        no_memory(exhausted, origin, self.rows, self.memory.held())
    }

    /// Every metric of the task.
    pub fn measured(&mut self, pause: impl Fn() + Copy) -> Vec<Measured> {
        match self.of.model.task() {
            Task::Regression => self.of_numbers(pause),
            Task::Binary => self.of_two_classes(pause),
            Task::Multiclass => self.of_classes(pause),
        }
    }

    /// In the order in which `metrics_of` names them.
    fn of_all(&self, values: &[Option<f64>]) -> Vec<Measured> {
        let named = metrics_of(self.of.model.task()).iter().zip(values);
        named.map(|(metric, value)| Measured { metric, class: None, value: *value, rows: self.rows }).collect()
    }

    fn of_two_classes(&mut self, pause: impl Fn()) -> Vec<Measured> {
        let areas = self.curves[0].areas(pause);
        let counts = self.confusion.against_others(1);
        let positive = self.confusion.of_class(1);
        let all = positive + self.confusion.of_class(0);
        self.of_all(&[
            areas.auc,
            areas.average_precision,
            self.loss.value(),
            self.brier.value(),
            areas.calibration_error,
            counts.accuracy(),
            counts.balanced_accuracy(),
            counts.precision(),
            counts.recall(),
            counts.f1(),
            counts.mcc(),
            (all > 0.0).then(|| positive / all),
        ])
    }

    fn of_classes(&mut self, pause: impl Fn() + Copy) -> Vec<Measured> {
        let aucs: Vec<Option<f64>> = self.curves.iter_mut().map(|curve| curve.areas(pause).auc).collect();
        let defined: Vec<f64> = aucs.iter().flatten().copied().collect();
        let of_all = [
            self.confusion.accuracy(),
            mean_of(&defined),
            self.loss.value(),
            self.certainty.areas(pause).calibration_error,
            self.confusion.balanced_accuracy(),
        ];
        let mut measured = self.of_all(&of_all);
        for (place, (class, auc)) in self.of.model.classes().iter().zip(aucs).enumerate() {
            let counts = self.confusion.against_others(place);
            let of_class =
                [("precision", counts.precision()), ("recall", counts.recall()), ("f1", counts.f1()), ("auc", auc)];
            let (class, rows) = (Some(class.clone()), self.confusion.rows(place));
            measured.extend(of_class.map(|(metric, value)| Measured { metric, class: class.clone(), value, rows }));
        }
        measured
    }

    fn of_numbers(&mut self, pause: impl Fn()) -> Vec<Measured> {
        let median = median_of(&mut self.errors, self.numbers.weight(), pause);
        let numbers = self.numbers;
        self.of_all(&[numbers.r2(), numbers.rmse(), numbers.mae(), median, numbers.mape()])
    }
}

/// What half of the weight lies above; the mean of both sides where that is between two.
fn median_of(errors: &mut Ranking<(u64, f64)>, weight: f64, pause: impl Fn()) -> Option<f64> {
    let (half, mut above) = (weight / 2.0, 0.0);
    let (mut upper, mut median): (Option<f64>, Option<f64>) = (None, None);
    errors.descending(pause, |(bits, weight)| {
        if weight == 0.0 {
            return true;
        }
        let error = f64::from_bits(bits);
        if let Some(upper) = upper {
            median = Some((upper + error) / 2.0);
            return false;
        }
        above += weight;
        if above == half {
            upper = Some(error);
        } else if above > half {
            median = Some(error);
        }
        median.is_none()
    });
    median.or(upper)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn median(errors: &[(f64, f64)]) -> Option<f64> {
        let (mut ranking, mut memory) = (Ranking::default(), Memory::unlimited());
        errors.iter().for_each(|(error, weight)| ranking.push((error.to_bits(), *weight), &mut memory).unwrap());
        median_of(&mut ranking, errors.iter().map(|(_, weight)| weight).sum(), || ())
    }

    #[test]
    fn half_of_the_weight_lies_on_each_side_of_the_median() {
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[(3.0, 1.0)]), Some(3.0));
        assert_eq!(median(&[(3.0, 1.0), (1.0, 1.0)]), Some(2.0));
        assert_eq!(median(&[(3.0, 1.0), (1.0, 1.0), (8.0, 1.0)]), Some(3.0));
        assert_eq!(median(&[(3.0, 1.0), (1.0, 4.0), (8.0, 1.0)]), Some(1.0));
        // 1, 1, 3, 8, and one that does not count in between.
        assert_eq!(median(&[(3.0, 1.0), (2.0, 0.0), (1.0, 2.0), (8.0, 1.0)]), Some(2.0));
    }
}
