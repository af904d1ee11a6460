//! The three threads that may wait for a disk: journal, tree, and everything that is not urgent.

use crate::hub::Hub;
use crate::record::{Chain, Record};
use crate::state::{CopyStep, JournalJob, State};
use crate::store::{Applier, CopyTarget, Journal, Keeper, QuarantineReport, StoreError};
use crate::stream::message::Message;
use ha_core::{Instant, Lsn};
use std::collections::HashSet;
use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

/// One write of the journal, and one round of the tree.
const BATCH_BYTES: usize = 1 << 20;
/// Time between two looks of the keeper.
const LOOK: Duration = Duration::from_millis(250);

enum JournalWork {
    Append(Vec<Record>),
    Cut(Lsn, Chain),
}

impl State {
    fn journal_work(&mut self) -> Option<JournalWork> {
        if let Some(JournalJob::Cut(after)) = self.journal_queue.front() {
            let after = *after;
            self.journal_queue.pop_front();
            let chain = self.accepting.map_or(self.chain, |p| p.chain);
            return Some(JournalWork::Cut(after, chain));
        }
        let mut batch = Vec::new();
        let mut bytes = 0;
        while let Some(JournalJob::Append(record)) = self.journal_queue.front() {
            if !batch.is_empty() && bytes + record.bytes.len() > BATCH_BYTES {
                break;
            }
            bytes += record.bytes.len();
            batch.push(record.clone());
            self.journal_queue.pop_front();
        }
        (!batch.is_empty()).then_some(JournalWork::Append(batch))
    }

    fn cut_ended(&mut self, after: Lsn, chain: Chain, report: Option<QuarantineReport>) {
        self.cut_done(after, chain);
        if report.is_some() {
            self.quarantine = report;
        }
        self.follow();
        self.reply_position();
        self.effects.report = true;
    }
}

/// Makes records durable, all that wait at once.
pub(crate) fn journal(hub: &Hub, journal: Journal) {
    let mut part = Some(journal);
    loop {
        let mut s = hub.lock();
        let work = loop {
            if s.stop {
                return;
            }
            if s.give_up && part.take().is_some() {
                s.given_up += 1;
                hub.keeper_wake.notify_one();
            }
            part = part.or_else(|| s.parts.journal.take());
            if part.is_some()
                && let Some(work) = s.journal_work()
            {
                break work;
            }
            s = hub.journal_wake.wait(s).unwrap_or_else(PoisonError::into_inner);
        };
        drop(s);
        // While the disk syncs, the tree's lane writes the same records ahead.
        hub.apply_wake.notify_one();
        let Some(journal) = part.as_mut() else { continue };
        let done = match work {
            JournalWork::Append(batch) => {
                journal.append(&batch).map(|(lsn, chain)| hub.with(|s| s.journal_done(lsn, chain)))
            }
            JournalWork::Cut(after, chain) => {
                journal.cut(after).map(|report| hub.with(|s| s.cut_ended(after, chain, report)))
            }
        };
        if let Err(e) = done {
            hub.with(|s| s.fail(&format!("journal: {e}")));
            return;
        }
    }
}

enum ApplyWork {
    Batch(Vec<Record>, HashSet<Lsn>),
    /// Nothing is due: what is on its way is written ahead.
    Stage(Record),
    Rotate,
    RotateForCopy,
}

impl State {
    fn apply_work(&mut self) -> Option<ApplyWork> {
        if std::mem::take(&mut self.copy_rotate) {
            return Some(ApplyWork::RotateForCopy);
        }
        if std::mem::take(&mut self.rotate) {
            return Some(ApplyWork::Rotate);
        }
        if self.commit <= self.applied {
            return self.stage_next().map(ApplyWork::Stage);
        }
        let mut batch: Vec<Record> = Vec::new();
        let mut bytes = 0;
        for f in self.memory.iter().take_while(|f| f.record.head.lsn <= self.commit) {
            bytes += f.record.bytes.len();
            if !batch.is_empty() && bytes > BATCH_BYTES {
                break;
            }
            batch.push(f.record.clone());
        }
        let (first, last) = (batch.first()?.head.lsn, batch.last()?.head.lsn);
        let aborted = self.aborted.range(first..=last).map(|(target, _)| *target).collect();
        Some(ApplyWork::Batch(batch, aborted))
    }
}

