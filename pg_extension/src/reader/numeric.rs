//! `numeric` as PostgreSQL stores it, to `f64`, rounded correctly.

/// A numeric that is no finite `f64`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Odd {
    NotANumber,
    Infinite {
        negative: bool,
    },
    /// Finite, and beyond what a double holds.
    TooLarge,
}

const SIGN: u16 = 0xc000;
const NEGATIVE: u16 = 0x4000;
const SHORT: u16 = 0x8000;
const SPECIAL: u16 = 0xc000;
const SPECIAL_SIGN: u16 = 0xf000;
const POSITIVE_INFINITY: u16 = 0xd000;
const NEGATIVE_INFINITY: u16 = 0xf000;
const SHORT_NEGATIVE: u16 = 0x2000;
const SHORT_WEIGHT_NEGATIVE: u16 = 0x0040;
const SHORT_WEIGHT: u16 = 0x003f;

/// Powers of ten that a double holds exactly.
const POWERS: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20,
    1e21, 1e22,
];
/// The largest of the integers that a double holds exactly, one by one.
const EXACT: u64 = 1 << 53;

#[inline]
fn word(bytes: &[u8], place: usize) -> u16 {
    u16::from_ne_bytes([bytes[2 * place], bytes[2 * place + 1]])
}

#[inline]
pub fn is_nan(bytes: &[u8]) -> bool {
    bytes.len() >= 2 && word(bytes, 0) & SPECIAL_SIGN == SPECIAL
}

/// Decodes what follows the length word: a header, and digits of base 10,000.
#[inline]
pub fn to_f64(bytes: &[u8]) -> Result<f64, Odd> {
    if bytes.len() < 2 {
        return Err(Odd::NotANumber);
    }
    let header = word(bytes, 0);
    let (negative, weight, digits) = match header & SIGN {
        SPECIAL => {
            return Err(match header & SPECIAL_SIGN {
                POSITIVE_INFINITY => Odd::Infinite { negative: false },
                NEGATIVE_INFINITY => Odd::Infinite { negative: true },
                _ => Odd::NotANumber,
            })
        }
        SHORT => {
            let weight = i32::from(header & SHORT_WEIGHT);
            let weight = if header & SHORT_WEIGHT_NEGATIVE != 0 { weight - 64 } else { weight };
            (header & SHORT_NEGATIVE != 0, weight, &bytes[2..])
        }
        _ if bytes.len() < 4 => return Err(Odd::NotANumber),
        sign => (sign == NEGATIVE, i32::from(word(bytes, 1) as i16), &bytes[4..]),
    };
    let count = digits.len() / 2;
    // The value is the digits as one integer, times this power of ten.
    let exponent = 4 * (weight - count as i32 + 1);
    let size = match small(digits, count, exponent) {
        Some(size) => size,
        None => spelt(digits, count, exponent),
    };
    if size.is_infinite() {
        return Err(Odd::TooLarge);
    }
    Ok(if negative { -size } else { size })
}

/// An integer and a power of ten that are both exact give a result that is rounded once.
#[inline]
fn small(digits: &[u8], count: usize, exponent: i32) -> Option<f64> {
    if count > 4 {
        return None;
    }
    let integer = (0..count).fold(0u64, |sum, place| sum * 10_000 + u64::from(word(digits, place)));
    if integer > EXACT {
        return None;
    }
    let power = POWERS.get(exponent.unsigned_abs() as usize)?;
    Some(if exponent < 0 { integer as f64 / power } else { integer as f64 * power })
}

