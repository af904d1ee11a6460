//! One record of the journal: the same bytes on both disks and on the wire. Layout: `docs/MIRROR-FORMAT.md`.

mod draft;
mod head;
#[cfg(test)]
mod tests;

pub(crate) use draft::{Draft, DraftError};
pub(crate) use head::{HEADER_BYTES, Head};

use crate::ops::{self, Op, OpsError};
use bytes::{Bytes, BytesMut};
use ha_core::engine::AckRule;
use ha_core::{Epoch, Generation, Incarnation, Lsn, NodeId};
use head::{CHAIN_AT, Fields};
use std::fmt;

/// No payload is longer, whatever the limits say.
pub(crate) const HARD_PAYLOAD_BYTES: usize = 16 << 20;

/// The name of a mirror; the same on both nodes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MirrorId(pub u128);

impl MirrorId {
    /// Made from a name that a person chose.
    #[must_use]
    pub fn from_name(name: &str) -> Self {
        Self(u128::from_le_bytes(hash128(&[b"ha-mirror id", name.as_bytes()])))
    }
}

impl fmt::Display for MirrorId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", (self.0 >> 96) as u32)
    }
}

impl fmt::Debug for MirrorId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MirrorId({:032x})", self.0)
    }
}

/// An idempotency key, hashed.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(crate) struct KeyHash(pub(crate) [u8; 16]);

impl KeyHash {
    pub(crate) fn of(key: &[u8]) -> Self {
        Self(hash128(&[b"ha-mirror key", key]))
    }
}

/// The hash of a record and of everything before it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Chain(pub(crate) [u8; 16]);

impl Chain {
    /// Before LSN 1.
    pub(crate) fn start(mirror: MirrorId) -> Self {
        Self(hash128(&[b"ha-mirror chain", &mirror.0.to_le_bytes()]))
    }
}

impl fmt::Debug for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Chain({:032x})", u128::from_be_bytes(self.0))
    }
}

fn hash128(parts: &[&[u8]]) -> [u8; 16] {
    let mut hasher = blake3::Hasher::new();
    for part in parts {
        hasher.update(part);
    }
    let mut out = [0; 16];
    hasher.finalize_xof().fill(&mut out);
    out
}

/// What a record is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum RecordType {
    /// A transaction.
    Tx = 1,
    /// An earlier transaction does not count.
    Abort = 2,
    /// A node became primary.
    EpochStart = 3,
    /// Who must hold a transaction from here on.
    Rule = 4,
}

/// A whole record. `bytes`: as encoded, padded to 8; cheap to clone.
#[derive(Clone)]
pub(crate) struct Record {
    pub(crate) head: Head,
    pub(crate) bytes: Bytes,
    /// It was made, or checked, to continue the history that ends with this hash; its content decodes.
    after: Option<Chain>,
}

impl PartialEq for Record {
    fn eq(&self, other: &Self) -> bool {
        self.head == other.head && self.bytes == other.bytes
    }
}

impl Eq for Record {}

impl fmt::Debug for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Record({:?} {} of epoch {})", self.head.kind, self.head.lsn, self.head.epoch)
    }
}

/// A node became primary.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct EpochStart {
    pub(crate) node: NodeId,
    pub(crate) rule: AckRule,
    pub(crate) incarnation: Incarnation,
    pub(crate) previous: Epoch,
}

/// The rule of `node`, in force from `at` on. `at` is the record's own LSN and not part of its bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct RuleSeen {
    pub(crate) node: NodeId,
    pub(crate) rule: AckRule,
    pub(crate) at: Lsn,
}

/// A decoded payload.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Body {
    Tx(Vec<Op>),
    Abort { target: Lsn },
    EpochStart(EpochStart),
    Rule(RuleSeen),
}

/// What is wrong with a record.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum RecordError {
    #[error("no record here: found {0:02x?}, expected \"HMJ1\"")]
    Magic([u8; 4]),
    #[error("a record of format version {0}, expected 1: use the program that wrote it")]
    Version(u8),
    #[error("a record of unknown type {0} in format version 1: use the program that wrote it")]
    Type(u8),
    #[error("the header's checksum is wrong")]
    HeaderSum,
    #[error("the payload's checksum is wrong at LSN {0}")]
    PayloadSum(Lsn),
    #[error("LSN {lsn}: a field of the header holds what its type does not allow: {what}")]
    Field { lsn: Lsn, what: &'static str },
    #[error("LSN {lsn}: found a payload of {found} bytes, expected at most {max}")]
    TooLong { lsn: Lsn, found: u32, max: usize },
    #[error("found a record of mirror {found}, expected one of {expected}")]
    Mirror { found: MirrorId, expected: MirrorId },
    #[error("found LSN {found}, expected {expected}")]
    Gap { found: Lsn, expected: Lsn },
    #[error("LSN {lsn}: found epoch {found} after epoch {previous}; it may rise only where an epoch starts")]
    Epoch { lsn: Lsn, found: Epoch, previous: Epoch },
    #[error("LSN {lsn}: the record does not continue this history: found {found:?}, expected {expected:?}")]
    Chain { lsn: Lsn, found: Chain, expected: Chain },
    #[error("LSN {lsn}: {source}")]
    Ops { lsn: Lsn, source: OpsError },
}

