//! The files of the journal: made ahead, filled, removed.

use super::StoreError;
use super::layout::{Shared, locked};
use ha_core::Lsn;
use ha_core::store::medium::{MediumFile, Open};
use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The unit of a batch: a torn batch never touches an older block.
pub(super) const BLOCK_BYTES: u64 = 4096;

/// One file of the journal.
#[derive(Clone)]
pub(super) struct Segment {
    pub(super) number: u64,
    pub(super) file: Arc<dyn MediumFile>,
    /// The first and the last LSN in it; zero in a spare one.
    pub(super) first: Lsn,
    pub(super) last: Lsn,
    /// Where the next batch goes.
    pub(super) end: u64,
}

/// All of them, oldest first.
#[derive(Default)]
pub(super) struct Segments {
    pub(super) used: VecDeque<Segment>,
    pub(super) spare: VecDeque<Segment>,
    /// The number of the next one to be made.
    pub(super) next: u64,
}

impl Segments {
    /// The oldest LSN held.
    pub(super) fn oldest(&self) -> Option<Lsn> {
        self.used.front().map(|segment| segment.first)
    }

    /// The one that holds `lsn`.
    pub(super) fn holding(&self, lsn: Lsn) -> Option<&Segment> {
        let after = self.used.partition_point(|segment| segment.first <= lsn);
        self.used.get(after.checked_sub(1)?).filter(|segment| lsn <= segment.last)
    }
}

pub(super) fn name(journal: &Path, number: u64) -> PathBuf {
    journal.join(format!("{number:016x}.seg"))
}

/// The number in a segment's name.
pub(super) fn number_of(name: &str) -> Option<u64> {
    u64::from_str_radix(name.strip_suffix(".seg")?, 16).ok()
}

/// Makes one more spare segment.
pub(super) fn prepare(shared: &Shared) -> Result<(), StoreError> {
    let number = locked(&shared.segments).next;
    let doing = "cannot prepare a segment of the journal";
    let path = name(&shared.places.journal, number);
    let made = || {
        let file = shared.medium.open(&path, Open::Create)?;
        file.allocate(shared.config.limits.segment_bytes)?;
        // Not for durability, which `journal.batch` gives: the first batch would pay for all these zeros.
        file.sync_data("segment.zeros")?;
        shared.medium.sync_dir(&shared.places.journal, "segment.name")?;
        Ok(file)
    };
    let file = made().map_err(StoreError::io(doing))?;
    let mut segments = locked(&shared.segments);
    segments.next = number + 1;
    segments.spare.push_back(Segment { number, file: Arc::from(file), first: Lsn(0), last: Lsn(0), end: 0 });
    Ok(())
}

/// Keeps `wanted` segments ready.
pub(super) fn prepare_up_to(shared: &Shared, wanted: usize) -> Result<(), StoreError> {
    let _one_at_a_time = locked(&shared.preparing);
    while locked(&shared.segments).spare.len() < wanted {
        prepare(shared)?;
    }
    Ok(())
}

/// Removes what no recovery, no copy and no catch-up within the limit needs.
pub(super) fn trim(shared: &Shared, checkpoint: Lsn) -> Result<(), StoreError> {
    let needed = shared.held().map_or(checkpoint, |held| held.min(checkpoint));
    loop {
        let mut segments = locked(&shared.segments);
        let total = segments.used.len() as u64 * shared.config.limits.segment_bytes;
        let oldest_is_free = segments.used.front().is_some_and(|oldest| oldest.last <= needed);
        if segments.used.len() < 2 || total <= shared.config.limits.retain_bytes || !oldest_is_free {
            return Ok(());
        }
        let Some(oldest) = segments.used.pop_front() else { return Ok(()) };
        drop(segments);
        let path = name(&shared.places.journal, oldest.number);
        shared.medium.remove(&path).map_err(StoreError::io("cannot remove an old segment of the journal"))?;
    }
}
