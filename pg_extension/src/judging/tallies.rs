//! What is counted row by row, and the metrics that follow from the counts. One that is a fraction with nothing below its line
//! is None. Counts are sums of weights.

use crate::reader::memory::{Exhausted, Memory};

fn ratio(above: f64, below: f64) -> Option<f64> {
    (below > 0.0).then(|| above / below)
}

/// Rows of two classes by what they are and what is predicted.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct TwoClasses {
    pub true_positives: f64,
    pub false_positives: f64,
    pub true_negatives: f64,
    pub false_negatives: f64,
}

impl TwoClasses {
    pub fn precision(&self) -> Option<f64> {
        ratio(self.true_positives, self.true_positives + self.false_positives)
    }

    pub fn recall(&self) -> Option<f64> {
        ratio(self.true_positives, self.true_positives + self.false_negatives)
    }

    pub fn specificity(&self) -> Option<f64> {
        ratio(self.true_negatives, self.true_negatives + self.false_positives)
    }

    pub fn false_positive_rate(&self) -> Option<f64> {
        ratio(self.false_positives, self.true_negatives + self.false_positives)
    }

    pub fn f1(&self) -> Option<f64> {
        let twice = 2.0 * self.true_positives;
        ratio(twice, twice + self.false_positives + self.false_negatives)
    }

    pub fn accuracy(&self) -> Option<f64> {
        ratio(self.true_positives + self.true_negatives, self.all())
    }

    pub fn balanced_accuracy(&self) -> Option<f64> {
        Some((self.recall()? + self.specificity()?) / 2.0)
    }

    /// The coefficient of Matthews (1975): the correlation of what is predicted with what is.
    pub fn mcc(&self) -> Option<f64> {
        let Self { true_positives: tp, false_positives: fp, true_negatives: tn, false_negatives: fn_ } = *self;
        // Root by root: the product of all four may be more than a double holds exactly.
        let below = (tp + fp).sqrt() * (tp + fn_).sqrt() * (tn + fp).sqrt() * (tn + fn_).sqrt();
        ratio(tp * tn - fp * fn_, below)
    }

    fn all(&self) -> f64 {
        self.true_positives + self.false_positives + self.true_negatives + self.false_negatives
    }
}

/// Rows by their class and the one that is predicted.
#[derive(Debug)]
pub struct Confusion {
    classes: usize,
    /// [class, predicted class].
    weights: Vec<f64>,
    /// Rows of each class, whatever they weigh.
    rows: Vec<u64>,
}

impl Confusion {
    pub fn of(classes: usize, memory: &mut Memory) -> Result<Self, Exhausted> {
        let (mut weights, mut rows) = (Vec::new(), Vec::new());
        memory.fill(&mut weights, classes * classes, 0.0)?;
        memory.fill(&mut rows, classes, 0)?;
        Ok(Self { classes, weights, rows })
    }

    #[inline]
    pub fn add(&mut self, class: usize, predicted: usize, weight: f64) {
        self.weights[class * self.classes + predicted] += weight;
        self.rows[class] += 1;
    }

    pub fn weight(&self, class: usize, predicted: usize) -> f64 {
        self.weights[class * self.classes + predicted]
    }

    pub fn rows(&self, class: usize) -> u64 {
        self.rows[class]
    }

    /// What all rows of a class weigh.
    pub fn of_class(&self, class: usize) -> f64 {
        self.weights[class * self.classes..][..self.classes].iter().sum()
    }

    fn predicted(&self, class: usize) -> f64 {
        self.weights.iter().skip(class).step_by(self.classes).sum()
    }

    fn all(&self) -> f64 {
        self.weights.iter().sum()
    }

    /// A class against all others.
    pub fn against_others(&self, class: usize) -> TwoClasses {
        let true_positives = self.weight(class, class);
        let (of_class, predicted) = (self.of_class(class), self.predicted(class));
        TwoClasses {
            true_positives,
            false_positives: predicted - true_positives,
            true_negatives: self.all() - of_class - predicted + true_positives,
            false_negatives: of_class - true_positives,
        }
    }

    pub fn accuracy(&self) -> Option<f64> {
        ratio((0..self.classes).map(|class| self.weight(class, class)).sum(), self.all())
    }

    /// The mean recall of the classes that there are rows of.
    pub fn balanced_accuracy(&self) -> Option<f64> {
        let recalls: Vec<f64> =
            (0..self.classes).filter_map(|class| ratio(self.weight(class, class), self.of_class(class))).collect();
        mean_of(&recalls)
    }
}

pub fn mean_of(values: &[f64]) -> Option<f64> {
    ratio(values.iter().sum(), values.len() as f64)
}

/// A mean of something of every row, by their weights.
#[derive(Debug, Clone, Copy, Default)]
pub struct Mean {
    sum: f64,
    weight: f64,
}

impl Mean {
    #[inline]
    pub fn add(&mut self, value: f64, weight: f64) {
        self.sum += value * weight;
        self.weight += weight;
    }

    pub fn value(&self) -> Option<f64> {
        ratio(self.sum, self.weight)
    }
}

/// The loss of a row whose class was given this probability. It is finite: a probability of less than the smallest
/// difference of doubles from 1 counts as that.
#[inline]
pub fn log_loss(probability: f64) -> f64 {
    -probability.clamp(f64::EPSILON, 1.0 - f64::EPSILON).ln()
}

