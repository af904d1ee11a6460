//! The third party: one request at a time a group, what it answered, and what that makes of us.
//!
//! Its record decides (rules 2, 3, 7b): every grant, exclusion and admission is a compare-and-swap on the revision
//! that was read. A request that gave no answer may have taken effect, so nothing follows from it but another reading.

use super::machine::Engine;
use super::state::Role;
use super::{Action, ArbiterAnswer, ArbiterRequest, ArbiterState, EventKind, Question, TimeoutEdge};
use crate::api::{ArbiterView, Lease, OwnerRecord};
use crate::config::{ArbiterConfig, Config};
use crate::{
    Epoch, ExclusionProof, Generation, GroupId, Incarnation, InitId, Instant, NodeId, Nonce, OpId, SetRecord,
};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// What is known of the third party in one group. All blank where none is configured.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default, Serialize, Deserialize)]
pub(super) struct ThirdParty {
    pub request: Option<Asked>,
    /// The newest reading of this life.
    pub view: Option<View>,
    /// A swap gave no answer, or a renewal was refused: nothing is decided before another reading.
    pub doubtful: bool,
    /// Requests in a row without an answer.
    pub failures: u32,
    /// Nothing is asked before.
    pub next_ask: Instant,
    /// It keeps less than it told before, or something foreign.
    pub amnesiac: bool,
    /// An operator let its record be written anew.
    pub forgiven: bool,
    /// The newest epoch that it ever told this life.
    pub highest: Epoch,
    /// Until when the lease lets this owner act.
    pub lease_until: Instant,
    pub next_renew: Instant,
    /// The claim under way: what is written down with its grant, and since when it is tried.
    pub claim: Option<Claim>,
    /// Why the peer is to leave the in-sync set, if it is.
    pub exclude: Option<ExclusionProof>,
    /// How long the present lease was seen without a renewal.
    pub watch: Option<super::lease::Watch>,
    /// The lease of this revision ran out.
    pub expired: Option<u64>,
    // --- rule 13 ---
    /// The owner's question for a promise.
    pub extend: Option<Extend>,
    /// Until when the peer's promise lets this owner act.
    pub promise_until: Instant,
    /// The peer's question.
    pub asked: Option<(Incarnation, Epoch, Nonce)>,
    /// What this node promised: no lease is judged before.
    pub bound_until: Instant,
}

/// A request under way.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub(super) struct Asked {
    pub op: OpId,
    pub what: ArbiterRequest,
    pub at: Instant,
    pub deadline: Instant,
    /// The newest epoch known when it was asked: an answer below it comes from an arbiter that forgot.
    pub known: Epoch,
    /// The exclusion that the swap makes.
    pub excludes: Option<ExclusionProof>,
}

/// A reading.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub(super) struct View {
    pub record: Option<OwnerRecord>,
    pub lease: Lease,
    pub revision: u64,
    pub asked: Instant,
    /// When a reading first showed this grant.
    pub first: Instant,
}

/// A claim between its intent and its grant.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub(super) struct Claim {
    pub set: SetRecord,
    pub since: Instant,
    /// What it was judged on: on any other revision it is judged anew.
    pub revision: u64,
    /// The swap is done: the grant may be written down and acted on.
    pub swapped: bool,
}

/// The owner's question for a promise.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub(super) struct Extend {
    pub nonce: Nonce,
    pub since: Instant,
}

const fn bit(node: NodeId) -> u64 {
    if node.0 < 64 { 1 << node.0 } else { 0 }
}

impl Engine {
    pub(super) fn arbiter(&self) -> Option<&ArbiterConfig> {
        self.cfg.arbiter.as_ref()
    }

    pub(super) fn has_arbiter(&self) -> bool {
        self.cfg.arbiter.is_some()
    }

    /// A reading of this life that may be acted on.
    pub(super) fn third_view(&self, g: GroupId) -> Option<&View> {
        let t = &self.group(g).third;
        t.view.as_ref().filter(|_| !t.doubtful && t.failures == 0 && !t.amnesiac)
    }

