//! A group that nobody owns: the boot table's word, and the promise that makes it safe (rule 7).

use super::boot_table::{Candidate, Verdict, judge};
use super::machine::Engine;
use super::state::{Asking, Role};
use super::{ClaimState, PeerState, Predecessor, Question, TimeoutEdge};
use crate::{Epoch, GroupId, Incarnation, Nonce, SetRecord, StopProof};

impl Engine {
    /// Both nodes are here and nobody owns the group, or nobody else is here at all.
    pub(super) fn arbitrate(&mut self, g: GroupId) {
        if let Some(r) = self.group(g).released {
            self.watch_successor(g, r.since, r.overdue);
            if !self.group(g).released.is_some_and(|r| r.overdue) {
                return;
            }
        }
        if self.has_arbiter() && self.waits_for_arbiter(g) {
            return;
        }
        if self.waits_for_own_leftovers(g) {
            return;
        }
        match self.st.peer.state {
            PeerState::Unknown if self.boot_wait_over() => {
                if self.group(g).role == Role::Waiting && self.group(g).question.is_none() {
                    self.timed_out(TimeoutEdge::BootWait);
                }
                self.ask_operator(g, Question::PeerAbsent);
            }
            PeerState::Unknown | PeerState::Suspect => {}
            PeerState::Dead => self.await_proof(g),
            PeerState::Gone => {
                let q =
                    if self.group(g).failed_here { Question::FailedEverywhere } else { Question::NotCurrent };
                self.ask_operator(g, q);
            }
            PeerState::Alive | PeerState::Unreachable => self.consult_table(g),
        }
    }

    /// Nothing is granted without the third party; whom it names as a living owner needs no question either.
    fn waits_for_arbiter(&mut self, g: GroupId) -> bool {
        if let Some(question) = self.silent_arbiter(g) {
            if self.group(g).question != Some(Question::Diverged) {
                self.ask_operator(g, question);
            }
            return true;
        }
        if self.third_view(g).is_none() {
            return true;
        }
        let peer = crate::config::Config::peer_of(self.st.me);
        let absent = !self.st.peer.is_alive();
        let Some(record) = self.third_record(g).filter(|r| absent && r.owner == Some(peer)) else {
            return false;
        };
        let current =
            self.is_current_by_record(g, Some(&record), StopProof::LeaseExpired { epoch: record.epoch });
        let living = self.lease_is_fresh(g);
        let expiring = current && self.lease_of_peer_proves(g) && !self.group(g).failed_here;
        if (living || expiring) && self.group(g).question != Some(Question::Diverged) {
            self.unask(g);
        }
        living || expiring
    }

    /// What this node left behind itself keeps it from what it would be granted on its own earlier life.
    fn waits_for_own_leftovers(&mut self, g: GroupId) -> bool {
        if !self.may_have_left_a_writer(g) {
            return false;
        }
        let own = match self.third_record(g).map(|r| r.owner) {
            Some(Some(owner)) => owner == self.st.me,
            // Nobody owns it: who wins the table was the last to own it.
            Some(None) | None => matches!(self.verdict(g), Some(Verdict::Win | Verdict::WinAlone)),
        };
        if own {
            self.want_no_more(g);
            self.ask_operator(g, Question::NoStopProof);
        }
        own
    }

    pub(super) fn watch_successor(&mut self, g: GroupId, since: crate::Instant, overdue: bool) {
        if !overdue && self.st.now.since(since) >= self.cfg.timing.takeover_deadline {
            self.timed_out(TimeoutEdge::TakeoverNone);
            if let Some(r) = &mut self.gr(g).released {
                r.overdue = true;
            }
        }
    }

    /// The peer is dead: its proof is on the way, or somebody must be asked.
    fn await_proof(&mut self, g: GroupId) {
        if self.group(g).failed_here {
            self.ask_operator(g, Question::FailedEverywhere);
        } else if !self.is_viable(g) {
            self.ask_operator(g, Question::NotCurrent);
        } else if !self.timing_fits() {
            self.ask_operator(g, Question::TimingMismatch);
        } else if self.fencing_is_hopeless() {
            // Without the mismatch the lease would have been the proof.
            let differs = self.lease_proves(g) && self.lease_mismatch(g).is_some();
            let question = if differs { Question::TimingMismatch } else { Question::NoStopProof };
            self.ask_operator(g, question);
        }
    }

    fn consult_table(&mut self, g: GroupId) {
        let Some(verdict) = self.verdict(g) else { return };
        // Diverged copies keep their question, whatever the table says of the ownership.
        let diverged = self.group(g).data.diverged;
        let nameless = self.has_arbiter() && self.third_record(g).is_none() && self.common_init().is_none();
        match verdict {
            Verdict::Win if nameless => self.ask_operator(g, Question::NotInitialised),
            Verdict::Win => {
                if self.peer_has_leftovers() {
                    self.ask_operator(g, Question::NoStopProof);
                } else if !diverged {
                    self.unask(g);
                }
                self.want_group(g);
            }
            Verdict::WinAlone if self.third_record(g).is_some_and(|r| !r.lists(self.st.me)) => {
                self.ask_operator(g, Question::NotCurrent);
            }
            Verdict::WinAlone => {
                if let SetRecord::Alone { epoch, generation } = self.st.durable.group(g).set {
                    self.claim_group(g, StopProof::StillAlone { epoch, generation });
                }
            }
            Verdict::Lose => {
                self.want_no_more(g);
                if self.group(g).failed_here {
                    // The other one may not know of our failure, and wait for us: somebody must be told.
                    self.ask_operator(g, Question::FailedEverywhere);
                } else if !diverged {
                    self.unask(g);
                }
            }
            Verdict::Ask(question) => {
                self.want_no_more(g);
                self.ask_operator(g, question);
            }
        }
    }

