//! What the third party is asked next, and what follows from what it said (see [`third_party`](super::third_party)).

use super::machine::Engine;
use super::state::Role;
use super::third_party::Asked;
use super::{Action, ArbiterRequest, EventKind, Question, TimeoutEdge};
use crate::api::OwnerRecord;
use crate::config::{ArbiterConfig, Config};
use crate::{Epoch, ExclusionProof, Generation, GroupId, InitId, Instant, NodeId, SetRecord};
use std::time::Duration;

const fn bit(node: NodeId) -> u64 {
    if node.0 < 64 { 1 << node.0 } else { 0 }
}

impl Engine {
    /// What follows from the newest reading, whatever the role.
    pub(super) fn heed_third(&mut self, g: GroupId) {
        if !self.has_arbiter() {
            return;
        }
        if let Some(asked) = self.group(g).third.request.filter(|r| self.st.now >= r.deadline) {
            self.gr(g).third.request = None;
            self.timed_out(TimeoutEdge::ArbiterAnswer);
            self.note_silence(g, &asked);
        }
        self.heed_promises(g);
        if self.group(g).third.amnesiac {
            // Its answer ends the question of its silence.
            let open = matches!(self.group(g).question, None | Some(Question::ArbiterSilent));
            if self.group(g).is_owner() && open {
                self.ask_operator(g, Question::ArbiterForgot);
            }
        } else if self.third_view(g).is_some()
            && matches!(self.group(g).question, Some(Question::ArbiterSilent | Question::ArbiterForgot))
        {
            self.unask(g);
        }
        let own = self.group(g).epoch;
        let lost = self.group(g).is_owner()
            && self.third_record(g).is_some_and(|r| r.epoch > own && !self.is_mine(&r));
        if lost && !self.is_giving_way(g) {
            self.yield_to_higher_epoch(g);
        }
    }

    /// Asks for each group what is to be asked.
    pub(super) fn consult_third_parties(&mut self) {
        let mut from = 0;
        while self.has_arbiter()
            && let Some(g) = self.agenda.next_touched(from)
        {
            from = usize::from(g.0) + 1;
            self.consult_third(g);
        }
    }

    /// Asks what is to be asked, one request at a time.
    fn consult_third(&mut self, g: GroupId) {
        if !self.has_arbiter() || self.st.ended || self.group(g).third.request.is_some() {
            return;
        }
        if self.st.now < self.group(g).third.next_ask {
            return;
        }
        if let Some((what, excludes)) = self.wanted_request(g) {
            self.ask_third(g, what, excludes);
        }
    }

    pub(super) fn ask_third(&mut self, g: GroupId, what: ArbiterRequest, excludes: Option<ExclusionProof>) {
        let timeout = self.arbiter().map_or(Duration::ZERO, |a| a.answer_timeout);
        let (op, at, known) = (self.op_id(), self.st.now, self.third_known(g));
        let asked = Asked { op, what, at, deadline: at + timeout, known, excludes };
        self.gr(g).third.request = Some(asked);
        self.outbox.push_back(Action::Arbiter { op, group: g, request: what });
    }

    fn wanted_request(&self, g: GroupId) -> Option<(ArbiterRequest, Option<ExclusionProof>)> {
        let (gr, t) = (self.group(g), &self.group(g).third);
        let read = Some((ArbiterRequest::Read, None));
        let view = match &t.view {
            Some(view) if !t.doubtful => view,
            _ => return read,
        };
        let swap =
            |record, excludes| Some((ArbiterRequest::Swap { revision: view.revision, record }, excludes));
        if t.amnesiac {
            return if self.st.now >= self.next_reading(g) { read } else { None };
        }
        match gr.role {
            Role::Claiming { epoch, .. } => {
                let claim = t.claim.filter(|c| !c.swapped)?;
                (self.st.durable.group(g).intent >= epoch)
                    .then(|| self.granting(g, view.record, epoch, claim.set))
                    .flatten()
                    .filter(|_| claim.revision == view.revision)
                    .and_then(|record| swap(record, None))
            }
            _ if gr.is_owner() => match self.owner_record(g, view.record) {
                Some((record, excludes)) => swap(record, excludes),
                None if self.st.now >= t.next_renew => {
                    let (incarnation, epoch) = (self.st.incarnation, gr.epoch);
                    Some((ArbiterRequest::Renew { incarnation, epoch }, None))
                }
                None => None,
            },
            _ => match self.given_back(g, view.record) {
                Some(record) => swap(record, None),
                None if self.st.now >= self.next_reading(g) => read,
                None => None,
            },
        }
    }