    /// What it keeps; nothing where an operator let it be written anew.
    pub(super) fn third_record(&self, g: GroupId) -> Option<OwnerRecord> {
        let record = self.third_view(g)?.record?;
        (!self.group(g).third.forgiven && record.epoch > Epoch(0)).then_some(record)
    }

    /// Whether it names this life as the owner.
    pub(super) fn is_mine(&self, record: &OwnerRecord) -> bool {
        record.owner == Some(self.st.me) && record.incarnation == self.st.incarnation
    }

    /// The newest grant that anybody is known to have had from it.
    fn third_known(&self, g: GroupId) -> Epoch {
        let gr = self.group(g);
        let claim = self.st.peer.claims.get(&g).map_or(Epoch(0), |c| c.epoch);
        let owner = gr.owner.map_or(Epoch(0), |(_, e)| e);
        gr.third.highest.max(self.st.durable.group(g).granted).max(claim).max(owner)
    }

    // --- answers ---

    pub(super) fn take_arbiter(&mut self, op: OpId, answer: ArbiterAnswer) {
        let Some(g) =
            self.agenda.asking.iter().find(|g| self.group(*g).third.request.is_some_and(|r| r.op == op))
        else {
            return;
        };
        let Some(asked) = self.gr(g).third.request.take() else { return };
        self.again = true;
        match (asked.what, answer) {
            (_, ArbiterAnswer::Unavailable) => return self.note_silence(g, &asked),
            (_, ArbiterAnswer::Foreign) => {
                self.gr(g).third.next_ask = asked.deadline;
                self.note_amnesia(g);
            }
            (_, ArbiterAnswer::View(view)) => self.note_view(g, &asked, &view),
            (_, ArbiterAnswer::Lost(view)) => {
                self.note_view(g, &asked, &view);
                self.note_lost(g);
            }
            (ArbiterRequest::Swap { record, .. }, ArbiterAnswer::Swapped { revision }) => {
                self.note_swapped(g, &asked, record, revision);
            }
            (ArbiterRequest::Renew { .. }, ArbiterAnswer::Renewed(renewed)) => {
                self.note_renewed(g, &asked, renewed);
            }
            _ => {}
        }
        let t = &mut self.gr(g).third;
        if t.failures > 0 {
            t.failures = 0;
            self.emit(EventKind::Arbiter { group: g, state: ArbiterState::Answers });
        }
    }

    fn note_silence(&mut self, g: GroupId, asked: &Asked) {
        let retry = self.arbiter().map_or(Duration::ZERO, |a| a.answer_timeout);
        let next = self.st.now + retry;
        let t = &mut self.gr(g).third;
        t.failures = t.failures.saturating_add(1);
        t.next_ask = next;
        t.doubtful |= matches!(asked.what, ArbiterRequest::Swap { .. });
        #[cfg(feature = "sabotage")]
        if self.is_broken(super::Sabotage::SilenceIsExpiry) {
            let t = &mut self.gr(g).third;
            t.expired = t.view.map(|v| v.revision);
        }
        if self.group(g).third.failures == 1 {
            self.emit(EventKind::Arbiter { group: g, state: ArbiterState::Silent });
        }
    }

    fn note_amnesia(&mut self, g: GroupId) {
        let t = &mut self.gr(g).third;
        t.view = None;
        t.expired = None;
        t.watch = None;
        if !t.amnesiac {
            t.amnesiac = true;
            self.emit(EventKind::Arbiter { group: g, state: ArbiterState::Forgot });
        }
    }

