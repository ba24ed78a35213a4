//! Which reading the texts of a column have, if any.

use super::blanks::trimmed;
use super::forms::{Reading, LONGEST};
use super::moments::Order;
use super::numerals::{self, Numeral};

/// Different texts that a reading must read: fewer are as well told apart one by one, and are codes more often than amounts.
const LEAST_TEXTS: usize = 20;
/// A reading must read so many of a hundred texts, and of a hundred rows.
const SHARE: u64 = 95;

/// What people write where they have no value, in small letters.
const MISSING: [&str; 15] =
    ["", "?", "-", "--", ".", "na", "n/a", "#n/a", "nan", "null", "none", "nil", "missing", "unknown", "\\n"];
const LONGEST_MISSING: usize = 7;

/// Whether a text is blank, or what stands for a value that is missing.
pub fn is_missing(text: &[u8]) -> bool {
    if text.len() > LONGEST {
        return false;
    }
    let text = trimmed(text);
    text.len() <= LONGEST_MISSING && MISSING.iter().any(|word| text.eq_ignore_ascii_case(word.as_bytes()))
}

/// What a poll came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Chosen {
    None,
    /// Days and months could be either.
    Ambiguous,
    Reading(Reading),
}

/// Counts, over different texts of a column, which readings read them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Poll {
    /// Texts that are not missing.
    present: usize,
    read: [usize; Reading::ALL.len()],
    /// Whether there is one that begins with a zero and numbers something.
    codes: bool,
    /// Bits of the symbols beside numbers.
    symbols: u8,
}

impl Poll {
    /// Takes a text that was not added before.
    pub fn add(&mut self, text: &[u8]) {
        if is_missing(text) {
            return;
        }
        self.present += 1;
        if text.len() > LONGEST {
            return;
        }
        let bare = trimmed(text);
        // What any text that has a reading begins with: a digit, a sign, or the first byte of a symbol.
        if !bare
            .first()
            .is_some_and(|byte| matches!(byte, b'0'..=b'9' | b'+' | b'-' | b'.' | b',' | b'$' | 0xc2 | 0xe2))
        {
            return;
        }
        for (count, reading) in self.read.iter_mut().zip(Reading::ALL) {
            let reads = match reading {
                Reading::Number | Reading::NumberWithComma => {
                    match numerals::read(bare, reading == Reading::NumberWithComma) {
                        Numeral::None => false,
                        Numeral::Code => {
                            self.codes = true;
                            false
                        }
                        Numeral::Is { symbol, .. } => {
                            self.symbols |= symbol;
                            true
                        }
                    }
                }
                _ => reading.of(bare).is_some(),
            };
            *count += usize::from(reads);
        }
    }

    /// Whether no reading can read enough of `texts` texts any more, whatever the rest of them are.
    pub fn is_hopeless(&self, texts: usize) -> bool {
        let fewest_missed = self.present - self.read.iter().copied().max().unwrap_or(0);
        !enough((texts - fewest_missed.min(texts)) as u64, texts as u64)
    }

    /// The reading that reads most texts, if it reads enough.
    pub fn choose(&self) -> Chosen {
        let most = self.read.iter().copied().max().unwrap_or(0);
        if most < LEAST_TEXTS || !enough(most as u64, self.present as u64) {
            return Chosen::None;
        }
        let of =
            |wanted: Reading| Reading::ALL.iter().zip(self.read).find(|(r, _)| **r == wanted).map_or(0, |(_, n)| n);
        let Some(reading) = Reading::ALL.into_iter().find(|reading| of(*reading) == most) else { return Chosen::None };
        let other = match reading {
            Reading::Date(Order::DayMonthYear) => Some(Reading::Date(Order::MonthDayYear)),
            Reading::Timestamp(Order::DayMonthYear) => Some(Reading::Timestamp(Order::MonthDayYear)),
            // One code makes codes of all, and dollars are no euros.
            Reading::Number | Reading::NumberWithComma if self.codes || self.symbols.count_ones() > 1 => {
                return Chosen::None;
            }
            _ => None,
        };
        match other {
            Some(other) if of(other) == most => Chosen::Ambiguous,
            _ => Chosen::Reading(reading),
        }
    }
}

/// Whether `read` of `present` are as many as a reading must read.
pub fn enough(read: u64, present: u64) -> bool {
    read > 0 && 100 * read >= SHARE * present
}
