//! The permission that expires by itself: suspend, then confirm (rule 5).

use super::agenda::Agenda;
use super::group_set::GroupSet;
use super::machine::Engine;
use super::permit::{Permit, Validity};
use super::state::{Group, Role, Suspended, Why};
use super::{Action, ClaimState, Permission, Question, TimeoutEdge};
use crate::{Epoch, FenceScope, GroupId, Instant, Nonce};

impl Engine {
    /// Every wake-up reads the clock itself: a permission that ran out meanwhile is suspended first.
    pub(super) fn expire_permissions(&mut self) {
        if self.st.common != Validity::NONE && self.st.now >= self.st.common.until {
            self.st.common = Validity::NONE;
            self.expire_each(|agenda| &agenda.common);
        }
        self.expire_each(|agenda| &agenda.leased);
    }

    fn expire_each(&mut self, those: fn(&Agenda) -> &GroupSet) {
        let mut from = 0;
        while let Some(g) = those(&self.agenda).first_from(from) {
            from = usize::from(g.0) + 1;
            let gr = self.group(g);
            if !gr.is_permitted() || self.st.now < self.valid_until(gr) {
                continue;
            }
            self.timed_out(TimeoutEdge::TokenExpired);
            #[cfg(feature = "sabotage")]
            if self.is_broken(super::Sabotage::RenewWithoutConfirmation) {
                self.grant_permission(g);
                continue;
            }
            self.suspend(g);
        }
    }

    /// Until when a permitted group may act.
    pub(super) const fn valid_until(&self, gr: &Group) -> Instant {
        match gr.permit {
            Permit::None => Instant::ZERO,
            Permit::Common => self.st.common.until,
            Permit::Leased(validity) => validity.until,
        }
    }

    pub(super) fn suspend(&mut self, g: GroupId) {
        let (since, nonce) = (self.st.now, self.nonce());
        let gr = self.gr(g);
        gr.suspended = Some(Suspended { since, nonce, overdue: false });
        gr.permit = Permit::None;
        let epoch = gr.epoch;
        self.outbox.push_back(Action::Token { group: g, permission: Permission::Suspended { epoch } });
        self.role_changed(g);
        self.stop_if_lapsed(g);
    }

    pub(super) fn grant_permission(&mut self, g: GroupId) {
        let until = (self.st.now + self.cfg.timing.token_validity).min(self.authority_in_force(g));
        if until <= self.st.now {
            return;
        }
        if self.group(g).suspended.is_some() {
            self.gr(g).suspended = None;
        }
        let validity = Validity { until, renew_at: self.st.now + self.cfg.timing.token_validity / 2 };
        // No rule about the group reads how long its permission is valid.
        self.agenda.touch(g);
        let leased = self.lease_proves(g);
        let gr = &mut self.st.groups[usize::from(g.0)];
        gr.permit = if leased { Permit::Leased(validity) } else { Permit::Common };
        let epoch = gr.epoch;
        let permission =
            if leased { Permission::Valid { epoch, until } } else { Permission::Common { epoch } };
        self.outbox.push_front(Action::Token { group: g, permission });
        if !leased {
            self.renew_common(validity);
        }
    }

    /// Where no other's clock ends them, all permissions have one end: each of them could be renewed at every step.
    fn renew_common(&mut self, validity: Validity) {
        if self.st.common != validity {
            self.st.common = validity;
            self.outbox.push_front(Action::Renew { until: validity.until });
        }
    }

    pub(super) fn renew_permissions(&mut self) {
        let validity = self.cfg.timing.token_validity;
        let due = self.st.now + validity * 4 / 5;
        if self.st.common != Validity::NONE {
            if !self.holds_common() {
                self.st.common = Validity::NONE;
            } else if due >= self.st.common.until {
                let (until, renew_at) = (self.st.now + validity, self.st.now + validity / 2);
                self.renew_common(Validity { until, renew_at });
            }
        }
        let mut from = 0;
        while let Some(g) = self.agenda.next_leased(from) {
            from = usize::from(g.0) + 1;
            let Permit::Leased(Validity { until, .. }) = self.group(g).permit else { continue };
            // A permission that ends with its lease is not renewed before the lease is.
            if self.group(g).is_permitted() && due >= until && self.authority_in_force(g) > until {
                self.grant_permission(g);
            }
        }
    }

    fn holds_common(&self) -> bool {
        let mut from = 0;
        while let Some(g) = self.agenda.next_common(from) {
            from = usize::from(g.0) + 1;
            let gr = self.group(g);
            if gr.permit == Permit::Common && gr.is_permitted() {
                return true;
            }
        }
        false
    }

