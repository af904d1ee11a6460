//! Reads records back, and tells a torn end from damage.

use super::StoreError;
use super::layout::Shared;
use super::segment::{BLOCK_BYTES, Segment};
use crate::record::{Chain, HARD_PAYLOAD_BYTES, HEADER_BYTES, Head, MirrorId, Record, RecordError};
use bytes::Bytes;
use ha_core::store::medium::{MediumFile, read_full};
use ha_core::{Epoch, Lsn};
use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

const READ_BYTES: usize = 256 << 10;
/// A batch is at most this long, or one record.
const LONGEST_BATCH_BYTES: u64 = (HARD_PAYLOAD_BYTES as u64).next_multiple_of(BLOCK_BYTES) + 2 * BLOCK_BYTES;

/// Walks one segment.
pub(super) struct Cursor {
    file: Arc<dyn MediumFile>,
    mirror: MirrorId,
    max_payload: usize,
    limit: u64,
    pub(super) offset: u64,
    read: Bytes,
    read_at: u64,
}

/// What comes next.
pub(super) enum Next {
    Record(Record),
    /// Zeros at the start of a block.
    End,
    Invalid(RecordError),
}

impl Cursor {
    pub(super) fn new(shared: &Shared, segment: &Segment, offset: u64) -> Self {
        Self {
            file: segment.file.clone(),
            mirror: shared.config.mirror,
            max_payload: HARD_PAYLOAD_BYTES,
            limit: shared.config.limits.segment_bytes,
            offset,
            read: Bytes::new(),
            read_at: 0,
        }
    }

    /// `len` bytes from the present offset, fewer at the end of the file.
    fn here(&mut self, len: usize) -> io::Result<Bytes> {
        let within = usize::try_from(self.offset.wrapping_sub(self.read_at)).unwrap_or(usize::MAX);
        if within.checked_add(len).is_none_or(|end| end > self.read.len()) {
            let room = usize::try_from(self.limit.saturating_sub(self.offset)).unwrap_or(usize::MAX);
            let mut bytes = vec![0; len.max(READ_BYTES).min(room)];
            let got = read_full(&*self.file, &mut bytes, self.offset)?;
            bytes.truncate(got);
            (self.read, self.read_at) = (bytes.into(), self.offset);
            return Ok(self.read.slice(..len.min(got)));
        }
        Ok(self.read.slice(within..within + len))
    }

    pub(super) fn next(&mut self) -> io::Result<Next> {
        loop {
            let bytes = self.here(HEADER_BYTES)?;
            if bytes.get(..4).is_none_or(|magic| magic == [0; 4]) {
                if self.offset.is_multiple_of(BLOCK_BYTES) || self.offset >= self.limit {
                    return Ok(Next::End);
                }
                self.offset = self.offset.next_multiple_of(BLOCK_BYTES);
                continue;
            }
            let head = match Head::parse(&bytes, self.mirror, self.max_payload) {
                Ok(Some(head)) => head,
                Ok(None) => return Ok(Next::Invalid(RecordError::HeaderSum)),
                Err(error) => return Ok(Next::Invalid(error)),
            };
            let whole = self.here(head.record_bytes())?;
            return Ok(match Record::from_parts(head, whole) {
                Ok(record) => {
                    self.offset += head.record_bytes() as u64;
                    Next::Record(record)
                }
                Err(error) => Next::Invalid(error),
            });
        }
    }
}

/// The journal after the checkpoint.
pub(super) struct Scan {
    /// After the checkpoint, gapless.
    pub(super) records: Vec<Record>,
    pub(super) lsn: Lsn,
    pub(super) epoch: Epoch,
    pub(super) chain: Chain,
    /// The segments that hold records, and the rest, which hold none that counts.
    pub(super) used: VecDeque<Segment>,
    pub(super) rest: VecDeque<Segment>,
    /// What stood where the next record was expected, unless it was the end.
    pub(super) invalid: Option<RecordError>,
    /// The highest commit LSN of any readable record, beyond the end too.
    pub(super) commit_seen: Lsn,
    /// Something other than zeros is behind the end.
    pub(super) stale: bool,
}

/// From which record on the caller knows the journal.
#[derive(Clone, Copy)]
pub(super) struct From {
    pub(super) lsn: Lsn,
    pub(super) epoch: Epoch,
    pub(super) chain: Chain,
}

fn first_lsn(shared: &Shared, segment: &Segment) -> io::Result<Option<Lsn>> {
    let mut cursor = Cursor::new(shared, segment, 0);
    let bytes = cursor.here(HEADER_BYTES)?;
    Ok(Head::parse(&bytes, shared.config.mirror, usize::MAX).ok().flatten().map(|head| head.lsn))
}

/// Reads everything after `from`. `segments`: all there are, by number.
pub(super) fn scan(shared: &Shared, from: From, segments: Vec<Segment>) -> Result<Scan, StoreError> {
    scan_io(shared, from, segments).map_err(StoreError::io("cannot read the journal"))
}

