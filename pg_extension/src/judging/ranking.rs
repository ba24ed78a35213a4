//! Items in the order of their keys, the largest first: in one place of memory, sorted in runs while they come and merged
//! when they are looked at. So nothing takes long at once, and no second copy is made.

use std::collections::BinaryHeap;

use crate::reader::memory::{Exhausted, Memory};

/// Items of a run: some ten milliseconds of sorting.
const RUN: usize = 1 << 17;
/// Items that are handed on between two looks for interrupts.
const PART: usize = 1 << 16;

/// What has a place in a ranking.
pub trait Ranked: Copy {
    fn key(self) -> u64;
}

impl Ranked for u64 {
    fn key(self) -> u64 {
        self
    }
}

impl Ranked for (u64, f64) {
    fn key(self) -> u64 {
        self.0
    }
}

#[derive(Debug)]
pub struct Ranking<T> {
    items: Vec<T>,
    /// Of these all are sorted, in runs.
    sorted: usize,
}

impl<T> Default for Ranking<T> {
    fn default() -> Self {
        Self { items: Vec::new(), sorted: 0 }
    }
}

impl<T: Ranked> Ranking<T> {
    pub fn len(&self) -> usize {
        self.items.len()
    }

    #[inline]
    pub fn push(&mut self, item: T, memory: &mut Memory) -> Result<(), Exhausted> {
        memory.push(&mut self.items, item)?;
        if self.items.len() - self.sorted == RUN {
            self.sort();
        }
        Ok(())
    }

    fn sort(&mut self) {
        self.items[self.sorted..].sort_unstable_by_key(|item| std::cmp::Reverse(item.key()));
        self.sorted = self.items.len();
    }

    /// Hands on every item, the one with the largest key first, until `each` has seen enough. `pause` is called every few
    /// milliseconds.
    pub fn descending(&mut self, pause: impl Fn(), mut each: impl FnMut(T) -> bool) {
        self.sort();
        let run = |number: usize| &self.items[number * RUN..((number + 1) * RUN).min(self.items.len())];
        // Of each run the key that comes next, and which run it is.
        let mut next: BinaryHeap<(u64, usize)> =
            (0..self.items.len().div_ceil(RUN)).map(|number| (run(number)[0].key(), number)).collect();
        let mut seen = vec![0; next.len()];
        let mut handed_on = 0;
        while let Some(mut first) = next.peek_mut() {
            if handed_on % PART == 0 {
                pause();
            }
            handed_on += 1;
            let (_, number) = *first;
            let place = seen[number];
            seen[number] += 1;
            match run(number).get(place + 1) {
                Some(item) => {
                    first.0 = item.key();
                    drop(first);
                }
                None => {
                    std::collections::binary_heap::PeekMut::pop(first);
                }
            }
            if !each(run(number)[place]) {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys_of(items: impl Iterator<Item = u64>) -> Vec<u64> {
        let (mut ranking, mut memory) = (Ranking::default(), Memory::unlimited());
        items.for_each(|item| ranking.push(item, &mut memory).unwrap());
        let mut found = Vec::new();
        ranking.descending(
            || (),
            |item| {
                found.push(item);
                true
            },
        );
        found
    }

    #[test]
    fn any_number_of_runs_comes_out_in_order() {
        for length in [0, 1, 2, RUN - 1, RUN, RUN + 1, 3 * RUN, 3 * RUN + 7] {
            // A prime that no power of two is a multiple of, so that every number comes as often as it should.
            let items = || (0..length as u64).map(|i| i.wrapping_mul(2_654_435_761) % 50_021);
            let mut wanted: Vec<u64> = items().collect();
            wanted.sort_unstable();
            wanted.reverse();
            assert_eq!(keys_of(items()), wanted, "{length} items");
        }
    }

    #[test]
    fn what_goes_with_a_key_stays_with_it() {
        let (mut ranking, mut memory) = (Ranking::default(), Memory::unlimited());
        for key in [3u64, 9, 1, 7] {
            ranking.push((key, key as f64 * 0.5), &mut memory).unwrap();
        }
        let mut found = Vec::new();
        ranking.descending(
            || (),
            |item: (u64, f64)| {
                found.push(item);
                found.len() < 3
            },
        );
        assert_eq!(found, [(9, 4.5), (7, 3.5), (3, 1.5)]);
    }

    #[test]
    fn memory_that_may_not_be_had_is_an_error() {
        let (mut ranking, mut memory) = (Ranking::default(), Memory::new(0, 1 << 10));
        let kept = (0..1_000u64).take_while(|item| ranking.push(*item, &mut memory).is_ok()).count();
        assert!(kept <= 128 && memory.held() <= 1 << 10);
    }
}
