//! Groups that belong together, and groups that start after others.
//!
//! A group that must be with another one (its lead) starts after it, stops before it when both move, and is
//! started nowhere else. Both only ever name earlier groups, so that no two wait for each other.

use super::boot_table::Verdict;
use super::machine::Engine;
use super::policy_state::MoveReason;
use super::state::Role;
use super::{ClaimState, TimeoutEdge};
use crate::GroupId;

impl Engine {
    pub(super) fn lead(&self, g: GroupId) -> Option<GroupId> {
        self.group_config(g).policy.with.filter(|lead| *lead < g)
    }

    fn root(&self, g: GroupId) -> GroupId {
        let mut root = g;
        while let Some(lead) = self.lead(root) {
            root = lead;
        }
        root
    }

    /// The groups that move with `g` and are owned here, `g` among them.
    pub(super) fn cohort(&self, g: GroupId) -> Vec<GroupId> {
        let root = self.root(g);
        self.tied(g).filter(|h| self.group(*h).is_owner() && self.root(*h) == root).collect()
    }

    /// Whether the peer could take over everything that moves with the group, and nothing of it is under way.
    pub(super) fn cohort_may_move(&self, g: GroupId) -> bool {
        let root = self.root(g);
        self.tied(g).filter(|h| self.root(*h) == root).all(|h| match self.group(h).role {
            Role::Active => self.peer_is_viable(h),
            Role::Claiming { .. } | Role::Starting { .. } | Role::Stopping { .. } => false,
            Role::Waiting | Role::Standby => true,
        })
    }

    /// Whether whatever belongs to the group is welcome at the peer, also what is not served here. A lead that
    /// went where its follower failed would leave it behind.
    pub(super) fn cohort_is_welcome(&self, g: GroupId) -> bool {
        let root = self.root(g);
        self.tied(g).filter(|h| *h != g && self.root(*h) == root).all(|h| {
            let claim = self.st.peer.claims.get(&h).map(|c| c.state);
            matches!(claim, Some(ClaimState::Owner | ClaimState::Standby { viable: true }))
        })
    }

    /// Whether a group that must be with `root` could be served there and not here: only that copy is current.
    pub(super) fn leaves_a_follower_behind(&self, root: GroupId) -> bool {
        self.tied(root).any(|h| h != root && self.root(h) == root && self.is_better_there(h))
    }

    fn is_better_there(&self, g: GroupId) -> bool {
        let alive = self.st.peer.is_alive() && self.group(g).is_idle();
        alive && self.group_config(g).mirrored && matches!(self.verdict(g), Some(Verdict::Lose))
    }

    /// Whether this copy is the current one, the lead is at the peer, and something keeps it from coming here.
    pub(super) fn is_left_behind(&self, g: GroupId) -> bool {
        let root = self.root(g);
        let wins = matches!(self.verdict(g), Some(Verdict::Win | Verdict::WinAlone));
        let comes = |h| !self.is_owned_there(h) || self.is_viable(h) && !self.is_maintained_there(h);
        wins && self.lead_is_there(g) && !self.tied(g).filter(|h| self.root(*h) == root).all(comes)
    }

    /// Whether the group may be started here as far as its lead is concerned.
    pub(super) fn lead_serves_here(&self, g: GroupId) -> bool {
        self.lead(g).is_none_or(|lead| {
            let gr = self.group(lead);
            gr.role == Role::Active && gr.switching.is_none()
        })
    }

    /// Whether the lead is here, comes here, or could.
    pub(super) fn lead_may_be_here(&self, g: GroupId) -> bool {
        self.lead(g).is_none_or(|lead| !self.group(lead).is_idle() || self.is_viable(lead))
    }

    pub(super) fn lead_is_owned_here(&self, g: GroupId) -> bool {
        self.lead(g).is_none_or(|lead| self.group(lead).is_owner())
    }

    pub(super) fn lead_is_there(&self, g: GroupId) -> bool {
        self.lead(g).is_none_or(|lead| self.is_owned_there(lead))
    }

    fn is_owned_there(&self, g: GroupId) -> bool {
        let owner = self.st.peer.claims.get(&g).is_some_and(|c| c.state == ClaimState::Owner);
        owner && self.st.peer.is_alive() && self.group(g).is_idle()
    }

    /// A follower that fails here takes its lead along, if the other node can have both.
    pub(super) fn lead_may_follow(&self, g: GroupId) -> bool {
        self.lead(g).is_none_or(|lead| {
            self.is_owned_there(lead)
                || self.peer_is_viable(lead)
                    && self.group(lead).role == Role::Active
                    && self.lead_may_follow(lead)
        })
    }

    /// The rest of a group's cohort moves after it.
    pub(super) fn bring_cohort(&mut self, g: GroupId) {
        let rest: Vec<_> = self.cohort(g).into_iter().filter(|h| *h != g).collect();
        if let (Some(first), true) = (rest.first(), self.lead(g).is_some()) {
            self.begin_move(*first, MoveReason::Together);
        }
    }

    pub(super) fn followers_are_off(&self, g: GroupId) -> bool {
        !self.tied(g).any(|h| self.lead(h) == Some(g) && self.group(h).is_owner())
    }

    /// A follower that was to move with the group does not.
    pub(super) fn a_follower_stays(&self, g: GroupId) -> bool {
        self.tied(g).any(|h| {
            let gr = self.group(h);
            self.lead(h) == Some(g) && gr.role == Role::Active && gr.switching.is_none()
        })
    }

    /// Whether something that builds on the group still runs here.
    pub(super) fn has_dependents(&self, g: GroupId) -> bool {
        self.tied(g).any(|h| {
            let policy = &self.group_config(h).policy;
            h > g && self.group(h).is_owner() && (policy.with == Some(g) || policy.after.contains(&g))
        })
    }

    fn serves_there(&self, g: GroupId) -> bool {
        let claim = self.st.peer.claims.get(&g);
        self.is_owned_there(g) && claim.is_some_and(|c| self.st.peer.serves.get(&g) == Some(&c.epoch))
    }

    /// Whether the start still waits for the groups before it; not for ever.
    pub(super) fn waits_for_order(&mut self, g: GroupId) -> bool {
        let missing = self.group_config(g).policy.after.iter().any(|before| {
            *before < g && self.group(*before).role != Role::Active && !self.serves_there(*before)
        });
        if !missing {
            self.gr(g).policy.ordered_since = None;
            return false;
        }
        if self.group(g).policy.waited_for_order {
            return false;
        }
        let now = self.st.now;
        let since = *self.gr(g).policy.ordered_since.get_or_insert(now);
        if now < since + self.group_config(g).policy.order_wait {
            return true;
        }
        self.timed_out(TimeoutEdge::Order);
        let policy = &mut self.gr(g).policy;
        policy.ordered_since = None;
        policy.waited_for_order = true;
        false
    }
}