/// Numbers and what is predicted for them, in one pass (Welford, 1962).
#[derive(Debug, Clone, Copy, Default)]
pub struct Numbers {
    weight: f64,
    mean: f64,
    /// Sums of squares: from the mean, and from what is predicted.
    around_mean: f64,
    residual: f64,
    absolute: f64,
    relative: f64,
    has_zero: bool,
}

impl Numbers {
    #[inline]
    pub fn add(&mut self, number: f64, predicted: f64, weight: f64) {
        let error = predicted - number;
        self.weight += weight;
        if weight > 0.0 {
            let from_mean = number - self.mean;
            self.mean += from_mean * weight / self.weight;
            self.around_mean += weight * from_mean * (number - self.mean);
            self.has_zero |= number == 0.0;
            self.residual += weight * error * error;
            self.absolute += weight * error.abs();
            self.relative += weight * (error / number).abs();
        }
    }

    /// None where all numbers are the same.
    pub fn r2(&self) -> Option<f64> {
        ratio(self.residual, self.around_mean).map(|share| 1.0 - share)
    }

    pub fn rmse(&self) -> Option<f64> {
        ratio(self.residual, self.weight).map(f64::sqrt)
    }

    pub fn mae(&self) -> Option<f64> {
        ratio(self.absolute, self.weight)
    }

    /// The mean of errors as shares of the numbers, none of which may be 0.
    pub fn mape(&self) -> Option<f64> {
        if self.has_zero {
            return None;
        }
        ratio(self.relative, self.weight)
    }

    pub fn weight(&self) -> f64 {
        self.weight
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COUNTS: TwoClasses =
        TwoClasses { true_positives: 3.0, false_positives: 1.0, true_negatives: 4.0, false_negatives: 2.0 };

    fn near(found: Option<f64>, wanted: f64) {
        assert!((found.unwrap() - wanted).abs() < 1e-12, "{found:?} is not {wanted}");
    }

    #[test]
    fn metrics_of_two_classes_are_their_formulas() {
        near(COUNTS.precision(), 0.75);
        near(COUNTS.recall(), 0.6);
        near(COUNTS.f1(), 2.0 * 0.75 * 0.6 / (0.75 + 0.6));
        near(COUNTS.accuracy(), 0.7);
        near(COUNTS.balanced_accuracy(), 0.7);
        near(COUNTS.false_positive_rate(), 0.2);
        near(COUNTS.mcc(), (12.0 - 2.0) / (4.0f64 * 5.0 * 5.0 * 6.0).sqrt());
    }

    #[test]
    fn what_has_nothing_below_its_line_is_none() {
        let none = TwoClasses::default();
        for metric in [TwoClasses::precision, TwoClasses::recall, TwoClasses::f1, TwoClasses::accuracy, TwoClasses::mcc]
        {
            assert_eq!(metric(&none), None);
        }
        assert_eq!(Numbers::default().rmse(), None);
        assert_eq!(mean_of(&[]), None);
    }

    #[test]
    fn a_class_against_others_is_what_two_classes_are() {
        let mut confusion = Confusion::of(3, &mut Memory::unlimited()).unwrap();
        for (class, predicted) in [(0, 0), (0, 0), (0, 1), (1, 1), (1, 2), (2, 2), (2, 0), (2, 2)] {
            confusion.add(class, predicted, 1.0);
        }
        assert_eq!(
            confusion.against_others(2),
            TwoClasses { true_positives: 2.0, false_positives: 1.0, true_negatives: 4.0, false_negatives: 1.0 }
        );
        near(confusion.accuracy(), 5.0 / 8.0);
        near(confusion.balanced_accuracy(), (2.0 / 3.0 + 0.5 + 2.0 / 3.0) / 3.0);
        assert_eq!((confusion.rows(0), confusion.rows(2)), (3, 3));
    }

    #[test]
    fn a_weight_is_a_number_that_comes_so_often() {
        let numbers = [(1e3 + 1.0, 1e3 + 2.0, 2.0), (1e3 + 5.0, 1e3 + 3.0, 1.0), (1e3 + 2.0, 1e3 + 2.5, 3.0)];
        let (mut weighted, mut plain) = (Numbers::default(), Numbers::default());
        for (number, predicted, weight) in numbers {
            weighted.add(number, predicted, weight);
            (0..weight as usize).for_each(|_| plain.add(number, predicted, 1.0));
        }
        for metric in [Numbers::r2, Numbers::rmse, Numbers::mae, Numbers::mape] {
            near(metric(&weighted), metric(&plain).unwrap());
        }
        // 6 numbers: 1, 1, 5, 2, 2, 2 and a thousand each.
        let mean = 13.0 / 6.0;
        let around: f64 = [1.0f64, 1.0, 5.0, 2.0, 2.0, 2.0].iter().map(|x| (x - mean).powi(2)).sum();
        near(weighted.r2(), 1.0 - (2.0 + 4.0 + 0.75) / around);
    }

    #[test]
    fn a_share_of_zero_is_none() {
        let mut numbers = Numbers::default();
        numbers.add(0.0, 0.0, 0.0);
        numbers.add(2.0, 1.0, 1.0);
        near(numbers.mape(), 0.5);
        numbers.add(0.0, 1.0, 1.0);
        assert_eq!(numbers.mape(), None);
    }

    #[test]
    fn a_certain_mistake_costs_much_and_not_everything() {
        assert!(log_loss(0.0) > 36.0 && log_loss(0.0).is_finite());
        near(Some(log_loss(0.5)), 2.0f64.ln());
    }
}
