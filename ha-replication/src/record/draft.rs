//! A record before it has its place.

use super::head::{HAS_KEY, HEADER_BYTES, Head, MAGIC, VERSION};
use super::{
    Chain, EpochStart, HARD_PAYLOAD_BYTES, KeyHash, MirrorId, Record, RecordType, RuleSeen, hash128,
    record_bytes, rule_parts,
};
use crate::ops::{self, MAX_OPS, Op};
use bytes::BufMut;
use ha_core::engine::AckRule;
use ha_core::{Epoch, Lsn, NodeId};

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
