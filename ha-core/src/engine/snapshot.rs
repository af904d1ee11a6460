//! An engine's whole state as a value, to go on from it elsewhere: in a replay, in a second file of a log.

use super::agenda::Agenda;
use super::machine::Engine;
use super::state::{Role, State};
use super::{OpKind, OpTarget};
use crate::config::Config;
use crate::{Incarnation, NodeId};
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::sync::Arc;

/// The whole state of a drained engine. It holds no secret. Read only by the version that wrote it.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct EngineSnapshot(State);

/// A snapshot does not fit the configuration it is used with.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("a state with {found}, expected {expected}: it belongs to another configuration")]
pub struct SnapshotMismatch {
    /// What the state has.
    pub found: String,
    /// What the configuration has.
    pub expected: String,
}

impl Engine {
    /// The state as a value. The actions of the last step must have been drained; they are no part of it.
    #[must_use]
    pub fn snapshot(&self) -> EngineSnapshot {
        EngineSnapshot(self.st.clone())
    }

    /// An engine that goes on from `snapshot`.
    ///
    /// # Errors
    /// [`SnapshotMismatch`] if the state cannot belong to `config`.
    pub fn from_snapshot(config: Arc<Config>, snapshot: EngineSnapshot) -> Result<Self, SnapshotMismatch> {
        fits(&config, &snapshot.0)?;
        let mut engine = Self {
            agenda: Agenda::new(&config),
            cfg: config,
            st: snapshot.0,
            outbox: VecDeque::new(),
            again: false,
            spare: Vec::new(),
            #[cfg(any(test, feature = "sim"))]
            witnessed: false,
            #[cfg(feature = "sabotage")]
            broken: None,
        };
        engine.refresh();
        Ok(engine)
    }

    /// The configuration.
    #[must_use]
    pub const fn config(&self) -> &Arc<Config> {
        &self.cfg
    }

    /// The instant of the last step, or of the boot.
    #[must_use]
    pub const fn now(&self) -> crate::Instant {
        self.st.now
    }

    /// Which node this engine decides for.
    #[must_use]
    pub const fn me(&self) -> NodeId {
        self.st.me
    }

    /// This life.
    #[must_use]
    pub const fn incarnation(&self) -> Incarnation {
        self.st.incarnation
    }
}

/// Everything by which the engine counts on its state to fit: sizes, places of resources, groups of operations.
fn fits(config: &Config, st: &State) -> Result<(), SnapshotMismatch> {
    let equal = |what: &str, found: usize, expected: usize| {
        let words = |n: usize| format!("{n} {what}");
        let mismatch = || SnapshotMismatch { found: words(found), expected: words(expected) };
        (found == expected).then_some(()).ok_or_else(mismatch)
    };
    let within = |what: &str, found: usize, limit: usize| {
        let mismatch =
            || SnapshotMismatch { found: format!("{what} {found}"), expected: format!("at most {limit}") };
        (found <= limit).then_some(()).ok_or_else(mismatch)
    };
    within("node", usize::from(st.me.0), config.nodes.len().saturating_sub(1))?;
    equal("links", st.links.len(), config.links.len())?;
    equal("groups", st.groups.len(), config.groups.len())?;
    for (gr, c) in st.groups.iter().zip(&config.groups) {
        equal("monitors", gr.monitors.len(), c.resources.len())?;
        let targets = c.resources.len() + usize::from(c.mirrored);
        let step = match gr.role {
            Role::Starting { step } => step,
            Role::Stopping { step, floor, .. } => step.max(floor),
            Role::Waiting | Role::Standby | Role::Claiming { .. } | Role::Active => 0,
        };
        within("step", usize::from(step.max(gr.restop)), targets)?;
    }
    for op in st.ops.values() {
        let Some(c) = config.groups.get(usize::from(op.group.0)) else {
            return within("an operation of group", usize::from(op.group.0), config.groups.len());
        };
        match op.target {
            OpTarget::Data => {}
            OpTarget::Resource(place) => within("resource", usize::from(place) + 1, c.resources.len())?,
        }
        if op.kind == OpKind::Monitor && op.target == OpTarget::Data {
            return within("a monitor of data, place", 1, 0);
        }
    }
    Ok(())
}