    fn peer_has_leftovers(&self) -> bool {
        let identity = self.st.peer.current().and_then(|l| l.identity);
        identity.is_some_and(|(_, predecessor)| predecessor == Predecessor::Leftovers)
    }

    fn want_group(&mut self, g: GroupId) {
        let known = self.highest_known(g).max(self.st.record.group(g).intent);
        // The peer's promise of the very epoch that we want makes it known there: not a reason to want another.
        let used = self.highest_used(g).max(self.st.record.group(g).intent);
        if self.group(g).want.is_none_or(|w| w.epoch < known || w.epoch <= used) {
            let nonce = self.nonce();
            self.gr(g).want = Some(Asking { epoch: known.next(), nonce });
            self.again = true;
        }
    }

    /// The table's word, once everything about the live peer is known.
    pub(super) fn verdict(&self, g: GroupId) -> Option<Verdict> {
        let peer = &self.st.peer;
        let (claim, store, init) = (peer.claims.get(&g)?, peer.store?, peer.init?);
        let me_known = peer.knows_my_store?;
        if matches!(claim.state, ClaimState::Owner | ClaimState::Claiming) {
            return None;
        }
        let rec = self.st.durable.group(g);
        let mine_pristine = rec.granted == Epoch(0) && rec.set == SetRecord::Never;
        let theirs_pristine = claim.epoch == Epoch(0) && claim.set == SetRecord::Never;
        let common = init.is_some() && init == self.st.record.init;
        let me = Candidate {
            node: self.st.me,
            granted: rec.granted,
            set: rec.set,
            lsn: self.group(g).data.durable,
            never_started: mine_pristine && common,
            amnesiac: !me_known || mine_pristine && !common,
            unwilling: self.group(g).failed_here,
            held: self.hold(g).is_some() || !self.lead_is_owned_here(g),
        };
        let other = Candidate {
            node: crate::config::Config::peer_of(self.st.me),
            granted: claim.epoch,
            set: claim.set,
            lsn: claim.lsn,
            never_started: theirs_pristine && common,
            amnesiac: self.st.record.peer_store.is_some_and(|known| known != store)
                || theirs_pristine && !common,
            unwilling: claim.state == ClaimState::Blocked && self.failed_there(g),
            held: self.is_held_there(g) || !self.lead_is_there(g),
        };
        let config = self.group_config(g);
        let verdict = judge(config.mirrored, config.preferred, &me, &other);
        // An operator's choice that is being written down: the question has been answered.
        let answered = rec.set != self.st.record.group(g).set;
        (!answered || verdict != Verdict::Ask(Question::Diverged)).then_some(verdict)
    }

    /// The peer took the group over after us and gave it up, though it stays: it cannot run it.
    pub(super) fn failed_there(&self, g: GroupId) -> bool {
        let granted = self.st.record.group(g).granted;
        self.group(g).release.is_some_and(|r| !r.forced && !r.leaving && r.epoch > granted)
    }

    /// Answers the live peer's wish for an epoch: promise, unless a proof of our own is in use.
    pub(super) fn answer_want(&mut self, g: GroupId) {
        let Some(w) = self.group(g).wanted else { return };
        let rec = self.st.record.group(g);
        if !self.st.peer.is_alive() || self.st.peer.incarnation() != Some(w.incarnation) {
            return;
        }
        let gr = self.group(g);
        // An older word of the peer's, on a slow line, can have taken the promise back: it is given again.
        let again = gr.promised_before == Some(w);
        let used = w.epoch <= rec.floor.max(rec.granted) && gr.promised.is_none();
        if gr.promised == Some(w) || used && !again {
            return;
        }
        if !matches!(self.verdict(g), Some(Verdict::Lose)) || w.epoch <= rec.granted {
            return;
        }
        if self.st.predecessor == Predecessor::Leftovers {
            // What an earlier life left behind may still act: this life's word cannot stand for it.
            return;
        }
        let promised = self.rec(g);
        promised.floor = promised.floor.max(w.epoch);
        if let SetRecord::Alone { generation, .. } = promised.set {
            promised.set = SetRecord::Out { epoch: w.epoch, generation };
        }
        let gr = self.gr(g);
        gr.promised = Some(w);
        gr.promised_before = Some(w);
        gr.release = None;
        gr.owner = None;
        gr.admission = None;
        gr.operator_confirmed = None;
        gr.released = None;
        gr.want = None;
        self.again = true;
    }

    pub(super) fn take_yielded(&mut self, g: GroupId, from: Incarnation, epoch: Epoch, nonce: Nonce) {
        let gr = self.group(g);
        let asked = gr.want.is_some_and(|w| w.epoch == epoch && w.nonce == nonce);
        let waits = self.hold(g).is_some() || self.must_listen(g) || self.may_have_left_a_writer(g);
        if !asked || !gr.is_idle() || self.st.leaving.is_some() || waits {
            return;
        }
        let pristine =
            self.st.durable.group(g).set == SetRecord::Never && self.st.durable.group(g).granted == Epoch(0);
        let proof =
            if pristine { StopProof::NeverStarted } else { StopProof::Yielded { epoch, incarnation: from } };
        self.claim_group(g, proof);
    }
}
