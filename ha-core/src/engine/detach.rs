//! Leaving without stopping: the owner's side, and the peer's promise (`docs/REATTACH.md`).

use super::detach_state::Detaching;
use super::machine::Engine;
use super::state::{Role, Wanted};
use super::{
    Action, ClaimState, DetachStep, EventKind, PeerState, Predecessor, Question, Refusal, Statement,
};
use crate::{Detachment, Epoch, FenceScope, GroupId, Incarnation, Instant, Nonce, PolicyScope, StopProof};

impl Engine {
    // --- the owner ---

    pub(super) fn order_detach(&mut self) {
        let groups = self.owned();
        if let Some(why) = self.refuses_detach(&groups) {
            self.emit(EventKind::Refused { why });
            return;
        }
        let (since, nonce) = (self.st.now, self.nonce());
        for (group, _) in &groups {
            self.emit(EventKind::Detach { group: *group, step: DetachStep::Asked });
        }
        self.st.detaching = Some(Detaching { since, nonce, groups, promised: false });
        self.hasten_beats();
    }

    fn refuses_detach(&self, groups: &[(GroupId, Epoch)]) -> Option<Refusal> {
        if groups.is_empty() {
            Some(Refusal::NotOwner)
        } else if !self.is_detachable(groups) {
            Some(Refusal::NotDetachable)
        } else if !groups.iter().all(|(g, _)| self.is_durably_maintained(*g)) {
            Some(Refusal::NotMaintained)
        } else if self.st.leaving.is_some() || self.st.detaching.is_some() || !self.is_settled(groups) {
            Some(Refusal::NotSettled)
        } else if !self.st.peer.is_alive() && !self.peer_is_over() {
            Some(Refusal::NotPromised)
        } else {
            None
        }
    }

    /// Whether the configuration lets these groups run on without an engine.
    fn is_detachable(&self, groups: &[(GroupId, Epoch)]) -> bool {
        let outlives = |g: &GroupId| {
            let c = self.group_config(*g);
            !c.shared && !c.resources.is_empty() && c.resources.iter().all(|r| r.outlives_engine)
        };
        // The peer's mirror would wait for this node, and a lease would run out.
        let plain = !self.has_arbiter() && self.cfg.groups.iter().all(|c| !c.mirrored);
        plain && groups.iter().all(|(g, _)| outlives(g))
    }

    fn is_durably_maintained(&self, g: GroupId) -> bool {
        let on = |scope| {
            self.st.durable.policy.get(scope).maintenance && self.st.record.policy.get(scope).maintenance
        };
        on(PolicyScope::Cluster) || on(PolicyScope::Node(self.st.me)) || on(PolicyScope::Group(g))
    }

    /// Every owned group is active and permitted, and nothing else is about to change.
    fn is_settled(&self, groups: &[(GroupId, Epoch)]) -> bool {
        let same = |g: GroupId| {
            let gr = self.group(g);
            let owned = groups.contains(&(g, gr.epoch));
            let well = gr.role == Role::Active && gr.suspended.is_none() && gr.switching.is_none();
            if gr.is_owner() { owned && well } else { gr.is_idle() && gr.detach.attach.is_none() }
        };
        self.group_ids().all(same) && groups.iter().all(|(g, _)| self.group(*g).is_owner())
    }

    /// The peer's incarnation is proven to have ended: there is nobody to promise anything.
    fn peer_is_over(&self) -> bool {
        self.st.peer.state == PeerState::Gone && !self.cfg.is_unguarded()
    }

    pub(super) fn run_detaching(&mut self) {
        let Some(d) = self.st.detaching.clone() else { return };
        let maintained = d.groups.iter().all(|(g, _)| self.is_durably_maintained(*g));
        if self.st.leaving.is_some() || !maintained || !self.is_settled(&d.groups) {
            let why = if maintained { Refusal::NotSettled } else { Refusal::NotMaintained };
            self.withdraw_detach(&d, why);
            return;
        }
        if !d.promised && !self.peer_promised(&d) && !self.peer_is_over() {
            if self.st.now.since(d.since) >= self.cfg.timing.prepare_deadline {
                self.withdraw_detach(&d, Refusal::NotPromised);
            }
            return;
        }
        if !d.promised {
            self.write_detached(d);
        } else if self.is_durably_detached(&d) {
            self.leave_running(&d);
        }
    }

