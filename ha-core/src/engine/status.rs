//! Snapshots for operators, and the next deadline.

use super::machine::Engine;
use super::state::{Group, Role};
use super::{LinkState, PeerState, PolicyStatus, Question, RoleName};
use crate::{
    Epoch, ExclusionProof, GroupId, Incarnation, Instant, NodeId, PolicyRecord, SetRecord, StopProof,
};
use serde::{Deserialize, Serialize};

/// A snapshot of an engine.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Status {
    /// Which node.
    pub me: NodeId,
    /// Its life.
    pub incarnation: Incarnation,
    /// The peer as seen from here.
    pub peer: PeerStatus,
    /// The groups.
    pub groups: Vec<GroupStatus>,
    /// Standby and maintenance, as this node knows them.
    pub policy: PolicyRecord,
}

/// The peer in a [`Status`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PeerStatus {
    /// Its state.
    pub state: PeerState,
    /// Its life, if one was accepted.
    pub incarnation: Option<Incarnation>,
    /// The links, in the order of the configuration.
    pub links: Vec<LinkState>,
    /// Whether its fence device lied and is not believed.
    pub fence_lied: bool,
}

/// A group in a [`Status`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct GroupStatus {
    /// Which.
    pub group: GroupId,
    /// Its role here.
    pub role: RoleName,
    /// The epoch: of the grant where this node owns it, else the highest known.
    pub epoch: Epoch,
    /// The proof on which the present grant rests.
    pub proof: Option<StopProof>,
    /// The proof on which it acknowledges alone.
    pub exclusion: Option<ExclusionProof>,
    /// How well the data is protected.
    pub protection: Protection,
    /// Whether this node could take over at once.
    pub viable: bool,
    /// The durable in-sync set.
    pub set: SetRecord,
    /// What the operator is asked.
    pub question: Option<Question>,
    /// Why it is where it is.
    pub policy: PolicyStatus,
}

/// How well a group's data is protected, as the owner knows it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Protection {
    /// The group has no mirrored data, or this node does not own it.
    None,
    /// Every acknowledged transaction is on both nodes, and the standby can take over.
    Full,
    /// Both must hold a transaction, but the other copy is not admitted yet: acknowledgements may wait.
    CatchingUp,
    /// This copy alone acknowledges.
    Standalone,
}

pub(super) fn role_name(gr: &Group) -> RoleName {
    match gr.role {
        Role::Waiting | Role::Standby if gr.question.is_some() => RoleName::Blocked,
        Role::Waiting => RoleName::Waiting,
        Role::Standby => RoleName::Standby,
        Role::Claiming { .. } => RoleName::Claiming,
        Role::Stopping { .. } => RoleName::Stopping,
        _ if gr.suspended.is_some() => RoleName::Suspended,
        Role::Starting { .. } => RoleName::Starting,
        Role::Active => RoleName::Active,
    }
}

impl Engine {
    /// A snapshot for operators.
    #[must_use]
    pub fn status(&self) -> Status {
        let st = &self.st;
        let peer = self.peer_status();
        let groups = self.group_ids().map(|g| self.group_status(g)).collect();
        Status { me: st.me, incarnation: st.incarnation, peer, groups, policy: st.record.policy.clone() }
    }

    /// What this node's grant of the group rests on, if it owns the group.
    #[must_use]
    pub fn proof(&self, group: GroupId) -> Option<StopProof> {
        if self.knows(group) { self.group(group).proof } else { None }
    }

    /// The peer's part of [`Engine::status`].
    #[must_use]
    pub fn peer_status(&self) -> PeerStatus {
        let st = &self.st;
        PeerStatus {
            state: st.peer.state,
            incarnation: st.peer.incarnation(),
            links: st.links.iter().map(|l| l.state).collect(),
            fence_lied: st.fence.liar,
        }
    }

