//! From a proof to a grant: one durable write, then act (rules 1 and 4).

use super::machine::Engine;
use super::state::{EndedHow, Role};
use super::third_party;
use super::{ClaimState, EventKind};
use crate::{Epoch, ExclusionProof, FenceScope, GroupId, SetRecord, StopProof};

impl Engine {
    /// Begins to use a proof: intent, grant and in-sync set go into one write.
    pub(super) fn claim_group(&mut self, g: GroupId, proof: StopProof) {
        let epoch = self.next_epoch(g, proof);
        let exclusion = self.exclusion_with(g, proof).or_else(|| self.exclusion_by_swap(g, proof));
        let mirrored = self.group_config(g).mirrored;
        let set = set_at_grant(self.st.record.group(g).set, epoch, exclusion.is_some());
        let awaits = self.address_wait(g, proof).is_some();
        if self.st.record.group(g).awaits_address != awaits {
            self.rec(g).awaits_address = awaits;
        }
        if self.has_arbiter() {
            // Only the intent: the grant is the third party's, and is written down when it was swapped in.
            let set = self.set_for_grant(g, set);
            let (since, revision) = (self.st.now, self.group(g).third.view.map_or(0, |v| v.revision));
            self.gr(g).third.claim = Some(third_party::Claim { set, since, revision, swapped: false });
            let rec = self.rec(g);
            rec.intent = rec.intent.max(epoch);
        } else {
            let rec = self.rec(g);
            rec.granted = epoch;
            rec.intent = rec.intent.max(epoch);
            if mirrored {
                rec.set = set;
            }
        }
        let gr = self.gr(g);
        gr.role = Role::Claiming { epoch, proof };
        gr.exclusion = exclusion;
        gr.want = None;
        gr.promised = None;
        gr.forced_current = false;
        gr.released = None;
        gr.admission = None;
        gr.admitting = None;
        gr.full = false;
        self.unask(g);
        self.emit(EventKind::Proof { group: g, proof });
        self.role_changed(g);
    }

    fn next_epoch(&self, g: GroupId, proof: StopProof) -> Epoch {
        #[cfg(feature = "sabotage")]
        if self.is_broken(super::Sabotage::ReuseEpoch) {
            return self.highest_known(g).max(Epoch(1));
        }
        match (proof, self.group(g).want) {
            (StopProof::Yielded { .. } | StopProof::NeverStarted, Some(w)) => {
                // Above what the third party granted meanwhile: the peer's promise holds for any higher one.
                if w.epoch > self.group(g).third.highest { w.epoch } else { self.highest_known(g).next() }
            }
            (StopProof::StillAlone { .. }, _) => self.highest_known(g).next(),
            _ if self.peer_record_is_unknown(g) && self.third_record(g).is_none() => {
                Epoch(self.highest_known(g).0.saturating_add(Epoch::AMNESIA_JUMP))
            }
            _ => {
                let rec = self.st.record.group(g);
                // Whoever took the group that we released may have been granted the next epoch, and never said so.
                let unheard = u64::from(self.group(g).released.is_some());
                let known = Epoch(self.highest_known(g).0.saturating_add(unheard));
                if rec.intent > known { rec.intent } else { known.next() }
            }
        }
    }

    /// Nobody can say which epochs the other record holds: it was never heard, or an operator overruled it.
    fn peer_record_is_unknown(&self, g: GroupId) -> bool {
        let heard = self.st.peer.claims.contains_key(&g) || self.group(g).owner.is_some();
        !heard || self.group(g).forced_current
    }

    /// Whether the proof of the owner's stop also excludes the other copy.
    fn exclusion_with(&self, g: GroupId, proof: StopProof) -> Option<ExclusionProof> {
        if !self.group_config(g).mirrored {
            return None;
        }
        let release = self.group(g).release;
        if release.is_some_and(|r| r.excluded) {
            return Some(ExclusionProof::Consented);
        }
        let by_life = self.st.peer.current().and_then(|l| l.ended).map(|e| exclusion_of(e.how));
        match proof {
            StopProof::Fenced { scope: FenceScope::Access } => None,
            StopProof::Fenced { .. } => Some(ExclusionProof::Fenced),
            StopProof::Rebooted { .. } => Some(ExclusionProof::Rebooted),
            StopProof::OperatorConfirmed { .. } => Some(ExclusionProof::OperatorConfirmed),
            StopProof::Released { forced: true, .. } => by_life.unwrap_or(Some(ExclusionProof::Departed)),
            _ => by_life.flatten(),
        }
    }

