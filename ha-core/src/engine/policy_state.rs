//! What the engine remembers of a group for its policy; no safety rule rests on it.

use super::Health;
use crate::{Instant, OpId};
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;

/// Why a planned move is made.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub enum MoveReason {
    /// An operator asked for it.
    Operator,
    /// This node stands by.
    Standby,
    /// The other node reaches more of the outside.
    Outside,
    /// The other node is the preferred one.
    Failback,
    /// The group that it must be with is on the other node.
    Together,
}

/// How a finding of a monitor came about.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Cause {
    /// The monitor said so.
    Reported,
    /// The monitor overran its budget; nothing is known.
    TimedOut,
    /// The monitor itself failed or panicked; nothing is known.
    CallFailed,
}

/// The newest finding of one resource, and for how long it has been the same.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct Finding {
    /// What was found.
    pub health: Health,
    /// How.
    pub cause: Cause,
    /// How many findings in a row were this one, at most 65,535.
    pub in_a_row: u16,
    /// How many monitors in a row overran, at most 65,535.
    pub timeouts: u16,
    /// When the first of the row came, on this node's boot clock.
    pub since: Instant,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize)]
pub(super) struct PolicyState {
    /// When restarts in place were begun, oldest first; those beyond the window are dropped.
    pub restarted: VecDeque<Instant>,
    /// Since when the group is in this node's failure memory.
    pub failed_at: Option<Instant>,
    /// Why a switchover is under way.
    pub moving: Option<MoveReason>,
    /// When it became active here.
    pub active_since: Option<Instant>,
    /// Since when, without a break, the other node is the better place, and why.
    pub better: Option<(MoveReason, Instant)>,
    /// No move by policy begins before.
    pub retry_at: Option<Instant>,
    /// Moves by policy that the target did not get ready for, in a row.
    pub refusals: u32,
    /// When the peer last said that it prepares to hand the group over to this node.
    pub prepare_heard: Option<Instant>,
    pub draining: Option<Draining>,
    /// Since when a start waits for the groups before it.
    pub ordered_since: Option<Instant>,
    /// It waited long enough in this grant.
    pub waited_for_order: bool,
}

impl PolicyState {
    /// A grant begins or ends: only the failure memory goes on.
    pub(super) fn begin_anew(&mut self) {
        let (failed_at, prepare_heard) = (self.failed_at, self.prepare_heard);
        *self = Self { failed_at, prepare_heard, ..Self::default() };
    }
}

/// Resources that finish their work before they are stopped.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub(super) struct Draining {
    pub left: Vec<OpId>,
}
