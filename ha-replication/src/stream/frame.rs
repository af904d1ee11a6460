//! The frames of an authenticated session: sequence-bound, sealed, verified before they are decoded.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use std::fmt;
use zeroize::Zeroizing;

/// Bytes of a tag.
const TAG: usize = 16;
/// Length, type, padding, sequence number.
pub(crate) const HEAD: usize = 16;
/// The longest body.
pub(crate) const MAX_BODY: usize = 256 << 10;
/// The largest value of the length field: all after itself.
const MAX_LEN: usize = MAX_BODY + HEAD - 4 + TAG;

/// One direction's key, and the number of its next frame.
pub(crate) struct Seal {
    key: Hmac<Sha256>,
    next: u64,
}

impl fmt::Debug for Seal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Seal").field("next", &self.next).finish_non_exhaustive()
    }
}

/// A frame that breaks the protocol. The session ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Violation {
    /// The length field is out of bounds.
    #[error("a frame of {found} bytes, expected at most {MAX_LEN}")]
    Length {
        /// Its length.
        found: usize,
    },
    /// The tag is wrong: forged, damaged, reflected, replayed or out of order.
    #[error("a frame whose tag does not fit its content, sender and place in the session")]
    Tag,
    /// A number is missing or came twice.
    #[error("frame number {found}, expected {expected}")]
    Sequence {
        /// Its number.
        found: u64,
        /// The number that was due.
        expected: u64,
    },
    /// Nothing that this version knows.
    #[error("a frame of unknown type {found}")]
    Type {
        /// Its type.
        found: u8,
    },
    /// The content is cut short, too long or out of range.
    #[error("a {what} frame whose content makes no sense")]
    Content {
        /// Which frame.
        what: &'static str,
    },
    /// A record that is damaged or does not continue the log.
    #[error("a record that does not continue this log: {what}")]
    Record {
        /// What is wrong.
        what: &'static str,
    },
    /// An acknowledgement of something that was never sent, or of another content.
    #[error("an acknowledgement {what}")]
    Ack {
        /// What is wrong.
        what: &'static str,
    },
}

impl Seal {
    #[expect(clippy::expect_used, reason = "HMAC is defined for keys of every length")]
    pub(crate) fn new(key: &Zeroizing<[u8; 32]>) -> Self {
        Self { key: Hmac::new_from_slice(key.as_slice()).expect("a key of any length"), next: 0 }
    }

    /// Frames sealed, or opened, so far.
    pub(crate) const fn frames(&self) -> u64 {
        self.next
    }

    /// Appends a sealed frame to `out`.
    pub(crate) fn push(&mut self, out: &mut Vec<u8>, kind: u8, parts: &[&[u8]]) {
        let body: usize = parts.iter().map(|p| p.len()).sum();
        let start = out.len();
        let len = u32::try_from(body + HEAD - 4 + TAG).unwrap_or(u32::MAX);
        out.reserve(HEAD + body + TAG);
        out.extend_from_slice(&len.to_le_bytes());
        out.extend_from_slice(&[kind, 0, 0, 0]);
        out.extend_from_slice(&self.next.to_le_bytes());
        parts.iter().for_each(|p| out.extend_from_slice(p));
        let tag = self.key.clone().chain_update(&out[start..]).finalize().into_bytes();
        out.extend_from_slice(&tag[..TAG]);
        self.next += 1;
    }

    /// The first whole frame in `buffer`: its type, and where its body and its end are. `None`: more is needed.
    pub(crate) fn open(&mut self, buffer: &[u8]) -> Result<Option<Opened>, Violation> {
        let Some(len) = buffer.first_chunk::<4>() else { return Ok(None) };
        let len = u32::from_le_bytes(*len) as usize;
        // Checked before anything is kept for it.
        if !(HEAD - 4 + TAG..=MAX_LEN).contains(&len) {
            return Err(Violation::Length { found: len });
        }
        let Some(frame) = buffer.get(..4 + len) else { return Ok(None) };
        let (sealed, tag) = frame.split_at(frame.len() - TAG);
        if self.key.clone().chain_update(sealed).verify_truncated_left(tag).is_err() {
            return Err(Violation::Tag);
        }
        let found = sealed.get(8..HEAD).and_then(|b| b.try_into().ok()).map_or(0, u64::from_le_bytes);
        if found != self.next {
            return Err(Violation::Sequence { found, expected: self.next });
        }
        self.next += 1;
        Ok(Some(Opened { kind: frame[4], body: HEAD..sealed.len(), end: frame.len() }))
    }
}

/// Where a verified frame lies in the buffer.
#[derive(Debug)]
pub(crate) struct Opened {
    pub kind: u8,
    pub body: std::ops::Range<usize>,
    pub end: usize,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair() -> (Seal, Seal) {
        let key = Zeroizing::new([7; 32]);
        (Seal::new(&key), Seal::new(&key))
    }

    fn frames(n: u8) -> (Vec<Vec<u8>>, Seal) {
        let (mut out, inward) = pair();
        let one = |i| {
            let mut bytes = Vec::new();
            out.push(&mut bytes, 18, &[&[i], b" body"]);
            bytes
        };
        ((0..n).map(one).collect(), inward)
    }

    #[test]
    fn frames_pass_in_order() {
        let (frames, mut inward) = frames(3);
        for (i, f) in frames.iter().enumerate() {
            assert!(inward.open(&f[..f.len() - 1]).unwrap().is_none(), "a part is not a frame");
            let opened = inward.open(f).unwrap().unwrap();
            assert_eq!(opened.kind, 18);
            assert_eq!(f[opened.body], [&[i as u8][..], b" body"].concat());
        }
    }

    #[test]
    fn a_repeated_or_reordered_frame_is_refused() {
        let (frames, mut inward) = frames(3);
        inward.open(&frames[0]).unwrap();
        assert_eq!(inward.open(&frames[0]).unwrap_err(), Violation::Sequence { found: 0, expected: 1 });
        assert_eq!(inward.open(&frames[2]).unwrap_err(), Violation::Sequence { found: 2, expected: 1 });
    }

    #[test]
    fn any_flipped_bit_is_found() {
        let (frames, _) = frames(1);
        for bit in 32..frames[0].len() * 8 {
            let mut bad = frames[0].clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(pair().1.open(&bad).unwrap_err(), Violation::Tag, "bit {bit}");
        }
    }

    #[test]
    fn a_long_frame_is_refused_by_its_length_alone() {
        for len in [0, 27, u32::MAX, MAX_LEN as u32 + 1] {
            let found = pair().1.open(&len.to_le_bytes()).unwrap_err();
            assert_eq!(found, Violation::Length { found: len as usize });
        }
    }
}
