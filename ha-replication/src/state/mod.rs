//! All that changes, under one lock: cursors, role, session, waiters.

mod books;
mod progress;
mod role;

use crate::config::MirrorConfig;
use crate::history::History;
use crate::ops::RelPath;
use crate::outcome::UnknownReason;
use crate::peering::Standing;
use crate::record::{Chain, KeyHash, Record, RuleSeen};
use crate::store::{
    CopyBegin, CopyChunk, CopySource, Facts, QuarantineReport, Recovered, Rotation, StoreDigest,
};
use crate::stream::message::{Plan, Position};
use crate::stream::outbox::Outbox;
use ha_core::engine::{AckRule, CaughtUp, DataReport};
use ha_core::{Epoch, Generation, Incarnation, Instant, Lsn};
use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::Arc;
use tokio::sync::{Notify, OwnedSemaphorePermit, oneshot};

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
    /// The epoch that the other copy knows, as it refused to follow this one in a lower one.
    pub overtaken: Option<Epoch>,
    pub blocked: Option<String>,
    pub surrendered: bool,
    pub forced: bool,
    /// The last instant at which a plan was in force, or the promotion.
    pub contact: Instant,
    /// When the own clockwork was last seen to run; what passed since beyond its interval is not the peer's silence.
    pub ticked: Option<Instant>,
    /// Since when there is no session.
    pub listening_since: Instant,
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
            ticked: None,
            listening_since: cfg.clock.now(),
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
            overtaken: None,
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
}
