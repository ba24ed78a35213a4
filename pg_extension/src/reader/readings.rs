//! Columns of texts that are numbers, dates or times: what they turn out to be, and how they are read as that.
//!
//! Nothing is done a cell while a column has few different texts: these are kept anyway, and tell in the end what all rows
//! say. Only when there are more of them than are kept, and they have a reading, is each further cell read at once.

use std::collections::HashMap;
use std::hash::BuildHasherDefault;

use trails_model::reading::{enough, is_missing, Chosen, Poll, Said};
use trails_model::{Family, Reading};

use super::columns::{Column, Form, Kind, Values};
use super::memory::{Exhausted, Memory};
use super::texts::{AsItIs, Texts};

/// Rows after which the caller may look for a cancel, and texts.
const PART: usize = 65_536;
const FEW: usize = 4_096;

/// What a column of such texts is read as.
pub fn kind_of(reading: Reading) -> Kind {
    match reading.family() {
        Family::Date => Kind::Date,
        Family::Timestamp => Kind::Timestamp,
        Family::Time => Kind::Time,
        _ => Kind::Float64,
    }
}

/// Takes a text over into a column of the reading's kind; what it cannot read is NULL, and false.
#[inline]
pub fn put(column: &mut Column, reading: Reading, text: &[u8], memory: &mut Memory) -> Result<bool, Exhausted> {
    put_said(column, reading.of(text), memory)
}

fn put_said(column: &mut Column, said: Option<Said>, memory: &mut Memory) -> Result<bool, Exhausted> {
    match (said, &mut column.values) {
        (Some(Said::Number(number)), Values::Float64(v)) => memory.push(v, number)?,
        (Some(Said::Days(days)), Values::Date(v)) => memory.push(v, days)?,
        (Some(Said::Microseconds(moment)), Values::Timestamp(v) | Values::Time(v)) => memory.push(v, moment)?,
        _ => {
            column.push_null(memory)?;
            return Ok(false);
        }
    }
    Ok(true)
}

/// Rows with a text that is not missing, and those of them that are read.
#[derive(Debug, Clone, Copy, Default)]
pub struct Tally {
    pub present: u64,
    pub read: u64,
}

impl Tally {
    #[inline]
    pub fn add(&mut self, read: bool, text: &[u8]) {
        self.present += u64::from(read || !is_missing(text));
        self.read += u64::from(read);
    }

    /// Whether nothing speaks against the reading: a column without texts has any.
    pub fn is_enough(self) -> bool {
        self.present == 0 || enough(self.read, self.present)
    }
}

/// A column of texts as it would be with a reading.
pub struct Read {
    reading: Reading,
    column: Column,
    tally: Tally,
}

impl Read {
    /// Of all rows so far, whose texts are all among the spellings.
    fn of(
        reading: Reading,
        column: &Column,
        texts: &Texts,
        memory: &mut Memory,
        pause: &dyn Fn(),
    ) -> Result<Option<Self>, Exhausted> {
        let Values::Text { hashes, .. } = &column.values else { return Ok(None) };
        let mut said: HashMap<i64, (Option<Said>, bool), BuildHasherDefault<AsItIs>> = HashMap::default();
        said.try_reserve(texts.hashes.len()).map_err(|_| Exhausted::System)?;
        for (number, (hash, text)) in texts.each().enumerate() {
            if number % FEW == 0 {
                pause();
            }
            said.insert(hash, (reading.of(text), is_missing(text)));
        }
        let mut read = Self { reading, column: Column::new(&column.name, kind_of(reading)), tally: Tally::default() };
        let nulls = column.nulls.as_deref().unwrap_or(&[]);
        for (row, hash) in hashes.iter().enumerate() {
            if row % PART == 0 {
                pause();
            }
            if nulls.get(row).is_some_and(|null| *null != 0) {
                read.column.push_null(memory)?;
                continue;
            }
            let (found, missing) = said.get(hash).copied().unwrap_or((None, false));
            put_said(&mut read.column, found, memory)?;
            read.tally.present += u64::from(!missing);
            read.tally.read += u64::from(found.is_some());
        }
        Ok(Some(read))
    }

