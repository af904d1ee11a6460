//! Where an active group should be, and the move there: standby, the outside, the preferred node, its lead.
//!
//! A move by policy is a switchover like an operator's: only towards a viable target, prepared, given up if the
//! target does not get ready. Whatever is compared must hold without a break for the policy's hold-off.

use super::machine::Engine;
use super::owner::{RETRY_FIRST, RETRY_MAX};
use super::policy_state::MoveReason;
use super::state::Role;
use super::{ClaimState, EventKind, Refusal};
use crate::config::Failback;
use crate::{GroupId, Instant, NodeId};
use std::time::Duration;

impl Engine {
    pub(super) fn advance_placement(&mut self, g: GroupId) {
        let reason = if self.may_consider_move(g) { self.better_place(g) } else { None };
        let Some(reason) = reason else {
            if self.group(g).policy.better.is_some() {
                self.gr(g).policy.better = None;
            }
            return;
        };
        let now = self.st.now;
        let since = match self.group(g).policy.better {
            Some((same, since)) if same == reason => since,
            _ => now,
        };
        self.gr(g).policy.better = Some((reason, since));
        let rechecked = reason != MoveReason::Outside || self.is_rechecked(g, since);
        let free = !is_preference(reason) || !self.peer_gives_up();
        if now >= self.move_at(g, reason, since) && rechecked && free {
            self.begin_move(g, reason);
        }
    }

    fn may_consider_move(&self, g: GroupId) -> bool {
        let gr = self.group(g);
        gr.role == Role::Active
            && gr.switching.is_none()
            && gr.suspended.is_none()
            && self.st.leaving.is_none()
            && !self.in_maintenance(g)
    }

    /// Why the other node would be better now. In the order of weight.
    fn better_place(&self, g: GroupId) -> Option<MoveReason> {
        if self.lead(g).is_some() {
            let follow = !self.lead_is_owned_here(g) && self.lead_is_there(g) && self.peer_is_viable(g);
            return follow.then_some(MoveReason::Together);
        }
        let standby = self.is_standing_by(self.st.me);
        let (mine, theirs) = (self.st.outside, self.st.peer.outside);
        let config = self.group_config(g);
        let outside = config
            .policy
            .outside
            .is_some_and(|o| u16::from(theirs) >= u16::from(mine) + u16::from(o.difference.max(1)));
        let preferred = config.preferred != self.st.me
            && config.policy.failback != Failback::Never
            && theirs >= mine
            && (!config.mirrored || self.group(g).full);
        let reason = match (standby, outside, preferred) {
            (true, ..) => MoveReason::Standby,
            _ if self.leaves_a_follower_behind(g) => MoveReason::Together,
            (_, true, _) => MoveReason::Outside,
            (.., true) => MoveReason::Failback,
            _ => return None,
        };
        let welcome = !is_preference(reason) || self.cohort_is_welcome(g);
        (self.cohort_may_move(g) && welcome).then_some(reason)
    }

    /// A word of the peer about the outside that is newer than the hold-off: compare, wait, compare again.
    fn is_rechecked(&self, g: GroupId, since: Instant) -> bool {
        let hold_off = self.group_config(g).policy.outside.map_or(Duration::ZERO, |o| o.hold_off);
        self.st.peer.health_at.is_some_and(|at| at > since && at >= since + hold_off)
    }

    fn move_at(&self, g: GroupId, reason: MoveReason, since: Instant) -> Instant {
        let policy = &self.group_config(g).policy;
        let hold_off = match (reason, policy.failback) {
            (MoveReason::Outside, _) => policy.outside.map_or(Duration::ZERO, |o| o.hold_off),
            (MoveReason::Failback, Failback::After(span)) => span,
            _ => Duration::ZERO,
        };
        let state = &self.group(g).policy;
        let settled = state.active_since.filter(|_| is_preference(reason)).map(|at| at + policy.stickiness);
        (since + hold_off).max(settled.unwrap_or(Instant::ZERO)).max(state.retry_at.unwrap_or(Instant::ZERO))
    }

    /// Begins to move everything that moves with the group.
    pub(super) fn begin_move(&mut self, g: GroupId, reason: MoveReason) {
        let now = self.st.now;
        for h in self.cohort(g) {
            if self.group(h).role == Role::Active && self.group(h).switching.is_none() {
                let gr = self.gr(h);
                gr.switching = Some(now);
                gr.ready = None;
                gr.policy.moving = Some(reason);
                self.emit(EventKind::Moving { group: h, reason });
            }
        }
        self.again = true;
    }

    pub(super) fn give_up_move(&mut self, g: GroupId, why: Refusal) {
        let now = self.st.now;
        let gr = self.gr(g);
        gr.switching = None;
        gr.policy.better = None;
        if gr.policy.moving.take().is_some_and(|reason| reason != MoveReason::Operator) {
            let wait = (RETRY_FIRST * 2u32.pow(gr.policy.refusals.min(6))).min(RETRY_MAX);
            gr.policy.refusals = gr.policy.refusals.saturating_add(1);
            gr.policy.retry_at = Some(now + wait);
        }
        self.emit(EventKind::Refused { why });
        self.take_back_drain(g);
        self.again = true;
    }

    /// Whether the peer is handing something over to this node.
    fn peer_gives_up(&self) -> bool {
        self.group_ids().any(|g| {
            let gr = self.group(g);
            let claim = self.st.peer.claims.get(&g);
            let fresh = gr
                .policy
                .prepare_heard
                .is_some_and(|at| self.st.now.since(at) < self.cfg.timing.prepare_deadline);
            fresh
                && gr.is_idle()
                && self.st.peer.is_alive()
                && claim.is_some_and(|c| c.state == ClaimState::Owner && gr.prepare == Some(c.epoch))
        })
    }

    /// Whether this node is handing something over because the other one seems the better place.
    pub(super) fn gives_up_by_preference(&self) -> bool {
        // Whoever is switching over is on its way.
        self.maybe_busy()
            .map(|g| self.group(g))
            .any(|gr| gr.switching.is_some() && gr.policy.moving.is_some_and(is_preference))
    }

    /// Both found the other one better at the same time: the second node's wish yields. See `is_ready`: neither
    /// says *ready* while it has such a wish of its own, so that never both give up.
    pub(super) fn is_outvoted(&self, g: GroupId) -> bool {
        self.group(g).policy.moving.is_some_and(is_preference)
            && self.st.me == NodeId(1)
            && self.peer_gives_up()
    }

    /// When policy alone decides something next about the group.
    pub(super) fn policy_deadline(&self, g: GroupId) -> Instant {
        let gr = self.group(g);
        let wait = self.group_config(g).policy.order_wait;
        let moves = self.next_move(g).map(|(_, at)| at);
        let order = gr.policy.ordered_since.map(|at| at + wait);
        [moves, order, self.forgotten_at(g)]
            .into_iter()
            .flatten()
            .filter(|at| *at > self.st.now)
            .min()
            .unwrap_or(Instant::FAR)
    }

    /// Why and when the group moves by policy, as it looks now.
    pub(super) fn next_move(&self, g: GroupId) -> Option<(MoveReason, Instant)> {
        self.group(g).policy.better.map(|(reason, since)| (reason, self.move_at(g, reason, since)))
    }

    /// Whether the group is where it should be when nothing is broken.
    pub(super) fn is_at_home(&self, g: GroupId) -> bool {
        self.group_config(g).preferred == self.st.me
    }
}

/// A move that could as well wait, and that its opposite could answer.
const fn is_preference(reason: MoveReason) -> bool {
    matches!(reason, MoveReason::Outside | MoveReason::Failback)
}