    pub(super) fn advance_claim(&mut self, g: GroupId, epoch: Epoch, proof: StopProof) {
        // What was swapped in is granted, whatever is heard afterwards.
        let granted = self.group(g).third.claim.is_some_and(|c| c.swapped);
        if !granted && self.claim_is_void(g, epoch, proof) {
            let found = self.group(g).detach.adopt.is_some();
            self.abort_claim(g, epoch);
            if found {
                self.stop_detached(g);
            }
            return;
        }
        if self.claim_waits_for_third(g, epoch) {
            return;
        }
        if self.st.durable.group(g).granted != epoch
            || self.st.durable.group(g).set != self.st.record.group(g).set
        {
            return;
        }
        if self.must_listen(g) {
            return;
        }
        self.emit(EventKind::Granted { group: g, epoch, proof });
        let hold = self.address_wait(g, proof);
        let exclusion = self.group(g).exclusion;
        let generation = self.st.durable.group(g).set.generation();
        let gr = self.gr(g);
        gr.role = Role::Starting { step: 0 };
        gr.epoch = epoch;
        gr.proof = Some(proof);
        gr.hold_until = hold;
        gr.restarts = 0;
        gr.policy.begin_anew();
        let ended = gr.release.map(|r| (r.incarnation, r.epoch)).into_iter().chain(gr.owner);
        gr.superseded = ended.max_by_key(|(_, epoch)| *epoch).or(gr.superseded);
        gr.release = None;
        gr.owner = None;
        gr.operator_confirmed = None;
        gr.suspended = None;
        gr.switching = None;
        gr.prepare = None;
        gr.ready = None;
        gr.confirm = None;
        gr.final_lsn = None;
        gr.rule = None;
        gr.ask = None;
        gr.asked = None;
        gr.admit = None;
        gr.data.caught_up = None;
        gr.data.stalled = false;
        gr.stalled_since = None;
        gr.third.claim = None;
        gr.third.exclude = None;
        if let Some(proof) = exclusion {
            self.emit(EventKind::Alone { group: g, generation, proof });
        }
        if self.authority(g) > self.st.now {
            self.grant_permission(g);
        } else {
            self.suspend(g);
        }
        if self.st.record.group(g).spares.is_some() {
            self.rec(g).spares = None;
        }
        self.adopt(g);
        self.role_changed(g);
    }

    /// A device that ended only processes, and a lease that ran out, leave addresses to their own expiry.
    fn address_wait(&self, g: GroupId, proof: StopProof) -> Option<crate::Instant> {
        let at = match proof {
            StopProof::Fenced { scope: FenceScope::Processes | FenceScope::Access } => {
                self.st.peer.current().and_then(|l| l.ended).map_or(self.st.now, |e| e.at)
            }
            StopProof::LeaseExpired { .. } => self.st.now,
            // The earlier life may have waited for it too, and not to the end.
            StopProof::StillOwner { .. } if self.lease_proves(g) => self.st.now,
            StopProof::StillOwner { .. } | StopProof::StillAlone { .. }
                if self.st.record.group(g).awaits_address =>
            {
                self.st.now
            }
            _ => return None,
        };
        let life = self.group_config(g).address_lifetime;
        (!life.is_zero()).then(|| at + crate::timing::address_expiry(life))
    }

    /// A proof that was disproved before it was acted on.
    fn claim_is_void(&self, g: GroupId, epoch: Epoch, proof: StopProof) -> bool {
        let claim = self.st.peer.claims.get(&g);
        let overtaken = claim.is_some_and(|c| {
            self.st.peer.is_alive()
                && matches!(c.state, ClaimState::Owner | ClaimState::Claiming)
                && c.epoch >= epoch
        });
        overtaken || self.is_disproved(proof)
    }

    /// A proof that is no longer believed. One that waited (for a lead, for the end of a maintenance) may have
    /// become one.
    pub(super) fn is_disproved(&self, proof: StopProof) -> bool {
        match proof {
            StopProof::Fenced { .. } => self.st.fence.liar && self.st.peer.is_alive(),
            StopProof::OperatorConfirmed { .. } => self.st.peer.is_alive(),
            _ => false,
        }
    }

    /// The grant is burnt. A copy that was written down as alone is not current any more.
    pub(super) fn abort_claim(&mut self, g: GroupId, epoch: Epoch) {
        // Before the third party's swap nothing was written down.
        let written = self.group_config(g).mirrored && !self.has_arbiter();
        let rec = self.rec(g);
        if written && let SetRecord::Alone { generation, .. } = rec.set {
            rec.set = SetRecord::Out { epoch, generation };
        }
        let gr = self.gr(g);
        gr.role = Role::Standby;
        gr.exclusion = None;
        gr.operator_confirmed = None;
        gr.third.claim = None;
        if self.cfg.arbiter.is_none() {
            self.gr(g).release = None;
        }
        self.role_changed(g);
    }

    /// The swap that grants also takes an absent peer out of the set.
    fn exclusion_by_swap(&self, g: GroupId, proof: StopProof) -> Option<ExclusionProof> {
        let yielded = matches!(proof, StopProof::Yielded { .. } | StopProof::NeverStarted);
        let wanted = self.has_arbiter() && self.group_config(g).mirrored && !yielded;
        (wanted && !self.st.peer.is_alive()).then_some(ExclusionProof::ThirdParty)
    }
}

pub(super) const fn exclusion_of(how: EndedHow) -> Option<ExclusionProof> {
    match how {
        EndedHow::Fenced(FenceScope::Access) => None,
        EndedHow::Fenced(_) => Some(ExclusionProof::Fenced),
        EndedHow::Guardian | EndedHow::Departed => Some(ExclusionProof::Departed),
        EndedHow::Rebooted(_) => Some(ExclusionProof::Rebooted),
        EndedHow::Operator => Some(ExclusionProof::OperatorConfirmed),
    }
}

fn set_at_grant(set: SetRecord, epoch: Epoch, excluded: bool) -> SetRecord {
    match set {
        SetRecord::Alone { generation, .. } => SetRecord::Alone { epoch, generation },
        other if excluded => SetRecord::Alone { epoch, generation: other.generation().next() },
        SetRecord::Never => SetRecord::Both { generation: crate::Generation(1) },
        SetRecord::Both { generation } | SetRecord::Out { generation, .. } => SetRecord::Both { generation },
    }
}
