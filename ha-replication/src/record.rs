//! One record of the journal: the same bytes on both disks and on the wire. Layout: `docs/MIRROR-FORMAT.md`.

use crate::ops::{self, MAX_OPS, Op, OpsError};
use bytes::{BufMut, Bytes, BytesMut};
use ha_core::engine::AckRule;
use ha_core::{Epoch, Generation, Incarnation, Lsn, NodeId};
use std::fmt;

/// Before the payload.
pub(crate) const HEADER_BYTES: usize = 112;
/// No payload is longer, whatever the limits say.
pub(crate) const HARD_PAYLOAD_BYTES: usize = 16 << 20;
const MAGIC: [u8; 4] = *b"HMJ1";
const VERSION: u8 = 1;
const HAS_KEY: u16 = 1;
const CHAIN_AT: usize = 88;

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

/// The fields of a header that passed its checksum.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Head {
    pub(crate) kind: RecordType,
    pub(crate) epoch: Epoch,
    pub(crate) lsn: Lsn,
    /// What was committed when the sender gave out this LSN.
    pub(crate) commit: Lsn,
    pub(crate) mirror: MirrorId,
    pub(crate) key: Option<KeyHash>,
    pub(crate) chain: Chain,
    pub(crate) payload_len: u32,
    payload_crc: u32,
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

/// A transaction was not encoded.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub(crate) enum DraftError {
    #[error("the transaction is empty")]
    Empty,
    #[error("found {found} operations, expected at most {max}")]
    TooManyOps { found: usize, max: usize },
    #[error("found {found} bytes, expected at most {max}")]
    TooLarge { found: usize, max: usize },
}

/// A record without its place in the journal: all that is costly is done.
pub(crate) struct Draft {
    kind: RecordType,
    key: Option<KeyHash>,
    bytes: Vec<u8>,
    payload_crc: u32,
    payload_hash: blake3::Hash,
}

impl Draft {
    /// A transaction.
    pub(crate) fn tx(ops: &[Op], key: Option<KeyHash>, max: usize) -> Result<Self, DraftError> {
        if ops.is_empty() {
            return Err(DraftError::Empty);
        }
        if ops.len() > MAX_OPS {
            return Err(DraftError::TooManyOps { found: ops.len(), max: MAX_OPS });
        }
        let (found, max) = (ops::encoded_len(ops), max.min(HARD_PAYLOAD_BYTES));
        if found > max {
            return Err(DraftError::TooLarge { found, max });
        }
        Ok(Self::new(RecordType::Tx, key, found, |out| ops::encode(ops, out)))
    }

    /// The transaction `target` does not count.
    pub(crate) fn abort(target: Lsn) -> Self {
        Self::new(RecordType::Abort, None, 8, |out| out.put_u64_le(target.0))
    }

    /// A node became primary.
    pub(crate) fn epoch_start(start: &EpochStart) -> Self {
        Self::new(RecordType::EpochStart, None, 40, |out| {
            put_rule(out, start.node, start.rule);
            out.put_u128_le(start.incarnation.0);
            out.put_u64_le(start.previous.0);
        })
    }

    /// A rule came into force.
    pub(crate) fn rule(rule: &RuleSeen) -> Self {
        Self::new(RecordType::Rule, None, 16, |out| put_rule(out, rule.node, rule.rule))
    }

    fn new(kind: RecordType, key: Option<KeyHash>, len: usize, fill: impl FnOnce(&mut Vec<u8>)) -> Self {
        let mut bytes = Vec::with_capacity(record_bytes(len));
        bytes.resize(HEADER_BYTES, 0);
        fill(&mut bytes);
        let payload = bytes.get(HEADER_BYTES..).unwrap_or_default();
        let (payload_crc, payload_hash) = (crc32c::crc32c(payload), blake3::hash(payload));
        Self { kind, key, bytes, payload_crc, payload_hash }
    }

