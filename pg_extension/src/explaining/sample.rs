//! Rows that are drawn of a relation, encoded: each is as likely as any other (Vitter's algorithm R, 1985).

use trails_model::{Encoded, Picked};

use crate::error::{Result, TrailsError};
use crate::prediction::fault::error_of;
use crate::random::Random;

/// Where the next row goes among those that were drawn.
pub struct Reservoir {
    random: Random,
    most: usize,
    seen: usize,
    pub rows: Picked,
}

/// Rows that may be drawn: what is kept of them is small beside what reading may take.
const MOST_ROWS: i32 = 1_000_000;

/// Refuses a number of rows that is out of range.
pub fn check_rows(sample_rows: i32) -> Result<usize> {
    if !(2..=MOST_ROWS).contains(&sample_rows) {
        let message = format!("sample_rows must be from 2 to {MOST_ROWS}, not {sample_rows}");
        return Err(TrailsError::argument(message));
    }
    Ok(sample_rows as usize)
}

impl Reservoir {
    pub fn new(most: usize, seed: i64) -> Self {
        Self { random: Random::new(seed), most, seen: 0, rows: Picked::default() }
    }

    /// Takes a row, perhaps in another's place; returns the place.
    pub fn offer(&mut self, encoded: &Encoded, row: usize) -> Result<Option<usize>> {
        let place = if self.seen < self.most { self.seen } else { self.random.below(self.seen + 1) };
        self.seen += 1;
        if place >= self.most {
            return Ok(None);
        }
        self.rows.put(place, encoded, row).map_err(error_of)?;
        Ok(Some(place))
    }

    pub fn random(self) -> (Picked, Random) {
        (self.rows, self.random)
    }
}