    fn peer_promised(&self, d: &Detaching) -> bool {
        self.st.peer.is_alive()
            && d.groups.iter().all(|(g, e)| self.group(*g).detach.heard == Some((*e, d.nonce)))
    }

    fn write_detached(&mut self, d: Detaching) {
        let (incarnation, boot) = (self.st.incarnation, self.st.boot);
        for (group, epoch) in &d.groups {
            self.rec(*group).detached = Some(Detachment { epoch: *epoch, incarnation, boot });
            self.emit(EventKind::Detach { group: *group, step: DetachStep::Promised });
        }
        self.st.detaching = Some(Detaching { promised: true, ..d });
        self.again = true;
    }

    fn is_durably_detached(&self, d: &Detaching) -> bool {
        let written = |g: GroupId, e: Epoch| self.st.durable.group(g).detached.is_some_and(|w| w.epoch == e);
        self.st.write.is_none() && d.groups.iter().all(|(g, e)| written(*g, *e))
    }

    fn leave_running(&mut self, d: &Detaching) {
        for (group, _) in &d.groups {
            self.emit(EventKind::Detach { group: *group, step: DetachStep::Left });
        }
        self.outbox.push_back(Action::Detached { groups: d.groups.clone() });
        self.st.ended = true;
    }

    /// The engine stays. The peer hears from its owner that the promise has no more use.
    fn withdraw_detach(&mut self, d: &Detaching, why: Refusal) {
        self.st.detaching = None;
        for (group, _) in &d.groups {
            if self.st.record.group(*group).detached.is_some() {
                self.rec(*group).detached = None;
            }
            self.emit(EventKind::Detach { group: *group, step: DetachStep::Withdrawn });
        }
        self.emit(EventKind::Refused { why });
        self.again = true;
    }

    pub(super) fn detach_deadline(&self) -> Instant {
        let open = self.st.detaching.as_ref().filter(|d| !d.promised);
        let asked = open.map_or(Instant::FAR, |d| d.since + self.cfg.timing.prepare_deadline);
        let limit = self.last_heard() + self.cfg.timing.detached_limit;
        let waits = limit > self.st.now && self.maybe_spared().any(|g| self.spared(g).is_some());
        asked.min(if waits { limit } else { Instant::FAR })
    }

    // --- the peer ---

    /// The peer's services that this node promised to leave alone.
    pub(super) fn spared(&self, g: GroupId) -> Option<Detachment> {
        let rec = self.st.record.group(g);
        let promise = rec.spares.or(self.st.durable.group(g).spares);
        promise.filter(|d| d.epoch > rec.granted)
    }

    /// Makes the promise that the live peer asks for.
    pub(super) fn answer_spare(&mut self, g: GroupId) {
        let Some(w) = self.group(g).detach.asked else { return };
        let known = self.st.record.group(g).spares.is_some_and(|d| d.epoch == w.epoch);
        if known || !self.may_spare(g, w) {
            return;
        }
        let Some((boot, _)) = self.st.peer.current().and_then(|l| l.identity) else { return };
        self.rec(g).spares = Some(Detachment { epoch: w.epoch, incarnation: w.incarnation, boot });
        let gr = self.gr(g);
        gr.want = None;
        gr.promised = None;
        self.again = true;
    }

    fn may_spare(&self, g: GroupId, w: Wanted) -> bool {
        let alive = self.st.peer.is_alive() && self.st.peer.incarnation() == Some(w.incarnation);
        let Some(claim) = self.st.peer.claims.get(&g) else { return false };
        let sure = match claim.state {
            ClaimState::Owner => self.is_maintained_there(g),
            // It comes back to a node that forgot its promise, or never gave one.
            _ => self.st.predecessor == Predecessor::Gone,
        };
        alive
            && sure
            && claim.epoch == w.epoch
            && self.group(g).is_idle()
            && self.st.leaving.is_none()
            && self.st.record.group(g).granted < w.epoch
    }

    /// Whether a proof shows that services end which run without an engine.
    pub(super) fn ends_spared(&self, g: GroupId, proof: StopProof) -> bool {
        let Some(promise) = self.spared(g) else { return true };
        #[cfg(feature = "sabotage")]
        if self.is_broken(super::Sabotage::ForgetPromise) {
            return true;
        }
        match proof {
            StopProof::Fenced { scope } => scope == FenceScope::Incarnation,
            StopProof::OperatorConfirmed { .. } => true,
            StopProof::Released { epoch, .. } => epoch > promise.epoch,
            _ => false,
        }
    }