/// The long way, which is right for any number of digits.
#[cold]
fn spelt(digits: &[u8], count: usize, exponent: i32) -> f64 {
    use std::fmt::Write;

    let mut text = String::with_capacity(4 * count + 8);
    for place in 0..count {
        // Writing to a string cannot fail.
        let _ = write!(text, "{:04}", word(digits, place));
    }
    let _ = write!(text, "e{exponent}");
    text.parse().unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As the server stores it: base-10,000 digits without leading and trailing zeros.
    fn stored(text: &str, short: bool) -> Vec<u8> {
        let negative = text.starts_with('-');
        let (whole, fraction) =
            text.trim_start_matches('-').split_once('.').unwrap_or((text.trim_start_matches('-'), ""));
        let mut decimals = format!("{}{whole}", "0".repeat(whole.len().next_multiple_of(4) - whole.len()));
        let mut weight = decimals.len() as i32 / 4 - 1;
        decimals += fraction;
        decimals += &"0".repeat(decimals.len().next_multiple_of(4) - decimals.len());
        let mut digits: Vec<u16> =
            decimals.as_bytes().chunks(4).map(|c| std::str::from_utf8(c).unwrap().parse().unwrap()).collect();
        while digits.first() == Some(&0) {
            digits.remove(0);
            weight -= 1;
        }
        while digits.last() == Some(&0) {
            digits.pop();
        }
        if digits.is_empty() {
            weight = 0;
        }
        let header = if short {
            assert!((-64..64).contains(&weight));
            let sign = if negative { SHORT_NEGATIVE } else { 0 };
            let low = (weight & 0x3f) as u16 | if weight < 0 { SHORT_WEIGHT_NEGATIVE } else { 0 };
            vec![SHORT | sign | low]
        } else {
            vec![if negative { NEGATIVE } else { 0 }, weight as i16 as u16]
        };
        header.into_iter().chain(digits).flat_map(u16::to_ne_bytes).collect()
    }

    #[test]
    fn numbers_are_rounded_as_their_text_is() {
        for text in [
            "0",
            "1",
            "-1",
            "0.1",
            "-0.3",
            "9999",
            "10000",
            "12345.6789",
            "123456789012345678",
            "9007199254740993",
            "9007199254740992",
            "0.1000000000000000055511151231257827",
            "179769313486231570000000000000000000000",
            "0.00000000000000000000000000000000000001",
            "3.14159265358979323846264338327950288419716939937510582097494459",
            "-98765432109876543210.0123456789",
            "2.2250738585072011",
            "4503599627370497.5",
            "99999999999999990000",
        ] {
            for short in [true, false] {
                let bytes = stored(text, short);
                assert_eq!(to_f64(&bytes), Ok(text.parse().unwrap()), "{text}, short {short}");
                assert!(!is_nan(&bytes));
            }
        }
    }

    #[test]
    fn many_random_numbers_are_rounded_as_their_text_is() {
        let mut state = 1u64;
        let mut next = |limit: u64| {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (state >> 33) % limit
        };
        for _ in 0..20_000 {
            let mut digits =
                |most: u64| -> String { (0..next(most) + 1).map(|_| char::from(b'0' + next(10) as u8)).collect() };
            let text = format!("{}.{}", digits(20), digits(20));
            assert_eq!(to_f64(&stored(&text, true)), Ok(text.parse().unwrap()), "{text}");
        }
    }

    #[test]
    fn what_is_no_finite_double_is_told() {
        let special = |header: u16| header.to_ne_bytes().to_vec();
        assert_eq!(to_f64(&special(0xc000)), Err(Odd::NotANumber));
        assert!(is_nan(&special(0xc000)) && !is_nan(&special(0xd000)));
        assert_eq!(to_f64(&special(0xd000)), Err(Odd::Infinite { negative: false }));
        assert_eq!(to_f64(&special(0xf000)), Err(Odd::Infinite { negative: true }));
        let huge = format!("1{}", "0".repeat(400));
        assert_eq!(to_f64(&stored(&huge, false)), Err(Odd::TooLarge));
        let tiny = format!("0.{}1", "0".repeat(400));
        assert_eq!(to_f64(&stored(&tiny, false)), Ok(0.0));
        assert_eq!(to_f64(&[]), Err(Odd::NotANumber));
        assert_eq!(to_f64(&[0]), Err(Odd::NotANumber));
        assert_eq!(to_f64(&[0, 0]), Err(Odd::NotANumber));
    }
}
