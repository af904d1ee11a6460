//! Keeps a tail that leaves the journal.

use super::layout::{QUARANTINE_DIR, Shared, locked};
use super::scan::{Cursor, Next};
use super::{QuarantineReport, StoreError};
use crate::record::{Chain, RecordError};
use ha_core::store::medium::{MediumFile, Open};
use ha_core::{Epoch, Lsn};
use std::io;
use std::path::Path;

/// Where the journal ends after the cut.
pub(super) struct End {
    pub(super) epoch: Epoch,
    pub(super) chain: Chain,
    /// In the last segment that stays.
    pub(super) offset: u64,
}

/// Copies the records `(after, until]` to a file of their own; durable on return.
pub(super) fn export(shared: &Shared, after: Lsn, until: Lsn) -> Result<(QuarantineReport, End), StoreError> {
    let doing = "cannot put the cut records into quarantine";
    let (checkpoint, chain) = *locked(&shared.checkpoint);
    let epoch = locked(&shared.superblock).now.facts.history.epoch_at(checkpoint).unwrap_or(Epoch(0));
    let mut end = End { epoch, chain, offset: 0 };
    let tmp = Path::new(QUARANTINE_DIR).join("cut.tmp");
    let file = shared.medium.open(&tmp, Open::Create).map_err(StoreError::io(doing))?;
    file.set_len(0).map_err(StoreError::io(doing))?;
    let first = copy(shared, after, until, &*file, &mut end)?;
    let name = format!("{}-{}-{}.jnl", first.0, after.0 + 1, until.0);
    let path = Path::new(QUARANTINE_DIR).join(name);
    let kept = || -> io::Result<()> {
        file.sync_data("quarantine.file")?;
        shared.medium.rename(&tmp, &path)?;
        shared.medium.sync_dir(Path::new(QUARANTINE_DIR), "quarantine.name")
    };
    kept().map_err(StoreError::io(doing))?;
    Ok((QuarantineReport { fork: after, until, epoch: first, file: path }, end))
}

/// The epoch of the first record that was copied.
fn copy(
    shared: &Shared,
    after: Lsn,
    until: Lsn,
    to: &dyn MediumFile,
    end: &mut End,
) -> Result<Epoch, StoreError> {
    let doing = "cannot put the cut records into quarantine";
    let segments: Vec<_> = locked(&shared.segments).used.iter().cloned().collect();
    let (mut first, mut at) = (None, 0);
    for segment in segments.iter().filter(|segment| segment.last >= after) {
        let mut cursor = Cursor::new(shared, segment, 0);
        loop {
            let record = match cursor.next().map_err(StoreError::io(doing))? {
                Next::Record(record) if record.head.lsn <= until => record,
                Next::Record(_) | Next::End => break,
                Next::Invalid(error) => return Err(error.into()),
            };
            if record.head.lsn <= after {
                (end.epoch, end.chain, end.offset) = (record.head.epoch, record.head.chain, cursor.offset);
                continue;
            }
            first.get_or_insert(record.head.epoch);
            to.write_at(&record.bytes, at).map_err(StoreError::io(doing))?;
            at += record.bytes.len() as u64;
        }
    }
    first.ok_or(StoreError::Record(RecordError::Gap { found: Lsn(0), expected: Lsn(after.0 + 1) }))
}
