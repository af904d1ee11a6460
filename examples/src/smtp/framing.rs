//! Bytes to command lines.

/// What the next bytes of a client are.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Framed {
    /// A line without its CRLF.
    Line(Vec<u8>),
    /// A line longer than allowed; it was skipped.
    TooLong,
    /// A CR or LF that is not part of a CRLF: whoever sends it may disagree with us about where lines end.
    Bare,
}

/// Cuts input into command lines. Keeps at most one line and what followed it in the same reads.
#[derive(Debug)]
pub(super) struct Lines {
    limit: usize,
    skipping: bool,
}

impl Lines {
    pub(super) const fn new(limit: usize) -> Self {
        Self { limit, skipping: false }
    }

    /// Takes the next line out of `input`, if it is whole.
    pub(super) fn next(&mut self, input: &mut Vec<u8>) -> Option<Framed> {
        let Some(end) = input.iter().position(|b| matches!(b, b'\r' | b'\n')) else {
            return self.unfinished(input, input.len());
        };
        match input.get(end..end + 2) {
            Some(b"\r\n") => {}
            None if input[end] == b'\r' => return self.unfinished(input, end),
            _ => return Some(Framed::Bare),
        }
        let mut line: Vec<u8> = input.drain(..end + 2).collect();
        if std::mem::take(&mut self.skipping) || line.len() > self.limit {
            return Some(Framed::TooLong);
        }
        line.truncate(end);
        Some(Framed::Line(line))
    }

    /// No line end yet after `seen` bytes. What can only become too long is not kept.
    fn unfinished(&mut self, input: &mut Vec<u8>, seen: usize) -> Option<Framed> {
        if seen + 2 > self.limit {
            self.skipping = true;
        }
        if self.skipping {
            input.drain(..seen);
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(lines: &mut Lines, input: &mut Vec<u8>) -> Vec<Framed> {
        std::iter::from_fn(|| lines.next(input)).take(10).collect()
    }

    #[test]
    fn lines_come_whole_whatever_the_reads_were() {
        let mut lines = Lines::new(20);
        let mut input = Vec::new();
        let mut got = Vec::new();
        for byte in b"NOOP\r\n\r\nQUIT\r\n" {
            input.push(*byte);
            got.extend(lines.next(&mut input));
        }
        let line = |s: &str| Framed::Line(s.into());
        assert_eq!(got, [line("NOOP"), line(""), line("QUIT")]);
        assert!(input.is_empty());
    }

    #[test]
    fn a_line_at_the_limit_passes_and_one_above_is_skipped_without_being_kept() {
        let mut lines = Lines::new(6);
        let mut input = b"NOOP\r\nNOOPS\r\nQUIT\r\n".to_vec();
        let got = all(&mut lines, &mut input);
        assert_eq!(got, [Framed::Line(b"NOOP".into()), Framed::TooLong, Framed::Line(b"QUIT".into())]);
        for _ in 0..100 {
            input.extend([b'x'; 50]);
            assert_eq!(lines.next(&mut input), None);
            assert!(input.len() < 6);
        }
        input.extend(b"\r\nRSET\r\n");
        assert_eq!(all(&mut lines, &mut input), [Framed::TooLong, Framed::Line(b"RSET".into())]);
    }

    #[test]
    fn a_bare_line_end_is_no_line_end() {
        for bad in [&b"NOOP\nQUIT\r\n"[..], b"NOOP\rQUIT\r\n", b"\n", b"\r\r\n"] {
            assert_eq!(Lines::new(20).next(&mut bad.to_vec()), Some(Framed::Bare), "{bad:?}");
        }
        assert_eq!(Lines::new(20).next(&mut b"NOOP\r".to_vec()), None);
    }
}
