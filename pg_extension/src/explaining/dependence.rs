//! What a model says on average where a column has the same value in every row (Friedman, 2001).

use std::collections::HashMap;

use pgrx::pg_sys;
use trails_model::Task;

use super::mixture::{score_of, Mixture};
use super::sample::{check_rows, Reservoir};
use crate::error::{Result, TrailsError};
use crate::interrupts::ClientWatch;
use crate::prediction::cache::model_of;
use crate::prediction::relation::{encode, Input};
use crate::prediction::stored::WantedModel;
use crate::reader::columns::Values;
use crate::reader::source::Source;

/// What a caller asked for.
pub struct Wanted<'a> {
    pub model: Option<&'a str>,
    pub source: pg_sys::Oid,
    pub feature: String,
    pub points: i32,
    pub sample_rows: i32,
    pub seed: i64,
}

/// One value of the column.
#[derive(Debug, Clone, PartialEq)]
pub struct Point {
    /// None: NULL.
    pub value: Option<String>,
    /// Of several classes each.
    pub class: Option<String>,
    /// The mean over the sample, and how far its rows are from that.
    pub score: f64,
    pub deviation: f64,
    /// Rows of the sample that have this value.
    pub rows: i64,
}

/// A cell of the column.
#[derive(Debug, Clone, PartialEq)]
struct Cell {
    text: Option<String>,
    /// Where it is among others, if its kind has an order.
    place: Option<f64>,
}

pub fn partial_dependence(wanted: &Wanted<'_>) -> Result<Vec<Point>> {
    let Wanted { points, sample_rows, .. } = *wanted;
    if points < 2 {
        return Err(TrailsError::argument(format!("points must be at least 2, not {points}")));
    }
    let sample_rows = check_rows(sample_rows)?;
    let of = model_of(&WantedModel { model: wanted.model, source: Some(wanted.source), target: None })?;
    let columns = of.model.columns();
    let Some(feature) = columns.iter().position(|input| input.name == wanted.feature) else {
        let known: Vec<String> = columns.iter().map(|input| format!("\"{}\"", input.name)).collect();
        let message = format!("the model does not read a column \"{}\"", crate::error::shown(&wanted.feature));
        return Err(TrailsError::new(pgrx::PgSqlErrorCode::ERRCODE_UNDEFINED_COLUMN, message)
            .hint(format!("It reads {}.", known.join(", "))));
    };
    let source = Source::describe(wanted.source)?;
    let input = Input::with(&source, &of.model, vec![source.text(&wanted.feature)?], None)?;
    let mut reservoir = Reservoir::new(sample_rows, wanted.seed);
    let mut cells: Vec<Cell> = Vec::new();
    let watch = ClientWatch::start();
    encode(&of.model, &input, |encoded, table| {
        let (typed, spelt) = (&table.columns[feature], &table.columns[columns.len()]);
        for row in 0..encoded.rows() {
            let Some(place) = reservoir.offer(encoded, row)? else { continue };
            let is_null = typed.nulls.as_ref().is_some_and(|nulls| nulls[row] != 0);
            let cell = Cell {
                text: (!is_null).then(|| spelling(&spelt.values, row)),
                place: number(&typed.values, row).filter(|_| !is_null),
            };
            match cells.get_mut(place) {
                Some(old) => *old = cell,
                None => cells.push(cell),
            }
        }
        Ok(())
    })?;
    let (rows, _) = reservoir.random();
    if cells.is_empty() {
        return Err(TrailsError::data(format!("{} has no row that you can see", source.name))
            .hint("Give a relation whose rows are like those to predict for."));
    }
    let mut mixture = Mixture::default();
    let mut found = Vec::new();
    let mut probabilities = vec![0.0; of.model.classes().len()];
    let classes: Vec<Option<String>> = match of.model.task() {
        Task::Multiclass => of.model.classes().iter().cloned().map(Some).collect(),
        Task::Binary | Task::Regression => vec![None],
    };
    for (donor, count) in grid(&cells, points as usize) {
        let mut sums = vec![(0.0, 0.0); classes.len()];
        let from = |column: usize, row: usize| if column == feature { donor } else { row };
        mixture.each(&of, &rows, cells.len(), from, |row, outputs| {
            for (class, (mean, around)) in sums.iter_mut().enumerate() {
                let score = score_of(&of, outputs, class, &mut probabilities);
                let before = score - *mean;
                *mean += before / (row + 1) as f64;
                *around += before * (score - *mean);
            }
        })?;
        for (class, (mean, around)) in classes.iter().zip(sums) {
            found.push(Point {
                value: cells[donor].text.clone(),
                class: class.clone(),
                score: mean,
                deviation: (around / cells.len() as f64).sqrt(),
                rows: count as i64,
            });
        }
    }
    watch.stop();
    Ok(found)
}

