//! Taking over what an earlier life of this node left running (`docs/REATTACH.md`).

use super::detach_state::{Attach, Authority, Look};
use super::machine::Engine;
use super::state::{Role, Why};
use super::{ClaimState, DetachStep, EventKind, Health, OpKind, OpResult, OpTarget, Predecessor, Question};
use crate::{FenceScope, GroupId, OpId, StopProof};

/// How often a resource of which nothing can be told is looked at.
const LOOKS_MAX: u8 = 3;

impl Engine {
    /// At boot: which services of an earlier life may still run. A reboot of the kernel ended them.
    pub(super) fn find_detached(&mut self) {
        for g in self.group_ids() {
            let rec = self.st.record.group(g);
            if rec.spares.is_some_and(|d| d.epoch <= rec.granted) {
                self.rec(g).spares = None;
            }
            let Some(d) = rec.detached else { continue };
            if d.boot == self.st.boot && d.epoch == rec.granted {
                let nonce = self.nonce();
                self.gr(g).detach.attach = Some(Attach { epoch: d.epoch, nonce, look: None });
                // Whatever was verified before this life: what it may find running proves nothing to the peer.
                self.st.predecessor = Predecessor::Leftovers;
            } else {
                self.rec(g).detached = None;
            }
        }
    }

    /// Confirm, look, claim. True while there is something to take over.
    pub(super) fn reattaches(&mut self, g: GroupId) -> bool {
        let Some(attach) = self.group(g).detach.attach else { return false };
        // Who is told to leave meanwhile takes nothing over, and leaves nothing running.
        if self.peer_took_over(g) || self.st.leaving.is_some() {
            self.stop_detached(g);
            return true;
        }
        match attach.look {
            None => self.begin_look(g, attach),
            Some(look) => self.go_on_looking(g, attach, look),
        }
        true
    }

    fn peer_took_over(&self, g: GroupId) -> bool {
        let theirs = self.st.peer.claims.get(&g);
        self.st.peer.is_alive()
            && theirs.is_some_and(|c| matches!(c.state, ClaimState::Owner | ClaimState::Claiming))
    }

    fn begin_look(&mut self, g: GroupId, attach: Attach) {
        let Some(authority) = self.attach_authority(g, attach) else {
            if self.boot_wait_over() {
                self.ask_operator(g, Question::Unconfirmed);
            }
            return;
        };
        let look = Look { authority, place: 0, op: None, unknown: 0, whole: true };
        self.gr(g).detach.attach = Some(Attach { look: Some(look), ..attach });
        self.unask(g);
        self.again = true;
    }

    /// Why nobody else owns the group.
    fn attach_authority(&mut self, g: GroupId, attach: Attach) -> Option<Authority> {
        let said = self.group(g).detach.heard == Some((attach.epoch, attach.nonce));
        if let (true, true, Some(life)) = (said, self.st.peer.is_alive(), self.st.peer.incarnation()) {
            return Some(Authority::Peer(life));
        }
        if let Some(proof @ StopProof::OperatorConfirmed { .. }) = self.stop_proof(g) {
            return Some(Authority::Operator(proof));
        }
        let needs_our_end = !self.cfg.is_unguarded()
            && self.cfg.fence.as_ref().is_none_or(|f| f.scope == FenceScope::Incarnation);
        // A live peer that says what it is has the time to say that it took over.
        let told = !self.st.peer.is_alive() || self.st.peer.claims.contains_key(&g);
        (self.boot_wait_over() && needs_our_end && told).then_some(Authority::OwnEvidence)
    }

    fn go_on_looking(&mut self, g: GroupId, attach: Attach, look: Look) {
        if look.op.is_some() {
            return;
        }
        if usize::from(look.place) < self.group_config(g).resources.len() {
            let op = self.start_op(g, OpTarget::Resource(look.place), OpKind::Monitor);
            let look = Look { op: Some(op), ..look };
            self.gr(g).detach.attach = Some(Attach { look: Some(look), ..attach });
            return;
        }
        self.emit(EventKind::Detach {
            group: g,
            step: if look.whole { DetachStep::Found } else { DetachStep::Broken },
        });
        if look.authority == Authority::OwnEvidence && !look.whole {
            self.stop_detached(g);
            return;
        }
        let gr = self.gr(g);
        gr.detach.attach = None;
        gr.detach.adopt = Some(look.whole);
        let proof = match look.authority {
            Authority::Operator(proof) => proof,
            Authority::Peer(_) | Authority::OwnEvidence => StopProof::RanOn { epoch: attach.epoch },
        };
        self.claim_group(g, proof);
        self.rec(g).detached = None;
    }

    /// A look at a resource completed. False if it was none of these.
    pub(super) fn looked(&mut self, g: GroupId, id: OpId, result: OpResult) -> bool {
        let Some(attach) = self.group(g).detach.attach else { return false };
        let Some(look) = attach.look.filter(|l| l.op == Some(id)) else { return false };
        let runs = match result {
            OpResult::Health(Health::Running | Health::Degraded) | OpResult::Done { .. } => Some(true),
            OpResult::Health(Health::Stopped | Health::Failed) => Some(false),
            OpResult::Health(Health::Unknown) | OpResult::Failed => None,
        };
        let next = match runs {
            None if look.unknown + 1 < LOOKS_MAX => Look { op: None, unknown: look.unknown + 1, ..look },
            _ => Look {
                op: None,
                unknown: 0,
                place: look.place + 1,
                whole: look.whole && runs == Some(true),
                ..look
            },
        };
        self.gr(g).detach.attach = Some(Attach { look: Some(next), ..attach });
        true
    }

    /// Stops what an earlier life left running: somebody else owns it, or nobody can say who does.
    pub(super) fn stop_detached(&mut self, g: GroupId) {
        let granted = self.st.record.group(g).granted;
        let gr = self.gr(g);
        gr.detach.attach = None;
        gr.detach.adopt = None;
        gr.epoch = granted;
        self.emit(EventKind::Detach { group: g, step: DetachStep::Stopped });
        self.yield_to_higher_epoch(g);
        debug_assert!(matches!(self.group(g).role, Role::Stopping { why: Why::Superseded, .. }));
    }

    /// The grant is durable: go on with what runs, or stop and start all of it.
    pub(super) fn adopt(&mut self, g: GroupId) {
        let Some(whole) = self.gr(g).detach.adopt.take() else { return };
        let targets = self.targets(g);
        let gr = self.gr(g);
        gr.detach.settled = true;
        gr.role = if whole {
            Role::Starting { step: targets }
        } else {
            Role::Stopping { why: Why::Restart, step: targets, floor: 0 }
        };
        let step = if whole { DetachStep::Adopted } else { DetachStep::Restarted };
        self.emit(EventKind::Detach { group: g, step });
    }

    /// Everything of the group is stopped here, or in this life's hands.
    pub(super) fn settle_detached(&mut self, g: GroupId) {
        self.gr(g).detach.settled = true;
        if self.st.record.group(g).detached.is_some() {
            self.rec(g).detached = None;
        }
    }
}