    /// When an idle node, or one whose arbiter forgot, reads next.
    pub(super) fn next_reading(&self, g: GroupId) -> Instant {
        let (Some(a), t) = (self.arbiter(), &self.group(g).third) else { return Instant::FAR };
        let Some(view) = &t.view else { return t.next_ask };
        let regular = view.asked + a.renew_interval;
        let silent = !self.st.peer.is_alive() && view.asked <= self.last_heard();
        // Who may have to shoot keeps knowing whether it was excluded.
        let armed = self.st.peer.state == super::PeerState::Dead && !self.fencing_is_hopeless();
        let regular = if armed { view.asked + a.answer_timeout / 2 } else { regular };
        let expiry = self.lease_reading(g).filter(|at| view.asked < *at).unwrap_or(Instant::FAR);
        let next = if silent { self.st.now } else { regular.min(expiry) };
        next.max(t.next_ask)
    }

    /// The record of a grant to this life.
    fn granting(
        &self,
        g: GroupId,
        found: Option<OwnerRecord>,
        epoch: Epoch,
        set: SetRecord,
    ) -> Option<OwnerRecord> {
        let (me, peer) = (self.st.me, Config::peer_of(self.st.me));
        let found = found.filter(|_| !self.group(g).third.forgiven);
        let init = found.map(|r| r.init).or(self.common_init())?;
        let mut record = OwnerRecord::new(init, self.st.incarnation);
        record.epoch = epoch;
        record.owner = Some(me);
        if self.group_config(g).mirrored {
            let both = found.is_some_and(|r| r.lists(me) && r.lists(peer));
            record.generation = set.generation();
            record.in_sync = if !set.is_alone() && both { bit(me) | bit(peer) } else { bit(me) };
        } else {
            record.in_sync = bit(me) | bit(peer);
        }
        Some(record)
    }

    /// The installation that a first record names.
    pub(super) fn common_init(&self) -> Option<InitId> {
        self.st.record.init.or(self.st.peer.init.flatten())
    }

    /// The set to write down with a grant that was claimed on `found`.
    pub(super) fn set_for_grant(&self, g: GroupId, set: SetRecord) -> SetRecord {
        // A copy that an operator chose begins a generation of its own.
        let chosen = |r: OwnerRecord| if r.lists(self.st.me) { r.generation } else { r.generation.next() };
        let least = self.third_record(g).map_or(Generation(0), chosen);
        match set {
            SetRecord::Alone { epoch, generation } => {
                SetRecord::Alone { epoch, generation: generation.max(least) }
            }
            SetRecord::Both { generation } => SetRecord::Both { generation: generation.max(least) },
            other => other,
        }
    }

    /// What the owner wants its record to be, if that is another one, or if it must take the lease anew.
    fn owner_record(
        &self,
        g: GroupId,
        found: Option<OwnerRecord>,
    ) -> Option<(OwnerRecord, Option<ExclusionProof>)> {
        let gr = self.group(g);
        if self.is_giving_way(g) {
            return None;
        }
        let set = self.st.durable.group(g).set;
        let base = match found.filter(|r| self.is_mine(r) && r.epoch == gr.epoch) {
            Some(record) => record,
            None if gr.third.forgiven => self.granting(g, None, gr.epoch, set)?,
            None => return None,
        };
        let mut record = base;
        let mut excludes = None;
        if self.group_config(g).mirrored {
            excludes = self.wanted_set(g, &mut record);
        }
        let lapsed = self.st.now >= gr.third.lease_until;
        let before = gr.third.view.map_or(Instant::ZERO, |v| v.asked);
        let confirms = self.st.application_alive
            && gr.suspended.is_some_and(|s| before < s.since || self.st.now >= gr.third.next_renew);
        let anew = Some(record) != found || excludes.is_some() || confirms || lapsed;
        anew.then_some((record, excludes))
    }

    fn wanted_set(&self, g: GroupId, record: &mut OwnerRecord) -> Option<ExclusionProof> {
        let (me, peer) = (self.st.me, Config::peer_of(self.st.me));
        let gr = self.group(g);
        match (gr.third.exclude, self.st.durable.group(g).set) {
            (Some(proof), SetRecord::Both { generation }) => {
                record.generation = record.generation.max(generation).next();
                record.in_sync = bit(me);
                return Some(proof);
            }
            (_, SetRecord::Alone { generation, .. }) => {
                record.generation = record.generation.max(generation);
                record.in_sync = bit(me);
            }
            (None, SetRecord::Both { generation }) if self.may_list_peer(g, generation) => {
                record.generation = record.generation.max(generation);
                record.in_sync = bit(me) | bit(peer);
            }
            _ => {}
        }
        None
    }

