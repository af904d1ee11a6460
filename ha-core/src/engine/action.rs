//! Everything that comes out of an engine.

use super::beat::Beat;
use super::event::Event;
use super::input::AckRule;
use crate::api::OwnerRecord;
use crate::{Epoch, GroupId, Incarnation, Instant, LinkId, NodeId, NodeRecord, OpId, WriteId};
use serde::{Deserialize, Serialize};

/// One effect to be carried out. The order of independent actions does not matter; whatever must come after
/// a completion is only issued after that completion was fed in.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum Action {
    /// Send a beat.
    SendBeat {
        /// On which link.
        link: LinkId,
        /// What it says.
        beat: Beat,
    },
    /// Make the record durable, then feed [`Input::Persisted`](super::Input::Persisted). Writes are issued one
    /// at a time.
    Persist {
        /// Its number.
        write: WriteId,
        /// The whole record.
        record: NodeRecord,
    },
    /// Set the group's permission in its [`TokenCell`](crate::TokenCell), at once.
    Token {
        /// The group.
        group: GroupId,
        /// The permission.
        permission: Permission,
    },
    /// Every permission that is [`Permission::Common`] lasts until then, at once. It says nothing of others.
    Renew {
        /// The end, on the boot clock.
        until: Instant,
    },
    /// Start an operation, then feed [`Input::OpDone`](super::Input::OpDone), however late.
    Op {
        /// Its number.
        op: OpId,
        /// The group.
        group: GroupId,
        /// On what.
        target: OpTarget,
        /// What to do.
        kind: OpKind,
        /// The grant it happens in.
        epoch: Epoch,
        /// When the engine gives it up.
        deadline: Instant,
    },
    /// The engine gave an operation up: cancel it. Its late completion is still fed.
    Cancel {
        /// Its number.
        op: OpId,
    },
    /// Tell the promoted data who must hold a transaction from now on.
    Acknowledge {
        /// The mirrored group.
        group: GroupId,
        /// The grant.
        epoch: Epoch,
        /// The rule.
        rule: AckRule,
    },
    /// An operator chose this copy of the mirrored group: it may be promoted although it may lack data.
    ForceData {
        /// The mirrored group.
        group: GroupId,
    },
    /// An operator gave this copy's own tail up: it goes to quarantine, and the copy follows the owner's.
    SurrenderData {
        /// The mirrored group.
        group: GroupId,
    },
    /// Ask the fence device about the node, without effect. Answer with [`Input::Fence`](super::Input::Fence).
    FenceQuery {
        /// Its number.
        op: OpId,
        /// Whom.
        target: NodeId,
    },
    /// Stop the node and verify it. Answer with [`Input::Fence`](super::Input::Fence).
    FenceShoot {
        /// Its number.
        op: OpId,
        /// Whom.
        target: NodeId,
    },
    /// Ask the third party. Answer with [`Input::Arbiter`](super::Input::Arbiter), once, within the configured time.
    Arbiter {
        /// Its number.
        op: OpId,
        /// The group.
        group: GroupId,
        /// What is asked.
        request: ArbiterRequest,
    },
    /// End this process through its guardian (kill, undo, *released*); without a guardian, abort.
    EndSelf {
        /// Why.
        reason: EndReason,
    },
    /// Everything was handed over after the guardian was lost: execute this binary as a new guardian.
    Reborn,
    /// Everything was handed over on request: the process may exit.
    Departed,
    /// The process may exit: what it owns runs on and is not to be stopped or undone by anybody. These grants.
    Detached {
        /// The groups that run on, with their grants.
        groups: Vec<(GroupId, Epoch)>,
    },
    /// Something was decided or happened.
    Event(Event),
}

/// What a third party is asked of a group; see [`Arbiter`](crate::api::Arbiter).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub enum ArbiterRequest {
    /// Read record and lease.
    Read,
    /// Compare and swap.
    Swap {
        /// The revision that must still stand.
        revision: u64,
        /// The new record.
        record: OwnerRecord,
    },
    /// Renew the owner's lease.
    Renew {
        /// The owner's life.
        incarnation: Incarnation,
        /// Its grant.
        epoch: Epoch,
    },
    /// Give the lease up.
    Release {
        /// The life that held it.
        incarnation: Incarnation,
    },
}

/// A group's permission.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub enum Permission {
    /// May act until then.
    Valid {
        /// The grant.
        epoch: Epoch,
        /// The end, on the boot clock.
        until: Instant,
    },
    /// May act until the end that the newest [`Action::Renew`] said, like all groups that nobody else's clock ends.
    Common {
        /// The grant.
        epoch: Epoch,
    },
    /// May not act until confirmed; still the owner.
    Suspended {
        /// The grant.
        epoch: Epoch,
    },
    /// Not the owner.
    Revoked,
}

/// On what an operation works.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub enum OpTarget {
    /// The group's mirrored data.
    Data,
    /// The group's resource at this place of its order.
    Resource(u8),
}

/// What an operation does.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub enum OpKind {
    /// Promote the data under the token, with the rule in force at first.
    Promote(AckRule),
    /// Demote the data: no more acknowledgements; report the last transaction that both acknowledged.
    Demote,
    /// Start a resource.
    Start,
    /// Stop a resource.
    Stop,
    /// Look at a resource.
    Monitor,
    /// Let a resource finish its work and accept no more: it is about to be stopped.
    Drain,
    /// Let a resource accept work again: it is not stopped after all.
    Resume,
}

/// Why an engine ends its own process.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub enum EndReason {
    /// A stop failed or overran its budget (rule 8).
    StopOverrun,
    /// A record could not be made durable in time.
    RecordNotDurable,
}
