//! A group that this node does not own: follow its owner, or find a proof and claim it, or ask.

use super::machine::Engine;
use super::state::{EndedHow, Release, Role};
use super::{ClaimState, EventKind, PeerState, Question, TimeoutEdge};
use crate::{Epoch, FenceScope, GroupId, Incarnation, SetRecord, StopProof};

impl Engine {
    pub(super) fn advance(&mut self, g: GroupId) {
        self.fade_failures(g);
        self.witness_grant(g);
        self.answer_set_questions(g);
        match self.group(g).role {
            Role::Waiting | Role::Standby => self.advance_idle(g),
            Role::Claiming { epoch, proof } => self.advance_claim(g, epoch, proof),
            Role::Starting { .. } | Role::Active | Role::Stopping { .. } => self.advance_owner(g),
        }
        self.repeat_question(g);
    }

    fn advance_idle(&mut self, g: GroupId) {
        if self.reattaches(g) {
            return;
        }
        self.prepare_intent(g);
        self.answer_spare(g);
        if self.follows_owner(g) || self.st.leaving.is_some() || self.rests_spared(g) || self.rest_held(g) {
            return;
        }
        if !self.lead_serves_here(g) {
            self.wait_for_lead(g);
            return;
        }
        if let Some(proof) = self.usable_proof(g).filter(|p| self.ends_spared(g, *p)) {
            if !self.must_listen(g) {
                self.claim_group(g, proof);
            }
            return;
        }
        self.answer_want(g);
        self.arbitrate(g);
    }

    /// The live peer owns the group: stand by.
    fn follows_owner(&mut self, g: GroupId) -> bool {
        let Some(claim) = self.st.peer.claims.get(&g).copied() else { return false };
        let owning = matches!(claim.state, ClaimState::Owner | ClaimState::Claiming);
        let released = self.group(g).release.is_some_and(|r| r.epoch >= claim.epoch);
        if !owning || released || !self.st.peer.is_alive() {
            return false;
        }
        let rec = self.st.record.group(g);
        if claim.epoch > rec.floor && claim.epoch > rec.granted {
            self.rec(g).floor = claim.epoch;
        }
        self.forget_spared(g, claim.epoch);
        let gr = self.group(g);
        if gr.want.is_some()
            || gr.promised.is_some()
            || gr.wanted.is_some()
            || gr.operator_confirmed.is_some()
        {
            let gr = self.gr(g);
            gr.want = None;
            gr.promised = None;
            gr.wanted = None;
            gr.operator_confirmed = None;
        }
        if self.group(g).released.is_some_and(|r| claim.epoch > r.epoch) {
            self.gr(g).released = None;
        }
        let gr = self.group(g);
        let diverged = gr.question == Some(Question::Diverged);
        let rests = gr.role == Role::Standby && (gr.question.is_none() || diverged);
        if !rests {
            self.gr(g).role = Role::Standby;
            self.unask(g);
            self.role_changed(g);
        }
        true
    }

    /// Records that a life of the peer owns the group.
    pub(super) fn note_owner(&mut self, g: GroupId, from: Incarnation, epoch: Epoch) {
        if self.is_spent(g, from, epoch) {
            return;
        }
        if self.group(g).owner != Some((from, epoch)) {
            self.gr(g).owner = Some((from, epoch));
            self.again = true;
        }
        if self.group(g).release.is_some_and(|r| r.epoch < epoch) {
            self.gr(g).release = None;
        }
    }

    /// Whether this node was granted the group on the end of that very ownership: a slow line may still tell of it.
    fn is_spent(&self, g: GroupId, life: Incarnation, epoch: Epoch) -> bool {
        self.group(g).superseded.is_some_and(|(ended, last)| ended == life && epoch <= last)
    }

    /// Whether a later grant than this life's `epoch` was made here.
    pub(super) fn is_outdated(&self, g: GroupId, life: Incarnation, epoch: Epoch) -> bool {
        let gr = self.group(g);
        // Without data nothing told the owner, alone after its boot, what this node was granted before.
        let owns = !self.group_config(g).mirrored && gr.owner == Some((life, epoch));
        // A guardian repeats its word: it says nothing of an owner that was heard of since.
        let followed = gr.owner.is_some_and(|(_, later)| later > epoch);
        let spent = followed || self.is_spent(g, life, epoch);
        spent || gr.is_owner() && epoch < gr.epoch || epoch < self.st.record.group(g).granted && !owns
    }

