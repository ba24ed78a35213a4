//! Numbers, dates and times that are stored as text: in which forms they are recognised, and what each text says.
//!
//! The same rules are written once more in Python (`trails.table.readings`), and tests compare the two text by text. They
//! depend on no locale.

mod moments;
mod numerals;
mod poll;
#[cfg(test)]
mod tests;

pub use poll::{enough, is_missing, Chosen, Poll};

use crate::columns::Family;
use numerals::Numeral;

/// In which order the parts of a date are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Order {
    YearMonthDay,
    DayMonthYear,
    MonthDayYear,
}

/// What the texts of a column are read as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Reading {
    /// With a decimal point.
    Number,
    NumberWithComma,
    Date(Order),
    /// Dates, some of them with a time of day.
    Timestamp(Order),
    Time,
}

/// What one text says.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Said {
    Number(f64),
    /// Since 2000-01-01.
    Days(i32),
    /// Microseconds since 2000-01-01 UTC, or since midnight.
    Microseconds(i64),
}

impl Reading {
    /// Of several that read as many texts of a column the first counts.
    pub const ALL: [Self; 9] = [
        Self::Number,
        Self::NumberWithComma,
        Self::Date(Order::YearMonthDay),
        Self::Date(Order::DayMonthYear),
        Self::Date(Order::MonthDayYear),
        Self::Timestamp(Order::YearMonthDay),
        Self::Timestamp(Order::DayMonthYear),
        Self::Timestamp(Order::MonthDayYear),
        Self::Time,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::Number => "number",
            Self::NumberWithComma => "number with comma",
            Self::Date(Order::YearMonthDay) => "date ymd",
            Self::Date(Order::DayMonthYear) => "date dmy",
            Self::Date(Order::MonthDayYear) => "date mdy",
            Self::Timestamp(Order::YearMonthDay) => "timestamp ymd",
            Self::Timestamp(Order::DayMonthYear) => "timestamp dmy",
            Self::Timestamp(Order::MonthDayYear) => "timestamp mdy",
            Self::Time => "time",
        }
    }

    /// What the column then is.
    pub fn family(self) -> Family {
        match self {
            Self::Number | Self::NumberWithComma => Family::Number,
            Self::Date(_) => Family::Date,
            Self::Timestamp(_) => Family::Timestamp,
            Self::Time => Family::Time,
        }
    }

    /// What a text says; None where it is not of the form.
    pub fn of(self, text: &[u8]) -> Option<Said> {
        let text = trimmed(text);
        match self {
            Self::Number | Self::NumberWithComma => match numerals::read(text, self == Self::NumberWithComma) {
                Numeral::Is { value, .. } => Some(Said::Number(value)),
                Numeral::Code | Numeral::None => None,
            },
            Self::Date(order) => moments::date(text, order).map(Said::Days),
            Self::Timestamp(order) => moments::timestamp(text, order).map(Said::Microseconds),
            Self::Time => moments::time(text).map(Said::Microseconds),
        }
    }
}

/// Blanks of ASCII, and the ones that people set between digits: no-break, narrow no-break and thin.
const WIDE_BLANKS: [&[u8]; 3] = ["\u{a0}".as_bytes(), "\u{202f}".as_bytes(), "\u{2009}".as_bytes()];

/// How many bytes the blank takes that a text begins with; 0 without one.
fn blank_before(text: &[u8]) -> usize {
    match text.first() {
        Some(b' ' | b'\t'..=b'\r') => 1,
        _ => WIDE_BLANKS.iter().find(|blank| text.starts_with(blank)).map_or(0, |blank| blank.len()),
    }
}

fn blank_behind(text: &[u8]) -> usize {
    match text.last() {
        Some(b' ' | b'\t'..=b'\r') => 1,
        _ => WIDE_BLANKS.iter().find(|blank| text.ends_with(blank)).map_or(0, |blank| blank.len()),
    }
}

fn left_trimmed(mut text: &[u8]) -> &[u8] {
    loop {
        match blank_before(text) {
            0 => return text,
            bytes => text = &text[bytes..],
        }
    }
}

fn right_trimmed(mut text: &[u8]) -> &[u8] {
    loop {
        match blank_behind(text) {
            0 => return text,
            bytes => text = &text[..text.len() - bytes],
        }
    }
}

/// Without blanks around it.
fn trimmed(text: &[u8]) -> &[u8] {
    right_trimmed(left_trimmed(text))
}
