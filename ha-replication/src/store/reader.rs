//! Reads the journal for a peer that catches up.

use super::copy::CopySource;
use super::layout::{Shared, locked};
use super::scan::{Cursor, Next};
use super::{Rotation, StoreError};
use crate::record::{Chain, Record};
use ha_core::Lsn;
use std::sync::{Arc, Mutex};

/// Reads the journal while it is written. Any thread that may wait for a disk.
#[derive(Clone)]
pub(crate) struct Reader {
    pub(super) shared: Arc<Shared>,
    /// Where the reading before this one stopped: (next LSN, segment, offset).
    pub(super) hint: Arc<Mutex<Option<(Lsn, u64, u64)>>>,
}

impl Reader {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared, hint: Arc::default() }
    }

    /// The oldest LSN that the journal holds; the one after the checkpoint if it holds none.
    pub(crate) fn oldest(&self) -> Lsn {
        let oldest = locked(&self.shared.segments).oldest();
        oldest.unwrap_or_else(|| Lsn(locked(&self.shared.checkpoint).0.0 + 1))
    }

    /// The hash at `lsn`; `None`: not retained (LSN 0 and the checkpoint's are always known).
    pub(crate) fn chain_at(&self, lsn: Lsn) -> Result<Option<Chain>, StoreError> {
        let (checkpoint, chain) = *locked(&self.shared.checkpoint);
        match lsn {
            Lsn(0) => Ok(Some(Chain::start(self.shared.config.mirror))),
            known if known == checkpoint => Ok(Some(chain)),
            _ => Ok(self.read(lsn, lsn, 0)?.first().map(|record| record.head.chain)),
        }
    }

    /// The records `from..=to`: at least one, then as long as they are at most `max_bytes` together. Empty:
    /// not retained, or unreadable, which is the same to a peer.
    pub(crate) fn read(&self, from: Lsn, to: Lsn, max_bytes: usize) -> Result<Vec<Record>, StoreError> {
        let (mut records, mut bytes, mut next) = (Vec::new(), 0, from);
        while next <= to {
            let Some(segment) = locked(&self.shared.segments).holding(next).cloned() else { break };
            let hint = locked(&self.hint).filter(|hint| hint.0 == next && hint.1 == segment.number);
            let mut cursor = Cursor::new(&self.shared, &segment, hint.map_or(0, |hint| hint.2));
            let last = segment.last.min(to);
            while next <= last {
                let before = cursor.offset;
                let found = cursor.next().map_err(StoreError::io("cannot read the journal"))?;
                let Next::Record(record) = found else { return Ok(records) };
                if record.head.lsn < next {
                    continue;
                }
                bytes += record.bytes.len();
                if record.head.lsn != next || (bytes > max_bytes && !records.is_empty()) {
                    *locked(&self.hint) = Some((next, segment.number, before));
                    return Ok(records);
                }
                next = Lsn(next.0 + 1);
                records.push(record);
            }
            *locked(&self.hint) = Some((next, segment.number, cursor.offset));
        }
        Ok(records)
    }

    /// Holds pins and journal from `rotation` on until dropped. Take it before that checkpoint is made.
    pub(crate) fn copy_source(&self, rotation: Rotation) -> CopySource {
        CopySource::new(self.shared.clone(), rotation)
    }
}
