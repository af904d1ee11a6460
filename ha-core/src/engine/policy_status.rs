//! Why a group is where it is, what holds it, and how its resources were found: for operators.

use super::holds::Hold;
use super::machine::Engine;
use super::policy_state::{Finding, MoveReason};
use super::state::Role;
use crate::config::Failback;
use crate::{GroupId, Instant};
use serde::{Deserialize, Serialize};

/// A group's policy in a [`GroupStatus`](super::GroupStatus).
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub struct PolicyStatus {
    /// Why the group is here, or is not.
    pub placement: Placement,
    /// Why this node would not start the group, if so.
    pub hold: Option<Hold>,
    /// Since when the group is in this node's failure memory, and when that fades (never: absent).
    pub quarantine: Option<(Instant, Option<Instant>)>,
    /// Restarts in place that count at present.
    pub restarts: u32,
    /// The newest finding of each resource, in their order; absent before the first.
    pub findings: Vec<Option<Finding>>,
    /// The newest finding of each resource that was not *running*, under this grant or an earlier one.
    pub troubles: Vec<Option<Finding>>,
}

/// Why a group is on this node, or is not.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Placement {
    /// Nothing was decided yet, or nobody owns it.
    #[default]
    Undecided,
    /// The other node owns it, and this one is ready to take over.
    StandsBy,
    /// The other node owns it, and this one could not or would not take over.
    NotViable,
    /// Here, where it is preferred.
    Preferred,
    /// Here, where its lead is.
    WithLead,
    /// Here, though its lead is not; no viable target.
    WithoutLead,
    /// Here, though the other node is preferred: it does not return by itself.
    Stays,
    /// Here, though the other node is preferred or better: that one cannot take over.
    NoTarget,
    /// Here, until it may move.
    MovesAt(MoveReason, Instant),
    /// It is being handed over.
    Moving(MoveReason),
    /// Here, and left alone: maintenance.
    Maintained,
    /// Given up here; its next owner is on the way.
    HandedOver,
}

impl Engine {
    pub(super) fn policy_status(&self, g: GroupId) -> PolicyStatus {
        let gr = self.group(g);
        let quarantine = gr.policy.failed_at.filter(|_| gr.failed_here).map(|at| (at, self.forgotten_at(g)));
        PolicyStatus {
            placement: if gr.is_owner() { self.placement_here(g) } else { self.placement_elsewhere(g) },
            hold: self.hold(g),
            quarantine,
            restarts: gr.restarts,
            findings: gr.monitors.iter().map(|m| m.finding).collect(),
            troubles: gr.monitors.iter().map(|m| m.trouble).collect(),
        }
    }

    fn placement_here(&self, g: GroupId) -> Placement {
        let gr = self.group(g);
        let policy = &self.group_config(g).policy;
        if gr.switching.is_some() || matches!(gr.role, Role::Stopping { .. }) && gr.policy.moving.is_some() {
            return gr.policy.moving.map_or(Placement::Undecided, Placement::Moving);
        }
        if let Some((reason, at)) = self.next_move(g) {
            return Placement::MovesAt(reason, at);
        }
        if self.in_maintenance(g) {
            Placement::Maintained
        } else if self.lead(g).is_some() {
            if self.lead_is_owned_here(g) { Placement::WithLead } else { Placement::WithoutLead }
        } else if self.is_standing_by(self.st.me) {
            Placement::NoTarget
        } else if self.is_at_home(g) {
            Placement::Preferred
        } else if policy.failback == Failback::Never {
            Placement::Stays
        } else {
            Placement::NoTarget
        }
    }

    fn placement_elsewhere(&self, g: GroupId) -> Placement {
        let gr = self.group(g);
        if gr.released.is_some_and(|r| !r.overdue) {
            Placement::HandedOver
        } else if gr.role != Role::Standby {
            Placement::Undecided
        } else if self.is_viable(g) {
            Placement::StandsBy
        } else {
            Placement::NotViable
        }
    }
}
