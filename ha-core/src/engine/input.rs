//! Everything that goes into an engine.

use super::beat::{Beat, Predecessor, ReleasedNotice};
use crate::api::ArbiterView;
use crate::{
    BootId, Epoch, FenceScope, Generation, GroupId, Incarnation, LinkId, Lsn, NodeId, NodeRecord, OpId,
    PolicyScope, WriteId,
};
use serde::{Deserialize, Serialize};

/// Who an engine is at its start.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Boot {
    /// Which node of the pair.
    pub me: NodeId,
    /// This life; random.
    pub incarnation: Incarnation,
    /// The kernel's boot.
    pub boot: BootId,
    /// The durable record as read.
    pub record: NodeRecord,
    /// Whether something of an earlier life may be left.
    pub predecessor: Predecessor,
    /// Whether a guardian stands behind this process.
    pub guarded: bool,
    /// How many outside targets are reachable, as first measured.
    pub outside: u8,
}

/// One thing that happened.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Input {
    /// The instant of [`Engine::next_deadline`](super::Engine::next_deadline) came. Feed what the sockets hold first.
    Tick,
    /// An authenticated, fresh beat arrived.
    Beat {
        /// On which link.
        link: LinkId,
        /// What it says.
        beat: Beat,
    },
    /// The peer's guardian spoke for its ended child.
    Released(ReleasedNotice),
    /// A write of the record completed.
    Persisted {
        /// Which.
        write: WriteId,
        /// Whether it is durable.
        ok: bool,
    },
    /// An operation completed.
    OpDone {
        /// Which.
        op: OpId,
        /// How.
        result: OpResult,
    },
    /// A fence device answered.
    Fence {
        /// Which order.
        op: OpId,
        /// What it said.
        answer: FenceAnswer,
    },
    /// The third party answered, or did not.
    Arbiter {
        /// Which request.
        op: OpId,
        /// What it said.
        answer: ArbiterAnswer,
    },
    /// The data of a mirrored group changed its state.
    Data {
        /// The group.
        group: GroupId,
        /// The new state.
        report: DataReport,
    },
    /// The outside was measured.
    Outside {
        /// How many targets answered.
        reachable: u8,
    },
    /// Whether the application runtime makes progress.
    Application {
        /// False from the stall limit until the next sign of progress.
        alive: bool,
    },
    /// The guardian is gone.
    GuardianLost,
    /// An operator asked.
    Command(Command),
}

/// What an operator can ask.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Command {
    /// Move a group to the other node.
    Switchover(GroupId),
    /// Leave in good order: hand everything over, then say goodbye.
    Shutdown,
    /// "The peer is off": the answer to a question about a missing stop proof.
    ConfirmPeerOff {
        /// The group of the question.
        group: GroupId,
        /// The peer incarnation the question named.
        incarnation: Option<Incarnation>,
    },
    /// "Use this copy": the answer to a question about data. What only the other copy holds is lost.
    ForceCurrent {
        /// The group of the question.
        group: GroupId,
        /// The peer incarnation the question named: the answer says of no other that it will not come back.
        #[serde(default)]
        incarnation: Option<Incarnation>,
    },
    /// "Give this copy's own tail up": the answer to a divergence, put to the losing node. The tail goes to
    /// quarantine, nothing is deleted.
    Surrender {
        /// The group of the question.
        group: GroupId,
    },
    /// The fence device told the truth after all, or was repaired.
    TrustFence,
    /// The arbiter lost its memory: let the group's record there be written anew from what the nodes know.
    TrustArbiter(GroupId),
    /// Forget failed starts and stops of a group.
    ClearFailures(GroupId),
    /// A node stands by: nothing is started there, and what runs there moves to a viable target. Both nodes keep it.
    Standby {
        /// Which node.
        node: NodeId,
        /// Begins or ends it.
        on: bool,
    },
    /// Maintenance: nothing is started, stopped, moved or fenced by policy; monitors go on. Both nodes keep it.
    Maintenance {
        /// Of what.
        scope: PolicyScope,
        /// Begins or ends it.
        on: bool,
    },
    /// Leave without stopping anything: the next life of this node takes it over. Only in maintenance, and with the
    /// peer's promise (`docs/REATTACH.md`).
    Detach,
}

/// What a third party said.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub enum ArbiterAnswer {
    /// To a reading: what it keeps.
    View(ArbiterView),
    /// To a swap: done, under this revision.
    Swapped {
        /// The new revision.
        revision: u64,
    },
    /// To a swap: another revision stands.
    Lost(ArbiterView),
    /// To a renewal: whether the lease was renewed.
    Renewed(bool),
    /// To a release.
    Released,
    /// It keeps something that is no record of this group.
    Foreign,
    /// No answer. The request may have taken effect.
    Unavailable,
}

/// How an operation of a resource or of the data ended.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub enum OpResult {
    /// Done. A demotion reports the last transaction that both nodes acknowledged.
    Done {
        /// For a demotion of data.
        final_lsn: Option<Lsn>,
    },
    /// A monitor's finding.
    Health(Health),
    /// It failed and says so.
    Failed,
}

/// What a monitor found.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub enum Health {
    /// As it should be.
    Running,
    /// Serving, but not well.
    Degraded,
    /// Stopped in good order.
    Stopped,
    /// Broken.
    Failed,
    /// Nobody can tell. Not a failure.
    Unknown,
}

/// What a fence device said.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub enum FenceAnswer {
    /// Verified off.
    Off {
        /// What that ended.
        scope: FenceScope,
    },
    /// Verified on (an answer to a question, or a shot that had no effect).
    On,
    /// No verified answer.
    Failed,
}

/// The state of a mirrored group's data on this node.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize)]
pub struct DataReport {
    /// The last transaction durable in this copy.
    pub durable: Lsn,
    /// Whether the stream to the other copy is up, both ways.
    pub connected: bool,
    /// Owner only: acknowledgements have stopped for longer than the mirror's limit.
    pub stalled: bool,
    /// Owner only: the other copy is equal at the equal transaction, and its stream is live. The epoch is the
    /// grant under which that was found, and the incarnation is the copy's keeper's.
    pub caught_up: Option<CaughtUp>,
    /// Owner only: the rule that the mirror applies at this report. Admission waits for a report that shows
    /// `Both` of the new generation in force and the copy still caught up: from then on nothing can be
    /// acknowledged that the copy lacks.
    pub rule: Option<AckRule>,
    /// Both copies hold transactions that were acknowledged alone: neither may be cut without an operator.
    pub diverged: bool,
    /// Owner only: the epoch that the other copy knows, where it is not below this one's: it takes nothing from here.
    pub overtaken: Option<Epoch>,
}

/// The other copy caught up: it may be admitted.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct CaughtUp {
    /// The owner's grant.
    pub epoch: Epoch,
    /// The life of the peer that keeps the copy.
    pub incarnation: Incarnation,
}

/// Who must hold a transaction before it is acknowledged.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub enum AckRule {
    /// Both copies, in this generation.
    Both(Generation),
    /// This copy alone, in this generation: an exclusion proof is durable.
    Alone(Generation),
}
