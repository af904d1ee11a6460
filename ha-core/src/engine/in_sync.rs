//! A mirror's in-sync set: exclusion by proof, admission by durable steps on both sides (rules 2 and 3).

use super::claim::exclusion_of;
use super::machine::Engine;
use super::state::{Admission, Ask, AskedConsent, Role, Why};
use super::{AckRule, Action, CaughtUp, ClaimState, EventKind, LinkState, PeerState, Question, TimeoutEdge};
use crate::{Epoch, ExclusionProof, Generation, GroupId, Nonce, SetRecord};

/// A live peer that let this many questions pass is mute.
const ROUNDS_UNTIL_MUTE: u8 = 2;

impl Engine {
    // --- owner ---

    pub(super) fn advance_set(&mut self, g: GroupId) {
        if !self.group_config(g).mirrored
            || matches!(self.group(g).role, Role::Stopping { why: Why::Superseded, .. })
        {
            return;
        }
        if self.group(g).third.exclude.is_some() {
            self.gr(g).third.exclude = None;
        }
        match self.st.record.group(g).set {
            SetRecord::Both { generation } if self.has_arbiter() => {
                self.note_full(g, generation);
                self.advance_listed_set(g, generation);
            }
            SetRecord::Both { generation } => {
                self.note_full(g, generation);
                if let Some(proof) = self.exclusion_proof(g) {
                    self.exclude(g, generation, proof);
                } else if self.has_left(g, generation) && !self.is_stopping(g) {
                    self.exclude(g, generation, ExclusionProof::Consented);
                } else {
                    self.seek_consent(g, generation);
                    self.admit_copy(g);
                }
            }
            SetRecord::Alone { .. } => self.admit_copy(g),
            SetRecord::Never | SetRecord::Out { .. } => {}
        }
        self.note_divergence(g);
        self.announce_rule(g);
        self.open_admission(g);
    }

    /// With a third party the swap is what excludes; only the peer's own durable word does without it.
    fn advance_listed_set(&mut self, g: GroupId, generation: Generation) {
        let usable = self.third_view(g).is_some();
        if self.has_left(g, generation) && !self.is_stopping(g) {
            self.exclude(g, generation, ExclusionProof::Consented);
        } else if let (Some(proof), true) = (self.exclusion_proof(g), usable || self.skips_the_swap()) {
            if self.skips_the_swap() {
                return self.exclude(g, generation, proof);
            }
            self.gr(g).third.exclude = Some(proof);
        } else if usable && self.is_excluded_unheard(g, generation) {
            self.gr(g).third.exclude = Some(ExclusionProof::ThirdParty);
        } else {
            self.seek_consent(g, generation);
            self.admit_copy(g);
        }
    }

    fn skips_the_swap(&self) -> bool {
        #[cfg(feature = "sabotage")]
        if self.is_broken(super::Sabotage::AloneWithoutSwap) {
            return true;
        }
        false
    }

    /// The swap took the peer out: now it may be written down.
    pub(super) fn excluded_by_swap(&mut self, g: GroupId, generation: Generation, proof: ExclusionProof) {
        if self.group(g).is_owner()
            && let SetRecord::Both { generation: own } = self.st.record.group(g).set
            && own < generation
        {
            self.exclude(g, Generation(generation.0 - 1), proof);
        }
    }

    /// Nothing can be acknowledged without the copy any more, and it has everything: it may be listed.
    pub(super) fn may_list_peer(&self, g: GroupId, generation: Generation) -> bool {
        let gr = self.group(g);
        let in_force = gr.data.rule == Some(AckRule::Both(generation)) && gr.data.caught_up.is_some();
        let living = gr
            .admitting
            .is_some_and(|a| a.generation == generation && self.st.peer.incarnation() == Some(a.incarnation));
        in_force && living && self.is_durably_both(g, generation)
    }

