//! What is heard: lives, statements, a guardian's last word.

use super::beat::{Beat, ClaimState, Predecessor, ReleasedNotice, Statement};
use super::machine::{Engine, SENT_BEATS_MAX};
use super::state::{AskedConsent, Claim, Ended, EndedHow, Life, Release, Wanted};
use super::{EventKind, Predecessor as P};
use crate::timing::LeaseValues;
use crate::{Incarnation, Instant, LinkId};

/// How many of the peer's lives are remembered.
const LIVES_MAX: usize = 4;

impl Engine {
    pub(super) fn take_beat(&mut self, link: LinkId, beat: &Beat) {
        let i = usize::from(link.0);
        if i >= self.st.links.len() || beat.incarnation == self.st.incarnation {
            return;
        }
        let to_me = beat.to == Some(self.st.incarnation);
        if self.is_retired(beat.incarnation) {
            return;
        }
        if !to_me {
            // A greeting teaches whom to address on this link; nothing else in it counts.
            if self.st.links[i].heard.is_none_or(|(inc, _)| inc != beat.incarnation && !self.is_current(inc))
            {
                self.note_heard(i, beat);
            }
            return;
        }
        if !self.is_current(beat.incarnation) {
            self.meet(beat.incarnation);
        }
        let newest = self.st.links[i].heard.filter(|(inc, _)| *inc == beat.incarnation);
        self.note_arrival(i, beat);
        self.note_life_after_proof(beat.incarnation);
        // A beat that was overtaken shows that both ways are open; what it says is older than what is known.
        if newest.is_some_and(|(_, seq)| beat.seq < seq) {
            return;
        }
        for statement in &beat.statements {
            self.take_statement(beat.incarnation, *statement);
        }
    }

    /// The newest beat of the life that this link speaks to.
    fn note_heard(&mut self, i: usize, beat: &Beat) {
        let before = self.st.links[i].heard.replace((beat.incarnation, beat.seq));
        if before.is_none_or(|(incarnation, _)| incarnation != beat.incarnation) {
            self.tell_all(i);
        }
    }

    fn is_current(&self, incarnation: Incarnation) -> bool {
        self.st.peer.incarnation() == Some(incarnation)
    }

    /// A life that another one followed. It never becomes the current one again.
    fn is_retired(&self, incarnation: Incarnation) -> bool {
        !self.is_current(incarnation) && self.st.peer.life(incarnation).is_some()
    }

    /// A new life of the peer was proven fresh.
    fn meet(&mut self, incarnation: Incarnation) {
        let peer = &mut self.st.peer;
        peer.lives.push(Life { incarnation, identity: None, ended: None });
        if peer.lives.len() > LIVES_MAX {
            peer.lives.remove(0);
        }
        peer.claims.clear();
        peer.serves.clear();
        peer.store = None;
        peer.knows_my_store = None;
        peer.init = None;
        peer.weight = 0;
        peer.my_weight_there = None;
        peer.departing = false;
        peer.mute_since = None;
        peer.health_at = None;
        // What it told of its timing stands until the new life tells other values: nobody shoots on a guess.
        for link in &mut self.st.links {
            link.two_way = None;
            link.echoed = None;
        }
        for g in self.group_ids() {
            self.forget_answers(g);
        }
        self.again = true;
    }

    fn note_arrival(&mut self, i: usize, beat: &Beat) {
        let now = self.st.now;
        let dead = self.cfg.links[i].dead;
        let link = &mut self.st.links[i];
        let newer = link.heard.is_none_or(|(inc, seq)| inc != beat.incarnation || beat.seq > seq);
        if let Some(seq) = beat.echo {
            link.news.echoed(seq);
        }
        if newer {
            self.note_heard(i, beat);
        }
        let link = &mut self.st.links[i];
        link.last_heard = Some(now);
        let echoed = beat.echo.and_then(|seq| link.sent.iter().find(|(s, _)| *s == seq)).map(|(_, at)| *at);
        if let Some(at) = echoed {
            link.echoed = link.echoed.max(Some(at));
        }
        let fresh = echoed.is_some_and(|at| now.since(at + link.grace) < dead);
        #[cfg(feature = "sabotage")]
        let fresh = fresh || self.broken == Some(super::Sabotage::HalfOpenIsUp);
        let link = &mut self.st.links[i];
        if fresh {
            link.two_way = Some(now);
            link.grace = std::time::Duration::ZERO;
        }
    }

