//! Cuts what a process sends into lines. Knows nothing of PostgreSQL.

use crate::limits::LONGEST_PROTOCOL_LINE;

/// A line that does not end.
#[derive(Debug, PartialEq)]
pub struct Endless;

/// Cuts a byte stream into lines.
#[derive(Debug, Default)]
pub struct Lines {
    buffer: Vec<u8>,
    /// Bytes at the beginning that were given out.
    given: usize,
    /// Bytes at the beginning that hold no further end of a line.
    searched: usize,
}

impl Lines {
    /// Takes what came; an error if the line at the end is longer than any should be.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<(), Endless> {
        self.buffer.drain(..self.given);
        self.searched -= self.given;
        self.given = 0;
        if self.buffer.len() + bytes.len() > LONGEST_PROTOCOL_LINE {
            return Err(Endless);
        }
        self.buffer.extend_from_slice(bytes);
        Ok(())
    }

    /// The next whole line, without its end.
    pub fn next(&mut self) -> Option<&[u8]> {
        let Some(length) = self.buffer[self.searched..].iter().position(|&b| b == b'\n') else {
            self.searched = self.buffer.len();
            return None;
        };
        let (begin, end) = (self.given, self.searched + length);
        (self.given, self.searched) = (end + 1, end + 1);
        Some(&self.buffer[begin..end])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_cut_where_they_end() {
        let mut lines = Lines::default();
        lines.feed(b"{\"a\":1}\n\n{\"b\"").unwrap();
        assert_eq!(lines.next(), Some(&b"{\"a\":1}"[..]));
        assert_eq!(lines.next(), Some(&b""[..]));
        assert_eq!(lines.next(), None);
        lines.feed(b":2}\n").unwrap();
        assert_eq!(lines.next(), Some(&b"{\"b\":2}"[..]));
        assert_eq!(lines.next(), None);
    }

    #[test]
    fn a_line_without_an_end_is_refused_and_not_searched_again_and_again() {
        let mut lines = Lines::default();
        let chunk = [b'x'; 16384];
        let began = std::time::Instant::now();
        let fed = (0..).take_while(|_| lines.feed(&chunk).is_ok() && lines.next().is_none()).count();
        assert_eq!(fed, LONGEST_PROTOCOL_LINE / chunk.len());
        assert!(began.elapsed().as_secs_f64() < 10.0);
    }
}
