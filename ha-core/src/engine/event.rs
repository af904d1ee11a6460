//! What the engine reports: each decision with the rule it follows and the evidence it used.

use super::input::Health;
use super::policy_state::{Cause, MoveReason};
use crate::{
    Epoch, ExclusionProof, Generation, GroupId, Incarnation, Instant, LinkId, PolicyScope, StopProof,
};
use serde::{Deserialize, Serialize};
use std::fmt;

/// One report.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct Event {
    /// When, on this node's boot clock.
    pub at: Instant,
    /// What.
    pub kind: EventKind,
}

/// What happened or was decided.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub enum EventKind {
    /// A link changed its state.
    Link {
        /// Which.
        link: LinkId,
        /// To what.
        state: LinkState,
    },
    /// The peer changed its state as seen from here.
    Peer {
        /// Its life, if one was ever accepted.
        incarnation: Option<Incarnation>,
        /// To what.
        state: PeerState,
    },
    /// The group changed its role here.
    Role {
        /// Which.
        group: GroupId,
        /// To what.
        role: RoleName,
        /// In which epoch.
        epoch: Epoch,
    },
    /// A proof was obtained for the group.
    Proof {
        /// For which group.
        group: GroupId,
        /// The proof.
        proof: StopProof,
    },
    /// A grant became durable.
    Granted {
        /// Which group.
        group: GroupId,
        /// The epoch.
        epoch: Epoch,
        /// On which proof.
        proof: StopProof,
    },
    /// The node may acknowledge alone.
    Alone {
        /// Which group.
        group: GroupId,
        /// The generation in which it is alone.
        generation: Generation,
        /// On which proof.
        proof: ExclusionProof,
    },
    /// Both copies are members again.
    Full {
        /// Which group.
        group: GroupId,
        /// The generation.
        generation: Generation,
    },
    /// A state's timeout edge was taken.
    Timeout {
        /// Which.
        edge: TimeoutEdge,
    },
    /// A fencing order was given.
    Shoot,
    /// A fence device said off, and its victim was heard afterwards.
    FenceLied {
        /// The victim's life.
        incarnation: Incarnation,
    },
    /// An operator is asked.
    Asked {
        /// Which group.
        group: GroupId,
        /// What is missing.
        question: Question,
    },
    /// A question no longer stands.
    Unasked {
        /// Which group.
        group: GroupId,
    },
    /// A resource was found in another state than running.
    Resource {
        /// Which group.
        group: GroupId,
        /// Its place.
        resource: u8,
        /// What was found.
        health: Health,
    },
    /// An operation overran its budget.
    OpOverrun {
        /// Which group.
        group: GroupId,
    },
    /// What is found of a resource changed.
    Found {
        /// Which group.
        group: GroupId,
        /// Its place.
        resource: u8,
        /// What was found.
        health: Health,
        /// How.
        cause: Cause,
    },
    /// A group is about to be handed over.
    Moving {
        /// Which.
        group: GroupId,
        /// Why.
        reason: MoveReason,
    },
    /// The group failed here too often, and is not started here again until that is forgotten.
    Quarantined {
        /// Which.
        group: GroupId,
    },
    /// This node forgot that the group failed here.
    FailuresFaded {
        /// Which.
        group: GroupId,
    },
    /// A word of an operator about standby or maintenance is known here, and will be durable next.
    Policy {
        /// About what.
        scope: PolicyScope,
        /// Whether it stands by.
        standby: bool,
        /// Whether it is in maintenance.
        maintenance: bool,
    },
    /// A command was refused.
    Refused {
        /// Why.
        why: Refusal,
    },
    /// The third party changed its state as seen from here.
    Arbiter {
        /// For which group.
        group: GroupId,
        /// To what.
        state: ArbiterState,
    },
    /// A step of leaving services running without an engine, or of taking them over.
    Detach {
        /// Which group.
        group: GroupId,
        /// Which step.
        step: DetachStep,
    },
    /// The control thread itself was late by so many milliseconds.
    Late {
        /// The gap.
        gap_ms: u32,
    },
}

