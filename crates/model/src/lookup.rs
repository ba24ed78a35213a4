//! From a category's key to its embedding row.

use crate::blob::{Pause, PAUSE};
use crate::error::Result;
use crate::memory::filled;
use crate::slots::FIRST_SLOT;

/// A table is made of keys whose range is at most so many times longer than the keys, or as short as `ALWAYS_DIRECT`.
const SLACK: u64 = 4;
const ALWAYS_DIRECT: u64 = 1 << 14;
/// Multiplying by it spreads a key over the upper bits: 2^64 over the golden ratio.
const MIX: u64 = 0x9E37_79B9_7F4A_7C15;
/// Places in a row that a key may have to be looked for in. Keys that are no more than half as many as the places have
/// runs of a hundred of them at most; longer ones are made on purpose.
const LONGEST_RUN: usize = 256;
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
    /// Keys in order, for those that would be looked for in long runs, and the row of the first.
    Sorted { keys: Vec<i64>, first: u32 },
}

#[derive(Debug)]
pub struct Lookup {
    table: Table,
    unknown: Unknown,
}

impl Lookup {
    /// Categories, which are in order, get the rows from `base + 2` on, buckets those behind. The caller has checked that
    /// all these rows fit in 31 bits. A table that is longer than the categories account for is made only as long as
    /// there is `room` for it, in bytes.
    pub fn new(categories: &[i64], base: u32, buckets: u32, room: &mut usize, pause: Pause<'_>) -> Result<Self> {
        let first = base + FIRST_SLOT;
        let unknown = Unknown { row: base, first_bucket: first + categories.len() as u32, buckets };
        let (low, high) = (categories.first().copied().unwrap_or(0), categories.last().copied().unwrap_or(-1));
        // As unsigned numbers the difference cannot overflow; none at all wraps to a span of zero.
        let span = (high as u64).wrapping_sub(low as u64).wrapping_add(1);
        let dense = span.max(1) - 1 < SLACK * categories.len() as u64;
        let bytes = span.saturating_mul(std::mem::size_of::<u32>() as u64);
        let short = !dense && span <= ALWAYS_DIRECT && bytes <= *room as u64;
        let whole_range = span == 0 && !categories.is_empty();
        let table = if (dense || short) && !whole_range {
            if short {
                *room -= bytes as usize;
            }
            let mut table = filled(ABSENT, span as usize)?;
            for (row, key) in (first..).zip(categories) {
                table[key.wrapping_sub(low) as usize] = row;
            }
            Table::Direct { low, rows: table }
        } else {
            match hashed(categories, first, pause)? {
                Some(table) => table,
                None => {
                    let mut keys = filled(0, categories.len())?;
                    keys.copy_from_slice(categories);
                    Table::Sorted { keys, first }
                }
            }
        };
        Ok(Self { table, unknown })
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
            Table::Sorted { keys: known, first } => {
                for (key, out) in keys.zip(out) {
                    *out = match known.binary_search(&key) {
                        Ok(place) => first + place as u32,
                        Err(_) => self.unknown.row_of(key),
                    };
                }
            }
        }
    }

    pub fn bytes(&self) -> usize {
        match &self.table {
            Table::Direct { rows, .. } => std::mem::size_of_val(&rows[..]),
            Table::Hashed { places, .. } => std::mem::size_of_val(&places[..]),
            Table::Sorted { keys, .. } => std::mem::size_of_val(&keys[..]),
        }
    }
}

/// None if keys lie in a run that is too long, where looking for one could take as long as there are keys.
fn hashed(categories: &[i64], first: u32, pause: Pause<'_>) -> Result<Option<Table>> {
    let size = (2 * categories.len()).next_power_of_two().max(2);
    let shift = 64 - size.trailing_zeros();
    let mut places = filled((0, ABSENT), size)?;
    for (row, key) in (first..).zip(categories) {
        if row % PAUSE as u32 == 0 {
            pause();
        }
        let mut place = home(shift, *key);
        let mut steps = 0;
        while places[place].1 != ABSENT {
            place = (place + 1) & (size - 1);
            steps += 1;
            if steps > LONGEST_RUN {
                return Ok(None);
            }
        }
        places[place] = (*key, row);
    }
    // From an empty place on, so that the run across the end is whole.
    let begin = places.iter().position(|(_, row)| *row == ABSENT).unwrap_or(0);
    let mut run = 0;
    for offset in 0..size {
        run = if places[(begin + offset) & (size - 1)].1 == ABSENT { 0 } else { run + 1 };
        if run > LONGEST_RUN {
            return Ok(None);
        }
    }
    Ok(Some(Table::Hashed { shift, places }))
}

/// Where a key is, if no other is there.
#[inline]
fn home(shift: u32, key: i64) -> usize {
    ((key as u64).wrapping_mul(MIX) >> shift) as usize
}

/// Where the key is, or else where it would be. Ends because half of the places are empty.
#[inline]
fn probe(places: &[(i64, u32)], shift: u32, key: i64) -> usize {
    let mut place = home(shift, key);
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
        for (buckets, mut room) in [(0, 0), (0, 1 << 20), (1, 1 << 20), (7, 0)] {
            let lookup = Lookup::new(categories, 11, buckets, &mut room, &|| ()).unwrap();
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
        let bytes =
            |categories: &[i64], room: usize| Lookup::new(categories, 0, 0, &mut room.clone(), &|| ()).unwrap().bytes();
        assert!(bytes(&[i64::MIN, 0, i64::MAX], 1 << 20) < 1 << 10);
        assert!(bytes(&[0, 1 << 40], 1 << 20) < 1 << 10);
        // Two keys with a table of many places, until there is no room for such tables.
        let mut room = 100 << 10;
        let sizes: Vec<usize> =
            (0..3).map(|_| Lookup::new(&[0, 16_383], 0, 0, &mut room, &|| ()).unwrap().bytes()).collect();
        assert!(sizes[0] == 65_536 && sizes[1] < 1 << 10 && sizes[2] < 1 << 10, "{sizes:?}");
    }

    /// Keys chosen so that all of them, or runs of them, have their home at the same places.
    #[test]
    fn keys_that_collide_on_purpose_are_found_in_no_more_time() {
        // MIX times its inverse is 1, so that a key can be made for any place.
        let mut inverse = MIX;
        for _ in 0..6 {
            inverse = inverse.wrapping_mul(2u64.wrapping_sub(MIX.wrapping_mul(inverse)));
        }
        assert_eq!(MIX.wrapping_mul(inverse), 1);
        let many = 1u64 << 17;
        // All at the first place, or each at the place behind the one before.
        for spread in [0, 64 - 18] {
            let mut categories: Vec<i64> = (0..many).map(|n| (n << spread).wrapping_mul(inverse) as i64).collect();
            categories.sort_unstable();
            let began = std::time::Instant::now();
            let lookup = Lookup::new(&categories, 0, 0, &mut 0, &|| ()).unwrap();
            assert!(matches!(lookup.table, Table::Sorted { .. }));
            let mut rows = vec![0; categories.len()];
            lookup.rows_of(categories.iter().copied(), &mut rows);
            assert!(rows.iter().zip(2..).all(|(row, wanted)| *row == wanted));
            // Looked for in runs of all keys it would be hours.
            assert!(began.elapsed().as_secs() < 20);
        }
    }
}
