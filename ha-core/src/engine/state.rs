//! What an engine remembers: integers, newtypes and ordered collections, so that states can be compared.

use super::beat::{ClaimState, Predecessor};
use super::event::{LinkState, PeerState, Question};
use super::group_map::GroupMap;
use super::input::{AckRule, DataReport};
use super::permit::{Permit, Validity};
use super::third_party::ThirdParty;
use super::{OpKind, OpTarget};
use crate::{
    BootId, Epoch, ExclusionProof, FenceScope, Generation, GroupId, Incarnation, InitId, Instant, Lsn,
    NodeId, NodeRecord, Nonce, OpId, SetRecord, StopProof, StoreId, WriteId,
};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub(super) struct State {
    pub me: NodeId,
    pub incarnation: Incarnation,
    pub boot: BootId,
    pub predecessor: Predecessor,
    pub outside: u8,
    pub now: Instant,
    pub started: Instant,
    /// The deadline promised at the last drain; being later than it is a gap of our own.
    pub wake: Instant,
    pub stall: Duration,
    pub stall_at: Instant,
    /// When this node woke late: until the next tick, more may be waiting in the sockets.
    pub drains: Option<Instant>,
    pub record: NodeRecord,
    pub durable: NodeRecord,
    pub write: Option<Write>,
    pub links: Vec<Link>,
    pub peer: Peer,
    pub fence: Fence,
    pub groups: Vec<Group>,
    /// Of all groups with [`Permit::Common`].
    pub common: Validity,
    pub ops: BTreeMap<OpId, Op>,
    pub leaving: Option<Leaving>,
    pub detaching: Option<super::detach_state::Detaching>,
    pub application_alive: bool,
    pub ended: bool,
    pub next_op: u64,
    pub next_write: u64,
    pub next_nonce: u32,
    /// What was urgent at the last drain; a change is said at once.
    pub last_urgent: Vec<super::Statement>,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub(super) struct Write {
    pub id: WriteId,
    pub record: NodeRecord,
    pub deadline: Instant,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub(super) struct Link {
    pub state: LinkState,
    pub seq: u32,
    /// Our newest beats, oldest first: an echo of one of them tells when the peer still heard us.
    pub sent: VecDeque<(u32, Instant)>,
    pub heard: Option<(Incarnation, u32)>,
    pub last_heard: Option<Instant>,
    /// When the last beat arrived that echoed a fresh one of ours.
    pub two_way: Option<Instant>,
    /// When our newest beat known to be echoed had been sent.
    pub echoed: Option<Instant>,
    /// By how much our own gaps extend the peer's deadline.
    pub grace: Duration,
    pub last_sent: Option<Instant>,
    pub next_send: Instant,
    /// Where the rotation of status statements goes on, on a narrow link.
    pub cursor: usize,
    /// The same of very many urgent statements.
    pub urgent_at: usize,
    /// What the peer was not told yet, or not surely, of many groups.
    pub news: super::telling::News,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub(super) struct Peer {
    pub state: PeerState,
    /// The lives seen, the current one last.
    pub lives: Vec<Life>,
    pub claims: GroupMap<Claim>,
    /// In which grant it last said that a group serves.
    pub serves: BTreeMap<GroupId, Epoch>,
    pub store: Option<StoreId>,
    pub knows_my_store: Option<bool>,
    pub init: Option<Option<InitId>>,
    pub weight: u16,
    /// What the peer last heard of our weight.
    pub my_weight_there: Option<u16>,
    pub outside: u8,
    /// Counts the peer's health statements, to compare twice on separate ones.
    pub health_count: u64,
    /// When the newest of them came.
    pub health_at: Option<Instant>,
    pub safety: Option<(u16, u16, u16)>,
    /// What it told of its lease.
    pub lease: Option<crate::timing::LeaseValues>,
    pub departing: bool,
    /// Since when it lets questions pass unanswered.
    pub mute_since: Option<Instant>,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub(super) struct Life {
    pub incarnation: Incarnation,
    pub identity: Option<(BootId, Predecessor)>,
    pub ended: Option<Ended>,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub(super) struct Ended {
    pub how: EndedHow,
    pub at: Instant,
    /// When whoever proved it was asked: what was seen before is covered.
    pub asked: Instant,
}

/// How a peer's life was proven to have ended.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub(super) enum EndedHow {
    Fenced(FenceScope),
    Guardian,
    Departed,
    Rebooted(Incarnation),
    Operator,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub(super) struct Claim {
    pub epoch: Epoch,
    pub state: ClaimState,
    pub set: SetRecord,
    pub lsn: Lsn,
    pub highest: Epoch,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize)]
pub(super) struct Fence {
    pub query: Option<FenceOp>,
    pub shot: Option<FenceOp>,
    pub next_query: Instant,
    /// The device lied: it proves nothing until an operator clears it.
    pub liar: bool,
    /// Orders and questions that ended without a proof, since the peer died.
    pub failures: u32,
    /// The slot turn in which the last shot was issued, so that a turn has one shot.
    pub last_slot: Option<u64>,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub(super) struct FenceOp {
    pub op: OpId,
    pub issued: Instant,
    pub deadline: Instant,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub(super) struct Op {
    pub group: GroupId,
    pub target: OpTarget,
    pub kind: OpKind,
    pub deadline: Instant,
    /// Given up: a late completion is undone.
    pub abandoned: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub(super) struct Leaving {
    pub how: LeaveHow,
    /// When nothing was owned any more.
    pub idle_since: Option<Instant>,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub(super) enum LeaveHow {
    Depart,
    Reborn,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub(super) enum Role {
    Waiting,
    Standby,
    Claiming {
        epoch: Epoch,
        proof: StopProof,
    },
    Starting {
        step: u8,
    },
    Active,
    /// `step` targets are still to be stopped, down to `floor`.
    Stopping {
        why: Why,
        step: u8,
        floor: u8,
    },
}

/// Why an owner stops its resources.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub(super) enum Why {
    Restart,
    Switchover,
    /// The peer sees more of the outside (rule 10): release with our own consent.
    Handover,
    Failed,
    Leaving,
    Superseded,
    /// The lease of shared data ran out, and nobody renews it.
    Lapsed,
    /// The other copy knows an epoch above this one and takes nothing from here: a new grant is needed.
    Overtaken,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub(super) struct Group {
    pub role: Role,
    /// The grant of this node, while it owns the group.
    pub epoch: Epoch,
    pub proof: Option<StopProof>,
    pub exclusion: Option<ExclusionProof>,
    pub op: Option<OpId>,
    /// Nothing is started before: an address's expiry, or the back-off of a retry.
    pub hold_until: Option<Instant>,
    pub restarts: u32,
    pub failed_here: bool,
    pub question: Option<Question>,
    pub question_repeat: Instant,
    pub forced_current: bool,
    pub operator_confirmed: Option<Confirmation>,
    // --- the permission (owner) ---
    pub permit: Permit,
    pub suspended: Option<Suspended>,
    // --- the peer's ownership as seen here ---
    pub owner: Option<(Incarnation, Epoch)>,
    pub release: Option<Release>,
    /// The ownership on whose end this life was granted the group: late words of it say nothing any more.
    pub superseded: Option<(Incarnation, Epoch)>,
    // --- what this node gave up ---
    pub released: Option<Released>,
    pub final_lsn: Option<Lsn>,
    /// A start that was given up completed while its group was being stopped: stop down from here again.
    pub restop: u8,
    /// Since when a release waits for a start that was given up and has not completed.
    pub straggler_since: Option<Instant>,
    // --- arbitration ---
    pub want: Option<Asking>,
    pub wanted: Option<Wanted>,
    pub promised: Option<Wanted>,
    /// The last promise of this life, whether it stands or not.
    pub promised_before: Option<Wanted>,
    // --- switchover ---
    pub switching: Option<Instant>,
    pub prepare: Option<Epoch>,
    pub ready: Option<Epoch>,
    // --- confirmation asked by the peer ---
    pub confirm: Option<(Epoch, Nonce)>,
    // --- the mirror's set ---
    pub data: DataReport,
    /// Since when the mirror reports that acknowledgements stopped.
    pub stalled_since: Option<Instant>,
    pub admission: Option<Admission>,
    pub admit: Option<(Epoch, Generation)>,
    pub admitting: Option<Admission>,
    /// The mirror applied the new generation's rule while the copy was caught up: admission may be told.
    pub admit_open: bool,
    pub full: bool,
    pub rule: Option<AckRule>,
    pub ask: Option<Ask>,
    pub asked: Option<AskedConsent>,
    pub outside_seen: Option<u64>,
    // --- the third party ---
    pub third: ThirdParty,
    // --- monitors ---
    pub monitors: Vec<Monitor>,
    // --- policy ---
    pub policy: super::policy_state::PolicyState,
    // --- services without an engine ---
    pub detach: super::detach_state::DetachState,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize)]
pub(super) struct Monitor {
    pub next: Instant,
    pub op: Option<OpId>,
    /// What was found last under this grant.
    pub finding: Option<super::Finding>,
    /// What was found last that was not *running*.
    pub trouble: Option<super::Finding>,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub(super) struct Suspended {
    pub since: Instant,
    pub nonce: Nonce,
    pub overdue: bool,
}

/// The peer gave the group up.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub(super) struct Release {
    pub epoch: Epoch,
    pub final_lsn: Option<Lsn>,
    pub forced: bool,
    pub excluded: bool,
    /// The releasing node leaves, and could have run the group.
    pub leaving: bool,
    pub incarnation: Incarnation,
}

/// This node gave the group up.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub(super) struct Released {
    pub epoch: Epoch,
    pub final_lsn: Option<Lsn>,
    pub excluded: bool,
    pub leaving: bool,
    pub since: Instant,
    pub overdue: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub(super) struct Asking {
    pub epoch: Epoch,
    pub nonce: Nonce,
}

/// The peer asks for an epoch, or was promised one.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub(super) struct Wanted {
    pub epoch: Epoch,
    pub nonce: Nonce,
    pub incarnation: Incarnation,
}

/// An operator said that the peer is off: its life as the question named it, and when.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub(super) struct Confirmation {
    pub incarnation: Option<Incarnation>,
    pub at: Instant,
}

/// A copy's membership: the life that owns, or the life that is admitted, and the generation.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub(super) struct Admission {
    pub generation: Generation,
    pub incarnation: Incarnation,
}

/// The owner's question for consent.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub(super) struct Ask {
    pub generation: Generation,
    pub nonce: Nonce,
    pub since: Instant,
    pub rounds: u8,
}

/// The peer's question for consent.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub(super) struct AskedConsent {
    pub epoch: Epoch,
    pub generation: Generation,
    pub nonce: Nonce,
}

impl Group {
    pub(super) fn new(resources: usize) -> Self {
        Self {
            role: Role::Waiting,
            epoch: Epoch(0),
            proof: None,
            exclusion: None,
            op: None,
            hold_until: None,
            restarts: 0,
            failed_here: false,
            question: None,
            question_repeat: Instant::FAR,
            forced_current: false,
            operator_confirmed: None,
            permit: Permit::None,
            suspended: None,
            owner: None,
            superseded: None,
            release: None,
            released: None,
            final_lsn: None,
            restop: 0,
            straggler_since: None,
            want: None,
            wanted: None,
            promised: None,
            promised_before: None,
            switching: None,
            prepare: None,
            ready: None,
            confirm: None,
            data: DataReport::default(),
            stalled_since: None,
            admission: None,
            admit: None,
            admitting: None,
            admit_open: false,
            full: false,
            rule: None,
            ask: None,
            asked: None,
            outside_seen: None,
            third: ThirdParty::default(),
            monitors: vec![Monitor::default(); resources],
            policy: super::policy_state::PolicyState::default(),
            detach: super::detach_state::DetachState::default(),
        }
    }

    /// Whether this node holds the grant.
    pub(super) const fn is_owner(&self) -> bool {
        matches!(self.role, Role::Starting { .. } | Role::Active | Role::Stopping { .. })
    }

    /// Whether it may act, as far as its permission was renewed.
    pub(super) fn is_permitted(&self) -> bool {
        self.is_owner() && self.suspended.is_none() && self.permit != Permit::None
    }

    pub(super) const fn is_idle(&self) -> bool {
        matches!(self.role, Role::Waiting | Role::Standby)
    }
}

impl Peer {
    pub(super) fn current(&self) -> Option<&Life> {
        self.lives.last()
    }

    pub(super) fn incarnation(&self) -> Option<Incarnation> {
        self.current().map(|l| l.incarnation)
    }

    pub(super) fn life(&self, incarnation: Incarnation) -> Option<&Life> {
        self.lives.iter().find(|l| l.incarnation == incarnation)
    }

    pub(super) fn ended(&self, incarnation: Incarnation) -> Option<Ended> {
        self.life(incarnation).and_then(|l| l.ended)
    }

    /// Heard both ways on some link, in its current life.
    pub(super) fn is_alive(&self) -> bool {
        matches!(self.state, PeerState::Alive | PeerState::Unreachable)
    }
}