    pub(super) fn note_release(&mut self, g: GroupId, release: Release) {
        let gr = self.group(g);
        let stale = self.is_outdated(g, release.incarnation, release.epoch)
            || gr.release.is_some_and(|r| r.epoch > release.epoch)
            || gr.promised.is_some_and(|p| p.epoch > release.epoch);
        if !stale && gr.release.is_none_or(|r| r.epoch < release.epoch || r.forced != release.forced) {
            self.gr(g).release = Some(release);
            self.again = true;
        }
    }

    /// The intent is written early, while the proof is still awaited.
    fn prepare_intent(&mut self, g: GroupId) {
        let silent = matches!(self.st.peer.state, PeerState::Suspect | PeerState::Dead);
        let prepared = self.group(g).prepare.is_some();
        let known = self.highest_known(g);
        if (silent || prepared)
            && self.is_viable(g)
            && self.group(g).owner.is_some()
            && self.st.record.group(g).intent <= known
        {
            self.rec(g).intent = known.next();
        }
    }

    /// The highest epoch anybody is known to have granted, or this node to have promised or meant.
    pub(super) fn highest_known(&self, g: GroupId) -> Epoch {
        let theirs = self.st.peer.claims.get(&g).map_or(Epoch(0), |c| c.highest);
        self.highest_used(g).max(theirs)
    }

    /// The same without what the peer only promised or meant.
    pub(super) fn highest_used(&self, g: GroupId) -> Epoch {
        let rec = self.st.record.group(g);
        let gr = self.group(g);
        let claim = self.st.peer.claims.get(&g).map_or(Epoch(0), |c| c.epoch);
        let owner = gr.owner.map_or(Epoch(0), |(_, e)| e);
        let release = gr.release.map_or(Epoch(0), |r| r.epoch);
        let data = gr.data.overtaken.unwrap_or(Epoch(0));
        rec.granted
            .max(rec.floor)
            .max(rec.witnessed)
            .max(claim)
            .max(owner)
            .max(release)
            .max(gr.third.highest)
            .max(data)
    }

    pub(super) fn boot_wait_over(&self) -> bool {
        self.st.now.since(self.st.started) >= self.cfg.timing.boot_wait
    }

    pub(super) fn starts_on_absence(&self, g: GroupId) -> bool {
        self.group(g).is_idle() && !self.group_config(g).mirrored && !self.group(g).failed_here
    }

    /// A proof that the previous owner stopped, together with data that may be used on it.
    pub(super) fn usable_proof(&mut self, g: GroupId) -> Option<StopProof> {
        if self.group(g).failed_here {
            return None;
        }
        #[cfg(feature = "sabotage")]
        if self.is_broken(super::Sabotage::TakeoverWithoutProof)
            && self.st.peer.state == PeerState::Dead
            && self.is_viable(g)
        {
            return Some(StopProof::AssumedDead);
        }
        #[cfg(feature = "sabotage")]
        if self.is_broken(super::Sabotage::CurrentAtBoot)
            && self.boot_wait_over()
            && self.st.peer.state == PeerState::Unknown
        {
            return Some(StopProof::Fenced { scope: FenceScope::Incarnation });
        }
        if self.has_arbiter() {
            return self.third_proof(g);
        }
        let usable =
            |p: &StopProof| self.serves_shared(g, *p) && self.is_current_for(g, *p) && !self.is_disproved(*p);
        let proof = self.stop_proof(g).filter(usable);
        proof.or_else(|| self.own_alone_proof(g)).or_else(|| self.assumed(g))
    }