    fn note_view(&mut self, g: GroupId, asked: &Asked, view: &ArbiterView) {
        let epoch = view.record.map_or(Epoch(0), |r| r.epoch);
        let foreign = view.record.is_some_and(|r| self.st.record.init.is_some_and(|own| own != r.init));
        // Of our own grant it must tell what we swapped in.
        let gr = self.group(g);
        let altered = gr.is_owner() && epoch == gr.epoch && view.record.is_some_and(|r| !self.is_mine(&r));
        let forgot = epoch < asked.known || foreign || altered;
        if forgot && !self.group(g).third.forgiven {
            self.note_amnesia(g);
            // An operator may let it be written anew, which takes its revision.
            let (lease, at) = (view.lease, self.st.now);
            self.gr(g).third.view = Some(View {
                record: view.record,
                lease,
                revision: view.revision,
                asked: asked.at,
                first: at,
            });
            self.gr(g).third.doubtful = false;
            return;
        }
        if !forgot {
            self.note_memory(g);
        }
        let now = self.st.now;
        let t = &mut self.gr(g).third;
        t.doubtful = false;
        t.highest = t.highest.max(epoch);
        let grant = |r: Option<OwnerRecord>| r.map(|r| (r.owner, r.incarnation, r.epoch));
        let first = t.view.filter(|v| grant(v.record) == grant(view.record)).map_or(now, |v| v.first);
        t.view = Some(View {
            record: view.record,
            lease: view.lease,
            revision: view.revision,
            asked: asked.at,
            first,
        });
        self.watch_lease(g, asked.at);
    }

    /// It tells at least what it told before.
    fn note_memory(&mut self, g: GroupId) {
        let t = &mut self.gr(g).third;
        t.forgiven = false;
        if std::mem::take(&mut t.amnesiac) {
            self.emit(EventKind::Arbiter { group: g, state: ArbiterState::Answers });
        }
        if self.group(g).question == Some(Question::ArbiterForgot) {
            self.unask(g);
        }
    }

    fn note_swapped(&mut self, g: GroupId, asked: &Asked, record: OwnerRecord, revision: u64) {
        let now = self.st.now;
        let (lease, interval) =
            self.arbiter().map_or((Duration::ZERO, Duration::ZERO), |a| (a.lease, a.renew_interval));
        let held = Lease::Held { incarnation: record.incarnation, renewal: 0 };
        self.note_memory(g);
        let t = &mut self.gr(g).third;
        t.doubtful = false;
        t.highest = t.highest.max(record.epoch);
        t.watch = None;
        t.expired = None;
        t.view = Some(View { record: Some(record), lease: held, revision, asked: asked.at, first: now });
        if record.owner.is_none() {
            // Told at once, so that nobody waits for it to run out.
            self.ask_third(g, ArbiterRequest::Release { incarnation: self.st.incarnation }, None);
            return;
        }
        let t = &mut self.gr(g).third;
        t.lease_until = t.lease_until.max(asked.at + lease);
        t.next_renew = asked.at + interval;
        self.note_grant(g, record.epoch);
        if let Some(proof) = asked.excludes {
            self.excluded_by_swap(g, record.generation, proof);
        }
        self.confirmed_by_swap(g, asked.at);
    }

    fn note_grant(&mut self, g: GroupId, granted: Epoch) {
        let Role::Claiming { epoch, .. } = self.group(g).role else { return };
        let Some(claim) = self.group(g).third.claim.filter(|c| epoch == granted && !c.swapped) else {
            return;
        };
        let lease = self.arbiter().map_or(Duration::ZERO, |a| a.lease);
        let t = &mut self.gr(g).third;
        t.claim = Some(Claim { swapped: true, ..claim });
        // The swap took the lease, after it was asked for; also where only a reading showed that it is done.
        t.lease_until = t.lease_until.max(claim.since + lease);
        let mirrored = self.group_config(g).mirrored;
        let rec = self.rec(g);
        rec.granted = epoch;
        rec.intent = rec.intent.max(epoch);
        if mirrored {
            rec.set = claim.set;
        }
        self.role_changed(g);
    }

    /// Another revision stands. Whoever claimed begins anew, on what is there now.
    fn note_lost(&mut self, g: GroupId) {
        let Role::Claiming { epoch, .. } = self.group(g).role else { return };
        let mine = self.third_record(g).filter(|r| self.is_mine(r) && r.epoch == epoch);
        match mine {
            Some(_) => self.note_grant(g, epoch),
            None => self.abort_claim(g, epoch),
        }
    }

    // --- what is asked next ---

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
            if self.group(g).is_owner() && self.group(g).question.is_none() {
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

    fn ask_third(&mut self, g: GroupId, what: ArbiterRequest, excludes: Option<ExclusionProof>) {
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
