//! All that changes, under one lock: cursors, role, session, waiters.

use crate::commit_rule;
use crate::config::MirrorConfig;
use crate::history::History;
use crate::ops::RelPath;
use crate::peering::Standing;
use crate::record::{Body, Chain, Draft, EpochStart, KeyHash, Record, RuleSeen};
use crate::store::{
    CopyBegin, CopyChunk, CopySource, Facts, Opened, QuarantineReport, Recovered, Rotation, StoreDigest,
};
use crate::stream::message::{Ack, Message, Plan, Position};
use crate::stream::outbox::Outbox;
use crate::transaction::UnknownReason;
use ha_core::engine::{AckRule, CaughtUp, DataReport};
use ha_core::{Epoch, Generation, Incarnation, Instant, Lsn, NodeId};
use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::Arc;
use tokio::sync::{Notify, OwnedSemaphorePermit, oneshot};

/// Aborted transactions that are remembered.
const ABORTED_KEPT: usize = 1024;

/// How a waiting commit ends.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Resolution {
    /// Committed, and in the tree.
    Applied,
    Unknown(UnknownReason),
}

pub(crate) enum Role {
    Idle,
    /// Takes no records any more, gives out none yet.
    Promoting,
    Leader(Leader),
    Follower {
        epoch: Epoch,
        /// What the leader says is committed.
        commit: Lsn,
    },
    Failed(String),
}

pub(crate) struct Leader {
    pub epoch: Epoch,
    /// In force unless `alone` is.
    pub rule: AckRule,
    /// The record of `rule`.
    pub rule_at: Lsn,
    /// The record that lets this copy go alone, and its generation; in force when that record is durable.
    pub alone: Option<(Lsn, Generation)>,
    /// Takes no more transactions.
    pub closing: bool,
    /// The record that began the epoch, once it has its number.
    pub start: Lsn,
    /// The promotion is complete.
    pub ready: bool,
}

impl Leader {
    pub(crate) fn rule_in_force(&self, durable: Lsn) -> AckRule {
        match self.alone {
            Some((at, generation)) if durable >= at => AckRule::Alone(generation),
            _ => self.rule,
        }
    }
}

/// A record between its number and the tree.
pub(crate) struct InFlight {
    pub record: Record,
    pub since: Instant,
    /// Gives the transaction's share of the window back when it is applied.
    _share: Option<OwnedSemaphorePermit>,
}

pub(crate) enum JournalJob {
    Append(Record),
    Cut(Lsn),
}

/// How the leader feeds the follower.
pub(crate) enum Feed {
    /// The whole tree first.
    Copy,
    /// From the journal.
    CatchUp { next: Lsn },
    /// Each record as it gets its number.
    Live,
}

/// A plan of the leader, in force from the first acknowledgement on.
pub(crate) struct Stream {
    pub epoch: Epoch,
    pub after: Lsn,
    pub chain: Chain,
    pub feed: Feed,
    /// What was given out when it went live.
    pub mark: Option<Lsn>,
    /// Sent and not acknowledged.
    pub sent: VecDeque<Sent>,
    pub unacked: usize,
    pub confirmed: bool,
    /// Holds the journal from the copy's start on, until the copy is whole.
    pub source: Option<CopySource>,
}

/// A record on its way to the follower.
#[derive(Clone, Copy)]
pub(crate) struct Sent {
    pub lsn: Lsn,
    pub chain: Chain,
    pub size: usize,
    pub at: Instant,
}

pub(crate) struct Session {
    pub id: u64,
    pub outbox: Arc<Outbox>,
    pub incarnation: Incarnation,
    pub last_frame: Instant,
    pub serial: u32,
    /// Frames that had been pushed at the last tick.
    pub frames: u64,
    pub said: Option<Standing>,
    pub heard: Option<Position>,
    pub reply_due: bool,
    /// The leader has what it needs for a plan.
    pub to_plan: bool,
    pub stream: Option<Stream>,
    pub feed_wake: Arc<Notify>,
}

/// A whole copy on its way in.
pub(crate) enum CopyStep {
    Begin(Box<CopyBegin>),
    Chunk(CopyChunk),
    Record(Record),
    End(Lsn),
    GiveUp,
}

