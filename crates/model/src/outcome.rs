//! What a network's outputs mean.

use crate::header::{Header, LogScale, Task};

/// What is predicted for one row.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Outcome {
    /// Place among the classes; 0 of a regression.
    pub class: usize,
    /// Probability of the positive class, or of the predicted one where there are several; of a regression the number.
    pub score: f64,
}

/// Writes one probability for each class of a classification.
pub fn outcome_of(header: &Header, outputs: &[f32], probabilities: &mut [f64]) -> Outcome {
    match header.task {
        Task::Regression => {
            let learnt = header.target.mean + header.target.std * f64::from(outputs[0]);
            let value = |scale: LogScale| (learnt.exp() - scale.shift).clamp(0.0, scale.most);
            Outcome { class: 0, score: header.target.scale.map_or(learnt, value) }
        }
        Task::Binary => {
            // Both from the smaller side, so that a probability near 0 keeps its digits.
            let logit = f64::from(outputs[0]);
            let tail = (-logit.abs()).exp();
            let (likely, unlikely) = (1.0 / (1.0 + tail), tail / (1.0 + tail));
            let positive = logit > 0.0;
            let score = if positive { likely } else { unlikely };
            if let [no, yes] = probabilities {
                (*no, *yes) = if positive { (unlikely, likely) } else { (likely, unlikely) };
            }
            Outcome { class: usize::from(positive), score }
        }
        Task::Multiclass => {
            // The first of the largest.
            let class = (1..outputs.len()).fold(0, |best, i| if outputs[i] > outputs[best] { i } else { best });
            let largest = f64::from(outputs[class]);
            let mut sum = 0.0;
            for (probability, output) in probabilities.iter_mut().zip(outputs) {
                *probability = (f64::from(*output) - largest).exp();
                sum += *probability;
            }
            probabilities.iter_mut().for_each(|probability| *probability /= sum);
            Outcome { class, score: probabilities.get(class).copied().unwrap_or(f64::NAN) }
        }
    }
}
