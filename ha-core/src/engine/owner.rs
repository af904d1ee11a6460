//! A group that this node owns: start in order, watch, restart in place, move to a viable target, release.

use super::machine::Engine;
use super::state::{Admission, Released, Role, Why};
use super::{Action, ClaimState, EndReason, LinkState, OpKind, OpTarget, Permission, Question, TimeoutEdge};
use crate::{GroupId, SetRecord, StopProof};
use std::time::Duration;

/// First wait before a failed start is tried again where no other node can take it.
pub(super) const RETRY_FIRST: Duration = Duration::from_millis(500);

/// Longest such wait.
pub(super) const RETRY_MAX: Duration = Duration::from_secs(30);

impl Engine {
    pub(super) fn advance_owner(&mut self, g: GroupId) {
        if self.is_superseded(g) {
            self.yield_to_higher_epoch(g);
        }
        if self.is_overtaken(g) {
            self.begin_stop(g, Why::Overtaken);
        }
        self.watch_confirmation(g);
        self.advance_set(g);
        self.remember_store(g);
        self.advance_placement(g);
        self.advance_switchover(g);
        match self.group(g).role {
            Role::Starting { step } => self.advance_start(g, step),
            Role::Active => self.monitor(g),
            Role::Stopping { why, step, floor } => self.advance_stop(g, why, step, floor),
            _ => {}
        }
    }

    /// A group without data admits nobody; its owner still remembers whose record it has seen.
    fn remember_store(&mut self, g: GroupId) {
        let Some(store) = self.st.peer.store else { return };
        let known = self.st.record.peer_store;
        let stands_by =
            self.st.peer.claims.get(&g).is_some_and(|c| matches!(c.state, ClaimState::Standby { .. }));
        // Who waits for a confirmation must know one that forgot.
        let waits = || self.maybe_owned().any(|g| self.group(g).suspended.is_some());
        if self.agenda.ties.any_mirrored
            || known == Some(store)
            || !stands_by
            || !self.st.peer.is_alive()
            || waits()
        {
            return;
        }
        self.know_store(store);
        if known.is_some() {
            self.jump_floors();
        }
    }

    /// No epoch that a lost store may have held is ever issued again.
    pub(super) fn jump_floors(&mut self) {
        for g in self.group_ids() {
            let rec = self.rec(g);
            rec.floor = crate::Epoch(rec.highest().0.saturating_add(crate::Epoch::AMNESIA_JUMP));
        }
    }

    /// Another one was granted: this one only stops.
    pub(super) fn is_giving_way(&self, g: GroupId) -> bool {
        matches!(self.group(g).role, Role::Stopping { why: Why::Superseded, .. })
    }

    /// Of two live owners the higher epoch goes on, of equal ones (two boots alone, each told that the other was off)
    /// the first node; the other one suspends and keeps its store untouched.
    fn is_superseded(&self, g: GroupId) -> bool {
        let epoch = self.group(g).epoch;
        let second = self.st.me.0 > 0;
        let superseded = matches!(self.group(g).role, Role::Stopping { why: Why::Superseded, .. });
        !superseded
            && self.st.peer.claims.get(&g).is_some_and(|c| {
                matches!(c.state, ClaimState::Owner | ClaimState::Claiming)
                    && (c.epoch > epoch || c.epoch == epoch && second)
                    && self.st.peer.is_alive()
            })
    }

    pub(super) fn yield_to_higher_epoch(&mut self, g: GroupId) {
        self.revoke(g);
        self.begin_stop(g, Why::Superseded);
    }

    pub(super) fn targets(&self, g: GroupId) -> u8 {
        let c = self.group_config(g);
        c.resources.len() as u8 + u8::from(c.mirrored)
    }

    pub(super) fn target(&self, g: GroupId, step: u8) -> OpTarget {
        match (self.group_config(g).mirrored, step) {
            (true, 0) => OpTarget::Data,
            (true, n) => OpTarget::Resource(n - 1),
            (false, n) => OpTarget::Resource(n),
        }
    }

