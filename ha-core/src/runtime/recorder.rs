//! The control thread's end of the record: it fills a buffer and hands it over, and never waits.

use super::recorder_slot::SlotEnd;
use crate::Instant;
use crate::config::Config;
use crate::engine::{Action, Engine, EventKind, Input, Permission};
use crate::replay::{LifeStart, StepEncoder};
use std::sync::Arc;
use std::time::Duration;

/// Bytes that may wait for the lane. What comes beyond is not recorded, and the record says so.
const PENDING_MAX: usize = 1 << 20;
/// Bytes that are handed over at once.
const BATCH_BYTES: usize = 64 << 10;
/// How long an idle node's steps wait to be handed over together.
const BATCH_AGE: Duration = Duration::from_millis(500);

/// Records what the engine is fed. Dropping it hands over what is left and ends the lane.
pub(super) struct Recorder {
    config: Arc<Config>,
    encoder: StepEncoder,
    pending: Vec<u8>,
    slot: SlotEnd,
    /// Steps that found no room since the last that did.
    lost: u64,
    urgent: bool,
    handed_at: Instant,
}

impl Recorder {
    pub(super) fn new(config: Arc<Config>, life: &LifeStart, slot: SlotEnd) -> Self {
        let mut pending = Vec::with_capacity(BATCH_BYTES * 2);
        let encoder = StepEncoder::life(life, &mut pending);
        Self { config, encoder, pending, slot, lost: 0, urgent: true, handed_at: life.at }
    }

    /// The engine is about to be fed.
    pub(super) fn input(&mut self, now: Instant, input: &Input) {
        if self.lost > 0 || self.pending.len() >= PENDING_MAX {
            self.lost += 1;
            self.encoder.skip(now);
        } else {
            self.encoder.input(now, input, &mut self.pending);
        }
    }

    /// The engine decided.
    pub(super) fn action(&mut self, action: &Action) {
        self.urgent |= is_decision(action);
        self.encoder.action(action);
    }

    /// The engine is drained.
    pub(super) fn finish(&mut self) {
        self.encoder.finish(&mut self.pending);
    }

    /// Hands over what waits if it is time and the lane is free; at a decision it is always time.
    pub(super) fn hand_over(&mut self, now: Instant, engine: &Engine) {
        let due = self.urgent
            || self.lost > 0
            || self.pending.len() >= BATCH_BYTES
            || now.since(self.handed_at) >= BATCH_AGE;
        if !due || self.pending.is_empty() {
            return;
        }
        let (config, encoder) = (&self.config, &self.encoder);
        let end = || encoder.checkpoint(config.clone(), engine.snapshot());
        if !self.slot.0.offer(&mut self.pending, self.urgent, end) {
            return;
        }
        (self.urgent, self.handed_at) = (false, now);
        if self.lost > 0 {
            let lost = std::mem::take(&mut self.lost);
            self.encoder.resume(lost, self.config.clone(), engine.snapshot(), &mut self.pending);
        }
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.slot.0.close(std::mem::take(&mut self.pending));
    }
}

/// Whether somebody may soon ask why.
pub(super) fn is_decision(action: &Action) -> bool {
    match action {
        Action::Event(event) => {
            !matches!(event.kind, EventKind::Link { .. } | EventKind::Timeout { .. } | EventKind::Late { .. })
        }
        Action::Token { permission: Permission::Suspended { .. } | Permission::Revoked, .. }
        | Action::FenceShoot { .. }
        | Action::EndSelf { .. }
        | Action::Reborn
        | Action::Detached { .. }
        | Action::Departed => true,
        _ => false,
    }
}