    pub fn push(&mut self, text: &[u8], memory: &mut Memory) -> Result<(), Exhausted> {
        let read = put(&mut self.column, self.reading, text, memory)?;
        self.tally.add(read, text);
        Ok(())
    }

    pub fn push_null(&mut self, memory: &mut Memory) -> Result<(), Exhausted> {
        self.column.push_null(memory)
    }
}

/// What a column of texts may turn out to be.
pub enum Prospect {
    /// Nothing else.
    Texts,
    /// The spellings tell.
    Open,
    /// There are more texts than spellings.
    Read(Box<Read>),
}

impl Prospect {
    /// When no further spelling is kept: what those that are say of the column, in whose rows are no others yet.
    #[cold]
    pub fn settle(&mut self, column: &Column, texts: &Texts, memory: &mut Memory) -> Result<(), Exhausted> {
        *self = match poll(texts, &|| ()) {
            Chosen::Reading(reading) => match Read::of(reading, column, texts, memory, &|| ())? {
                Some(read) => Self::Read(Box::new(read)),
                None => Self::Texts,
            },
            Chosen::Ambiguous | Chosen::None => Self::Texts,
        };
        Ok(())
    }

    /// After the last row: the column becomes what it turned out to be. `pause` is called every few rows.
    pub fn complete(
        self,
        column: &mut Column,
        texts: &Texts,
        memory: &mut Memory,
        pause: &dyn Fn(),
    ) -> Result<(), Exhausted> {
        let read = match self {
            Self::Texts => None,
            Self::Read(read) => Some(*read),
            Self::Open => match poll(texts, pause) {
                Chosen::Reading(reading) => Read::of(reading, column, texts, memory, pause)?,
                Chosen::Ambiguous => {
                    column.form = Form::AmbiguousDates;
                    None
                }
                Chosen::None => None,
            },
        };
        let Some(Read { reading, column: mut read, tally }) = read else { return Ok(()) };
        if !enough(tally.read, tally.present) {
            memory.release(read.bytes());
            return Ok(());
        }
        read.complete(memory)?;
        read.form = Form::Read { reading, unread: tally.present - tally.read };
        memory.release(column.bytes() + texts.bytes());
        *column = read;
        Ok(())
    }
}

fn poll(texts: &Texts, pause: &dyn Fn()) -> Chosen {
    let mut poll = Poll::default();
    for (number, (_, text)) in texts.each().enumerate() {
        if number % FEW == 0 {
            pause();
        }
        poll.add(text);
        // Most columns of texts are seen to be that after the first twentieth of them.
        if poll.is_hopeless(texts.hashes.len()) {
            return Chosen::None;
        }
    }
    poll.choose()
}

/// Whether all texts, of which there is one, are times of day, which only look like `id:value`.
pub fn are_times(texts: &Texts) -> bool {
    !texts.hashes.is_empty() && texts.each().all(|(_, text)| Reading::Time.of(text).is_some())
}

#[cfg(test)]
mod tests {
    use super::super::texts::Dictionary;
    use super::*;

    const FREE: Memory = Memory::unlimited();

    fn texts_of(cells: &[Option<&str>]) -> (Column, Texts) {
        let (mut column, mut dictionary) = (Column::new("c", Kind::Text), Dictionary::default());
        for cell in cells {
            match (cell, &mut column.values) {
                (Some(text), Values::Text { hashes, .. }) => {
                    hashes.push(dictionary.add_text(text.as_bytes(), &mut FREE.clone()).unwrap());
                }
                _ => column.push_null(&mut FREE.clone()).unwrap(),
            }
        }
        column.complete(&mut FREE.clone()).unwrap();
        (column, dictionary.take())
    }

