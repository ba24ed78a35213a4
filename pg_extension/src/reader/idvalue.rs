//! The published text form of a feature, `id:value`.

/// Parses `id:value`, an id from 0 to 2^31-1 and a finite number; None for anything else.
#[inline]
pub fn parse(text: &[u8]) -> Option<(i32, f32)> {
    let colon = text.iter().position(|&b| b == b':')?;
    let (id, value) = (&text[..colon], &text[colon + 1..]);
    if id.is_empty() || id.len() > 10 {
        return None;
    }
    let mut number = 0i64;
    for &byte in id {
        if !byte.is_ascii_digit() {
            return None;
        }
        number = number * 10 + i64::from(byte - b'0');
    }
    let id = i32::try_from(number).ok()?;
    // Nearly every published value is the plain one.
    let value = if value == b"1" { 1.0 } else { std::str::from_utf8(value).ok()?.parse::<f32>().ok()? };
    value.is_finite().then_some((id, value))
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn reads_what_is_published() {
        assert_eq!(parse(b"0:1"), Some((0, 1.0)));
        assert_eq!(parse(b"5381:0.25"), Some((5381, 0.25)));
        assert_eq!(parse(b"2147483647:-1e3"), Some((i32::MAX, -1000.0)));
    }

    #[test]
    fn refuses_everything_else() {
        for text in [
            "",
            ":",
            "1",
            "1:",
            ":1",
            "a:1",
            "-1:1",
            "1:x",
            "1:nan",
            "1:inf",
            "2147483648:1",
            "99999999999:1",
            "1:1 ",
            " 1:1",
        ] {
            assert_eq!(parse(text.as_bytes()), None, "{text:?}");
        }
    }
}
