//! What a message changes here.

use super::frame::Violation;
use super::message::{Ack, CopyHead, Message, Plan, Position, Refusal};
use crate::outcome::UnknownReason;
use crate::peering::{Standing, Verdict, decide};
use crate::record::{Body, Record};
use crate::state::{CopyStep, Feed, JournalJob, Role, State};
use crate::store::{CopyBegin, Facts, Rotation};
use ha_core::engine::CaughtUp;
use ha_core::{Epoch, Lsn};

impl State {
    /// An authentic frame: the peer lives.
    pub(crate) fn frame_arrived(&mut self, session: u64) {
        let now = self.cfg.clock.now();
        if let Some(live) = self.session.as_mut().filter(|live| live.id == session) {
            live.last_frame = now;
        }
        if self.connected() {
            self.contact = now;
        }
    }

    pub(crate) fn message(&mut self, message: Message) -> Result<(), Violation> {
        match message {
            Message::Position(position) => self.hear_position(position),
            Message::Plan(plan) => {
                self.hear_plan(plan);
                Ok(())
            }
            Message::Ack(ack) => self.hear_ack(&ack),
            Message::CommitLsn { epoch, commit } | Message::Keepalive { epoch, commit } => {
                self.hear_commit(epoch, commit);
                Ok(())
            }
            Message::CopyFile(chunk) => {
                if self.copying {
                    self.copy_bytes += chunk.data.len();
                    self.copy_queue.push_back(CopyStep::Chunk(chunk));
                    self.effects.keeper = true;
                }
                Ok(())
            }
            Message::CopyEnd { until, .. } => {
                if self.copying {
                    self.copy_queue.push_back(CopyStep::End(until));
                    self.effects.keeper = true;
                }
                Ok(())
            }
            Message::CopyDone { durable, chain } => self.hear_copy_done(durable, chain),
            Message::Refuse { why, epoch, fork } => {
                self.hear_refusal(why, epoch, fork);
                Ok(())
            }
            Message::Records { .. } | Message::Evidence(_) | Message::CopyBegin { .. } => Ok(()),
        }
    }

    fn hear_position(&mut self, position: Position) -> Result<(), Violation> {
        let standing = position.standing.clone();
        self.heard = self.heard.max(standing.highest).max(standing.lead.unwrap_or(Epoch(0)));
        let Some(session) = &mut self.session else { return Ok(()) };
        let answered = position.answers == session.serial;
        session.heard = Some(position);
        self.effects.report = true;
        self.effects.changed = true;
        match (self.leader().map(|l| l.epoch), standing.lead) {
            (Some(mine), Some(theirs)) if theirs == mine => {
                return Err(Violation::Content { what: "position: two leaders of one epoch" });
            }
            (Some(mine), Some(theirs)) if theirs > mine => {
                self.refusal = Some(format!("the peer leads in epoch {theirs}, above {mine}: stepped down"));
                self.step_down(UnknownReason::Demoted);
            }
            (Some(_), Some(_)) => {}
            (Some(_), None) if answered => {
                if let Some(session) = &mut self.session {
                    session.to_plan = true;
                    session.feed_wake.notify_one();
                }
            }
            (Some(_), None) => {}
            (None, Some(_)) => {
                self.stop_following();
                if let Some(session) = &mut self.session {
                    session.reply_due = true;
                }
                self.reply_position();
            }
            (None, None) => {
                self.stop_following();
                self.compare(&standing);
            }
        }
        Ok(())
    }

    pub(crate) fn stop_following(&mut self) {
        self.accepting = None;
        if matches!(self.role, Role::Follower { .. }) {
            self.role = Role::Idle;
        }
        if self.copying {
            self.copy_queue.push_back(CopyStep::GiveUp);
            self.effects.keeper = true;
        }
    }

    /// Nobody leads: only whether both went on alone is of interest.
    fn compare(&mut self, other: &Standing) {
        let mine = self.standing();
        self.diverged = match crate::peering::fork(&mine, other) {
            Some(fork) if mine.acked > fork && other.acked > fork => Some(fork),
            Some(_) => None,
            None => Some(Lsn(0)),
        };
    }

    fn refuse(&self, why: Refusal, epoch: Epoch, fork: Lsn) {
        if let Some(session) = &self.session {
            session.outbox.push(&Message::Refuse { why, epoch, fork });
        }
    }

