//! What follows from the order of scores: areas under curves, and what every threshold comes to.
//!
//! Equal scores are one step, whatever their order: the area under the receiver operating characteristic counts a pair of
//! equals as half (Mann and Whitney, 1947), and average precision is the sum of precision over the steps of recall.

use super::calibration_error::CalibrationError;
use super::ranking::{Ranked, Ranking};
use super::tallies::TwoClasses;
use crate::reader::memory::{Exhausted, Memory};

/// A score of a row, from 0 to 1, whether the row is positive, and what it weighs.
pub trait Scored: Ranked {
    fn of(score: f64, positive: bool, weight: f64) -> Self;
    fn weight(self) -> f64;
}

/// The sign of a score has no say, so that there is room for the class behind its bits, and the order is the scores'.
fn key_of(score: f64, positive: bool) -> u64 {
    score.to_bits() << 1 | u64::from(positive)
}

impl Scored for u64 {
    fn of(score: f64, positive: bool, _: f64) -> Self {
        key_of(score, positive)
    }

    fn weight(self) -> f64 {
        1.0
    }
}

impl Scored for (u64, f64) {
    fn of(score: f64, positive: bool, weight: f64) -> Self {
        (key_of(score, positive), weight)
    }

    fn weight(self) -> f64 {
        self.1
    }
}

/// The scores of rows of two classes.
#[derive(Debug)]
pub struct Curve<T> {
    ranking: Ranking<T>,
    positives: f64,
    negatives: f64,
}

/// Rows of the largest scores, down to `threshold`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Step {
    pub threshold: f64,
    pub counts: TwoClasses,
    /// How many these are.
    pub rows: usize,
}

/// What one pass through the scores finds; areas are None where there are rows of one class only.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Areas {
    pub auc: Option<f64>,
    pub average_precision: Option<f64>,
    /// Of scores that are probabilities.
    pub calibration_error: Option<f64>,
}

impl<T: Ranked> Default for Curve<T> {
    fn default() -> Self {
        Self { ranking: Ranking::default(), positives: 0.0, negatives: 0.0 }
    }
}

impl<T: Scored> Curve<T> {
    #[inline]
    pub fn push(&mut self, score: f64, positive: bool, weight: f64, memory: &mut Memory) -> Result<(), Exhausted> {
        self.ranking.push(T::of(score, positive, weight), memory)?;
        *(if positive { &mut self.positives } else { &mut self.negatives }) += weight;
        Ok(())
    }

    pub fn has_both_classes(&self) -> bool {
        self.positives > 0.0 && self.negatives > 0.0
    }

    pub fn rows(&self) -> usize {
        self.ranking.len()
    }

    /// Hands on one step for each different score, the largest first.
    pub fn steps(&mut self, pause: impl Fn(), mut each: impl FnMut(Step)) {
        let (positives, negatives) = (self.positives, self.negatives);
        let mut step: Option<Step> = None;
        let (mut above, mut false_above, mut rows) = (0.0, 0.0, 0);
        self.ranking.descending(pause, |item| {
            let (score, positive) = (f64::from_bits(item.key() >> 1), item.key() & 1 == 1);
            if let Some(step) = step.filter(|step| step.threshold.to_bits() != score.to_bits()) {
                each(step);
            }
            *(if positive { &mut above } else { &mut false_above }) += item.weight();
            rows += 1;
            let counts = TwoClasses {
                true_positives: above,
                false_positives: false_above,
                true_negatives: (negatives - false_above).max(0.0),
                false_negatives: (positives - above).max(0.0),
            };
            step = Some(Step { threshold: score, counts, rows });
            true
        });
        if let Some(step) = step {
            each(step);
        }
    }

    pub fn areas(&mut self, pause: impl Fn()) -> Areas {
        let (positives, negatives, both) = (self.positives, self.negatives, self.has_both_classes());
        let (mut pairs, mut precision) = (0.0, 0.0);
        let (mut above, mut false_above) = (0.0, 0.0);
        let mut calibration = CalibrationError::of(positives + negatives);
        self.steps(pause, |Step { threshold, counts, .. }| {
            let (new, false_new) = (counts.true_positives - above, counts.false_positives - false_above);
            calibration.add(threshold, new, new + false_new);
            pairs += false_new * (above + new / 2.0);
            (above, false_above) = (counts.true_positives, counts.false_positives);
            if new > 0.0 {
                precision += new * above / (above + false_above);
            }
        });
        Areas {
            auc: both.then(|| pairs / positives / negatives),
            average_precision: (positives > 0.0).then(|| precision / positives),
            calibration_error: calibration.value(),
        }
    }

