//! The fixed part of a record.

use super::{Chain, HARD_PAYLOAD_BYTES, KeyHash, MirrorId, RecordError, RecordType, record_bytes, rule_of};
use ha_core::engine::AckRule;
use ha_core::{Epoch, Generation, Lsn, NodeId};

/// Before the payload.
pub(crate) const HEADER_BYTES: usize = 112;
pub(super) const MAGIC: [u8; 4] = *b"HMJ1";
pub(super) const VERSION: u8 = 1;
pub(super) const HAS_KEY: u16 = 1;
pub(super) const CHAIN_AT: usize = 88;

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
    pub(super) payload_crc: u32,
}

/// Little-endian fields of a fixed part of a slice; zeros beyond its end.
pub(super) struct Fields<'a>(pub(super) &'a [u8]);

impl Fields<'_> {
    pub(super) fn array<const N: usize>(&self, at: usize) -> [u8; N] {
        self.0.get(at..at + N).and_then(|part| part.try_into().ok()).unwrap_or([0; N])
    }
    fn u8(&self, at: usize) -> u8 {
        self.array::<1>(at)[0]
    }
    pub(super) fn u32(&self, at: usize) -> u32 {
        u32::from_le_bytes(self.array(at))
    }
    pub(super) fn u64(&self, at: usize) -> u64 {
        u64::from_le_bytes(self.array(at))
    }
    pub(super) fn rule(&self, at: usize) -> Option<(NodeId, AckRule)> {
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