/// A step of leaving services running without an engine, or of taking them over.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub enum DetachStep {
    /// The peer is asked for its promise.
    Asked,
    /// The promise is there; the own record is being written.
    Promised,
    /// The engine leaves, the services run on.
    Left,
    /// The engine stays after all.
    Withdrawn,
    /// Every resource of an earlier life was found running.
    Found,
    /// One of them was not.
    Broken,
    /// They are in the hands of this engine, as they ran.
    Adopted,
    /// They are in the hands of this engine, and are stopped and started.
    Restarted,
    /// They are stopped: somebody else owns the group, or nobody can say who does.
    Stopped,
}

/// The timeout edges of the engine's states: every wait ends in one of them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub enum TimeoutEdge {
    /// A link was silent for its `suspect`.
    LinkSuspect,
    /// A link was silent for its `dead`.
    LinkDead,
    /// The node was silent beyond the latest deadline.
    PeerDead,
    /// A booting node heard nobody for its boot wait.
    BootWait,
    /// A fence device did not answer a question.
    FenceQuery,
    /// A fence device did not answer an order.
    FenceShot,
    /// A permission ran out.
    TokenExpired,
    /// A suspended owner got no confirmation.
    ConfirmNone,
    /// A live peer did not consent in time.
    AskOverdue,
    /// It did not consent a second time: mute.
    AskMute,
    /// A switchover's target did not get ready.
    PrepareNone,
    /// Nobody took a released group over.
    TakeoverNone,
    /// A promotion overran.
    Promote,
    /// A demotion overran.
    Demote,
    /// A start overran.
    Start,
    /// A stop overran.
    Stop,
    /// A monitor overran.
    Monitor,
    /// A record did not become durable in time.
    Persist,
    /// A question stood for so long that it is repeated.
    Question,
    /// A failed start is tried again.
    Retry,
    /// A leaving node waited long enough for its successor.
    Leave,
    /// A drain overran: what is not finished is stopped.
    Drain,
    /// A group waited long enough for the ones before it.
    Order,
    /// The third party did not answer.
    ArbiterAnswer,
}

impl TimeoutEdge {
    /// Every edge.
    pub const ALL: [Self; 24] = [
        Self::LinkSuspect,
        Self::LinkDead,
        Self::PeerDead,
        Self::BootWait,
        Self::FenceQuery,
        Self::FenceShot,
        Self::TokenExpired,
        Self::ConfirmNone,
        Self::AskOverdue,
        Self::AskMute,
        Self::PrepareNone,
        Self::TakeoverNone,
        Self::Promote,
        Self::Demote,
        Self::Start,
        Self::Stop,
        Self::Monitor,
        Self::Persist,
        Self::Question,
        Self::Retry,
        Self::Leave,
        Self::Drain,
        Self::Order,
        Self::ArbiterAnswer,
    ];
}

/// The third party as seen from here.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub enum ArbiterState {
    /// It answers.
    Answers,
    /// It gives no answer.
    Silent,
    /// It keeps less than it told before, or something foreign: nothing acts on it.
    Forgot,
}

/// One link as seen from here.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub enum LinkState {
    /// Nothing heard in this life.
    Silent,
    /// Heard, but the peer does not hear us.
    HalfOpen,
    /// Heard both ways.
    Up,
    /// Late.
    Suspect,
    /// Beyond its deadline.
    Dead,
}

/// The peer as seen from here.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub enum PeerState {
    /// Never heard in this life.
    Unknown,
    /// Heard both ways on some link.
    Alive,
    /// Late on every link.
    Suspect,
    /// Beyond the latest deadline, and no other evidence.
    Dead,
    /// Beyond the latest deadline, but other evidence shows it alive.
    Unreachable,
    /// Its incarnation is proven to have ended.
    Gone,
}