    /// Gives it its place. Hashes some 200 bytes, whatever the payload.
    pub(crate) fn seal(
        mut self,
        mirror: MirrorId,
        epoch: Epoch,
        lsn: Lsn,
        commit: Lsn,
        previous: Chain,
    ) -> Record {
        let payload_len = (self.bytes.len() - HEADER_BYTES) as u32;
        let mut header = Vec::with_capacity(HEADER_BYTES);
        header.put_slice(&MAGIC);
        header.put_u8(VERSION);
        header.put_u8(self.kind as u8);
        header.put_u16_le(if self.key.is_some() { HAS_KEY } else { 0 });
        header.put_u32_le(payload_len);
        header.put_u32_le(0);
        header.put_u64_le(lsn.0);
        header.put_u64_le(epoch.0);
        header.put_u64_le(commit.0);
        header.put_u128_le(mirror.0);
        header.put_u64_le(epoch.0);
        header.put_u64_le(lsn.0);
        header.put_slice(&self.key.map_or([0; 16], |key| key.0));
        let chain = Chain(hash128(&[&previous.0, &header, self.payload_hash.as_bytes()]));
        header.put_slice(&chain.0);
        header.put_u32_le(self.payload_crc);
        header.put_u32_le(crc32c::crc32c(&header));
        if let Some(place) = self.bytes.get_mut(..HEADER_BYTES) {
            place.copy_from_slice(&header);
        }
        self.bytes.resize(record_bytes(payload_len as usize), 0);
        let (kind, key, payload_crc) = (self.kind, self.key, self.payload_crc);
        let head = Head { kind, epoch, lsn, commit, mirror, key, chain, payload_len, payload_crc };
        Record { head, bytes: self.bytes.into(), after: Some(previous) }
    }
}

fn put_rule(out: &mut Vec<u8>, node: NodeId, rule: AckRule) {
    let (tag, generation) = rule_parts(rule);
    out.put_u8(node.0);
    out.put_u8(tag);
    out.put_bytes(0, 6);
    out.put_u64_le(generation.0);
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

/// Little-endian fields of a fixed part of a slice; zeros beyond its end.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn array<const N: usize>(&self, at: usize) -> [u8; N] {
        self.0.get(at..at + N).and_then(|part| part.try_into().ok()).unwrap_or([0; N])
    }
    fn u8(&self, at: usize) -> u8 {
        self.array::<1>(at)[0]
    }
    fn u32(&self, at: usize) -> u32 {
        u32::from_le_bytes(self.array(at))
    }
    fn u64(&self, at: usize) -> u64 {
        u64::from_le_bytes(self.array(at))
    }
    fn rule(&self, at: usize) -> Option<(NodeId, AckRule)> {
        let padded = self.array::<6>(at + 2) == [0; 6];
        let rule = rule_of(self.u8(at + 1), Generation(self.u64(at + 8))).filter(|_| padded)?;
        Some((NodeId(self.u8(at)), rule))
    }
}

impl Head {
    /// Checks and reads the header at the start of `bytes`; `None` if there are fewer than a header's.
    pub(crate) fn parse(bytes: &[u8], mirror: MirrorId, max: usize) -> Result<Option<Self>, RecordError> {
        let magic = bytes.get(..4).map_or(MAGIC, |_| Fields(bytes).array(0));
        if magic != MAGIC {
            return Err(RecordError::Magic(magic));
        }
        let Some(bytes) = bytes.get(..HEADER_BYTES) else { return Ok(None) };
        let fields = Fields(bytes);
        if crc32c::crc32c(bytes.get(..108).unwrap_or_default()) != fields.u32(108) {
            return Err(RecordError::HeaderSum);
        }
        if fields.u8(4) != VERSION {
            return Err(RecordError::Version(fields.u8(4)));
        }
        let kind = match fields.u8(5) {
            1 => RecordType::Tx,
            2 => RecordType::Abort,
            3 => RecordType::EpochStart,
            4 => RecordType::Rule,
            other => return Err(RecordError::Type(other)),
        };
        let flags = u16::from_le_bytes(fields.array(6));
        let key = KeyHash(fields.array(72));
        let head = Self {
            kind,
            epoch: Epoch(fields.u64(24)),
            lsn: Lsn(fields.u64(16)),
            commit: Lsn(fields.u64(32)),
            mirror: MirrorId(u128::from_le_bytes(fields.array(40))),
            key: (flags == HAS_KEY).then_some(key),
            chain: Chain(fields.array(CHAIN_AT)),
            payload_len: fields.u32(8),
            payload_crc: fields.u32(104),
        };
        let lsn = head.lsn;
        if head.mirror != mirror {
            return Err(RecordError::Mirror { found: head.mirror, expected: mirror });
        }
        let fault = |what| Err(RecordError::Field { lsn, what });
        if flags & !HAS_KEY != 0 || (flags == 0 && key.0 != [0; 16]) || fields.u32(12) != 0 {
            return fault("flags, key or reserved bytes");
        }
        if lsn.0 == 0 || head.epoch.0 == 0 || head.commit >= lsn {
            return fault("LSN, epoch or commit");
        }
        if fields.u64(56) != head.epoch.0 || fields.u64(64) != lsn.0 {
            return fault("transaction id");
        }
        let max = max.min(HARD_PAYLOAD_BYTES);
        if head.payload_len as usize > max {
            return Err(RecordError::TooLong { lsn, found: head.payload_len, max });
        }
        Ok(Some(head))
    }

