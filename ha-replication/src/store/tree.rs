//! Applies transactions to the files that readers see.

use super::layout::{Places, Shared, make_if_missing, remove_if_there, remove_tree};
use super::{Entry, Rotation, StoreError, pins};
use crate::ops::{Op, RelPath};
use crate::record::{Body, Chain, Record};
use bytes::Bytes;
use ha_core::Lsn;
use ha_core::store::medium::{Kind, Medium, Open};
use std::collections::{BTreeMap, HashSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Applies in LSN order; one thread has it. Only to the page cache: the journal has it all.
pub(crate) struct Applier {
    pub(super) shared: Arc<Shared>,
    pub(super) lsn: Lsn,
    pub(super) chain: Chain,
    /// The checkpoint whose pins are being made.
    pub(super) pinning: Lsn,
    /// The name of its directory of pins is durable: only the first pin needs that, and most mail needs none.
    pub(super) pins_named: bool,
    /// Paths whose state at that checkpoint is pinned, or was "absent".
    pub(super) seen: HashSet<RelPath>,
    /// Directories of the tree that are there; none is ever removed.
    pub(super) directories: HashSet<PathBuf>,
    /// Records whose new files were written under temporary names already.
    pub(super) staged: BTreeMap<Lsn, Chain>,
}

/// A record on its way into the tree.
struct Work {
    lsn: Lsn,
    chain: Chain,
    ops: Vec<Op>,
    /// It was not aborted.
    counts: bool,
}

/// Looks at the tree for preconditions.
#[derive(Clone)]
pub(crate) struct Lookup {
    medium: Arc<dyn Medium>,
    places: Places,
}

impl Lookup {
    /// What is applied at this path.
    pub(crate) fn file_len(&self, path: &RelPath) -> io::Result<Entry> {
        match self.medium.metadata(&self.places.file(path)) {
            Ok(None) => Ok(Entry::Absent),
            Ok(Some(found)) if found.kind == Kind::File => Ok(Entry::File(found.len)),
            Ok(Some(_)) => Ok(Entry::Dir),
            Err(e) if e.kind() == io::ErrorKind::NotADirectory => Ok(Entry::BelowFile),
            Err(e) => Err(e),
        }
    }
}

impl Applier {
    /// Writes the new files of a record that is not committed yet under temporary names, so that only their
    /// renames are left when it is. What cannot be written now is written when it is applied.
    pub(crate) fn stage(&mut self, record: &Record) {
        let (lsn, chain) = (record.head.lsn, record.head.chain);
        let Ok(Body::Tx(ops)) = record.body() else { return };
        if lsn <= self.lsn || self.staged.get(&lsn) == Some(&chain) || self.shared.usable().is_err() {
            return;
        }
        let written = || {
            ops.iter().enumerate().try_for_each(|(i, op)| match new_file(op) {
                Some(data) => self.write_new(&self.temporary(lsn, chain, i), data),
                None => Ok(()),
            })
        };
        match written() {
            Ok(()) => {
                self.staged.insert(lsn, chain);
            }
            Err(e) => {
                tracing::debug!(%lsn, error = %e, "not written ahead");
                self.drop_staged(lsn, chain, &ops);
            }
        }
    }

    /// Applies in order, telling `done` of each; of an `aborted` transaction only the cursor moves. Returns
    /// the last LSN applied.
    ///
    /// An operation whose file is not as the sequencer saw it (only possible after an abort of a transaction
    /// that it built upon) does nothing, on both nodes alike.
    pub(crate) fn apply(
        &mut self,
        batch: &[Record],
        aborted: &dyn Fn(Lsn) -> bool,
        done: &mut dyn FnMut(Lsn),
    ) -> Result<Lsn, StoreError> {
        self.shared.usable()?;
        let mut work = Vec::with_capacity(batch.len());
        for record in batch.iter().filter(|record| record.head.lsn > self.lsn) {
            let ops = match record.body()? {
                Body::Tx(ops) => ops,
                _ => Vec::new(),
            };
            let counts = !aborted(record.head.lsn);
            work.push(Work { lsn: record.head.lsn, chain: record.head.chain, ops, counts });
        }
        let pinned = self.pin(&work);
        self.guarded(pinned)?;
        for one in &work {
            let applied = self.apply_one(one);
            self.guarded(applied)?;
            (self.lsn, self.chain) = (one.lsn, one.chain);
            done(one.lsn);
        }
        Ok(self.lsn)
    }

    fn guarded(&self, result: io::Result<()>) -> Result<(), StoreError> {
        self.shared.guard(result.map_err(StoreError::io("cannot apply to the tree")))
    }

    fn apply_one(&mut self, one: &Work) -> io::Result<()> {
        let Work { lsn, chain, ops, counts } = one;
        let staged = self.staged.remove(lsn) == Some(*chain);
        if !counts {
            if staged {
                self.drop_staged(*lsn, *chain, ops);
            }
            return Ok(());
        }
        for (index, op) in ops.iter().enumerate() {
            let tmp = self.temporary(*lsn, *chain, index);
            if let Some(data) = new_file(op).filter(|_| !staged) {
                self.write_new(&tmp, data)?;
            }
            self.apply_op(*lsn, op, &tmp)?;
        }
        Ok(())
    }

    /// No two records have the same hash: what a record that was cut off left behind is never taken for
    /// another one's.
    fn temporary(&self, lsn: Lsn, chain: Chain, index: usize) -> PathBuf {
        let hash = u128::from_be_bytes(chain.0) as u64;
        self.shared.places.tmp.join(format!("{:x}-{hash:x}-{index}", lsn.0))
    }

    fn write_new(&self, tmp: &Path, data: &Bytes) -> io::Result<()> {
        self.shared.medium.open(tmp, Open::Create)?.write_at(data, 0)
    }

    /// The names go with the next opening at the latest.
    fn drop_staged(&self, lsn: Lsn, chain: Chain, ops: &[Op]) {
        for (index, _) in ops.iter().enumerate().filter(|(_, op)| new_file(op).is_some()) {
            if let Err(e) = remove_if_there(&*self.shared.medium, &self.temporary(lsn, chain, index)) {
                tracing::debug!(%lsn, error = %e, "a temporary file stays for now");
            }
        }
    }

    /// Preserves the state at the checkpoint of everything that the work takes away from its name.
    fn pin(&mut self, work: &[Work]) -> io::Result<()> {
        let dir = self.shared.places.pins_of(self.pinning);
        let mut linked = false;
        let ops = work.iter().filter(|one| one.counts).flat_map(|one| &one.ops);
        for (path, absent) in ops.flat_map(pins::taken).flatten() {
            if !self.seen.insert(path.clone()) || absent {
                continue;
            }
            let from = self.shared.places.file(path);
            match self.shared.medium.link(&from, &dir.join(pins::name(path))) {
                Ok(()) => linked = true,
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => linked = true,
                Err(e) if no_such_file(&e) => {}
                Err(e) => return Err(e),
            }
        }
        if !linked {
            return Ok(());
        }
        if !std::mem::replace(&mut self.pins_named, true) {
            self.shared.medium.sync_dir(&self.shared.places.pins, "tree.pins")?;
        }
        self.shared.medium.sync_dir(&dir, "tree.pins")
    }

    fn apply_op(&mut self, lsn: Lsn, op: &Op, tmp: &Path) -> io::Result<()> {
        let medium = self.shared.medium.clone();
        match op {
            Op::Put { path, .. } | Op::Append { path, offset: 0, .. } => {
                self.ensure_parent(path)?;
                medium.rename(tmp, &self.shared.places.file(path))
            }
            Op::Append { path, offset, data, .. } => {
                let file = match medium.open(&self.shared.places.file(path), Open::Existing) {
                    Err(e) if no_such_file(&e) => return skipped(lsn, op),
                    opened => opened?,
                };
                if file.len()? != *offset {
                    return skipped(lsn, op);
                }
                file.write_at(data, *offset)
            }
            Op::Rename { from, to, .. } => {
                self.ensure_parent(to)?;
                let places = &self.shared.places;
                match medium.rename(&places.file(from), &places.file(to)) {
                    Err(e) if no_such_file(&e) => skipped(lsn, op),
                    done => done,
                }
            }
            Op::Remove { path } => match medium.remove(&self.shared.places.file(path)) {
                Err(e) if no_such_file(&e) => skipped(lsn, op),
                done => done,
            },
        }
    }

    /// Makes the directories above `path`.
    pub(super) fn ensure_parent(&mut self, path: &RelPath) -> io::Result<()> {
        let Some(parent) = path.parent().map(Path::new) else { return Ok(()) };
        if self.directories.contains(parent) {
            return Ok(());
        }
        let mut dir = PathBuf::new();
        for name in parent.components() {
            dir.push(name);
            if !self.directories.contains(&dir) {
                make_if_missing(&*self.shared.medium, &self.shared.places.tree.join(&dir))?;
                self.directories.insert(dir.clone());
            }
        }
        Ok(())
    }

    /// Starts a new checkpoint at what is applied; hand the result to
    /// [`Keeper::checkpoint`](super::Keeper::checkpoint).
    pub(crate) fn rotate(&mut self) -> Result<Rotation, StoreError> {
        self.shared.usable()?;
        let rotation = Rotation { lsn: self.lsn, chain: self.chain };
        if self.lsn == self.pinning {
            return Ok(rotation);
        }
        let made = || -> io::Result<()> {
            let dir = self.shared.places.pins_of(self.lsn);
            remove_tree(&*self.shared.medium, &dir)?;
            self.shared.medium.create_dir(&dir)
        };
        self.shared.guard(made().map_err(StoreError::io("cannot begin a checkpoint")))?;
        self.pinning = self.lsn;
        self.pins_named = false;
        self.seen.clear();
        Ok(rotation)
    }

    /// For preconditions; any thread.
    pub(crate) fn lookup(&self) -> Lookup {
        Lookup { medium: self.shared.medium.clone(), places: self.shared.places.clone() }
    }
}

/// The content of the file that an operation makes.
const fn new_file(op: &Op) -> Option<&Bytes> {
    match op {
        Op::Put { data, .. } | Op::Append { offset: 0, data, .. } => Some(data),
        _ => None,
    }
}

fn no_such_file(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

#[expect(clippy::unnecessary_wraps, reason = "an arm of a match whose other arms can fail")]
fn skipped(lsn: Lsn, op: &Op) -> io::Result<()> {
    tracing::warn!(%lsn, path = %op.path(), "an operation built upon a transaction that was given up: skipped");
    Ok(())
}
