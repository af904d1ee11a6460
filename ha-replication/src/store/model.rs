//! A node of the tests: a store, and a model of what its tree must be after every record.

use super::*;
use crate::ops::{Op, Target};
use crate::record::{Draft, EpochStart};
use ha_core::engine::AckRule;
use ha_core::store::medium::RecordingMedium;
use ha_core::{Generation, Incarnation};
use std::collections::BTreeMap;
use std::sync::Arc;

pub(super) type Tree = BTreeMap<String, Vec<u8>>;
/// What the tree is after the record with this hash.
pub(super) type States = BTreeMap<[u8; 16], Tree>;

pub(super) const MIRROR: MirrorId = MirrorId(4711);

pub(super) fn config() -> StoreConfig {
    let limits =
        StoreLimits { segment_bytes: 16 << 10, spare_segments: 1, retain_bytes: 16 << 10, max_keys: 100 };
    StoreConfig { mirror: MIRROR, me: NodeId(0), limits }
}

pub(super) enum Do {
    Put(&'static str, usize),
    Append(&'static str, usize),
    Rename(&'static str, &'static str),
    Remove(&'static str),
}

/// Of a length that tells from where it is.
pub(super) fn bytes(lsn: u64, len: usize) -> Vec<u8> {
    (0..len).map(|i| (i as u64 * 31 + lsn * 7 + 1) as u8 | 1).collect()
}

pub(super) struct Node {
    pub(super) medium: RecordingMedium,
    pub(super) parts: Opened,
    pub(super) tree: Tree,
    pub(super) states: States,
    pub(super) lsn: Lsn,
    pub(super) epoch: Epoch,
    pub(super) chain: Chain,
    pub(super) commit: Lsn,
    pub(super) aborted: Vec<(Lsn, Lsn)>,
    pub(super) history: History,
}

pub(super) fn boot(medium: &RecordingMedium) -> Result<Opened, OpenStoreError> {
    open(Arc::new(medium.clone()), config())
}

impl Node {
    pub(super) fn new(medium: RecordingMedium) -> Self {
        let parts = boot(&medium).unwrap();
        let chain = Chain::start(MIRROR);
        Self {
            medium,
            parts,
            tree: Tree::new(),
            states: [(chain.0, Tree::new())].into(),
            lsn: Lsn(0),
            epoch: Epoch(0),
            chain,
            commit: Lsn(0),
            aborted: Vec::new(),
            history: History::default(),
        }
    }

    /// Gives a draft the next place.
    pub(super) fn seal(&mut self, draft: Draft) -> Record {
        self.lsn.0 += 1;
        let record = draft.seal(MIRROR, self.epoch, self.lsn, self.commit, self.chain);
        self.chain = record.head.chain;
        self.states.insert(self.chain.0, self.tree.clone());
        record
    }

    pub(super) fn start(&mut self, epoch: u64) -> Record {
        self.start_by(epoch, AckRule::Both(Generation(1)))
    }

    pub(super) fn start_by(&mut self, epoch: u64, rule: AckRule) -> Record {
        let previous = std::mem::replace(&mut self.epoch, Epoch(epoch));
        self.history.push(self.epoch, Lsn(self.lsn.0 + 1));
        let start = EpochStart { node: NodeId(0), rule, incarnation: Incarnation(1), previous };
        self.seal(Draft::epoch_start(&start))
    }

    /// A transaction; the model follows.
    pub(super) fn tx(&mut self, work: &[Do]) -> Record {
        let lsn = self.lsn.0 + 1;
        let path = |p: &str| RelPath::new(p).unwrap();
        let mut ops = Vec::new();
        for one in work {
            let target = |tree: &Tree, p: &str| Target { new: false, was_absent: !tree.contains_key(p) };
            match *one {
                Do::Put(p, len) => {
                    let target = target(&self.tree, p);
                    ops.push(Op::Put { path: path(p), target, data: bytes(lsn, len).into() });
                    self.tree.insert(p.into(), bytes(lsn, len));
                }
                Do::Append(p, len) => {
                    let target = target(&self.tree, p);
                    let offset = self.tree.get(p).map_or(0, Vec::len) as u64;
                    ops.push(Op::Append { path: path(p), target, offset, data: bytes(lsn, len).into() });
                    self.tree.entry(p.into()).or_default().extend(bytes(lsn, len));
                }
                Do::Rename(from, to) => {
                    let target = target(&self.tree, to);
                    ops.push(Op::Rename { from: path(from), to: path(to), target });
                    let content = self.tree.remove(from).unwrap();
                    self.tree.insert(to.into(), content);
                }
                Do::Remove(p) => {
                    ops.push(Op::Remove { path: path(p) });
                    self.tree.remove(p).unwrap();
                }
            }
        }
        let draft = Draft::tx(&ops, Some(KeyHash::of(&lsn.to_le_bytes())), 8 << 10).unwrap();
        self.seal(draft)
    }

    pub(super) fn abort(&mut self, target: Lsn, tree_without: Tree) -> Record {
        self.tree = tree_without;
        self.aborted.push((target, Lsn(self.lsn.0 + 1)));
        self.seal(Draft::abort(target))
    }

    /// Durable, then applied; what is new was written ahead.
    pub(super) fn commit(&mut self, batch: &[Record]) {
        batch.iter().for_each(|record| self.parts.applier.stage(record));
        self.parts.journal.append(batch).unwrap();
        self.apply(batch);
    }

    pub(super) fn apply(&mut self, batch: &[Record]) {
        let aborted = self.aborted.clone();
        self.commit = self
            .parts
            .applier
            .apply(batch, &|lsn| aborted.iter().any(|(target, _)| *target == lsn), &mut |_| ())
            .unwrap();
    }

    pub(super) fn facts(&self) -> Facts {
        let keys = self.parts.recovered.keys.clone();
        Facts {
            commit: self.commit,
            acked: self.commit,
            floor: Lsn(0),
            rule: None,
            history: self.history.clone(),
            aborted: self.aborted.clone(),
            keys,
        }
    }

    pub(super) fn checkpoint(&mut self) {
        let rotation = self.parts.applier.rotate().unwrap();
        let facts = self.facts();
        self.parts.keeper.checkpoint(rotation, &facts).unwrap();
    }

    /// The process ends and is started again; the machine goes on.
    pub(super) fn restart(self) -> Self {
        let Self { medium, parts, tree, states, lsn, epoch, chain, aborted, history, .. } = self;
        drop(parts);
        let parts = boot(&medium).unwrap();
        let commit = parts.recovered.commit;
        let mut again = Self { medium, parts, tree, states, lsn, epoch, chain, commit, aborted, history };
        assert_eq!(again.parts.recovered.durable, lsn, "{:?}", again.parts.recovered);
        let pending = again.parts.recovered.pending.clone();
        again.apply(&pending);
        again
    }
}

/// The files of a store's tree.
pub(super) fn read_tree(parts: &Opened) -> Tree {
    let shared = &parts.keeper.shared;
    let read = |path: PathBuf| {
        (path.to_str().unwrap().to_owned(), shared.medium.read(&shared.places.tree.join(path)).unwrap())
    };
    digest::files(&*shared.medium, &shared.places.tree).unwrap().into_iter().map(read).collect()
}