    fn advance_start(&mut self, g: GroupId, step: u8) {
        let now = self.st.now;
        if self.group(g).op.is_some() {
            return;
        }
        if let Some(hold) = self.group(g).hold_until {
            if now < hold {
                return;
            }
            if self.group(g).restarts > 0 {
                self.timed_out(TimeoutEdge::Retry);
            }
            self.gr(g).hold_until = None;
        }
        if step >= self.targets(g) {
            self.become_active(g);
            return;
        }
        if step == 0 && self.waits_for_order(g) {
            return;
        }
        let target = self.target(g, step);
        let kind = match target {
            OpTarget::Data => OpKind::Promote(self.current_rule(g)),
            OpTarget::Resource(_) => OpKind::Start,
        };
        let op = self.start_op(g, target, kind);
        self.gr(g).op = Some(op);
    }

    fn become_active(&mut self, g: GroupId) {
        let now = self.st.now;
        let intervals: Vec<Duration> =
            self.group_config(g).resources.iter().map(|r| r.monitor_interval).collect();
        let gr = self.gr(g);
        gr.role = Role::Active;
        gr.policy.active_since = Some(now);
        for (monitor, interval) in gr.monitors.iter_mut().zip(intervals) {
            monitor.next = now + interval;
            monitor.op = None;
        }
        if self.st.record.group(g).awaits_address {
            self.rec(g).awaits_address = false;
        }
        self.forget_findings(g);
        self.unask(g);
        self.role_changed(g);
    }

    /// A resource or the data did not start, or was found broken, at this step.
    pub(super) fn failed_at(&mut self, g: GroupId, step: u8) {
        let limit = match self.target(g, step) {
            OpTarget::Data => 1,
            OpTarget::Resource(r) => u32::from(self.group_config(g).resources[usize::from(r)].restart_limit),
        };
        let restarts = self.count_restart(g);
        let may_move = restarts > limit && self.may_move(g);
        if may_move {
            self.move_failed(g);
            return;
        }
        if restarts > limit {
            self.ask_operator(g, Question::FailedEverywhere);
            let doublings = (restarts - limit - 1).min(6);
            let wait = (RETRY_FIRST * 2u32.pow(doublings)).min(RETRY_MAX);
            self.gr(g).hold_until = Some(self.st.now + wait);
        }
        let top = match self.group(g).role {
            Role::Active => self.targets(g),
            _ => (step + 1).min(self.targets(g)),
        };
        self.gr(g).role = Role::Stopping { why: Why::Restart, step: top, floor: step };
        self.cancel_monitors(g);
        self.role_changed(g);
    }

    /// Rule 12: only towards a viable target.
    pub(super) fn may_move(&self, g: GroupId) -> bool {
        #[cfg(feature = "sabotage")]
        if self.is_broken(super::Sabotage::MoveAnywhere) {
            return true;
        }
        // Rule 12: what the peer handed over and this node cannot run goes back, though the peer stands by.
        let returns = matches!(self.group(g).proof, Some(StopProof::Released { forced: false, .. }));
        let target =
            self.peer_is_able(g) && !self.is_maintained_there(g) && returns || self.peer_is_viable(g);
        // After a gap of its own a node listens first: what the peer said before is as old as the gap.
        target && self.lead_may_follow(g) && !self.was_just_frozen()
    }

    /// Alive both ways, current, willing and not in failure memory.
    pub(super) fn peer_is_viable(&self, g: GroupId) -> bool {
        self.peer_is_able(g) && !self.is_held_there(g)
    }

    fn peer_is_able(&self, g: GroupId) -> bool {
        let claim = self.st.peer.claims.get(&g);
        let viable = claim.is_some_and(|c| c.state == ClaimState::Standby { viable: true });
        let set = !self.group_config(g).mirrored
            || claim.is_some_and(|c| {
                c.set == self.st.durable.group(g).set && matches!(c.set, SetRecord::Both { .. })
            });
        let up = self.st.links.iter().any(|l| l.state == LinkState::Up);
        viable && set && up && self.st.peer.is_alive() && !self.st.peer.departing
    }

