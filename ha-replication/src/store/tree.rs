//! Applies transactions to the files that readers see.

use super::layout::{Places, Shared, make_if_missing, remove_tree};
use super::{Entry, Rotation, StoreError, pins};
use crate::ops::{Op, RelPath};
use crate::record::{Body, Chain, Record};
use bytes::Bytes;
use ha_core::Lsn;
use ha_core::store::medium::{Kind, Medium, Open};
use std::collections::HashSet;
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
    /// Paths whose state at that checkpoint is pinned, or was "absent".
    pub(super) seen: HashSet<RelPath>,
    /// Directories of the tree that are there; none is ever removed.
    pub(super) directories: HashSet<PathBuf>,
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
    /// Applies in order; of an `aborted` transaction only the cursor moves. Returns the last LSN applied.
    ///
    /// An operation whose file is not as the sequencer saw it (only possible after an abort of a transaction
    /// that it built upon) does nothing, on both nodes alike.
    pub(crate) fn apply(
        &mut self,
        batch: &[Record],
        aborted: &dyn Fn(Lsn) -> bool,
    ) -> Result<Lsn, StoreError> {
        self.shared.usable()?;
        let mut work = Vec::with_capacity(batch.len());
        for record in batch.iter().filter(|record| record.head.lsn > self.lsn) {
            if let Body::Tx(ops) = record.body()?
                && !aborted(record.head.lsn)
            {
                work.push((record.head.lsn, ops));
            }
        }
        let done = self.pin(&work).and_then(|()| {
            work.iter().try_for_each(|(lsn, ops)| {
                ops.iter().enumerate().try_for_each(|(i, op)| self.apply_one(*lsn, i, op))
            })
        });
        self.shared.guard(done.map_err(StoreError::io("cannot apply to the tree")))?;
        if let Some(last) = batch.last().filter(|last| last.head.lsn > self.lsn) {
            (self.lsn, self.chain) = (last.head.lsn, last.head.chain);
        }
        Ok(self.lsn)
    }

    /// Preserves the state at the checkpoint of everything that the work takes away from its name.
    fn pin(&mut self, work: &[(Lsn, Vec<Op>)]) -> io::Result<()> {
        let dir = self.shared.places.pins_of(self.pinning);
        let mut linked = false;
        for path in work.iter().flat_map(|(_, ops)| ops).flat_map(pins::taken).flatten() {
            if self.seen.contains(path) {
                continue;
            }
            let from = self.shared.places.file(path);
            match self.shared.medium.link(&from, &dir.join(pins::name(path))) {
                Ok(()) => linked = true,
                Err(e) if e.kind() == io::ErrorKind::AlreadyExists => linked = true,
                Err(e) if no_such_file(&e) => {}
                Err(e) => return Err(e),
            }
            self.seen.insert(path.clone());
        }
        if linked { self.shared.medium.sync_dir(&dir, "tree.pins") } else { Ok(()) }
    }

    fn apply_one(&mut self, lsn: Lsn, index: usize, op: &Op) -> io::Result<()> {
        let medium = self.shared.medium.clone();
        match op {
            Op::Put { path, data, .. } | Op::Append { path, offset: 0, data, .. } => {
                self.put(lsn, index, path, data)
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

    fn put(&mut self, lsn: Lsn, index: usize, path: &RelPath, data: &Bytes) -> io::Result<()> {
        self.ensure_parent(path)?;
        let (medium, places) = (&self.shared.medium, &self.shared.places);
        let tmp = places.tmp.join(format!("{}-{index}", lsn.0));
        let file = medium.open(&tmp, Open::Create)?;
        file.write_at(data, 0)?;
        medium.rename(&tmp, &places.file(path))
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
            self.shared.medium.create_dir(&dir)?;
            self.shared.medium.sync_dir(&self.shared.places.pins, "tree.pins")
        };
        self.shared.guard(made().map_err(StoreError::io("cannot begin a checkpoint")))?;
        self.pinning = self.lsn;
        self.seen.clear();
        Ok(rotation)
    }

    /// For preconditions; any thread.
    pub(crate) fn lookup(&self) -> Lookup {
        Lookup { medium: self.shared.medium.clone(), places: self.shared.places.clone() }
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
