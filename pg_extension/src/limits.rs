//! What the extension and the package must agree on. `python/trails/limits.toml` holds the numbers, and what each is.

include!(concat!(env!("OUT_DIR"), "/limits.rs"));

#[cfg(test)]
mod tests {
    use super::*;

    /// As the file writes it.
    fn written(name: &str) -> &'static str {
        let file = include_str!("../../python/trails/limits.toml");
        let entry = file.split(&format!("\n[{name}]\n")).nth(1).unwrap();
        entry.lines().find_map(|line| line.strip_prefix("value = ")).unwrap()
    }

    #[test]
    fn constants_are_those_of_the_file() {
        for (name, value) in [
            ("reserve_seconds", RESERVE_SECONDS),
            ("seconds_a_row", SECONDS_A_ROW),
            ("late_share", LATE_SHARE),
            ("written_a_second", WRITTEN_A_SECOND),
            ("log_tail", LOG_TAIL as f64),
            ("most_spellings", MOST_SPELLINGS as f64),
        ] {
            assert_eq!(written(name).parse::<f64>().unwrap(), value, "{name}");
        }
    }
}
