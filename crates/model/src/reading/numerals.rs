//! Numbers as people write them: `1,234.50`, `1.234,50`, `10,000+`, `12 %`, `€ 5`.

use super::blanks::{blank_before, left_trimmed, right_trimmed};

/// Bytes of a text that may be a number, at most.
const LONGEST: usize = 64;
/// Digits before the decimal sign, at most: longer ones number something.
const MOST_DIGITS: usize = 15;
const MOST_EXPONENT: usize = 3;

/// Money and percent, each with its bit.
const SYMBOLS: [(&[u8], u8); 5] =
    [(b"$", 1), ("€".as_bytes(), 2), ("£".as_bytes(), 4), ("¥".as_bytes(), 8), (b"%", 16)];
const PERCENT: u8 = 16;
const MINUS: &[u8] = "\u{2212}".as_bytes();
const APOSTROPHE: &[u8] = "\u{2019}".as_bytes();

/// What a text without blanks around it is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Numeral {
    None,
    /// Digits that begin with a zero, such as those of a postal code.
    Code,
    Is {
        value: f64,
        /// Bit of the symbol beside it, or 0.
        symbol: u8,
    },
}

/// What is left of a text that is read from its beginning.
struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn take(&mut self, beginning: &[u8]) -> bool {
        match self.0.strip_prefix(beginning) {
            Some(rest) => {
                self.0 = rest;
                true
            }
            None => false,
        }
    }

    fn digits(&mut self) -> &'a [u8] {
        let count = self.0.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let (digits, rest) = self.0.split_at(count);
        self.0 = rest;
        digits
    }

    /// A minus or a plus: whether there is one, and whether the number is below zero.
    fn sign(&mut self) -> (bool, bool) {
        if self.take(b"-") || self.take(MINUS) {
            return (true, true);
        }
        (self.take(b"+"), false)
    }

    fn symbol(&mut self, percent: bool) -> u8 {
        let found = SYMBOLS.iter().find(|(symbol, bit)| (percent || *bit != PERCENT) && self.take(symbol));
        found.map_or(0, |(_, bit)| *bit)
    }
}

/// The plain form that numbers are converted from.
struct Plain {
    bytes: [u8; LONGEST + 2],
    end: usize,
}

impl Plain {
    fn add(&mut self, text: &[u8]) {
        self.bytes[self.end..self.end + text.len()].copy_from_slice(text);
        self.end += text.len();
    }
}

/// Reads a text without blanks around it; with a decimal comma, or else a point.
pub fn read(text: &[u8], comma: bool) -> Numeral {
    if text.len() > LONGEST || text.is_empty() {
        return Numeral::None;
    }
    let mut rest = Rest(text);
    let (signed, mut negative) = rest.sign();
    let mut symbol = rest.symbol(false);
    if symbol != 0 {
        rest.0 = left_trimmed(rest.0);
        if !signed {
            (_, negative) = rest.sign();
        }
    }
    // What stands behind the number.
    let mut body = rest.0;
    if let Some(before) = body.strip_suffix(b"+") {
        body = right_trimmed(before);
    } else if let Some((before, bit)) = SYMBOLS.iter().find_map(|(sign, bit)| Some((body.strip_suffix(*sign)?, *bit))) {
        if symbol != 0 {
            return Numeral::None;
        }
        (body, symbol) = (right_trimmed(before), bit);
    }
    let mut rest = Rest(body);
    let mut plain = Plain { bytes: [0; LONGEST + 2], end: 0 };
    if negative {
        plain.add(b"-");
    }
    let whole = plain.end;
    let Some(grouped) = integer(&mut rest, comma, &mut plain) else { return Numeral::None };
    let digits = plain.end - whole;
    if digits > MOST_DIGITS {
        return Numeral::None;
    }
    let leading_zero = digits > 1 && plain.bytes[whole] == b'0';
    if leading_zero && grouped {
        return Numeral::None;
    }
    let mut decimals = 0;
    if rest.take(if comma { b"," } else { b"." }) {
        let found = rest.digits();
        decimals = found.len();
        plain.add(b".");
        plain.add(found);
    }
    if digits + decimals == 0 {
        return Numeral::None;
    }
    if !grouped && (rest.take(b"e") || rest.take(b"E")) {
        plain.add(b"e");
        if let Some(sign @ (b'+' | b'-')) = rest.0.first() {
            plain.add(&[*sign]);
            rest.0 = &rest.0[1..];
        }
        let exponent = rest.digits();
        if exponent.is_empty() || exponent.len() > MOST_EXPONENT {
            return Numeral::None;
        }
        plain.add(exponent);
    }
    if !rest.0.is_empty() {
        return Numeral::None;
    }
    if leading_zero {
        return Numeral::Code;
    }
    // Digits, a sign, a point and an exponent: always UTF-8, and always a number.
    let value = std::str::from_utf8(&plain.bytes[..plain.end]).ok().and_then(|text| text.parse::<f64>().ok());
    match value {
        Some(value) if value.is_finite() => Numeral::Is { value, symbol },
        _ => Numeral::None,
    }
}

/// The digits before the decimal sign, which may be in groups of three; whether they are. None if a group is not of three.
fn integer(rest: &mut Rest<'_>, comma: bool, plain: &mut Plain) -> Option<bool> {
    let first = rest.digits();
    plain.add(first);
    let separator = separator(rest.0, comma);
    if separator.is_empty() || !(1..=3).contains(&first.len()) {
        return Some(false);
    }
    while rest.take(separator) {
        let group = rest.digits();
        if group.len() != 3 {
            return None;
        }
        plain.add(group);
    }
    Some(true)
}

/// What groups are told apart by, if the text begins with it.
fn separator(text: &[u8], comma: bool) -> &[u8] {
    let of_style: &[u8] = if comma { b"." } else { b"," };
    let bytes = match text.first() {
        Some(b'\'') => 1,
        _ if text.starts_with(of_style) => 1,
        _ if text.starts_with(APOSTROPHE) => APOSTROPHE.len(),
        Some(b'\t'..=b'\r') | None => 0,
        _ => blank_before(text),
    };
    &text[..bytes]
}
