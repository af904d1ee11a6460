//! What an engine remembers of services that run without one: its own, or its peer's.

use super::state::Wanted;
use crate::{Epoch, GroupId, Incarnation, Instant, Nonce, OpId, StopProof};
use serde::{Deserialize, Serialize};

/// A detachment is under way on this node.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub(super) struct Detaching {
    pub since: Instant,
    pub nonce: Nonce,
    pub groups: Vec<(GroupId, Epoch)>,
    /// The promises are there: what is missing is the own record.
    pub promised: bool,
}

/// The part of a group's state that is about detachments.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize)]
pub(super) struct DetachState {
    /// The peer's present life asks for a promise.
    pub asked: Option<Wanted>,
    /// The peer's present life says that its promise about this grant stands, and to which question.
    pub heard: Option<(Epoch, Nonce)>,
    /// The peer's promise has no more use, and so long it is told.
    pub unspare: Option<(Epoch, Instant)>,
    /// Everything that an earlier life left running was taken over or stopped by this one.
    pub settled: bool,
    /// Services of an earlier life are being taken over.
    pub attach: Option<Attach>,
    /// The grant for them is being written; whether all of them run.
    pub adopt: Option<bool>,
}

impl DetachState {
    /// What an earlier life left running is being taken over.
    pub(super) const fn is_under_way(&self) -> bool {
        self.attach.is_some() || self.adopt.is_some()
    }
}

/// Services of an earlier life that are being taken over.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub(super) struct Attach {
    pub epoch: Epoch,
    pub nonce: Nonce,
    pub look: Option<Look>,
}

/// The resources are looked at one after the other.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub(super) struct Look {
    pub authority: Authority,
    /// The next resource to look at.
    pub place: u8,
    pub op: Option<OpId>,
    /// How often nothing could be told of this one.
    pub unknown: u8,
    /// Whether every one so far runs.
    pub whole: bool,
}

/// Why nobody else owns what is being taken over.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub(super) enum Authority {
    /// The live peer's word to this life.
    Peer(Incarnation),
    /// An operator's word.
    Operator(StopProof),
    /// Whoever took over ended these services first (rule 5 ii); only if all of them run.
    OwnEvidence,
}
