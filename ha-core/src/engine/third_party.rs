//! The third party: one request at a time a group, what it answered, and what that makes of us.
//!
//! Its record decides (rules 2, 3, 7b): every grant, exclusion and admission is a compare-and-swap on the revision
//! that was read. A request that gave no answer may have taken effect, so nothing follows from it but another reading.

use super::machine::Engine;
use super::state::Role;
use super::{ArbiterAnswer, ArbiterRequest, ArbiterState, EventKind, Question};
use crate::api::{ArbiterView, Lease, OwnerRecord};
use crate::config::ArbiterConfig;
use crate::{Epoch, ExclusionProof, GroupId, Incarnation, Instant, Nonce, OpId, SetRecord};
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
    pub(super) fn third_known(&self, g: GroupId) -> Epoch {
        let gr = self.group(g);
        let claim = self.st.peer.claims.get(&g).map_or(Epoch(0), |c| c.epoch);
        let owner = gr.owner.map_or(Epoch(0), |(_, e)| e);
        let rec = self.st.durable.group(g);
        gr.third.highest.max(rec.granted).max(self.st.record.group(g).witnessed).max(claim).max(owner)
    }

    /// Remembers the newest grant: a third party that was set back is found out by whoever was restarted meanwhile, too.
    pub(super) fn witness_grant(&mut self, g: GroupId) {
        let known = self.third_known(g);
        if self.has_arbiter() && known > self.st.record.group(g).witnessed {
            self.rec(g).witnessed = known;
        }
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

    pub(super) fn note_silence(&mut self, g: GroupId, asked: &Asked) {
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

    pub(super) fn note_grant(&mut self, g: GroupId, granted: Epoch) {
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
        rec.witnessed = rec.witnessed.max(epoch);
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
}
