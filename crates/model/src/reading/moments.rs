//! Dates, timestamps and times of day as people write them.

use crate::calendar::{days_of, MICROSECONDS_A_DAY};

/// In which order the parts of a date are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Order {
    YearMonthDay,
    DayMonthYear,
    MonthDayYear,
}

const LONGEST: usize = 64;
const MICROSECONDS_A_MINUTE: i64 = 60_000_000;
const LAST_OFFSET: u32 = 15;

/// A number of `least` to `most` digits that the text begins with, and what follows.
fn digits(text: &[u8], least: usize, most: usize) -> Option<(u32, &[u8])> {
    let count = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    if !(least..=most).contains(&count) {
        return None;
    }
    let number = text[..count].iter().fold(0, |number, byte| 10 * number + u32::from(byte - b'0'));
    Some((number, &text[count..]))
}

/// The date that a text begins with, in days since 2000-01-01, and what follows: three numbers with one sign between them, a
/// year of four digits and the others of one or two.
fn leading_date(text: &[u8], order: Order) -> Option<(i32, &[u8])> {
    let (first, second, third) = match order {
        Order::YearMonthDay => ((4, 4), (1, 2), (1, 2)),
        _ => ((1, 2), (1, 2), (4, 4)),
    };
    let (a, rest) = digits(text, first.0, first.1)?;
    let (&sign, rest) = rest.split_first()?;
    // Nobody writes month.day.year.
    if !matches!((sign, order), (b'-' | b'/', _) | (b'.', Order::YearMonthDay | Order::DayMonthYear)) {
        return None;
    }
    let (b, rest) = digits(rest, second.0, second.1)?;
    let rest = rest.strip_prefix(&[sign])?;
    let (c, rest) = digits(rest, third.0, third.1)?;
    let (year, month, day) = match order {
        Order::YearMonthDay => (a, b, c),
        Order::DayMonthYear => (c, b, a),
        Order::MonthDayYear => (c, a, b),
    };
    Some((days_of(year, month, day)?, rest))
}

/// The time of day that a text begins with, in microseconds, and what follows: `h:mm`, `h:mm:ss`, `h:mm:ss.ffffff` and
/// `hh.mm.ss`.
fn leading_time(text: &[u8]) -> Option<(i64, &[u8])> {
    let (hour, rest) = digits(text, 1, 2)?;
    let (&sign, after) = rest.split_first()?;
    let (minute, rest) = digits(after, 2, 2)?;
    let (mut second, mut fraction) = (0, 0);
    let mut rest = rest;
    match sign {
        b':' => {
            if let Some(after) = rest.strip_prefix(b":") {
                (second, rest) = digits(after, 2, 2)?;
                if let Some(after) = rest.strip_prefix(b".") {
                    let count = after.iter().take_while(|byte| byte.is_ascii_digit()).count();
                    if !(1..=9).contains(&count) {
                        return None;
                    }
                    // What is finer than a microsecond is cut off.
                    let digits = after[..count].iter().map(|byte| i64::from(byte - b'0'));
                    fraction = digits.chain(std::iter::repeat(0)).take(6).fold(0, |number, digit| 10 * number + digit);
                    rest = &after[count..];
                }
            }
        }
        b'.' => {
            // 18.30 alone is a number.
            if text.iter().take_while(|byte| byte.is_ascii_digit()).count() != 2 {
                return None;
            }
            (second, rest) = digits(rest.strip_prefix(b".")?, 2, 2)?;
        }
        _ => return None,
    }
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let minutes = i64::from(60 * hour + minute);
    Some((minutes * MICROSECONDS_A_MINUTE + i64::from(second) * 1_000_000 + fraction, rest))
}

/// Days since 2000-01-01.
pub fn date(text: &[u8], order: Order) -> Option<i32> {
    if text.len() > LONGEST {
        return None;
    }
    leading_date(text, order).and_then(|(days, rest)| rest.is_empty().then_some(days))
}

/// Microseconds since midnight.
pub fn time(text: &[u8]) -> Option<i64> {
    if text.len() > LONGEST {
        return None;
    }
    leading_time(text).and_then(|(microseconds, rest)| rest.is_empty().then_some(microseconds))
}

/// Microseconds since 2000-01-01, UTC; of a date without a time its midnight.
pub fn timestamp(text: &[u8], order: Order) -> Option<i64> {
    if text.len() > LONGEST {
        return None;
    }
    let (days, rest) = leading_date(text, order)?;
    let midnight = i64::from(days) * MICROSECONDS_A_DAY;
    if rest.is_empty() {
        return Some(midnight);
    }
    let rest = match rest.strip_prefix(b"T") {
        Some(rest) => rest,
        None => {
            let blanks = rest.iter().take_while(|byte| **byte == b' ').count();
            if blanks == 0 {
                return None;
            }
            &rest[blanks..]
        }
    };
    let (of_day, rest) = leading_time(rest)?;
    let local = midnight + of_day;
    if rest.is_empty() {
        return Some(local);
    }
    Some(local - offset(rest)? * MICROSECONDS_A_MINUTE)
}

/// Minutes that a zone is ahead of UTC: `Z`, `+02`, `-0330`, `+05:30`, maybe behind a blank.
fn offset(text: &[u8]) -> Option<i64> {
    let text = text.strip_prefix(b" ").unwrap_or(text);
    if text == b"Z" {
        return Some(0);
    }
    let (&sign, rest) = text.split_first()?;
    let (hours, minutes) = match rest.len() {
        2 => (digits(rest, 2, 2)?.0, 0),
        4 => (digits(&rest[..2], 2, 2)?.0, digits(&rest[2..], 2, 2)?.0),
        5 if rest[2] == b':' => (digits(&rest[..2], 2, 2)?.0, digits(&rest[3..], 2, 2)?.0),
        _ => return None,
    };
    if hours > LAST_OFFSET || minutes > 59 {
        return None;
    }
    let ahead = i64::from(60 * hours + minutes);
    match sign {
        b'+' => Some(ahead),
        b'-' => Some(-ahead),
        _ => None,
    }
}