/// What happens after the lock is released.
#[derive(Default)]
pub(crate) struct Effects {
    pub journal: bool,
    pub apply: bool,
    pub keeper: bool,
    pub changed: bool,
    pub report: bool,
    pub resolved: Vec<(oneshot::Sender<Resolution>, Resolution)>,
}

pub(crate) struct State {
    pub cfg: Arc<MirrorConfig>,
    pub role: Role,
    pub sequenced: Lsn,
    pub epoch: Epoch,
    pub chain: Chain,
    pub durable: Lsn,
    pub durable_chain: Chain,
    pub peer: Option<Lsn>,
    pub commit: Lsn,
    pub applied: Lsn,
    pub applied_chain: Chain,
    /// Up to here the tree's lane has been asked to write ahead.
    pub staged: Lsn,
    pub acked: Lsn,
    pub floor: Lsn,
    pub checkpoint: Lsn,
    pub history: History,
    pub rules: Vec<RuleSeen>,
    /// (applied, sequenced].
    pub memory: VecDeque<InFlight>,
    pub keys: HashMap<KeyHash, Lsn>,
    pub keys_by_lsn: BTreeMap<Lsn, KeyHash>,
    pub aborted: BTreeMap<Lsn, Lsn>,
    /// Aborts that are not acknowledged yet.
    pub open_aborts: Vec<(Lsn, Lsn)>,
    /// Files as they will be when everything is applied; the length, or absent.
    pub overlay: HashMap<RelPath, (Option<u64>, Lsn)>,
    /// Directories that exist or will. They are never removed.
    pub dirs: HashSet<String>,
    pub waiters: BTreeMap<Lsn, Vec<oneshot::Sender<Resolution>>>,
    pub journal_queue: VecDeque<JournalJob>,
    pub session: Option<Session>,
    pub sessions: u64,
    /// The highest epoch that the peer named.
    pub heard: Epoch,
    /// The highest epoch that this node asked to lead in: granted for good, whatever becomes of the promotion.
    pub granted: Epoch,
    /// Counts promotions: only the newest may lead, or step down because it took too long.
    pub promotion: u64,
    /// A plan whose cut is under way, or whose copy arrives.
    pub accepting: Option<Plan>,
    pub cutting: bool,
    pub copying: bool,
    pub copy_queue: VecDeque<CopyStep>,
    pub copy_bytes: usize,
    pub caught_up: Option<CaughtUp>,
    /// `caught_up` ends as soon as the sinks know.
    pub withdraw: bool,
    pub diverged: Option<Lsn>,
    pub blocked: Option<String>,
    pub surrendered: bool,
    pub forced: bool,
    /// The last instant at which a plan was in force, or the promotion.
    pub contact: Instant,
    pub low_space: bool,
    pub peer_low_space: bool,
    pub refusal: Option<String>,
    pub quarantine: Option<QuarantineReport>,
    pub oldest: Lsn,
    pub rotate: bool,
    pub rotated: Option<Rotation>,
    pub copy_rotate: bool,
    pub copy_rotated: Option<(Rotation, Facts, CopySource)>,
    pub paused: bool,
    pub standing_still: bool,
    pub applied_bytes: u64,
    pub digest: Option<oneshot::Sender<Result<StoreDigest, String>>>,
    pub stop: bool,
    /// The lanes give their parts up, for the flip of a copy.
    pub give_up: bool,
    pub given_up: u8,
    pub parts: Parts,
    pub reported: DataReport,
    pub effects: Effects,
}

/// New parts for the lanes after a flip.
#[derive(Default)]
pub(crate) struct Parts {
    pub journal: Option<crate::store::Journal>,
    pub applier: Option<crate::store::Applier>,
}

