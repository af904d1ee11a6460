//! Numbers given out and taken, and how far each cursor is.

use super::{Feed, InFlight, JournalJob, Resolution, Role, Sent, State, Stream};
use crate::commit_rule;
use crate::outcome::UnknownReason;
use crate::record::{Body, Chain, Draft, Record, RecordType};
use crate::stream::message::{Ack, Message};
use crate::stream::outbox::Outbox;
use ha_core::{Epoch, Instant, Lsn};
use tokio::sync::OwnedSemaphorePermit;

impl State {
    /// Gives `draft` the next number, queues it for the journal and streams it.
    pub(crate) fn sequence(&mut self, draft: Draft, share: Option<OwnedSemaphorePermit>) -> Lsn {
        let lsn = Lsn(self.sequenced.0 + 1);
        let epoch = self.leader().map_or(self.epoch, |l| l.epoch);
        let record = draft.seal(self.cfg.mirror, epoch, lsn, self.commit, self.chain);
        // A transaction leaves only a key behind; the others are small.
        let body = match record.head.kind {
            RecordType::Tx => Body::Tx(Vec::new()),
            _ => record.body().unwrap_or(Body::Tx(Vec::new())),
        };
        self.note(&record, &body);
        self.stream_record(&record);
        self.enqueue(record, share);
        lsn
    }

    pub(crate) fn enqueue(&mut self, record: Record, share: Option<OwnedSemaphorePermit>) {
        (self.sequenced, self.chain) = (record.head.lsn, record.head.chain);
        let since = self.cfg.clock.now();
        self.memory.push_back(InFlight { record: record.clone(), since, _share: share });
        self.journal_queue.push_back(JournalJob::Append(record));
        self.effects.journal = true;
        #[cfg(feature = "sabotage")]
        if self.cfg.sabotage == Some(crate::config::Sabotage::NoFsyncWait) {
            self.journal_done(self.sequenced, self.chain);
        }
    }

    /// A record of the leader, checked by the caller.
    pub(crate) fn take(&mut self, record: Record, body: &Body) {
        self.note(&record, body);
        self.enqueue(record, None);
    }

    fn stream_record(&mut self, record: &Record) {
        let window = self.cfg.limits.inflight_bytes;
        let (commit, now) = (self.commit, self.cfg.clock.now());
        let Some(session) = &mut self.session else { return };
        let Some(stream) = &mut session.stream else { return };
        if !matches!(stream.feed, Feed::Live) {
            session.feed_wake.notify_one();
            return;
        }
        if stream.unacked > window || session.outbox.waiting() > window {
            stream.feed = Feed::CatchUp { next: record.head.lsn };
            stream.mark = None;
            session.feed_wake.notify_one();
            self.withdraw_caught_up();
            return;
        }
        stream.push(&session.outbox, record, commit, now);
    }

    // --- progress ---

    pub(crate) fn journal_done(&mut self, lsn: Lsn, chain: Chain) {
        if lsn > self.durable {
            (self.durable, self.durable_chain) = (lsn, chain);
        }
        if let Role::Follower { epoch, .. } = self.role {
            self.push_ack(epoch);
        }
        self.advance();
        self.reply_position();
        self.effects.changed = true;
        if self.leader().is_some_and(|l| l.alone.is_some_and(|(at, _)| at == lsn)) {
            self.effects.report = true;
        }
    }

    pub(crate) fn push_ack(&self, epoch: Epoch) {
        let Some(session) = &self.session else { return };
        let ack = Ack {
            epoch,
            durable: self.durable,
            chain: self.durable_chain,
            applied: self.applied,
            low_space: self.low_space,
        };
        session.outbox.push(&Message::Ack(ack));
    }

    /// Moves `commit` as far as role and rule allow.
    pub(crate) fn advance(&mut self) {
        let target = match &self.role {
            Role::Leader(leader) => commit_rule::commit(&commit_rule::Facts {
                durable: self.durable,
                peer: self.peer,
                alone_from: leader.alone.map(|(at, _)| at),
                caught_up: self.caught_up.is_some(),
                aborts: &self.open_aborts,
                commit: self.commit,
            }),
            Role::Follower { commit, .. } => self.commit.max((*commit).min(self.durable)),
            _ => return,
        };
        if target > self.commit {
            self.commit = target;
            self.acked = self.acked.max(target);
            self.open_aborts.retain(|(_, by)| *by > target);
            self.effects.apply = true;
            self.effects.changed = true;
        }
    }

    pub(crate) fn apply_done(&mut self, lsn: Lsn) {
        while self.applied < lsn {
            let Some(done) = self.memory.pop_front() else { break };
            self.applied = done.record.head.lsn;
            self.applied_chain = done.record.head.chain;
            self.applied_bytes += done.record.bytes.len() as u64;
        }
        self.overlay.retain(|_, (_, at)| *at > lsn);
        let later = self.waiters.split_off(&Lsn(lsn.0 + 1));
        for waiter in std::mem::replace(&mut self.waiters, later).into_values().flatten() {
            self.effects.resolved.push((waiter, Resolution::Applied));
        }
        if self.applied_bytes >= self.cfg.limits.checkpoint_bytes {
            self.effects.keeper = true;
        }
        self.effects.changed = true;
        if let (Role::Leader(leader), Some(session)) = (&self.role, &self.session)
            && session.stream.is_some()
            && self.sequenced == self.applied
        {
            let (epoch, commit) = (leader.epoch, self.commit);
            session.outbox.push(&Message::CommitLsn { epoch, commit });
        }
    }

    /// Ends every wait for something that is not committed.
    pub(crate) fn resolve_unknown(&mut self, above: Lsn, why: UnknownReason) {
        let waiters = self.waiters.split_off(&Lsn(above.0 + 1));
        for waiter in waiters.into_values().flatten() {
            self.effects.resolved.push((waiter, Resolution::Unknown(why)));
        }
    }
}

impl Stream {
    pub(crate) fn push(&mut self, outbox: &Outbox, record: &Record, commit: Lsn, at: Instant) {
        let head = [self.epoch.0.to_le_bytes(), commit.0.to_le_bytes()].concat();
        for part in record.bytes.chunks(crate::stream::frame::MAX_BODY - 16) {
            outbox.push_parts(crate::stream::message::RECORDS, &[&head, part]);
        }
        let size = record.bytes.len();
        self.sent.push_back(Sent { lsn: record.head.lsn, chain: record.head.chain, size, at });
        self.unacked += size;
    }
}