    /// Whether the arbiter lists the copy that is being admitted.
    pub(super) fn lists_peer(&self, g: GroupId, generation: Generation) -> bool {
        let peer = Config::peer_of(self.st.me);
        !self.has_arbiter()
            || self
                .third_record(g)
                .is_some_and(|r| self.is_mine(&r) && r.lists(peer) && r.generation == generation)
    }

    /// The arbiter's record excludes the copy although this node's own does not know it: an answer was lost.
    pub(super) fn is_excluded_unheard(&self, g: GroupId, generation: Generation) -> bool {
        let peer = Config::peer_of(self.st.me);
        self.third_record(g).is_some_and(|r| self.is_mine(&r) && !r.lists(peer) && r.generation > generation)
    }

    /// The record of a group that this life holds at the arbiter and does not act in.
    fn given_back(&self, g: GroupId, found: Option<OwnerRecord>) -> Option<OwnerRecord> {
        let mut record = found.filter(|r| self.is_mine(r))?;
        let gr = self.group(g);
        let successor_may_come = gr.released.is_some_and(|r| !r.overdue) && self.st.peer.is_alive();
        if successor_may_come {
            return None;
        }
        record.owner = None;
        let (me, peer) = (self.st.me, Config::peer_of(self.st.me));
        if self.group_config(g).mirrored
            && matches!(self.st.durable.group(g).set, SetRecord::Out { .. })
            && record.lists(peer)
        {
            record.in_sync &= !bit(me);
        }
        Some(record)
    }

    /// Nothing of this life is left at the arbiter, as far as it can be told.
    pub(super) fn third_is_settled(&self) -> bool {
        !self.has_arbiter()
            || self.group_ids().all(|g| {
                let t = &self.group(g).third;
                let held = t.view.and_then(|v| v.record).is_some_and(|r| self.is_mine(&r));
                t.request.is_none() && !held || t.failures > 0
            })
    }

    pub(super) fn trust_arbiter(&mut self, g: GroupId) {
        let t = &mut self.gr(g).third;
        if !t.amnesiac {
            return self.emit(EventKind::Refused { why: super::Refusal::NotAsked });
        }
        t.amnesiac = false;
        t.forgiven = true;
        t.doubtful = t.view.is_none();
        t.next_ask = Instant::ZERO;
        self.unask(g);
    }

    /// When the third party is asked, given up or judged next.
    pub(super) fn third_deadline(&self, g: GroupId) -> Instant {
        let Some(a) = self.arbiter() else { return Instant::FAR };
        let (gr, t) = (self.group(g), &self.group(g).third);
        let ahead = |at: Instant| if at > self.st.now { at } else { Instant::FAR };
        let mut next = self.promise_deadline(g).min(ahead(t.next_ask));
        match &t.request {
            Some(asked) => next = next.min(asked.deadline),
            None if t.view.is_none() || t.doubtful => next = next.min(ahead(t.next_ask)),
            None if gr.is_owner() && !t.amnesiac => next = next.min(ahead(t.next_renew.max(t.next_ask))),
            None => next = next.min(ahead(self.next_reading(g))),
        }
        if let Some(claim) = t.claim.filter(|c| !c.swapped) {
            next = next.min(ahead(claim.since + claim_patience(a)));
        }
        next
    }

    /// A claim whose swap gets no answer is given up: the arbiter's absence is no grant.
    pub(super) fn claim_waits_for_third(&mut self, g: GroupId, epoch: Epoch) -> bool {
        let Some(a) = self.arbiter() else { return false };
        let patience = claim_patience(a);
        let Some(claim) = self.group(g).third.claim.filter(|c| !c.swapped) else { return false };
        #[cfg(feature = "sabotage")]
        if self.is_broken(super::Sabotage::SkipSwap) {
            self.note_grant(g, epoch);
            return false;
        }
        let mine = self.third_record(g).is_some_and(|r| self.is_mine(&r) && r.epoch == epoch);
        let overtaken = self.third_view(g).is_some_and(|v| v.revision != claim.revision) && !mine;
        if mine {
            self.note_grant(g, epoch);
        } else if overtaken || self.group(g).third.amnesiac || self.st.now.since(claim.since) >= patience {
            self.abort_claim(g, epoch);
        }
        true
    }
}

/// How long a claim tries.
fn claim_patience(a: &ArbiterConfig) -> Duration {
    a.answer_timeout * 4
}