    /// The rule that the durable record allows.
    pub(super) fn current_rule(&self, g: GroupId) -> AckRule {
        #[cfg(feature = "sabotage")]
        if self.is_broken(super::Sabotage::AloneWithoutProof) && self.group(g).data.stalled {
            return AckRule::Alone(self.st.durable.group(g).set.generation());
        }
        match (self.st.record.group(g).set, self.st.durable.group(g).set) {
            // Going alone waits for the record; waiting for both begins with the decision.
            (SetRecord::Alone { .. }, SetRecord::Alone { generation, .. }) => AckRule::Alone(generation),
            (record, _) => AckRule::Both(record.generation()),
        }
    }

    /// The owner goes on; the other copy's own tail waits for the operator's word.
    fn note_divergence(&mut self, g: GroupId) {
        let asked = self.group(g).question == Some(Question::Diverged);
        match (self.is_diverged(g), asked) {
            (true, false) if self.group(g).question.is_none() => self.ask_operator(g, Question::Diverged),
            (false, true) => self.unask(g),
            _ => {}
        }
    }

    fn is_diverged(&self, g: GroupId) -> bool {
        let theirs = self.st.peer.claims.get(&g).is_some_and(|c| c.set.is_alone());
        self.group(g).data.diverged || theirs && self.st.peer.is_alive()
    }

    fn announce_rule(&mut self, g: GroupId) {
        let rule = self.current_rule(g);
        let promoted = matches!(self.group(g).role, Role::Active | Role::Starting { step: 1.. });
        if promoted && self.group(g).rule != Some(rule) {
            let epoch = self.group(g).epoch;
            self.gr(g).rule = Some(rule);
            self.outbox.push_back(Action::Acknowledge { group: g, epoch, rule });
            if let (AckRule::Alone(generation), Some(proof)) = (rule, self.group(g).exclusion) {
                self.emit(EventKind::Alone { group: g, generation, proof });
            }
        }
    }

    /// Why the other copy can never be promoted without us, if it is so.
    fn exclusion_proof(&self, g: GroupId) -> Option<ExclusionProof> {
        let peer = &self.st.peer;
        let current = peer.current()?;
        if let Some(ended) = current.ended {
            return exclusion_of(ended.how);
        }
        // A new life boots not current: whichever life was the member, it ended.
        let member = self.group(g).admitting.map(|a| a.incarnation);
        let ended = member.filter(|m| *m != current.incarnation).and_then(|m| peer.ended(m))?;
        exclusion_of(ended.how)
    }

    /// The peer's durable record says that it left this generation: its consent outlived our question.
    fn has_left(&self, g: GroupId, generation: Generation) -> bool {
        let left = SetRecord::Out { epoch: self.group(g).epoch, generation };
        let said = self.st.peer.claims.get(&g).is_some_and(|c| c.set == left);
        said && self.st.peer.is_alive() && self.consent_counts(g)
    }

    /// A peer that may have forgotten what it was granted cannot speak for that. Its consent counts where nothing can have been
    /// granted to it: while this node's permission lasts without a gap.
    fn consent_counts(&self, g: GroupId) -> bool {
        let gr = self.group(g);
        !self.peer_may_have_forgotten() || gr.is_permitted() && self.valid_until(gr) > self.st.now
    }

    fn exclude(&mut self, g: GroupId, generation: Generation, proof: ExclusionProof) {
        let epoch = self.group(g).epoch;
        self.rec(g).set = SetRecord::Alone { epoch, generation: generation.next() };
        let gr = self.gr(g);
        gr.exclusion = Some(proof);
        gr.ask = None;
        gr.admitting = None;
        gr.full = false;
        gr.outside_seen = None;
        gr.data.caught_up = None;
        if gr.question == Some(Question::NoExclusionProof) {
            self.unask(g);
        }
        self.hear_again();
        self.role_changed(g);
    }