    /// The peer's services run without its engine: nothing is done, whatever else is heard of it. True if so.
    pub(super) fn rests_spared(&mut self, g: GroupId) -> bool {
        if self.spared(g).is_none() {
            return false;
        }
        self.gr(g).want = None;
        if self.usable_proof(g).is_some_and(|proof| self.ends_spared(g, proof)) {
            return false;
        }
        let heard = self.last_heard().max(self.st.started);
        let silent = !matches!(self.st.peer.state, PeerState::Alive | PeerState::Unreachable);
        let long = self.st.now.since(heard) >= self.cfg.timing.question_interval;
        if silent && (long || self.group(g).question == Some(Question::NoStopProof)) {
            self.ask_operator(g, Question::NoStopProof);
        } else {
            self.unask(g);
        }
        true
    }

    /// A live owner of a later grant, or its own word: what was detached is in the hands of an engine again.
    pub(super) fn forget_spared(&mut self, g: GroupId, epoch: Epoch) {
        if self.st.record.group(g).spares.is_some_and(|d| d.epoch < epoch) {
            self.rec(g).spares = None;
            // Answered again, it would be taken back again.
            self.gr(g).detach.asked = None;
            self.again = true;
        }
    }

    /// A peer that may still be shot in maintenance is one whose services nobody promised to leave alone.
    pub(super) fn spares_in_maintenance(&self) -> bool {
        self.maybe_spared().any(|g| self.spared(g).is_some() && self.is_maintained_there(g))
    }

    /// The owner's engine stays away for longer than the configuration allows.
    pub(super) fn is_detached_too_long(&self, g: GroupId) -> bool {
        let limit = self.cfg.timing.detached_limit;
        let silent = self.st.now.since(self.last_heard());
        !limit.is_zero()
            && self.spared(g).is_some()
            && matches!(self.st.peer.state, PeerState::Dead | PeerState::Gone)
            && silent >= limit
    }

    // --- statements ---

    pub(super) fn take_detach_statement(&mut self, from: Incarnation, statement: Statement) {
        match statement {
            Statement::Spare { group, epoch, nonce } => {
                self.gr(group).detach.asked = Some(Wanted { epoch, nonce, incarnation: from });
            }
            Statement::Spares { group, epoch, nonce } => {
                self.gr(group).detach.heard = Some((epoch, nonce));
                if self.is_needless(group) {
                    let until = self.st.now + self.cfg.timing.confirm_deadline;
                    self.gr(group).detach.unspare = Some((epoch, until));
                }
            }
            Statement::Unspare { group, epoch } => self.forget_spared(group, epoch.next()),
            _ => {}
        }
    }

    /// Nothing of this node runs without its engine, so that no promise about it is needed.
    fn is_needless(&self, g: GroupId) -> bool {
        let detached = [&self.st.record, &self.st.durable].iter().any(|r| r.group(g).detached.is_some());
        let gr = self.group(g);
        let under_way =
            self.st.detaching.is_some() || gr.detach.attach.is_some() || gr.detach.adopt.is_some();
        let mine = gr.role == Role::Active || gr.detach.settled || self.st.predecessor == Predecessor::Gone;
        mine && !detached && !under_way
    }

    pub(super) fn detach_statements(&self, group: GroupId, said: &mut Vec<Statement>) {
        let gr = self.group(group);
        if let Some(d) = &self.st.detaching
            && let Some((_, epoch)) = d.groups.iter().find(|(g, _)| *g == group)
        {
            said.push(Statement::Spare { group, epoch: *epoch, nonce: d.nonce });
        }
        if let Some(a) = gr.detach.attach {
            said.push(Statement::Spare { group, epoch: a.epoch, nonce: a.nonce });
        }
        let (wanted, durable) = (self.st.record.group(group).spares, self.st.durable.group(group).spares);
        if let Some(d) = durable.filter(|d| wanted == Some(*d) && gr.is_idle()) {
            let asked = gr.detach.asked.filter(|w| w.epoch == d.epoch);
            let nonce = asked.map_or(Nonce(0), |w| w.nonce);
            said.push(Statement::Spares { group, epoch: d.epoch, nonce });
        }
        if let Some((epoch, _)) = gr.detach.unspare.filter(|(_, until)| self.st.now < *until) {
            said.push(Statement::Unspare { group, epoch });
        }
    }
}
