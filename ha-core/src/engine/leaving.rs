//! Commands, switchovers and orderly departures.

use super::machine::Engine;
use super::policy_state::MoveReason;
use super::state::{Confirmation, EndedHow, LeaveHow, Leaving, Role, Why};
use super::{Action, ClaimState, Command, EventKind, Question, Refusal, TimeoutEdge};
use crate::{GroupId, Incarnation, Instant};

impl Engine {
    pub(super) fn take_command(&mut self, command: Command) {
        match command {
            Command::Switchover(g) if self.knows(g) => self.ask_switchover(g),
            Command::Shutdown => self.leave(LeaveHow::Depart),
            Command::ConfirmPeerOff { group, incarnation } if self.knows(group) => {
                self.confirm_peer_off(group, incarnation)
            }
            Command::ForceCurrent { group, incarnation } if self.knows(group) => {
                self.force_current(group, incarnation)
            }
            Command::Surrender { group } if self.knows(group) => self.surrender(group),
            Command::TrustFence => {
                self.st.fence.liar = false;
                self.st.fence.failures = 0;
            }
            Command::TrustArbiter(g) if self.knows(g) => self.trust_arbiter(g),
            Command::ClearFailures(g) if self.knows(g) => {
                self.forget_failures(g);
                let gr = self.gr(g);
                gr.release = gr.release.filter(|r| r.forced);
                if gr.question == Some(Question::FailedEverywhere) {
                    self.unask(g);
                }
            }
            Command::Detach => self.order_detach(),
            Command::Standby { node, on } => self.order_standby(node, on),
            Command::Maintenance { scope, on } => self.order_maintenance(scope, on),
            _ => self.emit(EventKind::Refused { why: Refusal::NotAsked }),
        }
        self.again = true;
    }

    fn ask_switchover(&mut self, g: GroupId) {
        let cohort = self.cohort(g);
        let why = if cohort.iter().any(|h| self.group(*h).role != Role::Active) || !self.group(g).is_owner() {
            Some(Refusal::NotOwner)
        } else if self.in_maintenance(g) {
            Some(Refusal::Maintenance)
        } else if !cohort.iter().all(|h| self.may_switch(*h)) {
            Some(Refusal::TargetNotViable)
        } else {
            None
        };
        match why {
            Some(why) => self.emit(EventKind::Refused { why }),
            None => self.begin_move(g, MoveReason::Operator),
        }
    }

    fn may_switch(&self, g: GroupId) -> bool {
        #[cfg(feature = "sabotage")]
        if self.is_broken(super::Sabotage::MoveAnywhere) {
            return true;
        }
        self.peer_is_viable(g)
    }

    /// The target wrote its intent: drain, stop and release. It did not: keep the service.
    pub(super) fn advance_switchover(&mut self, g: GroupId) {
        let Some(since) = self.group(g).switching else {
            self.take_back_drain(g);
            return;
        };
        let gr = self.group(g);
        if gr.role != Role::Active {
            self.gr(g).switching = None;
        } else if self.in_maintenance(g) {
            self.give_up_move(g, Refusal::Maintenance);
        } else if self.is_outvoted(g) || self.a_follower_stays(g) {
            self.give_up_move(g, Refusal::TargetNotReady);
        } else if !self.was_just_frozen()
            && self.may_switch(g)
            && (gr.ready == Some(gr.epoch) || !self.peer_is_viable(g))
        {
            // After a gap of its own a node listens first: what the peer said before is as old as the gap.
            if self.followers_are_off(g) && self.is_drained(g) {
                self.begin_stop(g, Why::Switchover);
            }
        } else if self.st.now.since(since) >= self.cfg.timing.prepare_deadline {
            self.timed_out(TimeoutEdge::PrepareNone);
            self.give_up_move(g, Refusal::TargetNotReady);
        }
    }

    /// Standby: the announced switchover's intent is durable.
    pub(super) fn is_ready(&self, g: GroupId) -> bool {
        let gr = self.group(g);
        let claim = self.st.peer.claims.get(&g);
        gr.prepare.is_some_and(|epoch| {
            claim.is_some_and(|c| c.state == ClaimState::Owner && c.epoch == epoch)
                && self.st.durable.group(g).intent > epoch
        }) && self.is_viable(g)
            && !self.gives_up_by_preference()
    }

    fn confirm_peer_off(&mut self, g: GroupId, incarnation: Option<Incarnation>) {
        let asked = matches!(
            self.group(g).question,
            Some(
                Question::NoStopProof
                    | Question::NoExclusionProof
                    | Question::PeerAbsent
                    | Question::Unconfirmed
                    | Question::TimingMismatch
            )
        );
        if !asked || incarnation != self.st.peer.incarnation() || self.st.peer.is_alive() {
            self.emit(EventKind::Refused { why: Refusal::NotAsked });
            return;
        }
        match incarnation {
            Some(life) => self.end_life(life, EndedHow::Operator),
            None => {
                let at = self.st.now;
                self.gr(g).operator_confirmed = Some(Confirmation { incarnation: None, at });
            }
        }
    }