    /// At most `points` steps, which lie about as many rows apart; the first and the last are among them.
    pub fn thinned(&mut self, points: usize, pause: impl Fn()) -> Vec<Step> {
        let last = self.rows().saturating_sub(1);
        let mut found: Vec<Step> = Vec::new();
        self.steps(pause, |step| {
            // Rows that the next point is to have, at least.
            let wanted = 1 + last * found.len() / points.saturating_sub(1).max(1);
            if step.rows >= wanted {
                found.push(step);
            }
        });
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn curve_of(rows: &[(f64, bool, f64)]) -> Curve<(u64, f64)> {
        let (mut curve, mut memory) = (Curve::default(), Memory::unlimited());
        rows.iter().for_each(|(score, positive, weight)| curve.push(*score, *positive, *weight, &mut memory).unwrap());
        curve
    }

    /// Every pair of a positive and a negative, one by one.
    fn auc_of(rows: &[(f64, bool, f64)]) -> f64 {
        let (mut won, mut all) = (0.0, 0.0);
        for (high, _, weight) in rows.iter().filter(|row| row.1) {
            for (low, _, other) in rows.iter().filter(|row| !row.1) {
                let share = if high > low {
                    1.0
                } else if high == low {
                    0.5
                } else {
                    0.0
                };
                won += share * weight * other;
                all += weight * other;
            }
        }
        won / all
    }

    fn made_up(rows: usize, levels: u64, seed: u64) -> Vec<(f64, bool, f64)> {
        let mut state = seed;
        let mut draw = |below: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % below
        };
        let row = |_| (draw(levels) as f64 / levels as f64, draw(3) == 0, 1.0 + draw(4) as f64);
        (0..rows).map(row).collect()
    }

    #[test]
    fn the_area_is_the_share_of_pairs_in_order() {
        for (seed, levels) in [(1, 3), (2, 10), (3, 1_000_000), (4, 1)] {
            let rows = made_up(200, levels, seed);
            let found = curve_of(&rows).areas(|| ()).auc.unwrap();
            assert!((found - auc_of(&rows)).abs() < 1e-12, "{levels} levels");
        }
    }

    #[test]
    fn a_weight_is_a_row_that_comes_so_often() {
        let rows = made_up(100, 7, 5);
        let repeated: Vec<(f64, bool, f64)> = rows
            .iter()
            .flat_map(|(score, positive, weight)| vec![(*score, *positive, 1.0); *weight as usize])
            .collect();
        let (weighted, plain) = (curve_of(&rows).areas(|| ()), curve_of(&repeated).areas(|| ()));
        assert!((weighted.auc.unwrap() - plain.auc.unwrap()).abs() < 1e-12);
        assert!((weighted.average_precision.unwrap() - plain.average_precision.unwrap()).abs() < 1e-12);
        assert!((weighted.calibration_error.unwrap() - plain.calibration_error.unwrap()).abs() < 1e-12);
    }

    #[test]
    fn the_calibration_error_is_that_of_bins_of_equal_weight() {
        for (seed, levels, count) in [(1, 3, 200), (2, 40, 200), (3, 1_000_000, 1_000), (4, 1, 30), (5, 100, 7)] {
            let rows = made_up(count, levels, seed);
            let all: f64 = rows.iter().map(|row| row.2).sum();
            let mut scores: Vec<f64> = rows.iter().map(|row| row.0).collect();
            scores.sort_unstable_by(f64::total_cmp);
            scores.dedup();
            let mut bins = [(0.0, 0.0); 15];
            for score in scores {
                let weight_of = |wanted: fn(f64, f64) -> bool| -> f64 {
                    rows.iter().filter(|row| wanted(row.0, score)).map(|row| row.2).sum()
                };
                let (higher, here) = (weight_of(|other, this| other > this), weight_of(|other, this| other == this));
                let bin = &mut bins[(15.0 * (higher + here / 2.0) / all) as usize];
                bin.0 += score * here;
                bin.1 += rows.iter().filter(|row| row.0 == score && row.1).map(|row| row.2).sum::<f64>();
            }
            let wanted = bins.iter().map(|(said, was)| (said - was).abs()).sum::<f64>() / all;
            let found = curve_of(&rows).areas(|| ()).calibration_error.unwrap();
            assert!((found - wanted).abs() < 1e-12, "{count} rows of {levels} levels: {found} is not {wanted}");
        }
    }

    #[test]
    fn one_class_has_no_area() {
        let areas = curve_of(&[(0.2, true, 1.0), (0.7, true, 1.0)]).areas(|| ());
        assert_eq!((areas.auc, areas.average_precision), (None, Some(1.0)));
        let areas = curve_of(&[(0.2, false, 1.0)]).areas(|| ());
        assert_eq!((areas.auc, areas.average_precision), (None, None));
    }

    #[test]
    fn a_step_counts_what_is_at_or_above_it() {
        let mut curve = curve_of(&[(0.9, true, 1.0), (0.5, false, 1.0), (0.5, true, 1.0), (0.0, false, 1.0)]);
        let mut found = Vec::new();
        curve.steps(|| (), |s| found.push((s.threshold, s.counts.true_positives, s.counts.false_positives, s.rows)));
        assert_eq!(found, [(0.9, 1.0, 0.0, 1), (0.5, 2.0, 1.0, 3), (0.0, 2.0, 2.0, 4)]);
    }

    #[test]
    fn a_thinned_curve_keeps_its_ends() {
        for points in [2, 3, 10, 1_000] {
            let mut curve = curve_of(&made_up(500, 200, 9));
            let mut all = Vec::new();
            curve.steps(|| (), |step| all.push(step));
            let found = curve.thinned(points, || ());
            assert!(found.len() <= points && found.len() >= points.min(all.len()) / 2);
            assert_eq!((found.first(), found.last()), (all.first(), all.last()));
            if points >= 1_000 {
                assert_eq!(found, all);
            }
        }
    }
}