    /// Rule 1: evidence of a life after the proof of its end names the proof's device a liar.
    fn note_life_after_proof(&mut self, incarnation: Incarnation) {
        let Some(ended) = self.st.peer.ended(incarnation) else { return };
        let EndedHow::Fenced(_) = ended.how else {
            if matches!(ended.how, EndedHow::Operator) && self.heard_after(ended.at) {
                self.void_end(incarnation);
            }
            return;
        };
        if self.heard_after(ended.at) {
            self.st.fence.liar = true;
            self.emit(EventKind::FenceLied { incarnation });
            self.void_end(incarnation);
        }
    }

    /// Whether the peer echoed a beat of ours that was sent after `at`.
    fn heard_after(&self, at: Instant) -> bool {
        self.last_echoed().is_some_and(|sent| sent > at)
    }

    fn void_end(&mut self, incarnation: Incarnation) {
        if let Some(life) = self.st.peer.lives.iter_mut().find(|l| l.incarnation == incarnation) {
            life.ended = None;
        }
        for g in self.group_ids() {
            self.gr(g).operator_confirmed = None;
        }
        self.again = true;
    }

    fn take_statement(&mut self, from: Incarnation, statement: Statement) {
        let peer = &mut self.st.peer;
        match statement {
            Statement::Identity { boot, predecessor } => self.take_identity(boot, predecessor),
            Statement::Stores { mine, knows_yours } => {
                peer.store = Some(mine);
                peer.knows_my_store = knows_yours;
            }
            Statement::Init { init } => peer.init = Some(init),
            Statement::Weights { mine, yours } => {
                peer.weight = mine;
                peer.my_weight_there = yours;
            }
            Statement::Health { outside, stall_ms: _ } => {
                peer.outside = outside;
                peer.health_count += 1;
                peer.health_at = Some(self.st.now);
            }
            Statement::Safety { dead_ms, slot_ms, feed_ms } => {
                peer.safety = Some((dead_ms, slot_ms, feed_ms))
            }
            Statement::Lease { outlasted_ms, waits_ms, is_bound, has_watchdog } => {
                peer.lease = Some(LeaseValues { outlasted_ms, waits_ms, is_bound, has_watchdog });
            }
            Statement::Departing => {
                peer.departing = true;
                // Its departure says nothing of what an earlier life of it left behind.
                let clean = peer.current().and_then(|l| l.identity).is_some_and(|(_, p)| p == P::Gone);
                if clean {
                    self.end_life(from, EndedHow::Departed);
                }
            }
            Statement::Policy { scope, flags } => self.take_policy(scope, flags),
            Statement::Serves { group, epoch } => {
                if self.knows(group) && self.st.peer.serves.insert(group, epoch) != Some(epoch) {
                    self.agenda.mark(group);
                }
            }
            Statement::Spare { group, .. }
            | Statement::Spares { group, .. }
            | Statement::Unspare { group, .. } => {
                if self.knows(group) {
                    self.take_detach_statement(from, statement);
                }
            }
            Statement::Claim { group, .. }
            | Statement::Ask { group, .. }
            | Statement::Consent { group, .. }
            | Statement::Admit { group, .. }
            | Statement::Confirm { group, .. }
            | Statement::Confirmed { group, .. }
            | Statement::Prepare { group, .. }
            | Statement::Ready { group, .. }
            | Statement::Released { group, .. }
            | Statement::Want { group, .. }
            | Statement::Yielded { group, .. }
            | Statement::Extend { group, .. }
            | Statement::Promised { group, .. } => {
                if self.knows(group) {
                    self.take_group_statement(from, statement);
                }
            }
        }
    }