impl State {
    pub(crate) fn new(cfg: Arc<MirrorConfig>, recovered: &Recovered) -> Self {
        let mut state = Self {
            contact: cfg.clock.now(),
            role: Role::Idle,
            sequenced: Lsn(0),
            epoch: Epoch(0),
            chain: Chain::start(cfg.mirror),
            durable: Lsn(0),
            durable_chain: Chain::start(cfg.mirror),
            peer: None,
            commit: Lsn(0),
            applied: Lsn(0),
            applied_chain: Chain::start(cfg.mirror),
            staged: Lsn(0),
            acked: Lsn(0),
            floor: Lsn(0),
            checkpoint: Lsn(0),
            history: History::default(),
            rules: Vec::new(),
            memory: VecDeque::new(),
            keys: HashMap::new(),
            keys_by_lsn: BTreeMap::new(),
            aborted: BTreeMap::new(),
            open_aborts: Vec::new(),
            overlay: HashMap::new(),
            dirs: HashSet::new(),
            waiters: BTreeMap::new(),
            journal_queue: VecDeque::new(),
            session: None,
            sessions: 0,
            heard: Epoch(0),
            granted: Epoch(0),
            promotion: 0,
            accepting: None,
            cutting: false,
            copying: false,
            copy_queue: VecDeque::new(),
            copy_bytes: 0,
            caught_up: None,
            withdraw: false,
            diverged: None,
            blocked: None,
            surrendered: false,
            forced: false,
            low_space: false,
            peer_low_space: false,
            refusal: None,
            quarantine: None,
            oldest: Lsn(1),
            rotate: false,
            rotated: None,
            copy_rotate: false,
            copy_rotated: None,
            paused: false,
            standing_still: false,
            applied_bytes: 0,
            digest: None,
            stop: false,
            give_up: false,
            given_up: 0,
            parts: Parts::default(),
            reported: DataReport::default(),
            effects: Effects::default(),
            cfg,
        };
        state.load(recovered);
        state
    }

    /// Takes over what a store holds.
    pub(crate) fn load(&mut self, r: &Recovered) {
        (self.sequenced, self.durable, self.epoch) = (r.durable, r.durable, r.epoch);
        (self.chain, self.durable_chain) = (r.chain, r.chain);
        (self.commit, self.applied, self.acked, self.floor) = (r.commit, r.commit, r.acked, r.floor);
        self.staged = r.commit;
        self.history = r.history.clone();
        self.rules = r.rule.into_iter().collect();
        self.oldest = r.oldest;
        self.aborted = r.aborted.iter().copied().collect();
        self.open_aborts = r.aborted.iter().copied().filter(|(_, by)| *by > r.commit).collect();
        self.keys = r.keys.iter().copied().collect();
        self.keys_by_lsn = r.keys.iter().map(|(k, l)| (*l, *k)).collect();
        self.overlay.clear();
        self.dirs.clear();
        self.checkpoint = Lsn(0);
        let now = self.cfg.clock.now();
        self.memory = r
            .pending
            .iter()
            .map(|record| InFlight { record: record.clone(), since: now, _share: None })
            .collect();
        self.applied_chain = r.chain;
    }

    // --- what is known of records ---

    /// The chain at `lsn`, if that is known without a disk.
    pub(crate) fn chain_at(&self, lsn: Lsn) -> Option<Chain> {
        match lsn {
            Lsn(0) => Some(Chain::start(self.cfg.mirror)),
            l if l == self.sequenced => Some(self.chain),
            l if l == self.durable => Some(self.durable_chain),
            l if l > self.applied => self.in_flight(l).map(|f| f.record.head.chain),
            l if l == self.applied && !self.memory.is_empty() => None,
            _ => None,
        }
    }

    pub(crate) fn in_flight(&self, lsn: Lsn) -> Option<&InFlight> {
        let index = lsn.0.checked_sub(self.applied.0 + 1)?;
        self.memory.get(usize::try_from(index).ok()?)
    }

    /// Where this copy stands, for the other one.
    pub(crate) fn standing(&self) -> Standing {
        let lead = self.leader().map(|l| l.epoch);
        let newest = self.history.newest().map_or(Epoch(0), |e| e.epoch);
        Standing {
            lead,
            highest: newest.max(self.heard).max(self.granted),
            // All that a leader gave out will be durable, or its session ends.
            end: if lead.is_some() { self.sequenced } else { self.durable },
            acked: self.acked,
            wants_copy: self.surrendered && lead.is_none(),
            oldest: self.oldest,
            history: self.history.clone(),
            failed: matches!(self.role, Role::Failed(_)),
        }
    }

    pub(crate) const fn leader(&self) -> Option<&Leader> {
        match &self.role {
            Role::Leader(leader) => Some(leader),
            _ => None,
        }
    }