    /// The acknowledgements stopped although the peer lives: hand over if it sees more, else ask (rules 2, 10).
    fn seek_consent(&mut self, g: GroupId, generation: Generation) {
        if self.is_stopping(g) {
            return;
        }
        let gr = self.group(g);
        let in_vain = self.fencing_is_hopeless() || self.in_maintenance(g);
        if self.has_arbiter() {
            let absent = matches!(self.st.peer.state, PeerState::Dead | PeerState::Gone);
            if absent || gr.question == Some(Question::NoExclusionProof) {
                return self.exclude_the_dead(g);
            }
        } else if self.st.peer.state == PeerState::Dead && in_vain {
            self.ask_operator(g, Question::NoExclusionProof);
        } else if gr.question == Some(Question::NoExclusionProof) && self.st.peer.is_alive() {
            self.unask(g);
        }
        let gr = self.group(g);
        if !gr.data.stalled || !self.st.peer.is_alive() || self.st.peer.departing {
            if gr.ask.is_some() && !gr.data.stalled {
                self.gr(g).ask = None;
                self.hear_again();
            } else if !self.st.peer.is_alive() {
                // It cannot hear the question: its time to answer begins when it can.
                let now = self.st.now;
                if self.group(g).ask.is_some() {
                    self.gr(g).ask.iter_mut().for_each(|ask| ask.since = now);
                }
            }
            if self.group(g).outside_seen.is_some() {
                self.gr(g).outside_seen = None;
            }
            return;
        }
        if self.peer_sees_more(g) {
            match self.group(g).outside_seen {
                None => self.gr(g).outside_seen = Some(self.st.peer.health_count),
                Some(count) if self.st.peer.health_count > count => {
                    self.revoke(g);
                    self.begin_stop(g, Why::Handover);
                }
                Some(_) => {}
            }
            return;
        }
        self.gr(g).outside_seen = None;
        if self.is_diverged(g) {
            // The other copy can consent to nothing: that is a question for people, not its silence.
            self.gr(g).ask = None;
            self.hear_again();
            return;
        }
        if self.network_is_judged(g) {
            if self.third_view(g).is_some() {
                self.gr(g).ask = None;
                self.gr(g).third.exclude = Some(ExclusionProof::ThirdParty);
            } else {
                self.ask_consent(g, generation);
            }
        }
    }

    /// A silent peer needs no shot where the third party can take it out of the set.
    fn exclude_the_dead(&mut self, g: GroupId) {
        if self.st.peer.is_alive() {
            self.unask(g);
        } else if self.third_view(g).is_some() {
            self.gr(g).third.exclude = Some(ExclusionProof::ThirdParty);
        } else if let Some(question) = self.silent_arbiter(g) {
            self.ask_operator(g, question);
        }
    }

    /// The peer owes no answer.
    fn hear_again(&mut self) {
        if self.st.peer.mute_since.take().is_some() {
            self.agenda.mark_all();
        }
    }

    fn is_stopping(&self, g: GroupId) -> bool {
        matches!(self.group(g).role, Role::Stopping { .. })
    }

    /// Whether beats on the network say what befell it: they still pass, or its links are dead. Until then the
    /// view of the outside is as old as the fault, and who asks to go alone may be the one that is cut off.
    fn network_is_judged(&self, g: GroupId) -> bool {
        let Some(since) = self.group(g).stalled_since else { return true };
        let links = self.st.links.iter().zip(&self.cfg.links);
        let mut network = links.filter(|(_, c)| !c.evidence_only && c.bits_per_second.is_none());
        let passes = network.clone().any(|(link, _)| link.last_heard.is_some_and(|at| at > since));
        passes || network.all(|(link, _)| !matches!(link.state, LinkState::Up | LinkState::Suspect))
    }

    fn peer_sees_more(&self, g: GroupId) -> bool {
        self.group(g).role == Role::Active
            && self.st.peer.outside > self.st.outside
            && self.peer_is_viable(g)
            && !self.in_maintenance(g)
    }

