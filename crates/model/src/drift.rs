//! How far rows are from those that a model was trained on, column by column.
//!
//! Both are told apart as the encoder tells them apart: by category, or by the knots or edges that a number lies between.

use crate::encoder::Encoded;
use crate::error::Result;
use crate::field::Field;
use crate::header::{Encoding, Part};
use crate::memory::filled;
use crate::model::Model;
use crate::slots::{FIRST_SLOT, NULL, UNKNOWN};

/// Rows that a cell of a comparison holds, at least, on both sides if both were spread alike: with fewer, chance alone
/// would look like drift.
const FEWEST: f64 = 40.0;

/// Rows that were counted, to be compared with those of training.
pub struct Drift<'a> {
    model: &'a Model,
    then: &'a [u32],
    now: Vec<u64>,
    /// Sums of the factors of each field, and how many.
    factors: Vec<(f64, u64)>,
    pub rows: u64,
}

/// What became of one column.
#[derive(Debug, Clone, PartialEq)]
pub struct Drifted {
    pub column: String,
    pub metric: &'static str,
    pub value: f64,
    /// Share of the rows that are NULL, of training and now.
    pub nulls_then: f64,
    pub nulls_now: f64,
    /// Share of the rows that are not NULL and no category that the model knows; None where it knows none.
    pub unknown: Option<f64>,
}

impl<'a> Drift<'a> {
    /// None of a model whose training rows nobody counted.
    pub fn of(model: &'a Model) -> Result<Option<Self>> {
        let Some(then) = model.seen() else { return Ok(None) };
        let (now, factors) = (filled(0, then.len())?, filled((0.0, 0), model.encoder().fields.len())?);
        Ok(Some(Self { model, then, now, factors, rows: 0 }))
    }

    /// Counts rows that the model encoded.
    pub fn add(&mut self, encoded: &Encoded) {
        for (place, field) in self.model.encoder().fields.iter().enumerate() {
            encoded.ids(place).iter().for_each(|id| self.now[*id as usize] += 1);
            if let Some(factors) = self.model.encoder().factors(place, encoded) {
                let first = field.header.first as u32 + FIRST_SLOT;
                let there = encoded.ids(place).iter().zip(factors).filter(|(id, _)| **id == first);
                there.for_each(|(_, factor)| {
                    self.factors[place].0 += f64::from(*factor);
                    self.factors[place].1 += 1;
                });
            }
        }
        self.rows += encoded.rows() as u64;
    }

    /// Every column by its value, in the model's order.
    pub fn columns(&self) -> Vec<Drifted> {
        let fields = self.model.encoder().fields.iter().enumerate();
        fields
            .filter(|(_, field)| field.header.part == Part::Value)
            .map(|(place, field)| self.of_field(place, field))
            .collect()
    }

    fn of_field(&self, place: usize, field: &Field) -> Drifted {
        let slots = field.header.first as usize..(field.header.first + field.header.slots) as usize;
        let (then, now) = (&self.then[slots.clone()], &self.now[slots]);
        let by_category = field.header.encoding == Encoding::Categories;
        let buckets = field.header.buckets as usize;
        let (metric, value) = match field.header.encoding {
            Encoding::Scaled => {
                let nulls = (f64::from(then[NULL as usize]), now[NULL as usize] as f64);
                let known = (f64::from(then[FIRST_SLOT as usize]), now[FIRST_SLOT as usize] as f64);
                ("mean_shift", mean_shift(self.factors[place], known).max(null_shift(nulls, known)))
            }
            Encoding::Categories => ("jensen_shannon", jensen_shannon(&cells_of(true, buckets, then, now))),
            Encoding::Bins | Encoding::Interpolated => ("psi", stability(&cells_of(false, buckets, then, now))),
        };
        let total: u64 = now.iter().sum();
        let there = total - now[NULL as usize];
        let unknown = now[UNKNOWN as usize] + now[now.len() - buckets..].iter().sum::<u64>();
        Drifted {
            column: field.header.column.clone(),
            metric,
            value,
            nulls_then: share(f64::from(then[NULL as usize]), then.iter().copied().map(f64::from).sum()),
            nulls_now: share(now[NULL as usize] as f64, total as f64),
            unknown: (by_category && there > 0).then(|| unknown as f64 / there as f64),
        }
    }
}

fn share(part: f64, whole: f64) -> f64 {
    if whole > 0.0 {
        part / whole
    } else {
        0.0
    }
}

