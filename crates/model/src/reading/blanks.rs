//! Blanks around texts and between digits.

/// Blanks of ASCII, and the ones that people set between digits: no-break, narrow no-break and thin.
const WIDE_BLANKS: [&[u8]; 3] = ["\u{a0}".as_bytes(), "\u{202f}".as_bytes(), "\u{2009}".as_bytes()];

/// How many bytes the blank takes that a text begins with; 0 without one.
pub fn blank_before(text: &[u8]) -> usize {
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

pub fn left_trimmed(mut text: &[u8]) -> &[u8] {
    loop {
        match blank_before(text) {
            0 => return text,
            bytes => text = &text[bytes..],
        }
    }
}

pub fn right_trimmed(mut text: &[u8]) -> &[u8] {
    loop {
        match blank_behind(text) {
            0 => return text,
            bytes => text = &text[..text.len() - bytes],
        }
    }
}

/// Without blanks around it.
pub fn trimmed(text: &[u8]) -> &[u8] {
    right_trimmed(left_trimmed(text))
}