/// (0 both or 1 alone, generation).
pub(crate) const fn rule_parts(rule: AckRule) -> (u8, Generation) {
    match rule {
        AckRule::Both(generation) => (0, generation),
        AckRule::Alone(generation) => (1, generation),
    }
}

/// The inverse of [`rule_parts`].
pub(crate) const fn rule_of(tag: u8, generation: Generation) -> Option<AckRule> {
    match tag {
        0 => Some(AckRule::Both(generation)),
        1 => Some(AckRule::Alone(generation)),
        _ => None,
    }
}

/// The whole record of a payload of `payload` bytes.
pub(crate) const fn record_bytes(payload: usize) -> usize {
    (HEADER_BYTES + payload).next_multiple_of(8)
}

impl Record {
    /// Checks that `bytes` are the whole record of `head`.
    pub(crate) fn from_parts(head: Head, bytes: Bytes) -> Result<Self, RecordError> {
        let record = Self { head, bytes, after: None };
        let payload_end = HEADER_BYTES + head.payload_len as usize;
        let padding = record.bytes.get(payload_end..head.record_bytes());
        if record.bytes.len() != head.record_bytes()
            || padding.is_none_or(|padding| padding.iter().any(|&byte| byte != 0))
        {
            return Err(RecordError::Field { lsn: head.lsn, what: "padding" });
        }
        if crc32c::crc32c(record.payload()) != head.payload_crc {
            return Err(RecordError::PayloadSum(head.lsn));
        }
        Ok(record)
    }

    /// Takes the next record off a stream; `None`: more bytes are needed.
    pub(crate) fn take(
        buffer: &mut BytesMut,
        mirror: MirrorId,
        max: usize,
    ) -> Result<Option<Self>, RecordError> {
        let Some(head) = Head::parse(buffer, mirror, max)? else { return Ok(None) };
        if buffer.len() < head.record_bytes() {
            return Ok(None);
        }
        Self::from_parts(head, buffer.split_to(head.record_bytes()).freeze()).map(Some)
    }

    fn payload(&self) -> &[u8] {
        self.bytes.get(HEADER_BYTES..HEADER_BYTES + self.head.payload_len as usize).unwrap_or_default()
    }

    /// Remembers that it [`follows`](Self::follows) `chain` and that its payload is one.
    pub(crate) const fn checked(mut self, chain: Chain) -> Self {
        self.after = Some(chain);
        self
    }

    /// As [`follows`](Self::follows), and that its payload is one; costs nothing if that is known already.
    pub(crate) fn is_next(&self, lsn: Lsn, epoch: Epoch, chain: Chain) -> Result<(), RecordError> {
        if self.after == Some(chain) && self.head.lsn.0 == lsn.0 + 1 && self.head.epoch == epoch {
            return Ok(());
        }
        self.follows(lsn, epoch, chain)?;
        self.body().map(drop)
    }

    /// Whether it comes right after the record `lsn` of `epoch` whose hash is `chain` (LSN 0: the start).
    pub(crate) fn follows(&self, lsn: Lsn, epoch: Epoch, chain: Chain) -> Result<(), RecordError> {
        let expected = Lsn(lsn.0.saturating_add(1));
        if self.head.lsn != expected {
            return Err(RecordError::Gap { found: self.head.lsn, expected });
        }
        let rises = self.head.epoch > epoch;
        if self.head.epoch < epoch || rises != (self.head.kind == RecordType::EpochStart) {
            let (found, lsn) = (self.head.epoch, self.head.lsn);
            return Err(RecordError::Epoch { lsn, found, previous: epoch });
        }
        let header = self.bytes.get(..CHAIN_AT).unwrap_or_default();
        let payload = blake3::hash(self.payload());
        let expected = Chain(hash128(&[&chain.0, header, payload.as_bytes()]));
        if self.head.chain != expected {
            let (lsn, found) = (self.head.lsn, self.head.chain);
            return Err(RecordError::Chain { lsn, found, expected });
        }
        Ok(())
    }

    /// The decoded payload; the data of a transaction share this record's memory.
    pub(crate) fn body(&self) -> Result<Body, RecordError> {
        let lsn = self.head.lsn;
        let fields = Fields(self.payload());
        let length = |expected: u32| match self.head.payload_len == expected {
            true => Ok(()),
            false => Err(RecordError::Field { lsn, what: "payload length" }),
        };
        let rule = || fields.rule(0).ok_or(RecordError::Field { lsn, what: "rule" });
        match self.head.kind {
            RecordType::Tx => {
                let end = HEADER_BYTES + self.head.payload_len as usize;
                ops::decode(self.bytes.slice(HEADER_BYTES..end))
                    .map(Body::Tx)
                    .map_err(|source| RecordError::Ops { lsn, source })
            }
            RecordType::Abort => {
                length(8)?;
                let target = Lsn(fields.u64(0));
                if target >= lsn || target.0 == 0 {
                    return Err(RecordError::Field { lsn, what: "target of an abort" });
                }
                Ok(Body::Abort { target })
            }
            RecordType::EpochStart => {
                length(40)?;
                let (node, rule) = rule()?;
                let incarnation = Incarnation(u128::from_le_bytes(fields.array(16)));
                Ok(Body::EpochStart(EpochStart { node, rule, incarnation, previous: Epoch(fields.u64(32)) }))
            }
            RecordType::Rule => {
                length(16)?;
                let (node, rule) = rule()?;
                Ok(Body::Rule(RuleSeen { node, rule, at: lsn }))
            }
        }
    }
}
