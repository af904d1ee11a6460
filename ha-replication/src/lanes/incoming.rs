//! A whole copy on its way in, and the flip to it.

use crate::hub::Hub;
use crate::record::{Chain, Record};
use crate::state::{CopyStep, State};
use crate::store::{CopyTarget, Keeper};
use crate::stream::message::Message;
use ha_core::Lsn;
use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::{Arc, PoisonError};

/// A copy on its way in.
pub(super) struct Incoming {
    target: CopyTarget,
    /// The last record in the copy's journal.
    durable: (Lsn, Chain),
    until: Option<Lsn>,
}

/// One step of an arriving copy; gives the keeper back, after the flip the new one.
pub(super) fn incoming(
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
