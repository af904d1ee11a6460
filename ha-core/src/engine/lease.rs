//! The owner's lease seen from both sides, and the promise that stands in for it (rules 5, 6 and 13).
//!
//! Why a renewal cannot overtake a taker: the owner counts a lease from before it asked, and a renewal whose answer
//! comes after its permission ran out does not bring it back; only a swap does, which takes the revision from
//! under the taker. The taker's last reading begins after everything that it may have granted is over, so it sees
//! every renewal that the owner can still count.

use super::machine::Engine;
use super::state::{Role, Why};
use super::third_party::{Asked, Extend};
use super::{ClaimState, Question, Statement};
use crate::api::Lease;
use crate::config::Config;
use crate::timing::{LeaseValues, Mismatch, joint_lease};
use crate::{Epoch, GroupId, Incarnation, Instant, Nonce};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// A lease that is being watched.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub(super) struct Watch {
    pub revision: u64,
    pub lease: Lease,
    /// When the answer came that first showed it.
    pub since: Instant,
}

impl Engine {
    /// Whether a lease that ran out may prove anything here: the named assumption, and for shared data what ends a
    /// machine that cannot end itself.
    pub(super) fn lease_proves(&self, g: GroupId) -> bool {
        let trusted = self.arbiter().is_some_and(|a| a.trusts_host_pauses);
        trusted && (!self.group_config(g).shared || self.cfg.watchdog.is_some())
    }

    /// The same of a lease of the peer's, which may be another one than ours.
    pub(super) fn lease_of_peer_proves(&self, g: GroupId) -> bool {
        self.lease_proves(g) && self.lease_mismatch(g).is_none()
    }

    /// Why the peer's lease proves nothing here although ours would, as far as it said anything of it.
    pub(super) fn lease_mismatch(&self, g: GroupId) -> Option<Mismatch> {
        #[cfg(feature = "sabotage")]
        if self.is_broken(super::Sabotage::IgnoreJointTiming) {
            return None;
        }
        let (mine, theirs) = (LeaseValues::of(&self.cfg)?, self.st.peer.lease?);
        joint_lease(&mine, &theirs, self.group_config(g).shared).err()
    }

    /// Whether the owner's permission ends with its lease: somebody may take over on its end.
    pub(super) fn is_lease_bound(&self, g: GroupId) -> bool {
        if !self.lease_proves(g) {
            return false;
        }
        let t = &self.group(g).third;
        let peer = Config::peer_of(self.st.me);
        let listing = t.request.is_some_and(
            |r| matches!(r.what, super::ArbiterRequest::Swap { record, .. } if record.lists(peer)),
        );
        let unlisted = self
            .third_record(g)
            .is_some_and(|r| self.group_config(g).mirrored && self.is_mine(&r) && !r.lists(peer));
        // Who is not listed, or consented, is never granted: our lease binds nobody (rule 5 (i)).
        !self.st.durable.group(g).set.is_alone() && (!unlisted || listing)
    }

    /// Until when the owner may act by the arbiter's or the peer's word.
    pub(super) fn authority(&self, g: GroupId) -> Instant {
        let t = &self.group(g).third;
        if self.is_lease_bound(g) { t.lease_until.max(t.promise_until) } else { Instant::FAR }
    }

    pub(super) fn note_renewed(&mut self, g: GroupId, asked: &Asked, renewed: bool) {
        let Some(a) = self.arbiter().cloned() else { return };
        let in_time = self.st.now < self.authority(g);
        let t = &mut self.gr(g).third;
        if !renewed {
            t.doubtful = true;
            t.lease_until = t.lease_until.min(asked.at);
            return;
        }
        t.next_renew = asked.at + a.renew_interval;
        if in_time {
            t.lease_until = t.lease_until.max(asked.at + a.lease);
        }
    }

    /// A swap that was asked after the permission ran out confirms it: whoever read before has an old revision.
    pub(super) fn confirmed_by_swap(&mut self, g: GroupId, asked: Instant) {
        let gr = self.group(g);
        if gr.is_owner()
            && gr.suspended.is_some_and(|s| asked >= s.since)
            && self.st.application_alive
            && !matches!(gr.role, Role::Stopping { why: Why::Superseded | Why::Handover | Why::Lapsed, .. })
        {
            self.resume(g);
        }
    }

