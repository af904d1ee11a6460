//! Appends batches, durably; cuts a tail off.

use super::layout::{Shared, locked};
use super::scan;
use super::segment::{self, BLOCK_BYTES, Segment};
use super::{QuarantineReport, StoreError, quarantine};
use crate::record::{Chain, Record, RecordError};
use ha_core::{Epoch, Lsn};
use std::sync::Arc;

/// One write is at most this long, or one record: so much is rewritten when the mirror is opened.
pub(super) const BATCH_BYTES: u64 = 4 << 20;

/// The writer's side of the journal. One thread has it.
pub(crate) struct Journal {
    pub(super) shared: Arc<Shared>,
    pub(super) lsn: Lsn,
    pub(super) epoch: Epoch,
    pub(super) chain: Chain,
    /// One batch as it goes to the disk; its memory is used again.
    pub(super) buffer: Vec<u8>,
}

impl Journal {
    /// Durable on return. A record that does not follow, or whose operations are none, is refused before
    /// anything of its batch is written ([`StoreError::Record`]: the peer's fault, not terminal here).
    ///
    /// A full disk (see [`StoreError::is_full`]) loses nothing: what fitted is in the journal, and the call
    /// may be repeated with the rest. Any other error is terminal.
    pub(crate) fn append(&mut self, batch: &[Record]) -> Result<(Lsn, Chain), StoreError> {
        self.shared.usable()?;
        let mut rest = batch;
        while !rest.is_empty() {
            let room = self.room(rest)?;
            let (now, later) = rest.split_at(room);
            self.write(now)?;
            rest = later;
        }
        Ok((self.lsn, self.chain))
    }

    /// How many of the records fit into the present segment; takes the next segment if none does.
    fn room(&mut self, records: &[Record]) -> Result<usize, StoreError> {
        let limit = self.shared.config.limits.segment_bytes;
        let fitting = |end: u64| {
            let start = end.next_multiple_of(BLOCK_BYTES);
            let mut at = start;
            let fits = |record: &&Record| {
                let first = at == start;
                at += record.bytes.len() as u64;
                at <= limit && (first || at - start <= BATCH_BYTES)
            };
            records.iter().take_while(fits).count()
        };
        let end = locked(&self.shared.segments).used.back().map_or(limit, |last| last.end);
        match fitting(end) {
            0 => {}
            some => return Ok(some),
        }
        let fits = fitting(0);
        if fits == 0 {
            let found = records.first().map_or(0, |record| record.bytes.len() as u32);
            let lsn = Lsn(self.lsn.0 + 1);
            return Err(RecordError::TooLong { lsn, found, max: limit as usize }.into());
        }
        segment::prepare_up_to(&self.shared, 1)?;
        let mut segments = locked(&self.shared.segments);
        let next = segments.spare.pop_front().ok_or(StoreError::Failed)?;
        segments.used.push_back(Segment { first: Lsn(self.lsn.0 + 1), last: self.lsn, ..next });
        Ok(fits)
    }

    fn write(&mut self, records: &[Record]) -> Result<(), StoreError> {
        let (mut lsn, mut epoch, mut chain) = (self.lsn, self.epoch, self.chain);
        self.buffer.clear();
        for record in records {
            record.is_next(lsn, epoch, chain)?;
            let head = &record.head;
            (lsn, epoch, chain) = (head.lsn, head.epoch, head.chain);
            self.buffer.extend_from_slice(&record.bytes);
        }
        let records_end = self.buffer.len();
        self.buffer.resize(records_end.next_multiple_of(BLOCK_BYTES as usize), 0);
        let (file, at) = {
            let segments = locked(&self.shared.segments);
            let last = segments.used.back().ok_or(StoreError::Failed)?;
            (last.file.clone(), last.end.next_multiple_of(BLOCK_BYTES))
        };
        let done = file.write_at(&self.buffer, at).and_then(|()| file.sync_data("journal.batch"));
        self.shared.guard(done.map_err(StoreError::io("cannot write the journal")))?;
        if let Some(last) = locked(&self.shared.segments).used.back_mut() {
            (last.last, last.end) = (lsn, at + records_end as u64);
        }
        (self.lsn, self.epoch, self.chain) = (lsn, epoch, chain);
        Ok(())
    }

    /// Exports what comes after `after` into quarantine, durably, and then removes it from the journal.
    /// `None`: there was nothing. The caller's `after` is not below anything committed or acknowledged;
    /// nobody reads the journal meanwhile.
    pub(crate) fn cut(&mut self, after: Lsn) -> Result<Option<QuarantineReport>, StoreError> {
        self.shared.usable()?;
        if after >= self.lsn {
            return Ok(None);
        }
        let bound = locked(&self.shared.checkpoint).0;
        if after < bound {
            return Err(StoreError::CutTooDeep { after, bound });
        }
        let cut = self.cut_checked(after);
        self.shared.guard(cut).map(Some)
    }

    fn cut_checked(&mut self, after: Lsn) -> Result<QuarantineReport, StoreError> {
        let (report, end) = quarantine::export(&self.shared, after, self.lsn)?;
        let mut segments = locked(&self.shared.segments);
        let mut emptied = Vec::new();
        while segments.used.back().is_some_and(|last| last.first > after) {
            let Some(last) = segments.used.pop_back() else { break };
            emptied.push(last);
        }
        if let Some(last) = segments.used.back_mut() {
            (last.last, last.end) = (after, end.offset);
        }
        let tail = segments.used.back().map(|last| (last.clone(), last.end));
        drop(segments);
        let all = tail.into_iter().chain(emptied.iter().map(|segment| (segment.clone(), 0)));
        for (segment, from) in all {
            let cleared = scan::clear_behind(&self.shared, &segment, from);
            cleared.map_err(StoreError::io("cannot cut the journal"))?;
        }
        let mut segments = locked(&self.shared.segments);
        for segment in emptied {
            segments.spare.push_front(Segment { first: Lsn(0), last: Lsn(0), end: 0, ..segment });
        }
        (self.lsn, self.epoch, self.chain) = (after, end.epoch, end.chain);
        Ok(report)
    }
}