/// The role of a group on this node.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub enum RoleName {
    /// Booted and undecided.
    Waiting,
    /// Standing by.
    Standby,
    /// Has a proof, waits for its grant to become durable.
    Claiming,
    /// Granted, starting its resources.
    Starting,
    /// Serving.
    Active,
    /// Owner whose permission ran out and is being confirmed.
    Suspended,
    /// Owner that gives the group up.
    Stopping,
    /// Waits for an operator.
    Blocked,
}

/// What an operator is asked, with what is missing.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Question {
    /// The peer is absent since boot, and this copy may be old. Power the peer on, or force this copy.
    PeerAbsent,
    /// The owner is dead and nothing proves that it stopped. Power it off, then confirm.
    NoStopProof,
    /// The owner is dead and this copy is not current. Bring the peer back, or force this copy.
    NotCurrent,
    /// The owner cannot acknowledge: the standby is silent and nothing proves its end.
    NoExclusionProof,
    /// Both copies went on alone. Choose one; the other's tail goes to quarantine.
    Diverged,
    /// The service failed to start on both nodes.
    FailedEverywhere,
    /// The stores were not initialised together. Initialise both.
    NotInitialised,
    /// The two nodes' timings do not fit each other.
    TimingMismatch,
    /// The permission could not be confirmed.
    Unconfirmed,
    /// Standby or maintenance keeps the group from being started, or its lead waits for an answer.
    HeldByPolicy,
    /// The arbiter gives no answer, and nothing can be granted or excluded without it. Bring it back.
    ArbiterSilent,
    /// The arbiter keeps less than was granted before. Bring its memory back, or let it be written anew.
    ArbiterForgot,
}

/// Why a command was refused.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Refusal {
    /// This node does not own the group.
    NotOwner,
    /// The peer is not alive, current, willing or free of failures.
    TargetNotViable,
    /// The target did not get ready in time.
    TargetNotReady,
    /// No question of that kind stands, or it named another incarnation.
    NotAsked,
    /// The group is in maintenance.
    Maintenance,
    /// No such node or group.
    UnknownScope,
    /// To leave services running: there is a mirror, an arbiter, shared data, or a resource that ends with the engine.
    NotDetachable,
    /// To leave services running: a group is not durably in maintenance.
    NotMaintained,
    /// To leave services running: something is being started, stopped, moved or confirmed.
    NotSettled,
    /// To leave services running: the peer did not promise to leave them alone.
    NotPromised,
}

impl fmt::Display for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::PeerAbsent => "the peer is absent since this node's start, and only the peer knows whether this copy is current; power the peer on, or force this copy (what only the peer holds is lost)",
            Self::NoStopProof => "the owner is silent and nothing proves that it stopped; power it off, then confirm (if it still runs, both serve)",
            Self::NotCurrent => "the owner stopped, and this copy may lack acknowledged data; bring the peer back, or force this copy (what only the peer holds is lost)",
            Self::NoExclusionProof => "the standby is silent and nothing proves that it can never be promoted; power it off, then confirm (acknowledged mail stops until then)",
            Self::Diverged => "both copies went on alone; choose one, the other's tail goes to quarantine",
            Self::FailedEverywhere => "the service failed to start on both nodes; mend it, then clear the failures",
            Self::NotInitialised => "the two stores were not initialised together; initialise both with one common id",
            Self::TimingMismatch => "the two nodes' timings do not fit each other; takeover is disabled until they do",
            Self::ArbiterSilent => "the arbiter gives no answer, and no grant or exclusion is made without it; bring it back",
            Self::ArbiterForgot => "the arbiter keeps less than was granted before, so nothing acts on its word; bring its memory back, or let its record be written anew (if another node was granted meanwhile, both serve)",
            Self::Unconfirmed => "the permission ran out and nobody can confirm it; bring the peer back, or confirm that it is off",
            Self::HeldByPolicy => "standby or maintenance keeps the group from being started here, or the group that it must be with waits for an answer or cannot come here, where this one's data are; end the standby or the maintenance, clear the failures, or answer that one",
        })
    }
}