    pub(super) fn begin_stop(&mut self, g: GroupId, why: Why) {
        if let Some(op) = self.gr(g).op.take() {
            self.abandon(op);
        }
        self.cancel_monitors(g);
        self.end_drain(g);
        let leftovers = self.st.predecessor == super::Predecessor::Leftovers;
        let step = match self.group(g).role {
            // What an earlier life left behind is stopped too, however far this one had come.
            Role::Starting { step } if !leftovers => (step + 1).min(self.targets(g)),
            Role::Stopping { why: present, step, .. } if !leftovers || present != Why::Restart => step,
            _ => self.targets(g),
        };
        let gr = self.gr(g);
        gr.role = Role::Stopping { why, step, floor: 0 };
        gr.switching = None;
        gr.hold_until = None;
        gr.ask = None;
        self.role_changed(g);
    }

    fn cancel_monitors(&mut self, g: GroupId) {
        for r in 0..self.group(g).monitors.len() {
            if let Some(op) = self.gr(g).monitors[r].op.take() {
                self.abandon(op);
            }
        }
    }

    fn advance_stop(&mut self, g: GroupId, why: Why, step: u8, floor: u8) {
        if self.group(g).op.is_some() {
            return;
        }
        let step = step.max(std::mem::take(&mut self.gr(g).restop));
        self.gr(g).role = Role::Stopping { why, step, floor };
        if step > floor {
            let target = self.target(g, step - 1);
            let kind = if target == OpTarget::Data { OpKind::Demote } else { OpKind::Stop };
            let op = self.start_op(g, target, kind);
            self.gr(g).op = Some(op);
            return;
        }
        if why != Why::Restart && self.waits_for_straggler(g) {
            return;
        }
        if why != Why::Restart && self.has_stray_start(g) {
            self.limit_stray_starts(g);
            return;
        }
        match why {
            Why::Restart => {
                self.gr(g).role = Role::Starting { step: floor };
                self.role_changed(g);
            }
            Why::Superseded => {
                self.gr(g).role = Role::Standby;
                self.clear_ownership(g);
                self.role_changed(g);
            }
            Why::Switchover | Why::Handover | Why::Failed | Why::Leaving | Why::Lapsed => {
                self.release(g, why);
            }
            Why::Overtaken => self.claim_anew(g),
        }
    }

    /// This node went on alone below an epoch that the live peer's copy knows, as an operator made a node serve that had
    /// forgotten it: without a grant above it the copies stay apart for ever.
    fn is_overtaken(&self, g: GroupId) -> bool {
        let gr = self.group(g);
        let set = self.st.durable.group(g).set;
        let alone = set.is_alone() && set == self.st.record.group(g).set;
        let claim = self.st.peer.claims.get(&g).map(|c| c.state);
        gr.role == Role::Active
            && alone
            && gr.data.overtaken.is_some_and(|known| known >= gr.epoch)
            && gr.suspended.is_none()
            && gr.switching.is_none()
            && self.st.leaving.is_none()
            && self.st.peer.is_alive()
            && matches!(claim, Some(ClaimState::Standby { .. } | ClaimState::Waiting | ClaimState::Blocked))
            && !self.has_arbiter()
            && !self.in_maintenance(g)
    }

    /// Everything of the group is stopped: the only current copy is granted it again, above every epoch known.
    fn claim_anew(&mut self, g: GroupId) {
        self.revoke(g);
        self.gr(g).role = Role::Standby;
        self.clear_ownership(g);
        self.role_changed(g);
        if let SetRecord::Alone { epoch, generation } = self.st.durable.group(g).set {
            self.claim_group(g, StopProof::StillAlone { epoch, generation });
        }
    }

    /// A start that was given up may still take effect: nothing is released before it came back and was undone.
    fn waits_for_straggler(&mut self, g: GroupId) -> bool {
        if !self.has_straggler(g) {
            self.gr(g).straggler_since = None;
            return false;
        }
        let now = self.st.now;
        let since = *self.gr(g).straggler_since.get_or_insert(now);
        if now.since(since) >= self.straggler_budget(g) {
            self.timed_out(TimeoutEdge::Stop);
            self.end_self(EndReason::StopOverrun);
        }
        true
    }

