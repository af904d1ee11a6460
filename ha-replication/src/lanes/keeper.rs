//! Checkpoints, spare segments, free space, digests, copies.

use super::incoming::{Incoming, incoming};
use crate::hub::Hub;
use crate::state::CopyStep;
use crate::store::{Keeper, StoreError};
use ha_core::{Instant, Lsn};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

/// Time between two looks of the keeper.
const LOOK: Duration = Duration::from_millis(250);

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
pub(crate) fn run(hub: &Arc<Hub>, keeper: Keeper) {
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