impl State {
    /// The next transaction that was not written ahead.
    fn stage_next(&mut self) -> Option<Record> {
        let next = Lsn(self.staged.max(self.applied).0 + 1);
        let record = self.in_flight(next)?.record.clone();
        self.staged = next;
        Some(record)
    }
}

/// Applies what is committed to the tree, in order.
pub(crate) fn apply(hub: &Hub, applier: Applier) {
    let mut part = Some(applier);
    loop {
        let mut s = hub.lock();
        let work = loop {
            if s.stop {
                return;
            }
            if s.give_up && part.take().is_some() {
                s.given_up += 1;
                hub.keeper_wake.notify_one();
            }
            part = part.or_else(|| s.parts.applier.take());
            if s.paused && !s.standing_still {
                s.standing_still = true;
                hub.keeper_wake.notify_one();
            }
            if !s.paused
                && part.is_some()
                && let Some(work) = s.apply_work()
            {
                break work;
            }
            s = hub.apply_wake.wait(s).unwrap_or_else(PoisonError::into_inner);
        };
        drop(s);
        let Some(applier) = part.as_mut() else { continue };
        if let Err(e) = apply_one(hub, applier, work) {
            hub.with(|s| s.fail(&format!("tree: {e}")));
            return;
        }
    }
}

fn apply_one(hub: &Hub, applier: &mut Applier, work: ApplyWork) -> Result<(), StoreError> {
    match work {
        ApplyWork::Batch(batch, aborted) => {
            let mut tell = |lsn| hub.with(|s| s.apply_done(lsn));
            applier.apply(&batch, &|lsn| aborted.contains(&lsn), &mut tell)?;
        }
        ApplyWork::Stage(record) => applier.stage(&record),
        ApplyWork::Rotate => {
            let at = applier.rotate()?;
            hub.with(|s| {
                s.rotated = Some(at);
                s.effects.keeper = true;
            });
        }
        ApplyWork::RotateForCopy => {
            let at = applier.rotate()?;
            // Held before the keeper can trim.
            let Some(reader) = hub.reader() else { return Ok(()) };
            let source = reader.copy_source(at);
            hub.with(|s| {
                let facts = s.facts(at.lsn);
                s.copy_rotated = Some((at, facts, source));
                s.rotated = Some(at);
                s.effects.keeper = true;
                s.effects.changed = true;
            });
        }
    }
    Ok(())
}

/// What the keeper does besides: an arriving copy, and its own calendar.
struct Calendar {
    looked: Instant,
    checkpointed: Instant,
}

enum KeeperWork {
    Copy(CopyStep),
    Checkpoint,
    Digest,
    Look,
}

/// Checkpoints, spare segments, free space, digests, copies.
pub(crate) fn keeper(hub: &Arc<Hub>, keeper: Keeper) {
    let mut keeper = keeper;
    let mut target: Option<Incoming> = None;
    let mut calendar = Calendar { looked: Instant::ZERO, checkpointed: hub.now() };
    loop {
        let Some(work) = keeper_work(hub, &mut calendar) else { return };
        let done = match work {
            KeeperWork::Look => look(hub, &mut keeper),
            KeeperWork::Checkpoint => checkpoint(hub, &mut keeper),
            KeeperWork::Digest => {
                digest(hub, &keeper);
                Ok(())
            }
            KeeperWork::Copy(step) => match incoming(hub, keeper, &mut target, step) {
                Ok(kept) => {
                    keeper = kept;
                    Ok(())
                }
                Err(e) => {
                    hub.with(|s| s.fail(&format!("copy: {e}")));
                    return;
                }
            },
        };
        if let Err(e) = done {
            if !e.is_full() {
                hub.with(|s| s.fail(&format!("keeper: {e}")));
                return;
            }
            hub.with(|s| s.low_space = true);
        }
    }
}

