//! Rows that are drawn of a relation, encoded: each is as likely as any other (Vitter's algorithm R, 1985).

use trails_model::{Encoded, Picked};

use super::random::Random;
use crate::error::Result;
use crate::prediction::fault::error_of;

/// Where the next row goes among those that were drawn.
pub struct Reservoir {
    random: Random,
    most: usize,
    seen: usize,
    pub rows: Picked,
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
