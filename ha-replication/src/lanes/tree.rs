//! Applies what is committed to the tree, and writes ahead what is not yet.

use super::{BATCH_BYTES, next_work};
use crate::hub::Hub;
use crate::record::Record;
use crate::state::State;
use crate::store::{Applier, StoreError};
use ha_core::Lsn;
use std::collections::HashSet;

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
pub(crate) fn run(hub: &Hub, applier: Applier) {
    let mut part = Some(applier);
    let fresh = |s: &mut State| s.parts.applier.take();
    let work = |s: &mut State| {
        if s.paused && !std::mem::replace(&mut s.standing_still, true) {
            hub.keeper_wake.notify_one();
        }
        if s.paused { None } else { s.apply_work() }
    };
    while let Some(work) = next_work(hub, &hub.apply_wake, &mut part, fresh, work) {
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
