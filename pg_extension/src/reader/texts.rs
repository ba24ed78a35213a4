//! Texts as 64-bit hashes, and how the first distinct ones are spelt.

use std::collections::HashSet;
use std::hash::{BuildHasherDefault, Hasher};

use xxhash_rust::xxh3::xxh3_64;

use super::memory::{bytes_of, Exhausted, Memory};
use crate::limits::{LONGEST_SPELLING, MOST_SPELLINGS};

/// Slots for texts met lately; a power of two.
const RECENT: usize = 1_024;

/// What stands for a text: XXH3 of its bytes, seed 0.
#[inline]
pub fn hash(text: &[u8]) -> i64 {
    xxh3_64(text) as i64
}

/// Spellings by hash, in the order of their first occurrence.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Texts {
    pub hashes: Vec<i64>,
    /// Where each text ends in the bytes.
    pub ends: Vec<u32>,
    /// UTF-8.
    pub bytes: Vec<u8>,
}

impl Texts {
    /// Bytes that are held, used or not.
    pub fn bytes(&self) -> usize {
        bytes_of(&self.hashes) + bytes_of(&self.ends) + bytes_of(&self.bytes)
    }

    /// Every text, as far as it was kept, with its hash.
    pub fn each(&self) -> impl Iterator<Item = (i64, &[u8])> {
        let begins = std::iter::once(0).chain(self.ends.iter().copied());
        let spelt = begins.zip(&self.ends).map(|(begin, &end)| &self.bytes[begin as usize..end as usize]);
        self.hashes.iter().copied().zip(spelt)
    }

    /// The same in memory of its own.
    pub fn try_clone(&self, memory: &mut Memory) -> Result<Self, Exhausted> {
        let mut copy = Self::default();
        memory.reserve(&mut copy.hashes, self.hashes.len())?;
        memory.reserve(&mut copy.ends, self.ends.len())?;
        memory.reserve(&mut copy.bytes, self.bytes.len())?;
        copy.hashes.extend_from_slice(&self.hashes);
        copy.ends.extend_from_slice(&self.ends);
        copy.bytes.extend_from_slice(&self.bytes);
        Ok(copy)
    }
}

/// Every text with its hash.
pub fn spellings(hashes: &[i64], ends: &[u32], bytes: &[u8]) -> Vec<(i64, String)> {
    let begins = std::iter::once(0).chain(ends.iter().copied());
    let spelt = begins.zip(ends).map(|(begin, &end)| &bytes[begin as usize..end as usize]);
    hashes.iter().copied().zip(spelt.map(|text| String::from_utf8_lossy(text).into_owned())).collect()
}

/// Hashes are spread already.
#[derive(Default)]
pub struct AsItIs(u64);

impl Hasher for AsItIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, _: &[u8]) {
        unreachable!("only 64-bit hashes are looked up");
    }

    fn write_i64(&mut self, hash: i64) {
        self.0 = hash as u64;
    }
}

/// Collects spellings while a column is read.
pub struct Dictionary {
    known: HashSet<i64, BuildHasherDefault<AsItIs>>,
    /// Hashes met lately, each in the slot of its low bits: texts that come again and again are not looked up.
    recent: Box<[i64]>,
    texts: Texts,
}

impl Default for Dictionary {
    fn default() -> Self {
        // No hash of slot i has the low bits of i + 1, so that the slots are empty.
        let recent = (0..RECENT as i64).map(|slot| slot ^ 1).collect();
        Self { known: HashSet::default(), recent, texts: Texts::default() }
    }
}

impl Dictionary {
    /// Keeps how a text is spelt, if it is new and there is room.
    #[inline]
    pub fn add(&mut self, hash: i64, text: &[u8], memory: &mut Memory) -> Result<(), Exhausted> {
        let slot = hash as usize & (RECENT - 1);
        if self.recent[slot] != hash {
            self.look_up(hash, text, memory)?;
            self.recent[slot] = hash;
        }
        Ok(())
    }

    /// The hash of a text whose spelling is kept.
    #[inline]
    pub fn add_text(&mut self, text: &[u8], memory: &mut Memory) -> Result<i64, Exhausted> {
        let hash = hash(text);
        self.add(hash, text, memory)?;
        Ok(hash)
    }

