//! A life between two of its steps, from where a record can be gone on with.

use super::entry::{EntryRef, ResumptionRef};
use super::frame;
use crate::Instant;
use crate::config::Config;
use crate::engine::{Beat, Engine, EngineSnapshot, Outline};
use std::sync::Arc;

/// The state of a life after a step: what whoever has not relived it until there needs to go on.
#[derive(Clone, Debug)]
pub struct Checkpoint {
    pub(super) config: Arc<Config>,
    pub(super) engine: EngineSnapshot,
    pub(super) at: Instant,
    pub(super) digest: [u8; 8],
    pub(super) beats: Vec<Option<Beat>>,
    pub(super) steps: u64,
}

impl Checkpoint {
    /// The instant of the step.
    #[must_use]
    pub const fn at(&self) -> Instant {
        self.at
    }

    /// How many steps the life had.
    #[must_use]
    pub const fn steps(&self) -> u64 {
        self.steps
    }

    /// The state in outline. None if it does not fit its configuration.
    pub(crate) fn outline(&self) -> Option<Outline> {
        Engine::from_snapshot(self.config.clone(), self.engine.clone()).ok().map(|e| e.outline())
    }

    /// Appends the entry that begins a file here; `lost` steps are missing before it.
    pub(crate) fn resumption(&self, lost: u64, out: &mut Vec<u8>) {
        let resumption = ResumptionRef {
            lost,
            config: &self.config,
            engine: &self.engine,
            at: self.at,
            digest: self.digest,
            beats: &self.beats,
        };
        frame::append(out, &EntryRef::Resume(&resumption));
    }
}