fn keeper_work(hub: &Hub, calendar: &mut Calendar) -> Option<KeeperWork> {
    let mut s = hub.lock();
    loop {
        let now = hub.now();
        if s.stop {
            return None;
        }
        if let Some(step) = s.copy_queue.pop_front() {
            return Some(KeeperWork::Copy(step));
        }
        if s.rotated.is_some() {
            calendar.checkpointed = now;
            return Some(KeeperWork::Checkpoint);
        }
        if s.digest.is_some() {
            s.paused = true;
            if s.standing_still {
                return Some(KeeperWork::Digest);
            }
            hub.apply_wake.notify_one();
        }
        let limits = &hub.cfg.limits;
        let due = s.applied_bytes >= limits.checkpoint_bytes
            || (s.applied_bytes > 0 && now.since(calendar.checkpointed) >= limits.checkpoint_interval);
        if due && !s.rotate {
            s.rotate = true;
            s.applied_bytes = 0;
            hub.apply_wake.notify_one();
        }
        if now.since(calendar.looked) >= LOOK {
            calendar.looked = now;
            return Some(KeeperWork::Look);
        }
        s = hub.keeper_wake.wait_timeout(s, LOOK).unwrap_or_else(PoisonError::into_inner).0;
    }
}

fn look(hub: &Hub, keeper: &mut Keeper) -> Result<(), StoreError> {
    let free = keeper.free_bytes().unwrap_or(u64::MAX);
    let oldest = hub.reader().map_or(Lsn(0), |r| r.oldest());
    hub.with(|s| {
        s.low_space = free < hub.cfg.limits.min_free_bytes;
        s.oldest = oldest;
    });
    keeper.prepare_segments()
}

fn checkpoint(hub: &Hub, keeper: &mut Keeper) -> Result<(), StoreError> {
    let Some((at, facts)) = hub.with(|s| s.rotated.take().map(|at| (at, s.facts(at.lsn)))) else {
        return Ok(());
    };
    let lsn = keeper.checkpoint(at, &facts)?;
    let oldest = hub.reader().map_or(Lsn(0), |r| r.oldest());
    hub.with(|s| {
        s.checkpoint = lsn;
        s.oldest = oldest;
    });
    Ok(())
}

fn digest(hub: &Hub, keeper: &Keeper) {
    let at = hub.lock().applied;
    let digest = keeper.digest(at).map_err(|e| e.to_string());
    hub.with(|s| {
        (s.paused, s.standing_still) = (false, false);
        s.effects.apply = true;
        if let Some(asked) = s.digest.take() {
            // Whoever asked may be gone.
            let _ = asked.send(digest);
        }
    });
}

/// A copy on its way in.
pub(crate) struct Incoming {
    target: CopyTarget,
    /// The last record in the copy's journal.
    durable: (Lsn, Chain),
    until: Option<Lsn>,
}

/// One step of an arriving copy; gives the keeper back, after the flip the new one.
fn incoming(
    hub: &Arc<Hub>,
    mut keeper: Keeper,
    incoming: &mut Option<Incoming>,
    step: CopyStep,
) -> Result<Keeper, String> {
    let result = match step {
        CopyStep::Begin(begin) => {
            let at = (begin.at.lsn, begin.at.chain);
            *incoming = None;
            keeper.copy_target(*begin).map(|target| {
                *incoming = Some(Incoming { target, durable: at, until: None });
            })
        }
        CopyStep::Chunk(chunk) => {
            let size = chunk.data.len();
            let done = incoming.as_mut().map_or(Ok(()), |i| i.target.chunk(chunk));
            hub.with(|s| {
                s.copy_bytes = s.copy_bytes.saturating_sub(size);
                s.effects.changed = true;
            });
            done
        }
        CopyStep::Record(record) => {
            let mut batch = vec![record];
            hub.with(|s| {
                while let Some(CopyStep::Record(_)) = s.copy_queue.front() {
                    if let Some(CopyStep::Record(next)) = s.copy_queue.pop_front() {
                        batch.push(next);
                    }
                }
                let size: usize = batch.iter().map(|r| r.bytes.len()).sum();
                s.copy_bytes = s.copy_bytes.saturating_sub(size);
                s.effects.changed = true;
            });
            append_to_copy(incoming, &batch)
        }
        CopyStep::End(until) => {
            if let Some(i) = incoming.as_mut() {
                i.until = Some(until);
            }
            Ok(())
        }
        CopyStep::GiveUp => {
            *incoming = None;
            hub.with(|s| s.copy_ended());
            Ok(())
        }
    };
    if let Err(e) = result {
        *incoming = None;
        hub.with(|s| {
            s.refusal = Some(format!("the copy was given up: {e}"));
            s.copy_ended();
            // A new session begins a new plan.
            if let Some(live) = &s.session {
                live.outbox.close();
            }
        });
        return Ok(keeper);
    }
    let whole = incoming.as_ref().is_some_and(|i| i.until.is_some_and(|u| i.durable.0 >= u));
    let Some(ready) = incoming.take_if(|_| whole) else { return Ok(keeper) };
    flip(hub, keeper, ready)
}

