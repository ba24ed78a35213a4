//! What a cell of the target says: a number, or which of the model's classes.

use trails_model::{Family, Model, Task};

use crate::error::{shown, TrailsError};
use crate::reader::columns::{Column, Values};
use crate::reader::texts::{hash, spellings};

/// Texts that are longer than labels are, and begin like one, are kept up to so many.
const MOST_KNOWN: usize = 65_536;

/// How cells become answers.
#[derive(Debug)]
pub struct Answers {
    labels: Vec<String>,
    known: Known,
}

/// Each class by its value, in ascending order.
#[derive(Debug)]
enum Known {
    /// The target is a number, and no class.
    Numbers,
    Whole(Vec<(i64, usize)>),
    Fractions(Vec<(f64, usize)>),
    Texts(Vec<(i64, usize)>),
}

/// A cell that is no class of the model's, and where it is in the batch.
#[derive(Debug, PartialEq)]
pub struct Unknown {
    pub row: usize,
    pub shown: String,
}

impl Answers {
    /// Those of a model whose target is read as columns of `family` are.
    pub fn of(model: &Model, family: Family) -> Self {
        let labels = model.classes();
        let known = match (model.task(), family) {
            (Task::Regression, _) => Known::Numbers,
            (_, Family::Text) => Known::Texts(values_of(labels, |label| Some(hash(label.as_bytes())))),
            (_, Family::Number) => {
                let mut known: Vec<(f64, usize)> =
                    labels.iter().enumerate().filter_map(|(place, label)| Some((label.parse().ok()?, place))).collect();
                known.sort_by(|a, b| a.0.total_cmp(&b.0));
                Known::Fractions(known)
            }
            _ => Known::Whole(values_of(labels, |label| match label.as_str() {
                "false" => Some(0),
                "true" => Some(1),
                number => number.parse().ok(),
            })),
        };
        Self { labels: labels.to_vec(), known }
    }

    /// One answer for each cell: the number, or the place of the class; NaN for NULL.
    pub fn read(&mut self, column: &Column, answers: &mut [f64]) -> Result<(), Unknown> {
        let mut unknown = None;
        let nulls = column.nulls.as_deref();
        for (row, answer) in answers.iter_mut().enumerate() {
            *answer = f64::NAN;
            if nulls.is_some_and(|nulls| nulls[row] != 0) {
                continue;
            }
            match self.answer(column, row) {
                Ok(found) => *answer = found,
                Err(shown) => {
                    unknown = Some(Unknown { row, shown });
                    break;
                }
            }
        }
        unknown.map_or(Ok(()), Err)
    }

    #[inline]
    fn answer(&mut self, column: &Column, row: usize) -> Result<f64, String> {
        let place = match (&mut self.known, &column.values) {
            (Known::Numbers, values) => return number_of(values, row).ok_or_else(String::new),
            (Known::Whole(known), Values::Boolean(v) | Values::Int32(v)) => whole(known, i64::from(v[row])),
            (Known::Whole(known), Values::Int64(v)) => whole(known, v[row]),
            // A real's label has the digits that tell it apart from other reals, and is another double.
            (Known::Fractions(known), Values::Float32(v)) => {
                known.iter().find(|(label, _)| *label as f32 == v[row]).map(|(_, place)| *place)
            }
            (Known::Fractions(known), values) => number_of(values, row).and_then(|value| fraction(known, value)),
            (Known::Texts(known), Values::Text { hashes, texts }) => {
                let found = whole(known, hashes[row]);
                if found.is_none() {
                    let spelt = spellings(&texts.hashes, &texts.ends, &texts.bytes);
                    let spelt = spelt.into_iter().find(|(hash, _)| *hash == hashes[row]).map(|(_, text)| text);
                    let spelt = spelt.unwrap_or_default();
                    // Labels are kept by their beginning.
                    let Some(place) = self.labels.iter().position(|label| *label == spelt) else { return Err(spelt) };
                    if known.len() < MOST_KNOWN {
                        let at = known.partition_point(|(hash, _)| *hash < hashes[row]);
                        known.insert(at, (hashes[row], place));
                    }
                    return Ok(place as f64);
                }
                found
            }
            _ => None,
        };
        place
            .map(|place| place as f64)
            .ok_or_else(|| number_of(&column.values, row).map_or_else(String::new, |x| x.to_string()))
    }
}

/// The error that an unknown class is.
pub fn unknown_class(shown_cell: &str, row: u64, target: &str, origin: &str, model: &Model) -> TrailsError {
    const MOST_SHOWN: usize = 10;
    let labels = model.classes();
    let mut listed: Vec<String> = labels.iter().take(MOST_SHOWN).map(|label| format!("\"{}\"", shown(label))).collect();
    if labels.len() > MOST_SHOWN {
        listed.push(format!("{} more", labels.len() - MOST_SHOWN));
    }
    TrailsError::data(format!(
        "the target \"{target}\" of {origin} holds \"{}\", which is no class of the model",
        shown(shown_cell)
    ))
    .detail(format!("Row {row} is the first such row; the model's classes are {}.", listed.join(", ")))
    .hint("Give a view without such rows, or name the column that holds the model's classes with target => ....")
}

/// The number that a cell holds; None of a kind that has none.
#[inline]
pub fn number_of(values: &Values, row: usize) -> Option<f64> {
    Some(match values {
        Values::Boolean(v) | Values::Int32(v) => f64::from(v[row]),
        Values::Int64(v) => v[row] as f64,
        Values::Float32(v) => f64::from(v[row]),
        Values::Float64(v) => v[row],
        _ => return None,
    })
}

fn values_of(labels: &[String], value: impl Fn(&String) -> Option<i64>) -> Vec<(i64, usize)> {
    let mut known: Vec<(i64, usize)> =
        labels.iter().enumerate().filter_map(|(place, label)| Some((value(label)?, place))).collect();
    known.sort_unstable();
    known
}

#[inline]
fn whole(known: &[(i64, usize)], value: i64) -> Option<usize> {
    known.binary_search_by_key(&value, |(label, _)| *label).ok().map(|at| known[at].1)
}

fn fraction(known: &[(f64, usize)], value: f64) -> Option<usize> {
    // -0 is 0.
    let value = value + 0.0;
    known.binary_search_by(|(label, _)| label.total_cmp(&value)).ok().map(|at| known[at].1)
}
