//! What the texts of a column may be read as, and what each of them says then.

use super::blanks::trimmed;
use super::moments::{self, Order};
use super::numerals::{self, Numeral};
use crate::columns::Family;

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

/// Bytes of the longest text that is looked at, blanks included. Of longer ones training may know the beginning alone, and
/// what they say must not depend on that.
pub const LONGEST: usize = 196;

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
        if text.len() > LONGEST {
            return None;
        }
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