    fn authority_in_force(&self, g: GroupId) -> Instant {
        #[cfg(feature = "sabotage")]
        if self.is_broken(super::Sabotage::ExtendAlone) {
            return Instant::FAR;
        }
        self.authority(g)
    }

    pub(super) fn permission_deadline(&self, gr: &Group) -> Instant {
        match (gr.suspended, gr.permit) {
            _ if !gr.is_owner() => Instant::FAR,
            (None, Permit::Leased(validity)) => validity.deadline(self.st.now),
            (Some(s), _) if !s.overdue => s.since + self.cfg.timing.confirm_deadline,
            _ => Instant::FAR,
        }
    }

    /// A suspended owner: renewed by the peer's word, or by its own evidence once no word can be had.
    pub(super) fn watch_confirmation(&mut self, g: GroupId) {
        let Some(s) = self.group(g).suspended else { return };
        self.stop_if_lapsed(g);
        if !self.st.application_alive
            || matches!(
                self.group(g).role,
                Role::Stopping { why: Why::Superseded | Why::Handover | Why::Lapsed, .. }
            )
        {
            return;
        }
        // A peer that is gone may be back as a new life by now: it has the same time to speak up.
        if self.st.now.since(s.since) < self.cfg.timing.confirm_deadline {
            return;
        }
        if !s.overdue {
            self.timed_out(TimeoutEdge::ConfirmNone);
            if let Some(s) = &mut self.gr(g).suspended {
                s.overdue = true;
            }
        }
        if self.owner_by_own_evidence(g) {
            self.resume(g);
        } else if self.was_granted_to_peer(g) {
            self.yield_to_higher_epoch(g);
        } else if self.has_arbiter() {
            if let Some(question) = self.silent_arbiter(g) {
                self.ask_operator(g, question);
            }
        } else {
            self.ask_operator(g, Question::Unconfirmed);
        }
    }

    /// Rule 5 (i) and (ii): nobody can have taken over while this life goes on.
    fn owner_by_own_evidence(&self, g: GroupId) -> bool {
        let alone = self.st.durable.group(g).set.is_alone();
        let needs_our_end =
            !self.cfg.is_unguarded() && self.cfg.fence.as_ref().is_none_or(|f| f.scope != FenceScope::Access);
        alone || needs_our_end && !self.lease_proves(g)
    }

    /// The live peer holds a later grant, perhaps of an earlier life of it: it will never confirm this one, and
    /// the boot table decides.
    fn was_granted_to_peer(&self, g: GroupId) -> bool {
        let later = self.st.peer.claims.get(&g).is_some_and(|c| c.epoch > self.group(g).epoch);
        later && self.st.peer.is_alive()
    }

    pub(super) fn resume(&mut self, g: GroupId) {
        if self.authority_in_force(g) <= self.st.now {
            return;
        }
        if self.group(g).question == Some(Question::Unconfirmed) {
            self.unask(g);
        }
        self.grant_permission(g);
        self.role_changed(g);
    }

    pub(super) fn take_confirmed(&mut self, g: GroupId, epoch: Epoch, nonce: Nonce) {
        if self.peer_may_have_forgotten() {
            return;
        }
        let gr = self.group(g);
        if gr.epoch == epoch && gr.suspended.is_some_and(|s| s.nonce == nonce) && self.st.application_alive {
            self.resume(g);
        }
    }

    /// Another store than the one that is remembered, or one that was not named yet: what this node took over before
    /// it cannot say, so its confirmation, promise and consent do not count.
    pub(super) fn peer_may_have_forgotten(&self) -> bool {
        self.st.record.peer_store.is_some_and(|known| self.st.peer.store != Some(known))
    }

    /// Whether the live owner's question "am I still the owner?" may be answered with yes.
    pub(super) fn may_confirm(&self, g: GroupId) -> bool {
        let gr = self.group(g);
        let claim = self.st.peer.claims.get(&g);
        let asks = gr.confirm.is_some_and(|(epoch, _)| {
            claim.is_some_and(|c| c.state == ClaimState::Owner && c.epoch == epoch)
                && self.st.record.group(g).granted < epoch
        });
        asks && gr.is_idle() && self.st.peer.is_alive()
    }

    pub(super) fn take_application(&mut self, alive: bool) {
        self.st.application_alive = alive;
        if alive {
            return;
        }
        let mut from = 0;
        while let Some(g) = self.next_maybe_owned(from) {
            from = usize::from(g.0) + 1;
            if self.group(g).is_permitted() {
                self.suspend(g);
            }
        }
    }
}