    /// Keeps the books of a record that got its place, here or at the leader.
    fn note(&mut self, record: &Record, body: &Body) {
        let lsn = record.head.lsn;
        self.epoch = record.head.epoch;
        if let Some(key) = record.head.key {
            self.keys.insert(key, lsn);
            self.keys_by_lsn.insert(lsn, key);
            while self.keys_by_lsn.len() > self.cfg.limits.max_keys {
                if let Some((old, key)) = self.keys_by_lsn.pop_first()
                    && self.keys.get(&key) == Some(&old)
                {
                    self.keys.remove(&key);
                }
            }
        }
        match body {
            Body::Tx(_) => {}
            Body::Abort { target } => self.note_abort(*target, lsn),
            Body::EpochStart(start) => {
                self.history.push(record.head.epoch, lsn);
                self.rules.push(RuleSeen { node: start.node, rule: start.rule, at: lsn });
            }
            Body::Rule(seen) => self.rules.push(*seen),
        }
    }

    fn note_abort(&mut self, target: Lsn, by: Lsn) {
        self.aborted.insert(target, by);
        self.open_aborts.push((target, by));
        if let Some(key) = self.keys_by_lsn.remove(&target)
            && self.keys.get(&key) == Some(&target)
        {
            self.keys.remove(&key);
        }
        while self.aborted.len() > ABORTED_KEPT
            && self.aborted.first_key_value().is_some_and(|(t, _)| *t <= self.applied)
        {
            self.aborted.pop_first();
        }
    }

    /// Files as they will be after the transaction `lsn`.
    pub(crate) fn overlay_tx(&mut self, lsn: Lsn, effects: impl IntoIterator<Item = (RelPath, Option<u64>)>) {
        for (path, length) in effects {
            let mut dir = path.parent();
            while let Some(d) = dir.filter(|d| length.is_some() && !self.dirs.contains(*d)) {
                self.dirs.insert(d.to_owned());
                dir = d.rsplit_once('/').map(|(up, _)| up);
            }
            self.overlay.insert(path, (length, lsn));
        }
    }

    /// Builds the overlay anew from what is in flight: after a promotion, and after an abort.
    pub(crate) fn rebuild_overlay(&mut self) {
        self.overlay.clear();
        self.dirs.clear();
        let effects: Vec<_> = self
            .memory
            .iter()
            .filter(|f| !self.aborted.contains_key(&f.record.head.lsn))
            .filter_map(|f| match f.record.body() {
                Ok(Body::Tx(ops)) => Some((f.record.head.lsn, ops)),
                _ => None,
            })
            .collect();
        for (lsn, ops) in effects {
            for op in &ops {
                let after = crate::sequencer::after(op, |p| self.overlay.get(p).and_then(|(len, _)| *len));
                self.overlay_tx(lsn, after);
            }
        }
    }

    // --- giving out and taking numbers ---

    /// Gives `draft` the next number, queues it for the journal and streams it.
    pub(crate) fn sequence(&mut self, draft: Draft, share: Option<OwnedSemaphorePermit>) -> Lsn {
        let lsn = Lsn(self.sequenced.0 + 1);
        let epoch = self.leader().map_or(self.epoch, |l| l.epoch);
        let record = draft.seal(self.cfg.mirror, epoch, lsn, self.commit, self.chain);
        // A transaction leaves only a key behind; the others are small.
        let body = match record.head.kind {
            crate::record::RecordType::Tx => Body::Tx(Vec::new()),
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

    // --- rule and protection ---

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

    /// Whether this copy may lack what the other one acknowledged alone.
    pub(crate) fn went_alone(&self) -> Option<RuleSeen> {
        let newest = self.rules.iter().max_by_key(|r| r.at)?;
        let other = NodeId(1 - self.cfg.me.0);
        (newest.node == other && matches!(newest.rule, AckRule::Alone(_))).then_some(*newest)
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

    /// What a checkpoint keeps; as of now, cut at `at`.
    pub(crate) fn facts(&self, at: Lsn) -> Facts {
        Facts {
            commit: self.commit,
            acked: self.acked,
            floor: self.floor,
            rule: self.rules.iter().filter(|r| r.at <= at).max_by_key(|r| r.at).copied(),
            history: {
                let mut history = self.history.clone();
                history.cut(at);
                history
            },
            aborted: self.aborted.iter().map(|(t, by)| (*t, *by)).collect(),
            keys: self.keys_by_lsn.range(..=at).map(|(lsn, key)| (*key, *lsn)).collect(),
        }
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