    /// Moves with every change of a group or of what all groups depend on. Where it stands still between two
    /// steps, [`Engine::status`] says the same of every group; without a third party, whose silence counts too.
    #[must_use]
    pub const fn revision(&self) -> u64 {
        self.agenda.revision()
    }

    fn group_status(&self, g: GroupId) -> GroupStatus {
        let gr = self.group(g);
        let set = self.st.durable.group(g).set;
        let protection = match (gr.is_owner() && self.group_config(g).mirrored, set) {
            (false, _) => Protection::None,
            (true, SetRecord::Alone { .. }) => Protection::Standalone,
            (true, _) if gr.full => Protection::Full,
            (true, _) => Protection::CatchingUp,
        };
        GroupStatus {
            group: g,
            role: role_name(gr),
            epoch: if gr.is_owner() { gr.epoch } else { self.highest_known(g) },
            proof: gr.proof,
            exclusion: gr.exclusion.filter(|_| set.is_alone()),
            protection,
            viable: self.is_viable(g),
            set,
            question: gr.question,
            policy: self.policy_status(g),
        }
    }

    /// The groups that this node owns, with their epochs: what a guardian would release.
    #[must_use]
    pub fn owned(&self) -> Vec<(GroupId, Epoch)> {
        self.maybe_owned().filter(|g| self.group(*g).is_owner()).map(|g| (g, self.group(g).epoch)).collect()
    }

    pub(super) fn compute_wake(&self) -> Instant {
        let next = self.beat_deadline().min(self.next_judgement());
        if self.st.ended {
            Instant::FAR
        } else if next <= self.st.now {
            // Never ask to be woken in the past: a level-triggered rule that waits for a fact would spin.
            self.st.now + std::time::Duration::from_micros(100)
        } else {
            next
        }
    }

    /// When time alone decides something next. At any earlier deadline only beats are due, and whoever drives
    /// the engine need not look first whether anything was heard.
    #[must_use]
    pub fn next_judgement(&self) -> Instant {
        let mut next = self.membership_deadline().min(self.agenda.deadlines.first());
        next = next.min(self.st.common.deadline(self.st.now));
        next = next.min(self.fence_deadline()).min(self.leaving_deadline()).min(self.detach_deadline());
        next = next.min(self.st.write.as_ref().map_or(Instant::FAR, |w| w.deadline));
        next = next.min(self.st.ops.values().map(|o| o.deadline).min().unwrap_or(Instant::FAR));
        if self.was_just_frozen() {
            next = next.min(self.st.stall_at + self.cfg.latest_dead());
        }
        if !self.boot_wait_over() {
            next = next.min(self.st.started + self.cfg.timing.boot_wait);
        }
        next
    }

    /// When time alone decides something next about the group.
    pub(super) fn deadline_of(&self, g: GroupId) -> Instant {
        let gr = self.group(g);
        let next = self.group_deadline(gr).min(self.permission_deadline(gr));
        let next = next.min(self.policy_deadline(g)).min(self.third_deadline(g));
        gr.straggler_since.map_or(next, |since| next.min(since + self.straggler_budget(g)))
    }

    fn group_deadline(&self, gr: &Group) -> Instant {
        let t = &self.cfg.timing;
        let mut next = gr.question_repeat;
        if let (Role::Starting { .. }, Some(hold)) = (gr.role, gr.hold_until) {
            next = next.min(hold);
        }
        if let (Some(r), true) = (gr.released, gr.is_idle())
            && !r.overdue
        {
            next = next.min(r.since + t.takeover_deadline);
        }
        if let Some(since) = gr.switching {
            next = next.min(since + t.prepare_deadline);
        }
        if let (Some(a), true) = (gr.ask, gr.is_owner()) {
            next = next.min(a.since + t.ask_deadline);
        }
        if gr.role == Role::Active {
            let monitors = gr.monitors.iter().filter(|m| m.op.is_none()).map(|m| m.next);
            next = next.min(monitors.min().unwrap_or(Instant::FAR));
        }
        next
    }
}
