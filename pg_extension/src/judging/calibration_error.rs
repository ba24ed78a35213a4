//! How far probabilities are from what happens, of rows in the order of their probability.

/// Bins of the calibration error.
const BINS: f64 = 15.0;

/// How far probabilities are from what happens: the expected calibration error (Naeini, Cooper and Hauskrecht, 2015). Rows
/// in the order of their probability are cut into `BINS` bins of equal weight; of each counts how far the mean probability is
/// from the share of rows that it came true for. With bins of equal width most may be empty and others hold a row or two, so that
/// what is found is further from the truth, and the more so the fewer rows there are (Roelofs et al., 2022). Rows of the
/// same probability are in one bin, which is that of their middle, so that the order among them has no say.
#[derive(Debug, Clone, Copy)]
pub struct CalibrationError {
    all: f64,
    seen: f64,
    bin: f64,
    /// Of the bin: sums of the probabilities, and of the rows that they came true for.
    expected: f64,
    happened: f64,
    apart: f64,
}

impl CalibrationError {
    /// Of rows that weigh `all` together.
    pub fn of(all: f64) -> Self {
        Self { all, seen: 0.0, bin: 0.0, expected: 0.0, happened: 0.0, apart: 0.0 }
    }

    /// All rows of one probability, the next one in their order: for how many it came true, and how many they are.
    pub fn add(&mut self, probability: f64, happened: f64, weight: f64) {
        // The share first: the product of large weights could be infinite.
        let bin = ((self.seen + weight / 2.0) / self.all * BINS).floor();
        if bin > self.bin {
            self.close();
            self.bin = bin;
        }
        self.seen += weight;
        self.expected += probability * weight;
        self.happened += happened;
    }

    fn close(&mut self) {
        self.apart += (self.expected - self.happened).abs();
        (self.expected, self.happened) = (0.0, 0.0);
    }

    /// None of rows that weigh nothing, or more than can be said.
    pub fn value(mut self) -> Option<f64> {
        self.close();
        (self.all > 0.0 && self.all.is_finite()).then(|| self.apart / self.all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error_of(weight: f64) -> Option<f64> {
        let mut found = CalibrationError::of(2.0 * weight);
        found.add(0.9, weight, weight);
        found.add(0.2, 0.0, weight);
        found.value()
    }

    #[test]
    fn weights_may_be_as_large_as_numbers_are() {
        for weight in [1.0, f64::MAX / 2.0] {
            assert!((error_of(weight).unwrap() - 0.15).abs() < 1e-12);
        }
        assert_eq!((error_of(0.0), error_of(f64::MAX)), (None, None));
    }
}