    fn hear_plan(&mut self, plan: Plan) {
        let Some(session) = &self.session else { return };
        if self.leader().is_some() || matches!(self.role, Role::Failed(_) | Role::Promoting) {
            return;
        }
        let (Some(heard), Some(said)) = (&session.heard, &session.said) else { return };
        if plan.answers != session.serial || heard.standing.lead != Some(plan.epoch) {
            return;
        }
        let agreed = match decide(&heard.standing, said) {
            Verdict::Stream { after, cut } => plan.copy || (after == plan.after && cut == plan.cut),
            Verdict::Copy { .. } => plan.copy,
            _ => false,
        };
        if !agreed {
            self.refusal = Some("the leader's plan is not the one that the positions lead to".into());
            return self.refuse(Refusal::NoPlan, plan.epoch, plan.after);
        }
        if plan.cut && plan.after < self.commit && !self.surrendered {
            self.diverged = Some(plan.after);
            self.effects.report = true;
            return self.refuse(Refusal::Diverged, plan.epoch, plan.after);
        }
        if plan.copy {
            self.accepting = Some(plan);
            return;
        }
        let known =
            if plan.after == self.applied { Some(self.applied_chain) } else { self.chain_at(plan.after) };
        if known != Some(plan.chain) {
            let why = format!(
                "the histories differ at transaction {}: neither copy is repaired by vote",
                plan.after
            );
            self.refusal = Some(why.clone());
            self.blocked = Some(why);
            self.effects.report = true;
            return self.refuse(Refusal::Chain, plan.epoch, plan.after);
        }
        self.diverged = None;
        self.accepting = Some(plan);
        if plan.cut {
            self.cutting = true;
            self.journal_queue.push_back(JournalJob::Cut(plan.after));
            self.effects.journal = true;
        } else {
            self.follow();
        }
    }

    /// Begins to follow: what was accepted is in force now.
    pub(crate) fn follow(&mut self) {
        let Some(plan) = self.accepting.take() else { return };
        self.role = Role::Follower { epoch: plan.epoch, commit: self.commit };
        self.blocked = None;
        self.push_ack(plan.epoch);
        self.effects.report = true;
        self.effects.changed = true;
    }

    fn hear_ack(&mut self, ack: &Ack) -> Result<(), Violation> {
        let sequenced = self.sequenced;
        let Role::Leader(leader) = &self.role else { return Ok(()) };
        let epoch = leader.epoch;
        let Some(session) = &mut self.session else { return Ok(()) };
        let Some(stream) = session.stream.as_mut().filter(|_| ack.epoch == epoch) else { return Ok(()) };
        if ack.durable > sequenced {
            return Err(Violation::Ack { what: "of something that has no number yet" });
        }
        if !stream.acknowledge(ack) {
            return Err(Violation::Ack { what: "of another history" });
        }
        if !stream.confirmed {
            stream.confirmed = true;
            self.effects.report = true;
        }
        session.feed_wake.notify_one();
        let before = self.peer;
        self.peer = Some(ack.durable);
        self.peer_low_space = ack.low_space;
        let rule_at = self.leader().map_or(Lsn(0), |l| l.rule_at);
        if before.is_none_or(|b| b < rule_at) && ack.durable >= rule_at {
            self.effects.report = true;
        }
        self.advance();
        self.earn_caught_up();
        Ok(())
    }

    /// The follower counts as equal once it has what was given out when the stream went live, and owes nothing
    /// for too long: an acknowledgement of something old must not bring back what was withdrawn.
    pub(crate) fn earn_caught_up(&mut self) {
        let Some(epoch) = self.leader().map(|l| l.epoch) else { return };
        let Some(session) = &self.session else { return };
        let Some(stream) = session.stream.as_ref().filter(|s| s.confirmed && s.epoch == epoch) else {
            return;
        };
        let live = matches!(stream.feed, Feed::Live) && stream.mark.is_some_and(|m| self.peer >= Some(m));
        let (now, stall) = (self.cfg.clock.now(), self.cfg.limits.stall);
        let owes = stream.sent.front().is_some_and(|sent| now.since(sent.at) > stall);
        let incarnation = session.incarnation;
        if live && !owes && self.caught_up.is_none() && !self.is_late() {
            self.caught_up = Some(CaughtUp { epoch, incarnation });
            self.effects.report = true;
        }
    }