    pub(super) fn stop_proof(&self, g: GroupId) -> Option<StopProof> {
        let gr = self.group(g);
        if let Some(r) = gr.release {
            return Some(StopProof::Released { epoch: r.epoch, final_lsn: r.final_lsn, forced: r.forced });
        }
        let life = match gr.owner {
            Some((incarnation, _)) => self.st.peer.life(incarnation),
            None => self.st.peer.current(),
        };
        let epoch = gr.owner.map_or(Epoch(0), |(_, e)| e);
        if let Some(ended) = life.and_then(|l| l.ended) {
            if matches!(ended.how, EndedHow::Rebooted(new) if self.has_yet_to_claim(g, new)) {
                return None;
            }
            return Some(match ended.how {
                EndedHow::Fenced(scope) => StopProof::Fenced { scope },
                EndedHow::Guardian => StopProof::Released { epoch, final_lsn: None, forced: true },
                EndedHow::Departed => StopProof::Released { epoch, final_lsn: None, forced: false },
                EndedHow::Rebooted(incarnation) => StopProof::Rebooted { incarnation },
                EndedHow::Operator => {
                    StopProof::OperatorConfirmed { incarnation: life.map(|l| l.incarnation) }
                }
            });
        }
        gr.operator_confirmed.map(|c| StopProof::OperatorConfirmed { incarnation: c.incarnation })
    }

    /// The live new life whose boot ended the old one has not said yet whether it owns the group: it may, by a
    /// proof of its own.
    fn has_yet_to_claim(&self, g: GroupId, new: Incarnation) -> bool {
        self.st.peer.is_alive()
            && self.st.peer.incarnation() == Some(new)
            && !self.st.peer.claims.contains_key(&g)
    }

    /// Rule 9 for takeovers: what a node finds in its sockets when it wakes is as old as its gap. A later life of the peer
    /// may own by now, on a proof of its own, and has the time to say so. With a third party the swap finds that out.
    pub(super) fn must_listen(&self, g: GroupId) -> bool {
        let silent = self.st.peer.is_alive() && !self.st.peer.claims.contains_key(&g);
        !self.has_arbiter() && (self.was_just_frozen() || silent)
    }

    /// Rule 3: is this copy current, given this proof?
    pub(super) fn is_current_for(&self, g: GroupId, proof: StopProof) -> bool {
        let gr = self.group(g);
        if !self.group_config(g).mirrored {
            // Access alone is cut, or nobody's data is at stake.
            return true;
        }
        if gr.forced_current {
            return true;
        }
        #[cfg(feature = "sabotage")]
        if self.is_broken(super::Sabotage::StaleStandbyTakesOver) {
            return true;
        }
        match proof {
            StopProof::Released { final_lsn: Some(last), forced: false, .. } => {
                (self.is_member(g) || self.consent_was_unused(g)) && gr.data.durable >= last
            }
            StopProof::Fenced { scope: FenceScope::Access } => false,
            StopProof::Released { .. }
            | StopProof::Fenced { .. }
            | StopProof::Rebooted { .. }
            | StopProof::LeaseExpired { .. }
            | StopProof::StillOwner { .. }
            | StopProof::RanOn { .. }
            | StopProof::OperatorConfirmed { .. } => self.is_member(g),
            StopProof::Yielded { .. } | StopProof::NeverStarted | StopProof::StillAlone { .. } => true,
            StopProof::AssumedDead => false,
        }
    }

    /// Admitted to the in-sync set by the life that owned last, and neither consented nor departed since.
    pub(super) fn is_member(&self, g: GroupId) -> bool {
        let gr = self.group(g);
        let both = |set: SetRecord| {
            gr.admission.is_some_and(|a| set == SetRecord::Both { generation: a.generation })
        };
        let owner = gr.owner.map(|(inc, _)| inc);
        gr.admission.is_some_and(|a| owner.is_none_or(|o| o == a.incarnation))
            && both(self.st.record.group(g).set)
            && both(self.st.durable.group(g).set)
    }

    /// This copy consented that its owner goes on without it, and the owner handed over instead: its own record
    /// left the same generation, so that it never acknowledged anything without this copy.
    pub(super) fn consent_was_unused(&self, g: GroupId) -> bool {
        let gr = self.group(g);
        let (record, durable) = (self.st.record.group(g).set, self.st.durable.group(g).set);
        let Some(r) = gr.release.filter(|r| r.excluded) else { return false };
        let theirs = self.st.peer.claims.get(&g).map(|c| c.set);
        record == durable
            && theirs == Some(durable)
            && self.st.peer.incarnation() == Some(r.incarnation)
            && matches!(durable, SetRecord::Out { epoch, .. } if epoch == r.epoch)
    }

    /// Whether this node could and would take the group over at once.
    pub(super) fn is_viable(&self, g: GroupId) -> bool {
        self.is_able(g) && self.hold(g).is_none() && self.lead_may_be_here(g)
    }