    #[test]
    fn a_column_becomes_what_its_texts_say_row_by_row() {
        let prices: Vec<String> = (0..40).map(|n| format!("{n},234.50")).collect();
        let mut cells: Vec<Option<&str>> = prices[1..].iter().map(|price| Some(price.as_str())).collect();
        cells.extend([None, Some("N/A"), Some("call us")]);
        let (column, texts) = texts_of(&cells);
        let mut early = column.clone();
        Prospect::Open.complete(&mut early, &texts, &mut FREE.clone(), &|| ()).unwrap();
        assert_eq!(early.form, Form::Read { reading: Reading::Number, unread: 1 });
        let Values::Float64(values) = &early.values else { panic!("{early:?}") };
        assert_eq!((values.len(), values[0], values[38]), (42, 1_234.5, 39_234.5));
        assert_eq!(early.nulls.as_ref().unwrap()[38..], [0, 1, 1, 1]);

        // Settled half-way, and then read cell by cell, it is the same.
        let (half, spelt) = texts_of(&cells[..30]);
        let mut late = Prospect::Open;
        late.settle(&half, &spelt, &mut FREE.clone()).unwrap();
        let Prospect::Read(read) = &mut late else { panic!("it is no number") };
        for cell in &cells[30..] {
            match cell {
                Some(text) => read.push(text.as_bytes(), &mut FREE.clone()).unwrap(),
                None => read.push_null(&mut FREE.clone()).unwrap(),
            }
        }
        let mut other = column;
        late.complete(&mut other, &texts, &mut FREE.clone(), &|| ()).unwrap();
        assert_eq!(other, early);
    }

    #[test]
    fn many_rows_of_a_text_that_is_no_number_make_a_column_of_texts() {
        let numbers: Vec<String> = (0..30).map(|n| n.to_string()).collect();
        let mut cells: Vec<Option<&str>> = numbers.iter().map(|number| Some(number.as_str())).collect();
        cells.extend([Some("free"); 5]);
        let (column, texts) = texts_of(&cells);
        let mut completed = column.clone();
        Prospect::Open.complete(&mut completed, &texts, &mut FREE.clone(), &|| ()).unwrap();
        assert_eq!(completed, column);
        cells.truncate(31);
        let (mut column, texts) = texts_of(&cells);
        Prospect::Open.complete(&mut column, &texts, &mut FREE.clone(), &|| ()).unwrap();
        assert_eq!(column.form, Form::Read { reading: Reading::Number, unread: 1 });
    }

    #[test]
    fn memory_that_is_not_to_be_had_is_an_error() {
        let numbers: Vec<String> = (0..1_000).map(|n| n.to_string()).collect();
        let cells: Vec<Option<&str>> = numbers.iter().map(|number| Some(number.as_str())).collect();
        let (mut column, texts) = texts_of(&cells);
        let refused = Prospect::Open.complete(&mut column, &texts, &mut Memory::new(0, 4_000), &|| ());
        assert_eq!(refused, Err(Exhausted::Limit));
    }

    #[test]
    fn times_are_told_from_ids() {
        assert!(are_times(&texts_of(&[Some("9:00"), Some("17:30")]).1));
        assert!(!are_times(&texts_of(&[Some("9:00"), Some("3:1")]).1));
        assert!(!are_times(&texts_of(&[None]).1));
    }

    #[test]
    fn a_cancel_is_looked_for_while_texts_are() {
        let numbers: Vec<String> = (0..3 * FEW).map(|n| n.to_string()).collect();
        let cells: Vec<Option<&str>> = numbers.iter().map(|number| Some(number.as_str())).collect();
        let (mut column, texts) = texts_of(&cells);
        let times = std::cell::Cell::new(0);
        Prospect::Open.complete(&mut column, &texts, &mut FREE.clone(), &|| times.set(times.get() + 1)).unwrap();
        assert!(times.get() >= 6, "{} times", times.get());
    }
}