    /// Whether the peer owes an acknowledgement for too long.
    pub(crate) fn is_late(&self) -> bool {
        let now = self.cfg.clock.now();
        self.owed_since().is_some_and(|since| now.since(since) > self.cfg.limits.stall)
    }

    fn hear_commit(&mut self, told: Epoch, lsn: Lsn) {
        if let Role::Follower { epoch, commit } = &mut self.role
            && *epoch == told
        {
            *commit = (*commit).max(lsn);
            self.advance();
        }
    }

    pub(crate) fn records(
        &mut self,
        told: Epoch,
        commit: Lsn,
        records: Vec<(Record, Body)>,
    ) -> Result<(), Violation> {
        if self.copying {
            for (record, _) in records {
                self.copy_bytes += record.bytes.len();
                self.copy_queue.push_back(CopyStep::Record(record));
            }
            self.effects.keeper = true;
            return Ok(());
        }
        match self.role {
            Role::Follower { epoch, .. } if epoch == told => {}
            // Sent before the leader knew that this side does not follow any more.
            _ => return Ok(()),
        }
        for (record, body) in records {
            if record.head.epoch > told {
                return Err(Violation::Record { what: "its epoch is above the leader's" });
            }
            if record.follows(self.sequenced, self.epoch, self.chain).is_err() {
                self.refuse(Refusal::Chain, told, self.sequenced);
                return Err(Violation::Record {
                    what: "its number, epoch or chain does not continue this log",
                });
            }
            let record = record.checked(self.chain);
            self.take(record, &body);
        }
        self.hear_commit(told, commit);
        Ok(())
    }

    fn hear_refusal(&mut self, why: Refusal, epoch: Epoch, fork: Lsn) {
        let text = match why {
            Refusal::LowerEpoch => format!("the peer knows an epoch above {epoch}"),
            Refusal::Diverged => format!("both copies went on alone after transaction {fork}"),
            Refusal::Chain => format!("the histories differ at transaction {fork}"),
            Refusal::NoPlan => "the peer's plan is another one".into(),
            Refusal::Failed => "the peer's disk failed".into(),
        };
        match why {
            Refusal::Diverged => self.diverged = Some(fork),
            Refusal::Chain => self.blocked = Some(text.clone()),
            _ => {}
        }
        self.refusal = Some(text);
        self.effects.report = true;
    }

    pub(super) fn copy_begins(&mut self, head: CopyHead) -> Result<(), Violation> {
        let Some(plan) = self.accepting.filter(|p| p.copy && p.epoch == head.epoch) else { return Ok(()) };
        if self.copying {
            return Err(Violation::Content { what: "copy-begin: a copy is under way" });
        }
        let at = Rotation { lsn: head.start, chain: head.chain };
        let facts = Facts {
            commit: head.start,
            acked: head.start,
            floor: Lsn(0),
            rule: head.rule,
            history: head.history,
            aborted: head.aborted,
            keys: head.keys,
        };
        let epoch = facts.history.epoch_at(head.start).unwrap_or(plan.epoch);
        self.copying = true;
        self.copy_queue.clear();
        self.copy_bytes = 0;
        self.copy_queue.push_back(CopyStep::Begin(Box::new(CopyBegin { at, epoch, facts })));
        self.effects.keeper = true;
        self.effects.report = true;
        Ok(())
    }

    fn hear_copy_done(&mut self, durable: Lsn, chain: crate::record::Chain) -> Result<(), Violation> {
        let Some(epoch) = self.leader().map(|l| l.epoch) else { return Ok(()) };
        if let Some(stream) = self.session.as_mut().and_then(|s| s.stream.as_mut()) {
            stream.source = None;
        }
        let ack = Ack { epoch, durable, chain, applied: durable, low_space: false };
        self.hear_ack(&ack)
    }
}

impl crate::state::Stream {
    /// Whether the acknowledgement fits what was sent.
    fn acknowledge(&mut self, ack: &Ack) -> bool {
        while let Some(sent) = self.sent.front().copied().filter(|s| s.lsn <= ack.durable) {
            self.sent.pop_front();
            self.unacked = self.unacked.saturating_sub(sent.size);
            (self.after, self.chain) = (sent.lsn, sent.chain);
        }
        self.after == ack.durable && self.chain == ack.chain
    }
}
