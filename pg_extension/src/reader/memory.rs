//! Memory that reading may take, counted where it grows.
//!
//! A failed allocation would end the process, and with it every session of the server: what grows with the rows asks
//! here first, and a refusal is an error like any other.

use pgrx::prelude::*;

use crate::error::TrailsError;
use crate::reserve;

/// So many items are moved at little cost.
const FEW: usize = 65_536;

/// No more memory is to be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exhausted {
    /// As much as is allowed.
    Limit,
    /// The system has no more.
    System,
}

/// Bytes that a reading holds, and how many it may.
#[derive(Debug, Clone)]
pub struct Memory {
    held: usize,
    limit: usize,
}

impl Memory {
    /// `held` is what the statement holds already.
    pub fn new(held: usize, limit: usize) -> Self {
        Self { held, limit }
    }

    /// As much as the system has.
    #[cfg(test)]
    pub const fn unlimited() -> Self {
        Self { held: 0, limit: usize::MAX }
    }

    pub fn held(&self) -> usize {
        self.held
    }

    /// For what is let go of.
    pub fn release(&mut self, bytes: usize) {
        self.held = self.held.saturating_sub(bytes);
    }

    /// Room for `length` items in all, and no more.
    pub fn reserve<T>(&mut self, items: &mut Vec<T>, length: usize) -> Result<(), Exhausted> {
        if length <= items.capacity() {
            return Ok(());
        }
        let before = bytes_of(items);
        let wanted = length.checked_mul(size_of::<T>()).ok_or(Exhausted::System)?;
        if self.held.saturating_add(wanted - before) > self.limit {
            return Err(Exhausted::Limit);
        }
        if reserve::is_spent() {
            return Err(Exhausted::System);
        }
        items.try_reserve_exact(length - items.len()).map_err(|_| Exhausted::System)?;
        self.held += bytes_of(items) - before;
        Ok(())
    }

    /// Room for `more` items, and for others to come, so that what is there is seldom moved; less of that where there is
    /// much, or not enough for more.
    #[cold]
    pub fn grow<T>(&mut self, items: &mut Vec<T>, more: usize) -> Result<(), Exhausted> {
        let length = items.len();
        let needed = length.checked_add(more).ok_or(Exhausted::System)?;
        let ample = if length < FEW { length.saturating_mul(2).max(16) } else { length + length / 2 };
        self.reserve(items, needed.max(ample))
            .or_else(|_| self.reserve(items, needed.max(length + length / 16)))
            .or_else(|_| self.reserve(items, needed))
    }

    /// Appends to what has room, or is given some.
    #[inline]
    pub fn push<T>(&mut self, items: &mut Vec<T>, item: T) -> Result<(), Exhausted> {
        if items.len() == items.capacity() {
            self.grow(items, 1)?;
        }
        items.push(item);
        Ok(())
    }

    /// The same for a run of bytes.
    #[inline]
    pub fn extend(&mut self, bytes: &mut Vec<u8>, from: &[u8]) -> Result<(), Exhausted> {
        if bytes.capacity() - bytes.len() < from.len() {
            self.grow(bytes, from.len())?;
        }
        bytes.extend_from_slice(from);
        Ok(())
    }

    /// The same number again and again.
    pub fn fill<T: Copy>(&mut self, items: &mut Vec<T>, length: usize, value: T) -> Result<(), Exhausted> {
        self.reserve(items, length)?;
        items.resize(length, value);
        Ok(())
    }
}

/// Bytes that the system has given for items.
pub fn bytes_of<T>(items: &Vec<T>) -> usize {
    items.capacity() * size_of::<T>()
}

const MEGABYTE: usize = 1 << 20;

/// What to do where a relation does not fit.
const FEWER: &str =
    "Read fewer columns, with features => ARRAY[...] where there is that argument, or give a view with a sample of the rows, such as \
                     SELECT * FROM t TABLESAMPLE BERNOULLI (10).";

/// There is no memory for what is read after `row` rows.
pub fn no_memory(exhausted: Exhausted, origin: &str, row: u64, held: usize) -> TrailsError {
    let held = held.div_ceil(MEGABYTE);
    let error = TrailsError::new(
        PgSqlErrorCode::ERRCODE_OUT_OF_MEMORY,
        match exhausted {
            Exhausted::Limit => format!("reading {origin} takes more than trails.reading_memory_limit"),
            Exhausted::System => format!("out of memory while {origin} was read"),
        },
    );
    let error = error.detail(format!("{held} MB were held after {row} rows."));
    match exhausted {
        Exhausted::Limit => error.hint(format!("{FEWER} A superuser can raise trails.reading_memory_limit.")),
        Exhausted::System => error.hint(FEWER),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_grows_is_counted_and_the_limit_is_kept() {
        let mut memory = Memory::new(100, 100 + 8 * 64);
        let mut items: Vec<u64> = Vec::new();
        let mut pushed = 0;
        while memory.push(&mut items, 1).is_ok() {
            pushed += 1;
        }
        assert_eq!(pushed, 64);
        assert_eq!(memory.push(&mut items, 1), Err(Exhausted::Limit));
        assert_eq!((items.len(), memory.held()), (64, 100 + bytes_of(&items)));
        memory.release(bytes_of(&items));
        assert_eq!(memory.held(), 100);
    }

    #[test]
    fn what_no_system_has_is_refused_and_nothing_is_lost() {
        let mut memory = Memory::new(0, usize::MAX);
        let mut items = vec![1u64, 2];
        assert_eq!(memory.reserve(&mut items, usize::MAX / 16), Err(Exhausted::System));
        assert_eq!(memory.reserve(&mut items, usize::MAX), Err(Exhausted::System));
        assert_eq!(items, [1, 2]);
    }

    #[test]
    fn bytes_come_in_runs() {
        let mut memory = Memory::new(0, 1_000);
        let mut bytes = Vec::new();
        memory.extend(&mut bytes, &[7; 600]).unwrap();
        memory.extend(&mut bytes, &[8; 300]).unwrap();
        assert_eq!(memory.extend(&mut bytes, &[9; 300]), Err(Exhausted::Limit));
        assert_eq!((bytes.len(), bytes[599], bytes[600]), (900, 7, 8));
        let mut mask = Vec::new();
        assert_eq!(memory.fill(&mut mask, 200, 1u8), Err(Exhausted::Limit));
        memory.release(bytes_of(&bytes));
        memory.fill(&mut mask, 200, 1u8).unwrap();
        assert_eq!(mask, [1; 200]);
    }
}