/// Rows then and now by cell: NULL is one, unless as few as there are may be chance; what is no known category another;
/// categories of few rows are put together as they come, which has nothing to do with how many rows they had by chance,
/// and numbers with those beside them.
fn cells_of(by_category: bool, buckets: usize, then: &[u32], now: &[u64]) -> Vec<(f64, f64)> {
    let known = FIRST_SLOT as usize..then.len() - buckets;
    let of = |slot: usize| (f64::from(then[slot]), now[slot] as f64);
    let rows = sum((0..then.len()).map(of));
    let least = FEWEST * (rows.0 / rows.1.max(1.0)).max(1.0);
    let mut unknown = sum(std::iter::once(UNKNOWN as usize).chain(known.end..then.len()).map(of));
    let mut cells = Vec::new();
    if by_category {
        cells.extend(known.clone().map(of).filter(|(then, _)| *then >= least));
        let mut rare = pooled(known.clone().map(of).filter(|(then, _)| *then < least), least);
        // Rows of training are all known, and others of the same kind are not: as many of these were seen only once
        // (Good and Turing). So many count as rare, and what is beyond is news.
        let once = then[known].iter().filter(|rows| **rows == 1).count() as f64;
        let expected = (once * rows.1 / rows.0.max(1.0)).min(unknown.1);
        let all = sum(rare.iter().copied()).0;
        if all > 0.0 {
            unknown.1 -= expected;
            rare.iter_mut().for_each(|(then, now)| *now += expected * *then / all);
        }
        cells.extend(rare);
    } else {
        cells.extend(pooled(known.map(of), least));
    }
    let nulls = of(NULL as usize);
    match cells.last_mut() {
        Some((then, now)) if nulls.0 < least && !beyond_chance(nulls, rows) => {
            (*then, *now) = (*then + nulls.0, *now + nulls.1);
        }
        _ => cells.push(nulls),
    }
    cells.push(unknown);
    cells.retain(|(then, now)| then + now > 0.0);
    cells
}

/// Whether a part of so many rows then and now is more or less of all rows than chance explains: by three standard
/// deviations and a row.
fn beyond_chance(part: (f64, f64), rows: (f64, f64)) -> bool {
    // As if a row more had been seen on either side: what never was may have been rare.
    let share = (part.0 + 1.0) / (rows.0 + 2.0);
    let deviation = (share * (1.0 - share) * rows.1 * (1.0 + rows.1 / rows.0.max(1.0))).sqrt();
    (part.1 - share * rows.1).abs() > 3.0 * deviation + 1.0
}

/// How far standardised numbers, their sum and count, are from 0, beyond two standard errors of so many rows then and now.
fn mean_shift((sum, count): (f64, u64), rows: (f64, f64)) -> f64 {
    if count == 0 {
        return 0.0;
    }
    ((sum / count as f64).abs() - chance(rows)).max(0.0)
}

/// The same of how many rows are NULL, in standard deviations of being so.
fn null_shift(nulls: (f64, f64), known: (f64, f64)) -> f64 {
    let rows = (nulls.0 + known.0, nulls.1 + known.1);
    let (then, now) = (share(nulls.0, rows.0), share(nulls.1, rows.1));
    let both = (then + now) / 2.0;
    let deviation = (both * (1.0 - both)).sqrt();
    if deviation > 0.0 {
        ((now - then).abs() / deviation - chance(rows)).max(0.0)
    } else {
        0.0
    }
}

/// Two standard errors of the difference of two means, in standard deviations.
fn chance(rows: (f64, f64)) -> f64 {
    2.0 * (1.0 / rows.0.max(1.0) + 1.0 / rows.1.max(1.0)).sqrt()
}

fn sum(cells: impl Iterator<Item = (f64, f64)>) -> (f64, f64) {
    cells.fold((0.0, 0.0), |(a, b), (then, now)| (a + then, b + now))
}

/// Put together in their order until each has so many rows of training.
fn pooled(slots: impl Iterator<Item = (f64, f64)>, least: f64) -> Vec<(f64, f64)> {
    let (mut cells, mut open) = (Vec::new(), (0.0, 0.0));
    for (then, now) in slots {
        open = (open.0 + then, open.1 + now);
        if open.0 >= least {
            cells.push(std::mem::take(&mut open));
        }
    }
    // What is left is too little for a cell of its own.
    match cells.last_mut() {
        Some((then, now)) => (*then, *now) = (*then + open.0, *now + open.1),
        None => cells.push(open),
    }
    cells
}

/// The Jensen-Shannon divergence in bits, from 0 to 1.
fn jensen_shannon(cells: &[(f64, f64)]) -> f64 {
    let (then, now) = totals(cells);
    let half = |x: f64, mean: f64| if x > 0.0 { 0.5 * x * (x / mean).log2() } else { 0.0 };
    let of_cell = |(a, b): &(f64, f64)| {
        let (p, q) = (a / then, b / now);
        half(p, 0.5 * (p + q)) + half(q, 0.5 * (p + q))
    };
    cells.iter().map(of_cell).sum::<f64>().clamp(0.0, 1.0)
}

/// The population stability index; half a row is added to each cell, so that an empty one is not infinitely far.
fn stability(cells: &[(f64, f64)]) -> f64 {
    let (then, now) = totals(cells);
    let half = 0.5 * cells.len() as f64;
    let of_cell = |(a, b): &(f64, f64)| {
        let (p, q) = ((a + 0.5) / (then + half), (b + 0.5) / (now + half));
        (q - p) * (q / p).ln()
    };
    cells.iter().map(of_cell).sum()
}

fn totals(cells: &[(f64, f64)]) -> (f64, f64) {
    let (then, now) = sum(cells.iter().copied());
    (then.max(1.0), now.max(1.0))
}

#[cfg(test)]
#[path = "drift_tests.rs"]
mod tests;