    /// Nobody may act on this node's behalf any more: the owner of shared data stops at once, since its taker waits
    /// for the lease and one stop.
    pub(super) fn stop_if_lapsed(&mut self, g: GroupId) {
        let lapsed = self.group_config(g).shared && self.st.now >= self.authority(g);
        let stopping = matches!(self.group(g).role, Role::Stopping { .. });
        if lapsed && self.group(g).is_owner() && !stopping {
            self.begin_stop(g, Why::Lapsed);
        }
    }

    // --- the taker ---

    pub(super) fn watch_lease(&mut self, g: GroupId, asked: Instant) {
        let now = self.st.now;
        let due = self.lease_reading(g);
        let t = &mut self.gr(g).third;
        let Some(view) = t.view else { return };
        let seen = |w: &Watch| (w.revision, w.lease) == (view.revision, view.lease);
        if !t.watch.as_ref().is_some_and(seen) {
            t.watch = Some(Watch { revision: view.revision, lease: view.lease, since: now });
            t.expired = None;
        } else if due.is_some_and(|due| asked >= due) {
            t.expired = Some(view.revision);
        }
    }

    /// From when on a reading without a renewal proves the lease's end.
    pub(super) fn lease_reading(&self, g: GroupId) -> Option<Instant> {
        let (a, t) = (self.arbiter()?, &self.group(g).third);
        let wait = self.cfg.takeover_wait()?;
        let watch = t.watch.as_ref()?;
        let wait = match watch.lease {
            Lease::Held { .. } => wait,
            // The arbiter itself waited for the lease; the owner's stop is still to come.
            Lease::Free => wait.saturating_sub(a.lease),
        };
        #[cfg(feature = "sabotage")]
        if self.is_broken(super::Sabotage::EarlyLease) {
            return Some(watch.since + wait / 10);
        }
        let bound = self.bound_until(g);
        self.lease_of_peer_proves(g).then(|| (watch.since + wait).max(bound))
    }

    pub(super) fn bound_until(&self, g: GroupId) -> Instant {
        #[cfg(feature = "sabotage")]
        if self.is_broken(super::Sabotage::BreakPromise) {
            return Instant::ZERO;
        }
        self.group(g).third.bound_until
    }

    /// Whether the lease of the present record ran out, by two readings.
    pub(super) fn lease_ran_out(&self, g: GroupId) -> bool {
        let t = &self.group(g).third;
        let broken = self.believes_silence();
        (self.lease_of_peer_proves(g) || broken)
            && t.view.is_some_and(|v| t.expired == Some(v.revision))
            && (broken || self.st.now >= self.bound_until(g))
    }

    pub(super) fn believes_silence(&self) -> bool {
        #[cfg(feature = "sabotage")]
        if self.is_broken(super::Sabotage::SilenceIsExpiry) {
            return true;
        }
        false
    }

    /// The owner was seen to renew of late, so it lives wherever its beats are lost.
    pub(super) fn lease_is_fresh(&self, g: GroupId) -> bool {
        let lease = self.arbiter().map_or(Duration::ZERO, |a| a.lease);
        self.group(g)
            .third
            .watch
            .as_ref()
            .is_some_and(|w| matches!(w.lease, Lease::Held { .. }) && self.st.now.since(w.since) < lease)
    }

    // --- rule 13: the owner ---

    /// The lease is no longer renewed, or not for sure: the peer is asked to promise.
    fn seeks_promise(&self, g: GroupId) -> bool {
        let (Some(a), gr) = (self.arbiter(), self.group(g)) else { return false };
        let troubled =
            gr.third.failures > 0 || gr.third.amnesiac || gr.third.lease_until < self.st.now + a.lease / 2;
        gr.is_owner()
            && troubled
            && self.is_lease_bound(g)
            && self.st.peer.is_alive()
            && !self.is_giving_way(g)
    }

    /// Keeps the question for a promise going, and as the promiser the durable word.
    pub(super) fn heed_promises(&mut self, g: GroupId) {
        let (now, Some(a)) = (self.st.now, self.arbiter().cloned()) else { return };
        if !self.seeks_promise(g) {
            if self.group(g).third.extend.is_some() {
                self.gr(g).third.extend = None;
            }
        } else {
            let t = &self.group(g).third;
            let due = now + a.lease / 2 >= t.promise_until;
            let stale = t.extend.is_none_or(|e| now.since(e.since) >= a.lease / 4);
            if due && stale {
                let nonce = self.nonce();
                self.gr(g).third.extend = Some(Extend { nonce, since: now });
                self.hasten_beats();
            }
        }
        self.keep_promise(g);
    }

