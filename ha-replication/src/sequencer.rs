//! Preconditions of a transaction, against the tree as it will be when everything before it is applied.

use crate::ops::{Op, RelPath};
use crate::outcome::RejectReason;
use crate::record::KeyHash;
use crate::state::State;
use crate::store::{Entry, Lookup};
use ha_core::Lsn;
use std::collections::HashMap;

/// The files that `op` leaves, and their lengths; `None`: absent.
pub(crate) fn after(op: &Op, length: impl Fn(&RelPath) -> Option<u64>) -> Vec<(RelPath, Option<u64>)> {
    match op {
        Op::Put { path, data, .. } => vec![(path.clone(), Some(data.len() as u64))],
        Op::Append { path, offset, data, .. } => vec![(path.clone(), Some(offset + data.len() as u64))],
        Op::Rename { from, to, .. } => {
            let moved = length(from).unwrap_or(0);
            vec![(from.clone(), None), (to.clone(), Some(moved))]
        }
        Op::Remove { path } => vec![(path.clone(), None)],
    }
}

/// A transaction that may be sequenced.
#[derive(Debug)]
pub(crate) struct Checked {
    /// For each operation: whether its target is absent.
    pub absent: Vec<bool>,
    /// What it leaves.
    pub effects: Vec<(RelPath, Option<u64>)>,
}

impl State {
    /// The first result of a key, if it was used before.
    pub(crate) fn known_key(&self, key: Option<KeyHash>) -> Option<Lsn> {
        self.keys.get(&key?).copied()
    }

    /// Checks the preconditions of `ops` in order, each on top of the ones before it.
    pub(crate) fn check(&self, ops: &[Op], lookup: &Lookup) -> Result<Checked, RejectReason> {
        let mut view = View { state: self, lookup, own: HashMap::new() };
        let mut checked = Checked { absent: Vec::with_capacity(ops.len()), effects: Vec::new() };
        for op in ops {
            checked.absent.push(view.check(op)?);
            let source = match op {
                Op::Rename { from, .. } => view.file(from)?,
                _ => None,
            };
            for (path, length) in after(op, |_| source) {
                view.own.insert(path.clone(), length);
                checked.effects.push((path, length));
            }
        }
        Ok(checked)
    }
}

struct View<'a> {
    state: &'a State,
    lookup: &'a Lookup,
    own: HashMap<RelPath, Option<u64>>,
}

impl View<'_> {
    /// Whether the target of `op` is absent.
    fn check(&self, op: &Op) -> Result<bool, RejectReason> {
        let path = op.path();
        let found = self.file(path)?;
        match op {
            Op::Put { target, .. } => self.free_if(target.new, path, found)?,
            Op::Append { offset, .. } => {
                let length = found.unwrap_or(0);
                if length != *offset {
                    let path = path.to_string();
                    return Err(RejectReason::Offset { path, found: length, expected: *offset });
                }
            }
            Op::Rename { from, target, .. } => {
                if self.file(from)?.is_none() {
                    return Err(RejectReason::Missing { path: from.to_string() });
                }
                self.free_if(target.new, path, found)?;
            }
            Op::Remove { .. } if found.is_none() => {
                return Err(RejectReason::Missing { path: path.to_string() });
            }
            Op::Remove { .. } => {}
        }
        Ok(found.is_none())
    }

    fn free_if(&self, new: bool, path: &RelPath, found: Option<u64>) -> Result<(), RejectReason> {
        if new && found.is_some() { Err(RejectReason::Exists { path: path.to_string() }) } else { Ok(()) }
    }

    /// The length of the file at `path`; `None` if there is nothing.
    fn file(&self, path: &RelPath) -> Result<Option<u64>, RejectReason> {
        let not_a_file = || RejectReason::NotAFile { path: path.to_string() };
        if self.state.dirs.contains(path.as_str()) || self.is_own_dir(path) {
            return Err(not_a_file());
        }
        if let Some(length) = self.pending(path) {
            return Ok(length);
        }
        if self.is_below_pending_file(path) {
            return Err(not_a_file());
        }
        match self.lookup.file_len(path) {
            Ok(Entry::Absent) => Ok(None),
            Ok(Entry::File(length)) => Ok(Some(length)),
            // The file on the way may be gone by then.
            Ok(Entry::BelowFile) if self.ancestors(path).any(|a| self.pending_str(a) == Some(None)) => {
                Ok(None)
            }
            Ok(Entry::Dir | Entry::BelowFile) => Err(not_a_file()),
            Err(e) => Err(RejectReason::Failed { why: e.to_string() }),
        }
    }

    fn pending(&self, path: &RelPath) -> Option<Option<u64>> {
        self.own.get(path).copied().or_else(|| self.state.overlay.get(path).map(|(length, _)| *length))
    }

    fn pending_str(&self, path: &str) -> Option<Option<u64>> {
        self.pending(&RelPath::new(path).ok()?)
    }

    fn ancestors<'p>(&self, path: &'p RelPath) -> impl Iterator<Item = &'p str> + use<'p> {
        std::iter::successors(path.parent(), |p| p.rsplit_once('/').map(|(up, _)| up))
    }

    fn is_below_pending_file(&self, path: &RelPath) -> bool {
        if self.own.is_empty() && self.state.overlay.is_empty() {
            return false;
        }
        // A known directory has no file above it.
        self.ancestors(path)
            .take_while(|a| !self.state.dirs.contains(*a))
            .any(|a| matches!(self.pending_str(a), Some(Some(_))))
    }

    fn is_own_dir(&self, path: &RelPath) -> bool {
        self.own.iter().any(|(p, length)| {
            length.is_some() && p.as_str().strip_prefix(path.as_str()).is_some_and(|r| r.starts_with('/'))
        })
    }
}