    fn ask_consent(&mut self, g: GroupId, generation: Generation) {
        let now = self.st.now;
        match self.group(g).ask {
            Some(ask) if ask.generation == generation => {
                if now.since(ask.since) < self.cfg.timing.ask_deadline {
                    return;
                }
                if self.last_echoed().is_none_or(|sent| sent < ask.since) {
                    // Nothing that was said since is known to have arrived: silence is no refusal to answer.
                    self.gr(g).ask = Some(Ask { since: now, ..ask });
                    return;
                }
                let rounds = ask.rounds + 1;
                self.timed_out(if rounds >= ROUNDS_UNTIL_MUTE {
                    TimeoutEdge::AskMute
                } else {
                    TimeoutEdge::AskOverdue
                });
                if rounds >= ROUNDS_UNTIL_MUTE && self.st.peer.mute_since.is_none() {
                    self.st.peer.mute_since = Some(now);
                    self.agenda.mark_all();
                }
                if self.is_mute() && self.fencing_is_hopeless() {
                    self.ask_operator(g, Question::NoExclusionProof);
                }
                self.gr(g).ask = Some(Ask { since: now, rounds, ..ask });
            }
            _ => {
                let nonce = self.nonce();
                self.gr(g).ask = Some(Ask { generation, nonce, since: now, rounds: 0 });
                self.again = true;
            }
        }
    }

    pub(super) fn take_consent(&mut self, g: GroupId, epoch: Epoch, generation: Generation, nonce: Nonce) {
        let gr = self.group(g);
        let asked = gr.ask.is_some_and(|a| a.generation == generation && a.nonce == nonce);
        let in_force = self.st.record.group(g).set == SetRecord::Both { generation };
        if !asked || !in_force || gr.epoch != epoch || !gr.is_owner() {
            return;
        }
        if self.consent_counts(g) {
            self.exclude(g, generation, ExclusionProof::Consented);
        } else {
            // It answers: it is not mute, whatever its answer is worth.
            let now = self.st.now;
            self.gr(g).ask.iter_mut().for_each(|ask| (ask.since, ask.rounds) = (now, 0));
            self.hear_again();
        }
    }

    /// The other copy is equal at an equal transaction: count on it durably, then tell it.
    fn admit_copy(&mut self, g: GroupId) {
        let gr = self.group(g);
        let Some(CaughtUp { epoch, incarnation }) = gr.data.caught_up else { return };
        let current = self.st.peer.incarnation() == Some(incarnation);
        let same = gr.admitting.is_some_and(|a| a.incarnation == incarnation);
        let ready = epoch == gr.epoch
            && current
            && self.st.peer.is_alive()
            && !self.st.peer.departing
            && !gr.data.stalled;
        let stopping = matches!(gr.role, Role::Stopping { .. });
        // The copy must be listed too: what cannot be is not begun.
        let listable = !self.has_arbiter() || self.third_view(g).is_some();
        if same || !ready || stopping || gr.ask.is_some() || !listable || !self.is_saved() {
            return;
        }
        let Some(store) = self.st.peer.store else { return };
        // Its record may be of a later generation than ours: it takes none below.
        let Some(theirs) = self.st.peer.claims.get(&g).map(|c| c.set.generation()) else { return };
        let listed = self.third_record(g).map_or(Generation(0), |r| r.generation);
        let generation = self.st.record.group(g).set.generation().max(theirs).max(listed).next();
        let forgot = self.st.record.peer_store.is_some_and(|known| known != store);
        self.know_store(store);
        let rec = self.rec(g);
        rec.set = SetRecord::Both { generation };
        if forgot {
            self.jump_floors();
        }
        let gr = self.gr(g);
        gr.admitting = Some(Admission { generation, incarnation });
        gr.exclusion = None;
        gr.admit_open = false;
        gr.full = false;
        self.again = true;
    }

