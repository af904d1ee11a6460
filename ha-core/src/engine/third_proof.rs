//! What the third party's record makes of a proof: whose end it must be about, and whether our copy is current
//! (rules 1, 3 and 7b).

use super::machine::Engine;
use super::state::{Ended, EndedHow, Life};
use super::{PeerState, Predecessor};
use crate::api::OwnerRecord;
use crate::{Epoch, FenceScope, GroupId, SetRecord, StopProof};

impl Engine {
    /// A proof that may be swapped in on the newest reading.
    pub(super) fn third_proof(&self, g: GroupId) -> Option<StopProof> {
        let silent = self.believes_silence();
        if self.third_view(g).is_none() && !silent {
            return None;
        }
        let record = match self.third_record(g) {
            None if silent => self.group(g).third.view.and_then(|v| v.record),
            record => record,
        };
        let proof = match record {
            None => self.stop_proof(g),
            Some(record) => self.proof_against(g, &record),
        };
        proof.filter(|p| self.serves_shared(g, *p) && self.is_current_by_record(g, record.as_ref(), *p))
    }

    /// Nobody is here who could say otherwise.
    fn peer_is_absent(&self) -> bool {
        match self.st.peer.state {
            PeerState::Unknown => self.boot_wait_over(),
            PeerState::Dead | PeerState::Gone => true,
            PeerState::Alive | PeerState::Suspect | PeerState::Unreachable => false,
        }
    }

    fn proof_against(&self, g: GroupId, record: &OwnerRecord) -> Option<StopProof> {
        let gr = self.group(g);
        let epoch = record.epoch;
        let heard = gr.release.filter(|r| r.epoch >= epoch);
        if let Some(r) = heard {
            return Some(StopProof::Released { epoch: r.epoch, final_lsn: r.final_lsn, forced: r.forced });
        }
        // Whom this node promised (rule 13) or yielded to may act below the record's epoch, and not know of it.
        let free = self.peer_is_absent() && gr.promised.is_none() && self.st.now >= self.bound_until(g);
        match record.owner {
            None => free.then_some(StopProof::Released { epoch, final_lsn: None, forced: false }),
            Some(node) if node == self.st.me => {
                let earlier = record.incarnation != self.st.incarnation;
                (earlier && free).then_some(StopProof::StillOwner { epoch })
            }
            Some(_) => self.end_of_peer(g, record),
        }
    }

    /// How the life that the record names ended.
    fn end_of_peer(&self, g: GroupId, record: &OwnerRecord) -> Option<StopProof> {
        let gr = self.group(g);
        let epoch = record.epoch;
        let known = self.st.peer.life(record.incarnation);
        let ended = match known {
            Some(life) => life.ended,
            // A life that was never heard here: only what ended the whole machine after it was seen.
            None => self.st.peer.current().and_then(|l| self.ended_with_machine(g, l)),
        };
        if let Some(ended) = ended {
            return Some(match ended.how {
                EndedHow::Fenced(scope) => StopProof::Fenced { scope },
                EndedHow::Guardian => StopProof::Released { epoch, final_lsn: None, forced: true },
                EndedHow::Departed => StopProof::Released { epoch, final_lsn: None, forced: false },
                EndedHow::Rebooted(incarnation) => StopProof::Rebooted { incarnation },
                EndedHow::Operator => {
                    StopProof::OperatorConfirmed { incarnation: known.map(|l| l.incarnation) }
                }
            });
        }
        // What was granted after the answer, to a life that the operator did not see, is not covered by it.
        let seen = gr.third.view.map(|v| v.first);
        if let Some(answer) = gr.operator_confirmed.filter(|c| seen.is_none_or(|first| first <= c.at)) {
            return Some(StopProof::OperatorConfirmed { incarnation: answer.incarnation });
        }
        (self.lease_ran_out(g) && !self.st.peer.is_alive()).then_some(StopProof::LeaseExpired { epoch })
    }

    fn ended_with_machine(&self, g: GroupId, life: &Life) -> Option<Ended> {
        let seen = self.group(g).third.view.map(|v| v.first)?;
        life.ended.filter(|e| {
            matches!(
                e.how,
                EndedHow::Fenced(FenceScope::Incarnation | FenceScope::Processes) | EndedHow::Operator
            ) && e.asked >= seen
        })
    }