    /// Whether this node could, whatever operators ordered.
    pub(super) fn is_able(&self, g: GroupId) -> bool {
        let gr = self.group(g);
        let data = if self.has_arbiter() {
            self.third_would_grant(g, self.is_member(g))
        } else {
            !self.group_config(g).mirrored || self.is_member(g)
        };
        let data = (data || self.is_stale_viable()) && !gr.data.diverged;
        gr.is_idle()
            && data
            && !gr.failed_here
            && gr.detach.attach.is_none()
            && self.st.leaving.is_none()
            && self.st.application_alive
    }

    fn is_stale_viable(&self) -> bool {
        #[cfg(feature = "sabotage")]
        if self.is_broken(super::Sabotage::StaleStandbyTakesOver) {
            return true;
        }
        false
    }

    /// Rule 7c: the own durable record says that nobody else can have gone on.
    fn own_alone_proof(&self, g: GroupId) -> Option<StopProof> {
        let SetRecord::Alone { epoch, generation } = self.st.durable.group(g).set else { return None };
        let absent = match self.st.peer.state {
            PeerState::Unknown => self.boot_wait_over(),
            PeerState::Dead | PeerState::Gone => true,
            PeerState::Alive | PeerState::Suspect | PeerState::Unreachable => false,
        };
        let unowned = self.group(g).owner.is_none_or(|(_, e)| e <= epoch);
        (absent && unowned && self.group(g).promised.is_none())
            .then_some(StopProof::StillAlone { epoch, generation })
    }

    fn assumed(&self, g: GroupId) -> Option<StopProof> {
        let absent = self.st.peer.state == PeerState::Unknown && self.boot_wait_over();
        let dead = self.st.peer.state == PeerState::Dead;
        (self.cfg.is_unguarded() && !self.group_config(g).mirrored && (absent || dead))
            .then_some(StopProof::AssumedDead)
    }

    pub(super) fn want_no_more(&mut self, g: GroupId) {
        if self.group(g).want.is_some() {
            self.gr(g).want = None;
        }
    }

    /// Answers that belong to an earlier life of the peer are void.
    pub(super) fn forget_answers(&mut self, g: GroupId) {
        let gr = self.gr(g);
        gr.want = None;
        gr.wanted = None;
        gr.promised = None;
        gr.confirm = None;
        gr.prepare = None;
        gr.ready = None;
        gr.admit = None;
        gr.asked = None;
        gr.ask = None;
        gr.full = false;
        gr.outside_seen = None;
        gr.detach.asked = None;
        gr.detach.heard = None;
        gr.detach.unspare = None;
        if gr.operator_confirmed.is_some() {
            gr.operator_confirmed = None;
        }
    }

    pub(super) fn ask_operator(&mut self, g: GroupId, question: Question) {
        // Whatever else is missing, a diverged copy waits for its choice; two questions would take turns for ever.
        let diverged = self.group(g).is_idle() && self.group(g).data.diverged;
        let question = if diverged { Question::Diverged } else { question };
        if self.group(g).question == Some(question) {
            return;
        }
        let repeat = self.st.now + self.cfg.timing.question_interval;
        let gr = self.gr(g);
        gr.question = Some(question);
        gr.question_repeat = repeat;
        self.emit(EventKind::Asked { group: g, question });
        self.role_changed(g);
    }

    pub(super) fn unask(&mut self, g: GroupId) {
        // Whatever else is answered, a diverged copy waits for its choice.
        let waits = self.group(g).is_idle() && self.group(g).data.diverged;
        let stays = waits && self.group(g).question == Some(Question::Diverged);
        if self.group(g).question.is_some() && !stays {
            self.gr(g).question = None;
            self.gr(g).question_repeat = crate::Instant::FAR;
            self.emit(EventKind::Unasked { group: g });
            self.role_changed(g);
        }
    }

    fn repeat_question(&mut self, g: GroupId) {
        let now = self.st.now;
        let (Some(question), true) = (self.group(g).question, now >= self.group(g).question_repeat) else {
            return;
        };
        self.gr(g).question_repeat = now + self.cfg.timing.question_interval;
        self.timed_out(TimeoutEdge::Question);
        self.emit(EventKind::Asked { group: g, question });
    }
}