    fn take_group_statement(&mut self, from: Incarnation, statement: Statement) {
        match statement {
            Statement::Claim { group, epoch, state, set, lsn, highest } => {
                let claim = Claim { epoch, state, set, lsn, highest };
                if self.st.peer.claims.insert(group, claim) != Some(claim) {
                    self.mark_claim(group);
                }
                if matches!(state, ClaimState::Owner | ClaimState::Claiming) {
                    self.note_owner(group, from, epoch);
                }
            }
            Statement::Ask { group, epoch, generation, nonce } => {
                self.gr(group).asked = Some(AskedConsent { epoch, generation, nonce });
            }
            Statement::Consent { group, epoch, generation, nonce } => {
                self.take_consent(group, epoch, generation, nonce);
            }
            Statement::Admit { group, epoch, generation } => self.gr(group).admit = Some((epoch, generation)),
            Statement::Confirm { group, epoch, nonce } => self.gr(group).confirm = Some((epoch, nonce)),
            Statement::Confirmed { group, epoch, nonce } => self.take_confirmed(group, epoch, nonce),
            Statement::Prepare { group, epoch } => {
                let now = self.st.now;
                let gr = self.gr(group);
                gr.prepare = Some(epoch);
                gr.policy.prepare_heard = Some(now);
            }
            Statement::Ready { group, epoch } => self.gr(group).ready = Some(epoch),
            Statement::Released { group, epoch, final_lsn, excluded, leaving } => {
                let release =
                    Release { epoch, final_lsn, forced: false, excluded, leaving, incarnation: from };
                self.note_release(group, release);
            }
            Statement::Want { group, epoch, nonce } => {
                self.gr(group).wanted = Some(Wanted { epoch, nonce, incarnation: from });
            }
            Statement::Yielded { group, epoch, nonce } => self.take_yielded(group, from, epoch, nonce),
            Statement::Extend { group, epoch, nonce } => self.take_extend(group, from, epoch, nonce),
            Statement::Promised { group, epoch, nonce } => self.take_promised(group, epoch, nonce),
            _ => {}
        }
    }

    fn mark_claim(&mut self, group: crate::GroupId) {
        #[cfg(feature = "sabotage")]
        if self.agenda.forgets == Some(super::Forgotten::Claims) {
            return;
        }
        self.agenda.mark(group);
    }

    /// A new life that verified that nothing is left of the old one ends the old one (`Rebooted`).
    fn take_identity(&mut self, boot: crate::BootId, predecessor: Predecessor) {
        let lives = &mut self.st.peer.lives;
        let Some(current) = lives.last_mut() else { return };
        current.identity = Some((boot, predecessor));
        let new = current.incarnation;
        let earlier = lives.len() - 1;
        let at = self.st.now;
        for life in &mut lives[..earlier] {
            let other_boot = life.identity.is_some_and(|(old, _)| old != boot);
            if life.ended.is_none() && (predecessor == P::Gone || other_boot) {
                life.ended = Some(Ended { how: EndedHow::Rebooted(new), at, asked: at });
                self.again = true;
            }
        }
    }

    pub(super) fn take_notice(&mut self, notice: &ReleasedNotice) {
        if self.st.peer.life(notice.incarnation).is_none() {
            return;
        }
        if notice.complete {
            self.end_life(notice.incarnation, EndedHow::Guardian);
        }
        for (group, epoch) in &notice.groups {
            if self.knows(*group) {
                let release = Release {
                    epoch: *epoch,
                    final_lsn: None,
                    forced: true,
                    excluded: false,
                    leaving: false,
                    incarnation: notice.incarnation,
                };
                // A guardian says it again and again: nothing of it is about what was granted since.
                if self.is_outdated(*group, notice.incarnation, *epoch) {
                    continue;
                }
                self.gr(*group).owner = Some((notice.incarnation, *epoch));
                self.note_release(*group, release);
            }
        }
    }

    /// Records the proof that a life ended; with it every earlier life ended too, for a machine-wide proof.
    pub(super) fn end_life(&mut self, incarnation: Incarnation, how: EndedHow) {
        self.end_life_asked(incarnation, how, self.st.now);
    }

    /// The same where the proof was asked for at `asked`.
    pub(super) fn end_life_asked(&mut self, incarnation: Incarnation, how: EndedHow, asked: Instant) {
        let at = self.st.now;
        let machine_wide = matches!(how, EndedHow::Fenced(_) | EndedHow::Operator);
        for life in &mut self.st.peer.lives {
            if life.ended.is_none() && (machine_wide || life.incarnation == incarnation) {
                life.ended = Some(Ended { how, at, asked });
                self.again = true;
            }
        }
    }

    pub(super) fn remember_sent(&mut self, i: usize, seq: u32) {
        let now = self.st.now;
        let link = &mut self.st.links[i];
        if link.sent.len() >= SENT_BEATS_MAX {
            link.sent.pop_front();
        }
        link.sent.push_back((seq, now));
        link.last_sent = Some(now);
    }
}