    /// Shared data is taken over on nothing that leaves a writer possible (rule 6).
    pub(super) fn serves_shared(&self, g: GroupId, proof: StopProof) -> bool {
        !self.group_config(g).shared
            || match proof {
                StopProof::Released { .. }
                | StopProof::Fenced { scope: FenceScope::Incarnation }
                | StopProof::LeaseExpired { .. }
                | StopProof::RanOn { .. }
                | StopProof::NeverStarted
                | StopProof::OperatorConfirmed { .. } => true,
                StopProof::StillOwner { .. } | StopProof::Yielded { .. } => !self.may_have_left_a_writer(g),
                StopProof::Fenced { .. }
                | StopProof::Rebooted { .. }
                | StopProof::StillAlone { .. }
                | StopProof::AssumedDead => false,
            }
    }

    /// An earlier life of this node held shared data, and nobody verified that nothing of it is left: what survived
    /// its guardian could still write. (A mirror is not concerned: its journal is locked.)
    pub(super) fn may_have_left_a_writer(&self, g: GroupId) -> bool {
        self.group_config(g).shared
            && self.st.predecessor == Predecessor::Leftovers
            // Services that ran on without an engine were taken over or stopped by this life.
            && !self.group(g).detach.settled
            && self.st.durable.group(g).granted > Epoch(0)
    }

    /// Rule 7b: the record lists this copy, and nothing of our own disqualifies it.
    pub(super) fn is_current_by_record(
        &self,
        g: GroupId,
        record: Option<&OwnerRecord>,
        proof: StopProof,
    ) -> bool {
        let gr = self.group(g);
        if !self.group_config(g).mirrored || gr.forced_current {
            return true;
        }
        let Some(record) = record.filter(|r| r.epoch > Epoch(0)) else {
            return self.is_current_for(g, proof) && (!gr.third.forgiven || self.needs_no_record(g, proof));
        };
        match proof {
            StopProof::Fenced { scope: FenceScope::Access } => false,
            StopProof::Released { final_lsn: Some(last), forced: false, .. } => {
                (self.is_listed(g, record) || record.lists(self.st.me) && self.consent_was_unused(g))
                    && gr.data.durable >= last
            }
            _ => self.is_listed(g, record),
        }
    }

    /// What the third party has forgotten may be that this copy was excluded. An own record that says *alone*, and the
    /// word of a peer that was asked or handed over, stand without it.
    fn needs_no_record(&self, g: GroupId, proof: StopProof) -> bool {
        self.st.durable.group(g).set.is_alone()
            || match proof {
                StopProof::Yielded { .. } | StopProof::NeverStarted | StopProof::StillAlone { .. } => true,
                StopProof::Released { final_lsn, forced, .. } => final_lsn.is_some() && !forced,
                _ => false,
            }
    }

    fn is_listed(&self, g: GroupId, record: &OwnerRecord) -> bool {
        #[cfg(feature = "sabotage")]
        if self.is_broken(super::Sabotage::UnlistedTakesOver) {
            return true;
        }
        if !record.lists(self.st.me) {
            return false;
        }
        let only = record.in_sync.count_ones() == 1;
        let set = self.st.durable.group(g).set;
        set == self.st.record.group(g).set
            && match set {
                // An older one was written before the copy was listed in this generation: it may lack something.
                SetRecord::Both { generation } => only || generation >= record.generation,
                SetRecord::Alone { .. } => true,
                SetRecord::Never | SetRecord::Out { .. } => false,
            }
    }

    /// Whether the third party would grant this node the group on a proof, as far as it was last read.
    pub(super) fn third_would_grant(&self, g: GroupId, member: bool) -> bool {
        if self.third_view(g).is_none() {
            return false;
        }
        if !self.group_config(g).mirrored {
            return true;
        }
        let own = self.st.durable.group(g).set.generation();
        match self.third_record(g) {
            None => member && (!self.group(g).third.forgiven || self.st.durable.group(g).set.is_alone()),
            // A reading from before the admission says nothing of it; a later one that lists others excluded us.
            Some(r) => self.is_listed(g, &r) || member && r.generation < own,
        }
    }

    /// The same by a reading of just now, after the last sign of the peer's life: who was excluded meanwhile has no
    /// reason to shoot.
    pub(super) fn third_allows_shot(&self, g: GroupId) -> bool {
        let Some(a) = self.arbiter() else { return true };
        self.third_view(g)
            .is_some_and(|v| v.asked > self.last_heard() && self.st.now <= v.asked + a.answer_timeout)
            && self.third_record(g).is_none_or(|r| !self.group_config(g).mirrored || self.is_listed(g, &r))
    }
}