    pub(super) fn take_promised(&mut self, g: GroupId, epoch: Epoch, nonce: Nonce) {
        let lease = self.arbiter().map_or(Duration::ZERO, |a| a.lease);
        let gr = self.group(g);
        let Some(e) = gr.third.extend.filter(|e| e.nonce == nonce) else { return };
        if gr.epoch != epoch || !gr.is_owner() || self.peer_may_have_forgotten() {
            return;
        }
        let t = &mut self.gr(g).third;
        t.promise_until = t.promise_until.max(e.since + lease);
        t.extend = None;
        self.again = true;
    }

    // --- rule 13: the promiser ---

    pub(super) fn take_extend(&mut self, g: GroupId, from: Incarnation, epoch: Epoch, nonce: Nonce) {
        let (Some(wait), now) = (self.cfg.takeover_wait(), self.st.now) else { return };
        let asked = Some((from, epoch, nonce));
        if self.group(g).third.asked == asked || !self.group(g).is_idle() {
            return;
        }
        let t = &mut self.gr(g).third;
        t.asked = asked;
        // Counted from the question on, which the owner put before: its own count ends first.
        t.bound_until = t.bound_until.max(now + wait);
        t.expired = None;
        self.rec(g).promised = true;
        self.again = true;
    }

    /// The promise that may be said: durable, to the live owner that asked, by a node that has begun nothing.
    pub(super) fn promise_to_say(&self, g: GroupId) -> Option<(Epoch, Nonce)> {
        let (from, epoch, nonce) = self.group(g).third.asked?;
        let owns =
            self.st.peer.claims.get(&g).is_some_and(|c| c.state == ClaimState::Owner && c.epoch == epoch);
        let stands = self.st.durable.group(g).promised && self.st.now < self.group(g).third.bound_until;
        (owns && stands && self.group(g).is_idle() && self.st.peer.incarnation() == Some(from))
            .then_some((epoch, nonce))
    }

    fn keep_promise(&mut self, g: GroupId) {
        let over = self.st.now >= self.group(g).third.bound_until;
        if self.st.record.group(g).promised && over {
            if self.group(g).third.asked.is_some() {
                self.gr(g).third.asked = None;
            }
            if self.third_view(g).is_some() {
                // The next promise is written anew; until then a restart need not wait.
                self.rec(g).promised = false;
            }
        }
    }

    /// A promise of an earlier life may stand: after a boot its whole span is waited for.
    pub(super) fn bind_after_boot(&mut self) {
        let Some(wait) = self.cfg.takeover_wait() else { return };
        let until = self.st.started + wait;
        for g in self.group_ids() {
            if self.st.durable.group(g).promised {
                self.gr(g).third.bound_until = until;
            }
        }
    }

    pub(super) fn promise_statements(&self, group: GroupId, said: &mut Vec<Statement>) {
        if let Some(e) = self.group(group).third.extend {
            said.push(Statement::Extend { group, epoch: self.group(group).epoch, nonce: e.nonce });
        }
        if let Some((epoch, nonce)) = self.promise_to_say(group) {
            said.push(Statement::Promised { group, epoch, nonce });
        }
    }

    pub(super) fn promise_deadline(&self, g: GroupId) -> Instant {
        let (Some(a), gr, t) = (self.arbiter(), self.group(g), &self.group(g).third) else {
            return Instant::FAR;
        };
        let ahead = |at: Instant| if at > self.st.now { at } else { Instant::FAR };
        let mut next = ahead(t.bound_until);
        if gr.is_owner() && self.is_lease_bound(g) {
            next = next.min(ahead(t.lease_until - a.lease / 2)).min(ahead(t.lease_until));
            next = next.min(ahead(t.promise_until - a.lease / 2)).min(ahead(t.promise_until));
            if let Some(e) = t.extend {
                next = next.min(ahead(e.since + a.lease / 4));
            }
        }
        next
    }

    /// What is asked where only the arbiter could help.
    pub(super) fn silent_arbiter(&self, g: GroupId) -> Option<Question> {
        let t = &self.group(g).third;
        if !self.has_arbiter() {
            None
        } else if t.amnesiac {
            Some(Question::ArbiterForgot)
        } else if t.failures >= 3 {
            Some(Question::ArbiterSilent)
        } else {
            None
        }
    }
}