    /// Of the whole record.
    pub(crate) const fn record_bytes(&self) -> usize {
        record_bytes(self.payload_len as usize)
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::{RelPath, Target};
    use proptest::prelude::*;

    const MIRROR: MirrorId = MirrorId(77);

    fn start() -> (Record, Chain) {
        let rule = AckRule::Alone(Generation(3));
        let start = EpochStart { node: NodeId(1), rule, incarnation: Incarnation(9), previous: Epoch(2) };
        let chain = Chain::start(MIRROR);
        (Draft::epoch_start(&start).seal(MIRROR, Epoch(5), Lsn(1), Lsn(0), chain), chain)
    }

    fn tx() -> Record {
        let data = Bytes::from_static(b"some mail");
        let path = RelPath::new("new/1").unwrap();
        let ops = [Op::Put { path, target: Target::default(), data }];
        let draft = Draft::tx(&ops, Some(KeyHash::of(b"k")), 1 << 20).unwrap();
        draft.seal(MIRROR, Epoch(5), Lsn(2), Lsn(1), start().0.head.chain)
    }

    #[test]
    fn record_round_trip() {
        let (first, before) = start();
        let second = tx();
        let mut stream = BytesMut::new();
        stream.extend_from_slice(&first.bytes);
        stream.extend_from_slice(&second.bytes[..second.bytes.len() - 1]);
        let read = Record::take(&mut stream, MIRROR, 1 << 20).unwrap().unwrap();
        assert_eq!(read, first);
        assert_eq!(Record::take(&mut stream, MIRROR, 1 << 20).unwrap(), None);
        stream.extend_from_slice(&second.bytes[second.bytes.len() - 1..]);
        let read = Record::take(&mut stream, MIRROR, 1 << 20).unwrap().unwrap();
        assert_eq!(read, second);
        first.follows(Lsn(0), Epoch(0), before).unwrap();
        second.follows(Lsn(1), Epoch(5), first.head.chain).unwrap();
        assert!(matches!(first.body().unwrap(), Body::EpochStart(s) if s.previous == Epoch(2)));
        assert!(matches!(second.body().unwrap(), Body::Tx(ops) if ops.len() == 1));
        let seal = |draft: Draft| draft.seal(MIRROR, Epoch(5), Lsn(3), Lsn(1), second.head.chain);
        assert_eq!(seal(Draft::abort(Lsn(2))).body().unwrap(), Body::Abort { target: Lsn(2) });
        let rule = RuleSeen { node: NodeId(0), rule: AckRule::Both(Generation(4)), at: Lsn(3) };
        assert_eq!(seal(Draft::rule(&rule)).body().unwrap(), Body::Rule(rule));
    }

    #[test]
    fn a_record_out_of_its_place_does_not_follow() {
        let second = tx();
        let chain = start().0.head.chain;
        assert!(matches!(second.follows(Lsn(2), Epoch(5), chain), Err(RecordError::Gap { .. })));
        assert!(matches!(second.follows(Lsn(1), Epoch(4), chain), Err(RecordError::Epoch { .. })));
        let other = Chain::start(MIRROR);
        assert!(matches!(second.follows(Lsn(1), Epoch(5), other), Err(RecordError::Chain { .. })));
    }

    proptest! {
        #[test]
        fn any_bit_flip_in_a_record_is_found(bit in 0..tx().bytes.len() * 8) {
            let mut bytes = BytesMut::from(&tx().bytes[..]);
            bytes[bit / 8] ^= 1 << (bit % 8);
            let read = Record::take(&mut bytes, MIRROR, 1 << 20);
            prop_assert!(!matches!(read, Ok(Some(_))), "{read:?}");
        }

        #[test]
        fn decoder_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..300), magic in any::<bool>()) {
            let mut stream = BytesMut::from(if magic { &MAGIC[..] } else { &[] });
            stream.extend_from_slice(&bytes);
            let _ = Record::take(&mut stream, MIRROR, 1 << 20);
            let mut sealed = tx();
            sealed.bytes = [&sealed.bytes[..HEADER_BYTES], &bytes].concat().into();
            sealed.head.payload_len = bytes.len() as u32;
            let _ = sealed.body();
        }
    }
}