    #[cold]
    fn look_up(&mut self, hash: i64, text: &[u8], memory: &mut Memory) -> Result<(), Exhausted> {
        if self.texts.hashes.len() >= MOST_SPELLINGS || self.known.contains(&hash) {
            return Ok(());
        }
        self.known.try_reserve(1).map_err(|_| Exhausted::System)?;
        let spelt = spelling(text);
        memory.extend(&mut self.texts.bytes, spelt.as_bytes())?;
        memory.push(&mut self.texts.ends, self.texts.bytes.len() as u32)?;
        memory.push(&mut self.texts.hashes, hash)?;
        self.known.insert(hash);
        Ok(())
    }

    /// Whether no further spelling is kept.
    #[inline]
    pub fn is_full(&self) -> bool {
        self.texts.hashes.len() >= MOST_SPELLINGS
    }

    pub fn texts(&self) -> &Texts {
        &self.texts
    }

    /// The spellings; the dictionary is empty afterwards.
    pub fn take(&mut self) -> Texts {
        std::mem::take(self).texts
    }
}

/// The beginning of a text, whole characters only; a database need not be UTF-8.
fn spelling(text: &[u8]) -> std::borrow::Cow<'_, str> {
    let mut end = text.len().min(LONGEST_SPELLING);
    // Not within a character; no character is longer than four bytes.
    while end < text.len() && end > LONGEST_SPELLING - 4 && text[end] & 0xc0 == 0x80 {
        end -= 1;
    }
    let spelt = String::from_utf8_lossy(&text[..end]);
    // What stands for a byte that is no character is longer than that.
    if spelt.len() <= LONGEST_SPELLING {
        return spelt;
    }
    let mut end = LONGEST_SPELLING;
    while !spelt.is_char_boundary(end) {
        end -= 1;
    }
    spelt[..end].to_owned().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spelt(texts: &Texts, place: usize) -> &str {
        let begin = if place == 0 { 0 } else { texts.ends[place - 1] as usize };
        std::str::from_utf8(&texts.bytes[begin..texts.ends[place] as usize]).unwrap()
    }

    #[test]
    fn the_hash_is_the_published_one() {
        // XXH3's own test values for the empty input and for one that is known from its documentation.
        assert_eq!(hash(b"") as u64, 0x2d06_8005_38d3_94c2);
        assert_eq!(hash(b"a") as u64, 0xe6c6_32b6_1e96_4e1f);
    }

    #[test]
    fn texts_are_kept_once_in_the_order_they_came() {
        let mut dictionary = Dictionary::default();
        for text in ["b", "a", "b", "", "a", "b"] {
            dictionary.add_text(text.as_bytes(), &mut Memory::unlimited()).unwrap();
        }
        let texts = dictionary.take();
        assert_eq!(texts.hashes, vec![hash(b"b"), hash(b"a"), hash(b"")]);
        assert_eq!((spelt(&texts, 0), spelt(&texts, 1), spelt(&texts, 2)), ("b", "a", ""));
        assert_eq!(dictionary.take(), Texts::default());
    }

    #[test]
    fn no_more_than_so_many_texts_are_kept() {
        let mut dictionary = Dictionary::default();
        for number in 0..MOST_SPELLINGS + 1_000 {
            dictionary.add_text(number.to_string().as_bytes(), &mut Memory::unlimited()).unwrap();
        }
        let texts = dictionary.take();
        assert_eq!(texts.hashes.len(), MOST_SPELLINGS);
        assert_eq!(spelt(&texts, MOST_SPELLINGS - 1), (MOST_SPELLINGS - 1).to_string());
    }

    #[test]
    fn long_texts_are_cut_between_characters() {
        for (character, kept) in [("x", 200), ("é", 200), ("€", 198), ("🦀", 200)] {
            assert_eq!(spelling(character.repeat(300).as_bytes()).len(), kept, "{character}");
            // One byte further on, so that the cut falls within a character of any length.
            let shifted = format!("y{}", character.repeat(300));
            let found = spelling(shifted.as_bytes());
            assert!(shifted.starts_with(&*found) && found.len() > 196 && found.len() <= 200, "{character}");
        }
        assert_eq!(spelling("é".repeat(100).as_bytes()).len(), 200);
    }

    #[test]
    fn bytes_that_are_no_characters_are_shown_as_such_and_stay_within_bounds() {
        assert_eq!(spelling(b"caf\xe9"), "caf\u{fffd}");
        let odd = spelling(&[0xff; 500]).into_owned();
        assert!(odd.len() <= LONGEST_SPELLING && odd.chars().all(|c| c == '\u{fffd}') && odd.len() > 190);
        assert!(spelling(&[0x80; 500]).len() <= LONGEST_SPELLING);
    }
}
