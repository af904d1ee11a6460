//! The message: from `354` to CRLF.CRLF, and to nothing else.
//!
//! Servers that take `LF.LF` or `LF.CRLF` for an end let a client smuggle a second message past a relay that does
//! not. Here a CR or LF of its own refuses the whole message.

/// How a message ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// CRLF.CRLF came.
    Complete,
    /// CRLF.CRLF came, and the message was longer than allowed. It was not kept.
    TooLarge,
    /// CRLF.CRLF came, and a line was longer than allowed. The message was not kept.
    LineTooLong,
    /// A CR or LF of its own.
    Bare,
}

#[derive(Clone, Copy, Debug)]
enum At {
    LineStart,
    Text,
    Cr,
    Dot,
    DotCr,
}

/// Collects one message.
#[derive(Debug)]
pub(super) struct Collector {
    at: At,
    message: Vec<u8>,
    message_limit: usize,
    line: usize,
    line_limit: usize,
    refused: Option<End>,
}

impl Collector {
    pub(super) const fn new(message_limit: usize, line_limit: usize) -> Self {
        Self { at: At::LineStart, message: Vec::new(), message_limit, line: 0, line_limit, refused: None }
    }

    /// The message without stuffed dots and final dot.
    pub(super) fn into_message(self) -> Vec<u8> {
        self.message
    }

    /// Takes bytes, and says how many of them belong to the message, and its end if that came.
    pub(super) fn take(&mut self, input: &[u8]) -> (usize, Option<End>) {
        let mut used = 0;
        while let Some(&byte) = input.get(used) {
            used += 1;
            self.at = match (self.at, byte) {
                (At::LineStart, b'.') => At::Dot,
                (At::LineStart | At::Text, b'\r') => At::Cr,
                (At::Dot, b'\r') => At::DotCr,
                (At::DotCr, b'\n') => return (used, Some(self.refused.unwrap_or(End::Complete))),
                (At::Cr, b'\n') => {
                    self.keep(b"\r\n");
                    self.line = 0;
                    At::LineStart
                }
                (At::Cr | At::DotCr, _) | (_, b'\n') => return (used, Some(End::Bare)),
                (At::LineStart | At::Text | At::Dot, _) => {
                    let rest = &input[used - 1..];
                    let run = rest.iter().position(|b| matches!(b, b'\r' | b'\n')).unwrap_or(rest.len());
                    self.keep(&rest[..run]);
                    used += run - 1;
                    At::Text
                }
            };
        }
        (used, None)
    }

    fn keep(&mut self, bytes: &[u8]) {
        self.line = self.line.saturating_add(bytes.len());
        if self.line > self.line_limit {
            self.refuse(End::LineTooLong);
        }
        if self.message.len().saturating_add(bytes.len()) > self.message_limit {
            self.refuse(End::TooLarge);
        }
        if self.refused.is_none() {
            self.message.extend_from_slice(bytes);
        }
    }

    /// The first reason stands; the room is given back at once.
    fn refuse(&mut self, end: End) {
        if self.refused.is_none() {
            self.refused = Some(end);
            self.message = Vec::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn collect(wire: &[u8]) -> (Vec<u8>, usize, Option<End>) {
        let mut collector = Collector::new(1000, 100);
        let (used, end) = collector.take(wire);
        (collector.into_message(), used, end)
    }

    /// What a correct client sends for `message`, which ends in CRLF or is empty.
    fn stuffed(message: &[u8]) -> Vec<u8> {
        let mut wire = Vec::new();
        for line in message.split_inclusive(|b| *b == b'\n') {
            if line.starts_with(b".") {
                wire.push(b'.');
            }
            wire.extend_from_slice(line);
        }
        wire.extend_from_slice(b".\r\n");
        wire
    }

    #[test]
    fn a_stuffed_dot_goes_and_the_final_one_ends() {
        let (message, used, end) = collect(b"..a\r\n.b\r\n...\r\n\r\n.\r\nQUIT\r\n");
        assert_eq!((message.as_slice(), end), (&b".a\r\nb\r\n..\r\n\r\n"[..], Some(End::Complete)));
        assert_eq!(used, 19, "what follows belongs to the next command");
        assert_eq!(collect(b".\r\n"), (vec![], 3, Some(End::Complete)));
    }

    #[test]
    fn nothing_but_crlf_dot_crlf_ends_a_message() {
        for wire in [
            &b"a\n.\n"[..],
            b"a\n.\r\n",
            b"a\r.\r",
            b"a\r\n.\n",
            b"a\r\n.\rb",
            b"a\r\r\n.\r\n",
            b"a\r\n.\r\r\n",
        ] {
            assert_eq!(collect(wire).2, Some(End::Bare), "{wire:?}");
        }
        assert_eq!(collect(b"a\r\n.").2, None);
        assert_eq!(collect(b"a.\r\n").2, None);
    }

    #[test]
    fn too_long_is_known_at_the_end_and_nothing_of_it_is_kept() {
        let mut wire = b"x".repeat(99);
        wire.extend_from_slice(b"\r\n.\r\n");
        assert_eq!(collect(&wire), (vec![], wire.len(), Some(End::LineTooLong)));
        let wire = [b"0123456\r\n".repeat(200), b".\r\n".to_vec()].concat();
        assert_eq!(collect(&wire), (vec![], wire.len(), Some(End::TooLarge)));
    }

    proptest! {
        #[test]
        fn every_message_comes_back_however_it_was_cut(
            lines in proptest::collection::vec("[.a-c ]{0,6}", 0..12),
            cuts in proptest::collection::vec(1usize..9, 1..9),
        ) {
            let message: Vec<u8> = lines.iter().flat_map(|l| [l.as_bytes(), b"\r\n"].concat()).collect();
            let wire = stuffed(&message);
            let mut collector = Collector::new(1000, 100);
            let (mut at, mut cut) = (0, cuts.iter().cycle());
            loop {
                let upto = (at + cut.next().unwrap()).min(wire.len());
                let (used, end) = collector.take(&wire[at..upto]);
                prop_assert_eq!(used, upto - at);
                at = upto;
                if let Some(end) = end {
                    prop_assert_eq!((end, at), (End::Complete, wire.len()));
                    break;
                }
            }
            prop_assert_eq!(collector.into_message(), message);
        }
    }
}