fn scan_io(shared: &Shared, from: From, segments: Vec<Segment>) -> io::Result<Scan> {
    let mut used = VecDeque::new();
    let mut rest: VecDeque<Segment> = VecDeque::new();
    let mut start = None;
    for mut segment in segments {
        segment.first = first_lsn(shared, &segment)?.unwrap_or(Lsn(0));
        // A number that is missing: what is below it is no part of this journal.
        if rest.back().is_some_and(|last| last.number + 1 != segment.number) {
            rest.clear();
            start = None;
        }
        if segment.first != Lsn(0) && segment.first.0 <= from.lsn.0.saturating_add(1) {
            start = Some(rest.len());
        }
        rest.push_back(segment);
    }
    let mut scan = Scan {
        records: Vec::new(),
        lsn: from.lsn,
        epoch: from.epoch,
        chain: from.chain,
        used: VecDeque::new(),
        rest: VecDeque::new(),
        invalid: None,
        commit_seen: Lsn(0),
        stale: false,
    };
    let start = start.unwrap_or(0);
    // Older ones are kept for catch-up; where the chain of first LSNs is broken they are not.
    for _ in 0..start {
        let Some(mut older) = rest.pop_front() else { break };
        older.last = rest.front().map_or(Lsn(0), |next| Lsn(next.first.0.saturating_sub(1)));
        older.end = shared.config.limits.segment_bytes;
        if older.first == Lsn(0) || older.last < older.first {
            used.clear();
        } else {
            used.push_back(older);
        }
    }
    while scan.invalid.is_none() {
        let Some(segment) = rest.front() else { break };
        let Some(end) = scan_segment(shared, segment, &mut scan, from)? else { break };
        let Some(mut segment) = rest.pop_front() else { break };
        (segment.last, segment.end) = (scan.lsn, end);
        used.push_back(segment);
    }
    scan.used = used;
    scan.rest = rest;
    look_behind(shared, &mut scan)?;
    Ok(scan)
}

/// Takes the records of one segment; where the last one ends, or `None` if it holds none.
fn scan_segment(shared: &Shared, segment: &Segment, scan: &mut Scan, from: From) -> io::Result<Option<u64>> {
    let mut cursor = Cursor::new(shared, segment, 0);
    let mut end = None;
    let mut previous: Option<Record> = None;
    loop {
        let record = match cursor.next()? {
            Next::Record(record) => record,
            Next::End => return Ok(end),
            Next::Invalid(error) => {
                scan.invalid = Some(error);
                return Ok(end);
            }
        };
        let checked = if record.head.lsn <= from.lsn {
            let same = record.head.lsn < from.lsn || record.head.chain == from.chain;
            let lsn = record.head.lsn;
            match &previous {
                _ if !same => {
                    let (found, expected) = (record.head.chain, from.chain);
                    Err(RecordError::Chain { lsn, found, expected })
                }
                Some(p) if p.head.lsn.0 + 1 != lsn.0 => {
                    Err(RecordError::Gap { found: lsn, expected: Lsn(p.head.lsn.0 + 1) })
                }
                _ => Ok(()),
            }
        } else {
            record.follows(scan.lsn, scan.epoch, scan.chain).and_then(|()| record.body().map(drop))
        };
        if let Err(error) = checked {
            scan.invalid = Some(error);
            return Ok(end);
        }
        end = Some(cursor.offset);
        scan.commit_seen = scan.commit_seen.max(record.head.commit);
        if record.head.lsn > from.lsn {
            (scan.lsn, scan.epoch, scan.chain) = (record.head.lsn, record.head.epoch, record.head.chain);
            scan.records.push(record.clone());
        }
        previous = Some(record);
    }
}

/// What stands behind the end: anything but zeros is stale, and a whole record tells what was committed. As one
/// batch is durable before the next one is written, nothing is further behind than the longest batch.
fn look_behind(shared: &Shared, scan: &mut Scan) -> io::Result<()> {
    let (mut stale, mut commit) = (false, scan.commit_seen);
    let tail = scan.used.back().map(|last| (last.clone(), last.end));
    for (segment, from) in tail.into_iter().chain(scan.rest.front().map(|next| (next.clone(), 0))) {
        each_block(shared, &segment, from, from + LONGEST_BATCH_BYTES, |_, block| {
            stale |= block.iter().any(|&byte| byte != 0);
            if let Ok(Some(head)) = Head::parse(block, shared.config.mirror, usize::MAX)
                && head.lsn > scan.lsn
            {
                commit = commit.max(head.commit);
            }
            Ok(())
        })?;
    }
    (scan.stale, scan.commit_seen) = (stale, commit);
    Ok(())
}

/// Visits every block of a segment between `from` (maybe not the start of one) and `to` that holds something
/// other than zeros.
pub(super) fn each_block(
    shared: &Shared,
    segment: &Segment,
    from: u64,
    to: u64,
    mut visit: impl FnMut(u64, &[u8]) -> io::Result<()>,
) -> io::Result<()> {
    let mut bytes = vec![0; READ_BYTES];
    let (mut at, to) = (from, to.min(shared.config.limits.segment_bytes));
    while at < to {
        let to_boundary = at.next_multiple_of(BLOCK_BYTES) - at;
        let wanted = if to_boundary > 0 { to_boundary as usize } else { READ_BYTES };
        let piece = bytes.get_mut(..wanted).unwrap_or_default();
        let got = read_full(&*segment.file, piece, at)?;
        for (index, block) in piece.get(..got).unwrap_or_default().chunks(BLOCK_BYTES as usize).enumerate() {
            if block.iter().any(|&byte| byte != 0) {
                visit(at + index as u64 * BLOCK_BYTES, block)?;
            }
        }
        if got < wanted {
            break;
        }
        at += got as u64;
    }
    Ok(())
}

/// Fills everything behind the end with zeros; durable on return.
pub(super) fn clear_behind(shared: &Shared, segment: &Segment, from: u64) -> io::Result<()> {
    let zeros = [0; BLOCK_BYTES as usize];
    let mut wrote = false;
    each_block(shared, segment, from, u64::MAX, |at, block| {
        wrote = true;
        segment.file.write_at(zeros.get(..block.len()).unwrap_or(&zeros), at)
    })?;
    if wrote { segment.file.sync_data("tail.cut") } else { Ok(()) }
}