fn spelling(values: &Values, row: usize) -> String {
    match values {
        Values::Key { ends, bytes } => {
            let begin = if row == 0 { 0 } else { ends[row - 1] };
            String::from_utf8_lossy(&bytes[begin as usize..ends[row] as usize]).into_owned()
        }
        _ => String::new(),
    }
}

fn number(values: &Values, row: usize) -> Option<f64> {
    Some(match values {
        Values::Boolean(v) | Values::Int32(v) | Values::Date(v) => f64::from(v[row]),
        Values::Int64(v) | Values::Timestamp(v) | Values::Time(v) => v[row] as f64,
        Values::Float32(v) => f64::from(v[row]),
        Values::Float64(v) | Values::Interval(v) => v[row],
        Values::Text { .. } | Values::IdValue(_) | Values::Key { .. } => return None,
    })
}

/// At most so many different values, each by a row that has it, and how many rows have it: those with an order evenly
/// spread over the rows, the smallest and the largest among them; others by how often they come. NULL, if it is there, comes last.
fn grid(cells: &[Cell], points: usize) -> Vec<(usize, usize)> {
    let mut rows_of: HashMap<&Option<String>, (usize, usize)> = HashMap::new();
    for (row, cell) in cells.iter().enumerate() {
        rows_of.entry(&cell.text).or_insert((row, 0)).1 += 1;
    }
    let null = rows_of.remove(&None);
    let points = if null.is_some() { points - 1 } else { points };
    let mut values: Vec<(usize, usize)> = rows_of.into_values().collect();
    let ordered = cells.iter().any(|cell| cell.place.is_some());
    if ordered {
        values.sort_by(|a, b| cells[a.0].place.unwrap_or(0.0).total_cmp(&cells[b.0].place.unwrap_or(0.0)));
        if values.len() > points {
            values = spread(&values, points);
        }
    } else {
        values.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| cells[a.0].text.cmp(&cells[b.0].text)));
        values.truncate(points);
    }
    values.extend(null);
    values
}

/// So many of sorted values that about as many rows lie between each two of them.
fn spread(values: &[(usize, usize)], points: usize) -> Vec<(usize, usize)> {
    let all: usize = values.iter().map(|(_, count)| count).sum();
    let mut found: Vec<(usize, usize)> = Vec::new();
    let mut rows = 0;
    for (place, value) in values.iter().enumerate() {
        rows += value.1;
        let wanted = 1 + (all - 1) * found.len() / (points - 1).max(1);
        // The last one of all is always there.
        let is_last = place + 1 == values.len();
        if found.len() < points && (is_last || rows >= wanted && found.len() + 1 < points) {
            found.push(*value);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cells(values: &[Option<f64>], ordered: bool) -> Vec<Cell> {
        let cell = |value: &Option<f64>| Cell { text: value.map(|x| x.to_string()), place: value.filter(|_| ordered) };
        values.iter().map(cell).collect()
    }

    fn shown(cells: &[Cell], points: usize) -> Vec<(Option<&str>, usize)> {
        grid(cells, points).into_iter().map(|(row, count)| (cells[row].text.as_deref(), count)).collect()
    }

    #[test]
    fn few_values_are_all_there_in_their_order_and_null_last() {
        let cells = cells(&[Some(10.0), None, Some(9.0), Some(10.0), Some(2.0)], true);
        assert_eq!(shown(&cells, 20), [(Some("2"), 1), (Some("9"), 1), (Some("10"), 2), (None, 1)]);
    }

    #[test]
    fn of_many_values_the_ends_are_there_and_the_rest_is_spread() {
        let many: Vec<Option<f64>> = (0..1_000).map(|i| Some(f64::from(i * 7 % 1_000))).collect();
        let cells = cells(&many, true);
        for points in [2, 3, 7, 20] {
            let found = shown(&cells, points);
            assert_eq!(found.len(), points);
            assert_eq!((found[0].0, found[points - 1].0), (Some("0"), Some("999")));
        }
        assert_eq!(shown(&cells, 3)[1].0, Some("499"));
    }

    #[test]
    fn what_has_no_order_comes_by_how_often_it_does() {
        let cells = cells(&[Some(3.0), Some(1.0), Some(3.0), Some(2.0), None, Some(1.0), Some(3.0)], false);
        assert_eq!(shown(&cells, 3), [(Some("3"), 3), (Some("1"), 2), (None, 1)]);
    }
}