    fn force_current(&mut self, g: GroupId, incarnation: Option<Incarnation>) {
        let asked = matches!(
            self.group(g).question,
            Some(
                Question::NotCurrent
                    | Question::PeerAbsent
                    | Question::NotInitialised
                    | Question::ArbiterForgot
            )
        );
        if !asked || incarnation != self.st.peer.incarnation() || self.st.peer.is_alive() {
            self.emit(EventKind::Refused { why: Refusal::NotAsked });
            return;
        }
        let at = self.st.now;
        let gr = self.gr(g);
        gr.forced_current = true;
        gr.operator_confirmed = gr.operator_confirmed.or(Some(Confirmation { incarnation, at }));
        if self.group_config(g).mirrored {
            self.outbox.push_back(Action::ForceData { group: g });
        }
    }

    fn surrender(&mut self, g: GroupId) {
        if !self.group(g).is_idle() || self.group(g).question != Some(Question::Diverged) {
            self.emit(EventKind::Refused { why: Refusal::NotAsked });
            return;
        }
        let epoch = self.highest_known(g);
        let rec = self.rec(g);
        rec.set = crate::SetRecord::Out { epoch, generation: rec.set.generation() };
        self.gr(g).admission = None;
        self.outbox.push_back(Action::SurrenderData { group: g });
        self.unask(g);
    }

    /// A verified "off" of a peer that was never heard in this life.
    pub(super) fn note_absent_peer_off(&mut self, scope: crate::FenceScope, asked: Instant) {
        let epoch_of_peer = Incarnation(0);
        self.st.peer.lives.push(super::state::Life {
            incarnation: epoch_of_peer,
            identity: None,
            ended: Some(super::state::Ended { how: EndedHow::Fenced(scope), at: self.st.now, asked }),
        });
    }

    pub(super) fn leave(&mut self, how: LeaveHow) {
        if self.st.leaving.is_none() {
            self.st.leaving = Some(Leaving { how, idle_since: None });
            self.again = true;
        }
    }

    pub(super) fn is_departing(&self) -> bool {
        self.st.leaving.is_some_and(|l| l.idle_since.is_some())
    }

    /// Hands everything over, says goodbye, waits for the successor, ends.
    pub(super) fn run_leaving(&mut self) {
        let Some(leaving) = self.st.leaving else { return };
        let mut from = 0;
        while let Some(g) = self.next_maybe_owned(from) {
            from = usize::from(g.0) + 1;
            let stopping = matches!(
                self.group(g).role,
                Role::Stopping {
                    why: Why::Leaving
                        | Why::Switchover
                        | Why::Failed
                        | Why::Handover
                        | Why::Superseded
                        | Why::Lapsed,
                    ..
                }
            );
            if self.group(g).is_owner() && !stopping && !self.has_dependents(g) {
                self.begin_stop(g, Why::Leaving);
            }
        }
        if self.st.groups.iter().any(|gr| !gr.is_idle()) || self.st.write.is_some() {
            return;
        }
        let Some(since) = leaving.idle_since else {
            self.st.leaving = Some(Leaving { idle_since: Some(self.st.now), ..leaving });
            self.hasten_beats();
            self.again = true;
            return;
        };
        if self.st.now >= self.leave_at(since) {
            self.timed_out(TimeoutEdge::Leave);
            self.finish_leaving(leaving.how);
        } else if self.st.now >= self.earliest_leave(since)
            && self.successors_took_over()
            && self.third_is_settled()
        {
            self.finish_leaving(leaving.how);
        }
    }

    fn finish_leaving(&mut self, how: LeaveHow) {
        self.outbox.push_back(match how {
            LeaveHow::Depart => Action::Departed,
            LeaveHow::Reborn => Action::Reborn,
        });
        self.st.ended = true;
    }

    fn earliest_leave(&self, since: Instant) -> Instant {
        since + self.cfg.links.iter().map(|l| l.interval).min().unwrap_or_default() * 2
    }

    fn leave_at(&self, since: Instant) -> Instant {
        since + self.cfg.timing.prepare_deadline
    }

    fn successors_took_over(&self) -> bool {
        !self.st.peer.is_alive()
            || self.group_ids().all(|g| {
                let claim = self.st.peer.claims.get(&g);
                self.group(g)
                    .released
                    .is_none_or(|r| claim.is_some_and(|c| c.state == ClaimState::Owner && c.epoch > r.epoch))
            })
    }

    pub(super) fn leaving_deadline(&self) -> Instant {
        match self.st.leaving.and_then(|l| l.idle_since) {
            Some(since) => {
                let early = self.earliest_leave(since);
                if early > self.st.now { early } else { self.leave_at(since) }
            }
            None => Instant::FAR,
        }
    }
}
