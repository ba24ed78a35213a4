//! Memory that one process writes and others read, with no lock: words, and records of them. Knows nothing of PostgreSQL.
//!
//! A record is a sequence lock: its first word is odd while the rest is written, and another even number after every
//! write. The writer never waits and never allocates. A reader that finds the number odd, or another one than before it
//! copied, has copied a mixture, and looks again. Every word is read and written atomically, so that a mixture is no
//! undefined behaviour, only useless.

use std::sync::atomic::{fence, AtomicU64, Ordering};
use std::time::Duration;

/// How often a reader looks at a record at most, and how long it waits between two looks once it has looked often.
const LOOKS: u32 = 60;
const SPINS: u32 = 40;
const PAUSE: Duration = Duration::from_micros(50);

/// Writes the whole record. There must be one writer, and as many words after the number as `values` has.
pub fn write(record: &[AtomicU64], values: &[u64]) {
    let number = record[0].load(Ordering::Relaxed) | 1;
    record[0].store(number, Ordering::Relaxed);
    fence(Ordering::Release);
    for (word, value) in record[1..].iter().zip(values) {
        word.store(*value, Ordering::Relaxed);
    }
    record[0].store(number.wrapping_add(1), Ordering::Release);
}

/// Copies the record to `values`; false if every look found it being written.
pub fn read(record: &[AtomicU64], values: &mut [u64]) -> bool {
    for look in 0..LOOKS {
        let before = record[0].load(Ordering::Acquire);
        if before & 1 == 0 {
            for (value, word) in values.iter_mut().zip(&record[1..]) {
                *value = word.load(Ordering::Relaxed);
            }
            fence(Ordering::Acquire);
            if record[0].load(Ordering::Relaxed) == before {
                return true;
            }
        }
        if look < SPINS {
            std::hint::spin_loop();
        } else {
            std::thread::sleep(PAUSE);
        }
    }
    false
}

/// Fills words one after the other; what does not fit is left out, texts from their end.
pub struct Packer<'a> {
    words: &'a mut [u64],
    at: usize,
}

impl<'a> Packer<'a> {
    pub fn new(words: &'a mut [u64]) -> Self {
        Self { words, at: 0 }
    }

    pub fn put(&mut self, value: u64) {
        if let Some(word) = self.words.get_mut(self.at) {
            *word = value;
        }
        self.at += 1;
    }

    pub fn put_option(&mut self, value: Option<u64>) {
        self.put(u64::from(value.is_some()));
        self.put(value.unwrap_or_default());
    }

    pub fn put_float(&mut self, value: Option<f64>) {
        self.put_option(value.map(f64::to_bits));
    }

    /// A length, then `words` words of text; a longer one is cut between two characters.
    pub fn put_text(&mut self, text: &str, words: usize) {
        let mut end = text.len().min(words * 8);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        self.put(end as u64);
        let mut chunks = text.as_bytes()[..end].chunks(8);
        for _ in 0..words {
            let mut bytes = [0u8; 8];
            let chunk = chunks.next().unwrap_or_default();
            bytes[..chunk.len()].copy_from_slice(chunk);
            self.put(u64::from_ne_bytes(bytes));
        }
    }
}

/// Takes what a `Packer` put, in the same order. What cannot be so is an empty text, or none.
pub struct Unpacker<'a> {
    words: &'a [u64],
    at: usize,
}

impl<'a> Unpacker<'a> {
    pub fn new(words: &'a [u64]) -> Self {
        Self { words, at: 0 }
    }

    pub fn take(&mut self) -> u64 {
        let word = self.words.get(self.at).copied().unwrap_or_default();
        self.at += 1;
        word
    }

    pub fn take_option(&mut self) -> Option<u64> {
        let (there, value) = (self.take(), self.take());
        (there == 1).then_some(value)
    }

    pub fn take_float(&mut self) -> Option<f64> {
        self.take_option().map(f64::from_bits)
    }

    pub fn take_text(&mut self, words: usize) -> String {
        let length = self.take() as usize;
        let bytes: Vec<u8> = (0..words).flat_map(|_| self.take().to_ne_bytes()).collect();
        let text = bytes.get(..length).map(String::from_utf8_lossy).unwrap_or_default();
        text.replace('\0', "\u{fffd}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicBool;

    fn record(words: usize) -> Vec<AtomicU64> {
        (0..=words).map(|_| AtomicU64::new(0)).collect()
    }

    #[test]
    fn what_is_read_beside_a_fast_writer_was_written_at_once() {
        const WORDS: usize = 200;
        let (record, done) = (record(WORDS), AtomicBool::new(false));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let mut values = [0u64; WORDS];
                for round in 1..200_000u64 {
                    values.fill(round);
                    write(&record, &values);
                }
                done.store(true, Ordering::SeqCst);
            });
            let (mut last, mut good) = (0, 0);
            while !done.load(Ordering::SeqCst) || good == 0 {
                let mut values = [0u64; WORDS];
                if read(&record, &mut values) {
                    assert!(values.iter().all(|v| *v == values[0]), "a mixture");
                    assert!(values[0] >= last, "an older one");
                    (last, good) = (values[0], good + 1);
                }
            }
        });
    }

    #[test]
    fn a_record_that_is_being_written_for_ever_is_given_up() {
        let record = record(2);
        record[0].store(7, Ordering::Relaxed);
        assert!(!read(&record, &mut [0; 2]));
        write(&record, &[1, 2]);
        let mut values = [0; 2];
        assert!(read(&record, &mut values));
        assert_eq!(values, [1, 2]);
    }

    #[test]
    fn what_is_put_is_taken_and_texts_are_cut_between_characters() {
        let mut words = [0u64; 32];
        let mut packer = Packer::new(&mut words);
        packer.put(7);
        packer.put_option(None);
        packer.put_float(Some(-0.5));
        packer.put_text("äöü", 1);
        packer.put_text("ääääää", 1);
        packer.put_text("1234567ä", 1);
        packer.put_text("", 2);
        let mut unpacker = Unpacker::new(&words);
        assert_eq!((unpacker.take(), unpacker.take_option(), unpacker.take_float()), (7, None, Some(-0.5)));
        let texts = [1, 1, 1, 2].map(|words| unpacker.take_text(words));
        assert_eq!(texts, ["äöü", "ääää", "1234567", ""]);
    }

    #[test]
    fn nonsense_is_taken_for_something_harmless() {
        let words = [u64::MAX; 8];
        let mut unpacker = Unpacker::new(&words);
        assert_eq!(unpacker.take_option(), None);
        assert_eq!(unpacker.take_text(3), "", "a length that cannot be");
        let mut unpacker = Unpacker::new(&[3, u64::MAX]);
        assert_eq!(unpacker.take_text(1).chars().count(), 3);
        assert_eq!(unpacker.take_text(4), "", "beyond the end");
    }
}
