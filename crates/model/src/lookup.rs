//! From a category's key to its embedding row.

/// A table is made of keys whose range is at most so many times longer than the keys, or as short as `ALWAYS_DIRECT`.
const SLACK: u64 = 4;
const ALWAYS_DIRECT: u64 = 1 << 14;
/// Multiplying by it spreads a key over the upper bits: 2^64 over the golden ratio.
const MIX: u64 = 0x9E37_79B9_7F4A_7C15;
/// No embedding row: there are at most 2^31 - 1.
const ABSENT: u32 = u32::MAX;

/// What becomes of a key that is no category.
#[derive(Debug, Clone, Copy)]
struct Unknown {
    row: u32,
    /// First of the rows that unknown keys share by hash.
    first_bucket: u32,
    buckets: u32,
}

impl Unknown {
    #[cold]
    fn row_of(self, key: i64) -> u32 {
        match self.buckets {
            0 => self.row,
            buckets => {
                let mixed = (key as u64).wrapping_mul(MIX) >> 32;
                self.first_bucket + (mixed % u64::from(buckets)) as u32
            }
        }
    }
}

#[derive(Debug)]
enum Table {
    /// Rows by key minus the lowest key.
    Direct { low: i64, rows: Vec<u32> },
    /// Open addressing; a power of two of places, at most half of them taken.
    Hashed { shift: u32, places: Vec<(i64, u32)> },
}

#[derive(Debug)]
pub struct Lookup {
    table: Table,
    unknown: Unknown,
}

impl Lookup {
    /// Categories get the rows from `base + 2` on in their order, buckets those behind; of a key that occurs twice the
    /// first counts. The caller has checked that all these rows fit in 31 bits.
    pub fn new(categories: &[i64], base: u32, buckets: u32) -> Self {
        let first = base + crate::field::FIRST_SLOT;
        let unknown = Unknown { row: base, first_bucket: first + categories.len() as u32, buckets };
        let rows = categories.iter().enumerate().map(|(place, key)| (*key, first + place as u32));
        let (low, high) = (categories.iter().min().copied(), categories.iter().max().copied());
        let (low, high) = (low.unwrap_or(0), high.unwrap_or(-1));
        // As unsigned numbers the difference cannot overflow; none at all wraps to a span of zero.
        let span = (high as u64).wrapping_sub(low as u64).wrapping_add(1);
        let direct = span.max(1) - 1 < ALWAYS_DIRECT.max(SLACK * categories.len() as u64);
        let whole_range = span == 0 && !categories.is_empty();
        let table = if direct && !whole_range {
            let mut table = vec![ABSENT; span as usize];
            for (key, row) in rows.rev() {
                table[key.wrapping_sub(low) as usize] = row;
            }
            Table::Direct { low, rows: table }
        } else {
            let size = (2 * categories.len()).next_power_of_two().max(2);
            let shift = 64 - size.trailing_zeros();
            let mut places = vec![(0, ABSENT); size];
            for (key, row) in rows {
                let place = probe(&places, shift, key);
                if places[place].1 == ABSENT {
                    places[place] = (key, row);
                }
            }
            Table::Hashed { shift, places }
        };
        Self { table, unknown }
    }

    /// Embedding row of every key.
    #[inline]
    pub fn rows_of(&self, keys: impl Iterator<Item = i64>, out: &mut [u32]) {
        match &self.table {
            Table::Direct { low, rows } => {
                for (key, out) in keys.zip(out) {
                    let row = rows.get(key.wrapping_sub(*low) as u64 as usize).copied().unwrap_or(ABSENT);
                    *out = if row == ABSENT { self.unknown.row_of(key) } else { row };
                }
            }
            Table::Hashed { shift, places } => {
                for (key, out) in keys.zip(out) {
                    let row = places[probe(places, *shift, key)].1;
                    *out = if row == ABSENT { self.unknown.row_of(key) } else { row };
                }
            }
        }
    }

    pub fn bytes(&self) -> usize {
        match &self.table {
            Table::Direct { rows, .. } => std::mem::size_of_val(&rows[..]),
            Table::Hashed { places, .. } => std::mem::size_of_val(&places[..]),
        }
    }
}

/// Where the key is, or else where it would be. Ends because half of the places are empty.
#[inline]
fn probe(places: &[(i64, u32)], shift: u32, key: i64) -> usize {
    let mut place = ((key as u64).wrapping_mul(MIX) >> shift) as usize;
    loop {
        let (found, row) = places[place];
        if row == ABSENT || found == key {
            return place;
        }
        place = (place + 1) & (places.len() - 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Random;

    /// The rule, written down as plainly as can be.
    fn plainly(categories: &[i64], base: u32, buckets: u32, key: i64) -> u32 {
        match categories.iter().position(|&c| c == key) {
            Some(place) => base + 2 + place as u32,
            None if buckets == 0 => base,
            None => {
                let mixed = (u128::from(key as u64) * 0x9E37_79B9_7F4A_7C15 % (1 << 64)) >> 32;
                base + 2 + categories.len() as u32 + (mixed % u128::from(buckets)) as u32
            }
        }
    }

    fn check(categories: &[i64], keys: &[i64]) {
        for buckets in [0, 1, 7] {
            let lookup = Lookup::new(categories, 11, buckets);
            let mut rows = vec![0; keys.len()];
            lookup.rows_of(keys.iter().copied(), &mut rows);
            for (key, row) in keys.iter().zip(rows) {
                assert_eq!(row, plainly(categories, 11, buckets, *key), "{key} among {}", categories.len());
            }
        }
    }

    #[test]
    fn dense_and_sparse_categories_are_found_and_others_are_not() {
        let edges = [i64::MIN, i64::MIN + 1, -1, 0, 1, 2, 3, i64::MAX - 1, i64::MAX];
        check(&[], &edges);
        check(&[0], &edges);
        check(&[-1, 0, 2], &edges);
        check(&[i64::MIN, i64::MAX], &edges);
        check(&[i64::MIN, 0, i64::MAX], &edges);
        check(&[i64::MIN, i64::MIN + 1], &edges);
        check(&[i64::MAX - 1, i64::MAX], &edges);
        check(&[5, 5, 6], &[4, 5, 6, 7]);
        let mut random = Random(1);
        for spread in [300, 1 << 20, i64::MAX] {
            let mut categories: Vec<i64> = (0..200).map(|_| random.next() as i64 % spread).collect();
            categories.sort_unstable();
            categories.dedup();
            let mut keys = categories.clone();
            keys.extend((0..500).map(|_| random.next() as i64 % spread));
            check(&categories, &keys);
        }
    }

    #[test]
    fn few_categories_far_apart_take_little_memory() {
        assert!(Lookup::new(&[i64::MIN, 0, i64::MAX], 0, 0).bytes() < 1 << 10);
        assert!(Lookup::new(&[0, 1 << 40], 0, 0).bytes() < 1 << 10);
    }
}
