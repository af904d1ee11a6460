//! Leading, following, neither, and what the other side is told of it.

use super::{Leader, Parts, Role, State};
use crate::outcome::UnknownReason;
use crate::record::{Chain, Draft, EpochStart, RuleSeen};
use crate::store::Opened;
use crate::stream::message::{Message, Position};
use ha_core::engine::AckRule;
use ha_core::{Epoch, Lsn};

impl State {
    /// `caught_up` goes only after the sinks were told: until then nothing is acknowledged alone.
    pub(crate) fn withdraw_caught_up(&mut self) {
        if self.caught_up.is_some() {
            self.withdraw = true;
            self.effects.report = true;
        }
    }

    pub(crate) fn set_rule(&mut self, rule: AckRule) {
        let node = self.cfg.me;
        let at = self.sequence(Draft::rule(&RuleSeen { node, rule, at: Lsn(0) }), None);
        if let Role::Leader(leader) = &mut self.role {
            match rule {
                AckRule::Both(_) => (leader.rule, leader.rule_at, leader.alone) = (rule, at, None),
                AckRule::Alone(generation) => leader.alone = Some((at, generation)),
            }
        }
        self.advance();
    }

    /// Begins an epoch; the caller made sure that it may.
    pub(crate) fn lead(&mut self, epoch: Epoch, rule: AckRule) -> Lsn {
        self.contact = self.cfg.clock.now();
        self.peer = None;
        self.caught_up = None;
        self.withdraw = false;
        self.forced = false;
        self.blocked = None;
        self.overtaken = None;
        let previous = self.epoch;
        let start = EpochStart { node: self.cfg.me, rule, incarnation: self.cfg.incarnation, previous };
        let (none, closing, ready) = (Lsn(0), false, false);
        let leader = Leader { epoch, rule, rule_at: none, alone: None, closing, start: none, ready };
        self.role = Role::Leader(leader);
        let at = self.sequence(Draft::epoch_start(&start), None);
        if let Role::Leader(leader) = &mut self.role {
            (leader.rule_at, leader.start) = (at, at);
            if let AckRule::Alone(generation) = rule {
                leader.alone = Some((at, generation));
            }
        }
        self.rebuild_overlay();
        self.role_changed();
        at
    }

    /// Takes the role away; what is not committed is unknown.
    pub(crate) fn step_down(&mut self, why: UnknownReason) {
        if matches!(self.role, Role::Failed(_)) {
            return;
        }
        self.role = Role::Idle;
        self.peer = None;
        self.withdraw_caught_up();
        self.resolve_unknown(self.commit, why);
        self.overlay.clear();
        self.dirs.clear();
        self.role_changed();
    }

    pub(crate) fn fail(&mut self, why: &str) {
        if matches!(self.role, Role::Failed(_)) {
            return;
        }
        tracing::error!(target: "ha_replication", mirror = ?self.cfg.mirror, why, "the mirror failed");
        self.role = Role::Failed(why.to_owned());
        self.withdraw_caught_up();
        self.resolve_unknown(Lsn(0), UnknownReason::Failed);
        if let Some(session) = &self.session {
            session.outbox.close();
        }
        self.effects.changed = true;
        self.effects.report = true;
    }

    /// A session, or the role of this side, is new: the other side must know.
    pub(crate) fn role_changed(&mut self) {
        self.effects.report = true;
        self.effects.changed = true;
        let leads = self.leader().is_some();
        self.withdraw_caught_up();
        self.peer = None;
        let Some(session) = &mut self.session else { return };
        session.stream = None;
        session.to_plan = false;
        let asked = session.heard.as_ref().is_some_and(|p| p.standing.lead.is_some());
        if leads || !asked {
            self.say_position(0);
        } else {
            session.reply_due = true;
            self.reply_position();
        }
    }

    /// Answers the leader's position, once everything that it sent before is on the disk.
    pub(crate) fn reply_position(&mut self) {
        if self.sequenced != self.durable
            || self.cutting
            || self.copying
            || matches!(self.role, Role::Promoting)
        {
            return;
        }
        let Some(session) = self.session.as_mut().filter(|s| s.reply_due) else { return };
        session.reply_due = false;
        let answers = session.heard.as_ref().map_or(0, |p| p.serial);
        self.say_position(answers);
    }

    pub(crate) fn say_position(&mut self, answers: u32) {
        let standing = self.standing();
        let Some(session) = &mut self.session else { return };
        session.serial += 1;
        session.said = Some(standing.clone());
        session.outbox.push(&Message::Position(Position { serial: session.serial, answers, standing }));
    }

    /// The journal ends at `after` now.
    pub(crate) fn cut_done(&mut self, after: Lsn, chain: Chain) {
        while self.memory.back().is_some_and(|f| f.record.head.lsn > after) {
            self.memory.pop_back();
        }
        (self.sequenced, self.durable, self.staged) = (after, after, self.staged.min(after));
        (self.chain, self.durable_chain) = (chain, chain);
        self.history.cut(after);
        self.epoch = self.history.epoch_at(after).unwrap_or(Epoch(0));
        self.rules.retain(|r| r.at <= after);
        self.acked = self.acked.min(after).max(self.commit);
        for (lsn, key) in self.keys_by_lsn.split_off(&Lsn(after.0 + 1)) {
            if self.keys.get(&key) == Some(&lsn) {
                self.keys.remove(&key);
            }
        }
        self.aborted.retain(|_, by| *by <= after);
        self.open_aborts.retain(|(_, by)| *by <= after);
        self.cutting = false;
        self.surrendered = false;
    }

    /// Swaps everything for the copy that became the mirror.
    pub(crate) fn flip(&mut self, opened: Opened) -> crate::store::Keeper {
        self.load(&opened.recovered);
        self.copying = false;
        self.surrendered = false;
        self.diverged = None;
        self.give_up = false;
        self.given_up = 0;
        self.parts = Parts { journal: Some(opened.journal), applier: Some(opened.applier) };
        self.effects.journal = true;
        self.effects.apply = true;
        opened.keeper
    }
}