    fn has_straggler(&self, g: GroupId) -> bool {
        self.st
            .ops
            .values()
            .any(|o| o.group == g && o.abandoned && matches!(o.kind, OpKind::Start | OpKind::Promote(_)))
    }

    pub(super) fn straggler_budget(&self, g: GroupId) -> Duration {
        let c = self.group_config(g);
        c.resources.iter().map(|r| r.stop_timeout).max().unwrap_or_default().max(c.demote_timeout)
    }

    /// A start that was given up may still complete, or its undoing is under way: the group is not stopped yet.
    fn has_stray_start(&self, g: GroupId) -> bool {
        let own = self.group(g).op;
        self.st.ops.iter().any(|(id, o)| {
            o.group == g
                && match o.kind {
                    OpKind::Start | OpKind::Promote(_) => o.abandoned,
                    OpKind::Stop | OpKind::Demote => !o.abandoned && own != Some(*id),
                    OpKind::Monitor | OpKind::Drain | OpKind::Resume => false,
                }
        })
    }

    /// Rule 8 for a start that does not even end: it gets the budget of a stop, then the guardian ends it.
    fn limit_stray_starts(&mut self, g: GroupId) {
        let config = self.group_config(g);
        let budget = config.resources.iter().map(|r| r.stop_timeout).max().unwrap_or(config.demote_timeout);
        let limit = self.st.now + budget;
        for op in self.st.ops.values_mut().filter(|o| o.group == g && o.abandoned) {
            if matches!(op.kind, OpKind::Start | OpKind::Promote(_)) && op.deadline == crate::Instant::FAR {
                op.deadline = limit;
            }
        }
    }

    /// Everything of the group is stopped: give it up and say so.
    fn release(&mut self, g: GroupId, why: Why) {
        self.revoke(g);
        let epoch = self.group(g).epoch;
        let mirrored = self.group_config(g).mirrored;
        let set = self.st.record.group(g).set;
        // Who is alone stays the only current copy, whatever it wanted to hand over to.
        // Who died meanwhile does not take it: nothing is given up for it.
        let gone = matches!(self.st.peer.state, super::PeerState::Dead | super::PeerState::Gone);
        let excluded = mirrored && why == Why::Handover && matches!(set, SetRecord::Both { .. }) && !gone;
        if excluded {
            self.rec(g).set = SetRecord::Out { epoch, generation: set.generation() };
        }
        let peer = self.st.peer.incarnation();
        let since = self.st.now;
        let gr = self.gr(g);
        let final_lsn = if mirrored { gr.final_lsn } else { None };
        let leaving = why == Why::Leaving;
        gr.released = Some(Released { epoch, final_lsn, excluded, leaving, since, overdue: false });
        gr.role = Role::Standby;
        // Our copy holds everything, and the next owner cannot go on without this life of ours.
        gr.admission = match (set, peer) {
            (SetRecord::Both { generation }, Some(incarnation)) if !excluded => {
                Some(Admission { generation, incarnation })
            }
            _ => None,
        };
        self.clear_ownership(g);
        self.role_changed(g);
    }

    fn clear_ownership(&mut self, g: GroupId) {
        self.settle_detached(g);
        let gr = self.gr(g);
        gr.epoch = crate::Epoch(0);
        gr.proof = None;
        gr.exclusion = None;
        gr.suspended = None;
        gr.switching = None;
        gr.admitting = None;
        gr.full = false;
        gr.rule = None;
        gr.ask = None;
        gr.restarts = 0;
        gr.hold_until = None;
        gr.op = None;
        gr.policy.begin_anew();
        self.unask(g);
    }

    pub(super) fn revoke(&mut self, g: GroupId) {
        self.gr(g).permit = super::permit::Permit::None;
        self.outbox.push_back(Action::Token { group: g, permission: Permission::Revoked });
    }
}