fn append_to_copy(incoming: &mut Option<Incoming>, batch: &[Record]) -> Result<(), crate::store::CopyError> {
    let Some(i) = incoming.as_mut() else { return Ok(()) };
    i.durable = i.target.append(batch)?;
    Ok(())
}

/// The copy is whole: every lane gives its old parts up and takes the new ones.
fn flip(hub: &Arc<Hub>, keeper: Keeper, ready: Incoming) -> Result<Keeper, String> {
    {
        let mut s = hub.lock();
        s.give_up = true;
        s.given_up = 0;
        hub.journal_wake.notify_one();
        hub.apply_wake.notify_one();
        while s.given_up < 2 && !s.stop {
            s = hub.keeper_wake.wait(s).unwrap_or_else(PoisonError::into_inner);
        }
    }
    drop(keeper);
    if hub.lock().surrendered {
        keep_old_generation(&hub.cfg.dir)
            .map_err(|e| format!("cannot keep the tail that was given up: {e}"))?;
    }
    let until = ready.until.unwrap_or(ready.durable.0);
    let opened = ready.target.finish(until).map_err(|e| e.to_string())?;
    crate::mirror::point_root(&hub.cfg.dir, &opened.recovered.generation_dir).map_err(|e| e.to_string())?;
    *hub.lookup.write().unwrap_or_else(PoisonError::into_inner) = Some(opened.applier.lookup());
    *hub.reader.write().unwrap_or_else(PoisonError::into_inner) = Some(opened.reader.clone());
    let applied = opened.reader.chain_at(opened.recovered.commit).map_err(|e| e.to_string())?;
    let keeper = hub.with(|s| {
        let keeper = s.flip(opened);
        s.applied_chain = applied.unwrap_or(s.durable_chain);
        s.follow();
        let (durable, chain) = (s.durable, s.durable_chain);
        if let Some(live) = &s.session {
            live.outbox.push(&Message::CopyDone { durable, chain });
        }
        keeper
    });
    // Records that came while the parts changed belong to the new journal.
    hub.with(State::take_late_records);
    Ok(keeper)
}

/// What an operator gave up is kept whole, tree and journal: nothing writes to it any more, so links do.
fn keep_old_generation(dir: &Path) -> io::Result<()> {
    let tree = std::fs::read_link(dir.join("root"))?;
    let Some(generation) = tree.parent() else { return Ok(()) };
    let kept = dir.join("quarantine").join(generation);
    std::fs::create_dir_all(&kept)?;
    link_all(&dir.join(generation), &kept)?;
    File::open(dir.join("quarantine"))?.sync_all()
}

fn link_all(from: &Path, to: &Path) -> io::Result<()> {
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let there = to.join(entry.file_name());
        let made = if entry.file_type()?.is_dir() {
            std::fs::create_dir_all(&there).and_then(|()| link_all(&entry.path(), &there))
        } else {
            std::fs::hard_link(entry.path(), &there)
        };
        match made {
            Err(e) if e.kind() != io::ErrorKind::AlreadyExists => return Err(e),
            _ => {}
        }
    }
    File::open(to)?.sync_all()
}

impl State {
    fn copy_ended(&mut self) {
        self.copying = false;
        self.copy_queue.clear();
        self.copy_bytes = 0;
        self.effects.changed = true;
        self.reply_position();
    }

    fn take_late_records(&mut self) {
        for step in std::mem::take(&mut self.copy_queue) {
            let CopyStep::Record(record) = step else { continue };
            let follows = record.follows(self.sequenced, self.epoch, self.chain).is_ok();
            if let (true, Ok(body)) = (follows, record.body()) {
                self.take(record, &body);
            } else if let Some(live) = &self.session {
                live.outbox.close();
            }
        }
        self.copy_bytes = 0;
        self.effects.changed = true;
    }
}