    /// Nothing can be acknowledged without the copy any more, and it still has everything: tell it.
    fn open_admission(&mut self, g: GroupId) {
        let gr = self.group(g);
        let Some(a) = gr.admitting else { return };
        let in_force = gr.data.rule == Some(AckRule::Both(a.generation)) && gr.data.caught_up.is_some();
        let listed = self.lists_peer(g, a.generation);
        if in_force && !gr.admit_open && listed && self.is_durably_both(g, a.generation) {
            self.gr(g).admit_open = true;
            self.hasten_beats();
        }
    }

    fn note_full(&mut self, g: GroupId, generation: Generation) {
        let gr = self.group(g);
        let Some(a) = gr.admitting else { return };
        let claim = self.st.peer.claims.get(&g);
        let there = claim.is_some_and(|c| {
            c.set == SetRecord::Both { generation } && c.state == ClaimState::Standby { viable: true }
        });
        let full =
            there && self.st.peer.incarnation() == Some(a.incarnation) && self.is_durably_both(g, generation);
        if full && !gr.full {
            self.gr(g).full = true;
            self.emit(EventKind::Full { group: g, generation });
        }
    }

    // --- standby ---

    /// The owner's questions about membership, answered when the answer is durable.
    pub(super) fn answer_set_questions(&mut self, g: GroupId) {
        if !self.group_config(g).mirrored || !self.group(g).is_idle() {
            return;
        }
        if self.group(g).data.diverged {
            return self.ask_operator(g, Question::Diverged);
        }
        if self.group(g).question == Some(Question::Diverged) && !self.st.record.group(g).set.is_alone() {
            self.unask(g);
        }
        self.answer_admit(g);
        self.answer_ask(g);
    }

    fn answer_admit(&mut self, g: GroupId) {
        let Some((epoch, generation)) = self.group(g).admit else { return };
        let Some((owner, owned)) = self.group(g).owner else { return };
        let current = self.st.peer.incarnation() == Some(owner) && self.st.peer.is_alive();
        if !current || owned != epoch || self.st.leaving.is_some() {
            return;
        }
        let set = self.st.record.group(g).set;
        if generation > set.generation() || set == (SetRecord::Both { generation }) {
            if set.is_alone() {
                return self.ask_operator(g, Question::Diverged);
            }
            self.rec(g).set = SetRecord::Both { generation };
            if let Some(store) = self.st.peer.store {
                self.know_store(store);
            }
            if self.is_durably_both(g, generation) {
                let admission = Some(Admission { generation, incarnation: owner });
                let known = self.group(g).admission == admission;
                self.gr(g).admission = admission;
                self.gr(g).admit = None;
                self.unask(g);
                if !known {
                    // Once: the owner repeats itself, and two that hasten each other never rest.
                    self.hasten_beats();
                    self.again = true;
                }
            }
        } else {
            self.gr(g).admit = None;
        }
    }

    fn answer_ask(&mut self, g: GroupId) {
        let Some(q) = self.group(g).asked else { return };
        let known = self.group(g).owner.is_some_and(|(_, epoch)| epoch > q.epoch);
        let AskedConsent { epoch, generation, .. } = q;
        let set = self.st.record.group(g).set;
        // Who left the set may know a higher generation than its owner (of an admission that the owner did not survive, or of
        // its own promise), and is asked with a lower one all the same.
        let older = generation < set.generation() && !matches!(set, SetRecord::Out { .. });
        let stale = older || known || self.st.record.group(g).granted > epoch;
        // A copy that was never admitted consents too: unanswered questions would make it mute, and fenced.
        if stale || set.is_alone() {
            return;
        }
        if set != (SetRecord::Out { epoch, generation }) {
            self.rec(g).set = SetRecord::Out { epoch, generation };
            self.gr(g).admission = None;
            self.gr(g).admit = None;
            self.role_changed(g);
        }
    }
}
