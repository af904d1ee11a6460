//! What is on the modelled platters, and what is still on its way there.

use super::content::Content;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::sync::Arc;

/// The unit that a disk writes whole or not at all.
pub(super) const SECTOR_BYTES: u64 = 512;

/// A file or a directory, whatever its names.
pub(super) type Ino = u64;
pub(super) const ROOT: Ino = 0;
pub(super) type Names = BTreeMap<OsString, Ino>;

/// One change of a file that a power loss may keep or lose by itself.
#[derive(Clone)]
pub(super) struct Unit {
    pub(super) order: u64,
    pub(super) change: Change,
    /// A sync failed over it: no later sync promises it, a power loss may still keep it.
    pub(super) dropped: bool,
}

#[derive(Clone)]
pub(super) enum Change {
    /// At most one sector.
    Bytes {
        offset: u64,
        bytes: Arc<[u8]>,
    },
    Grow(u64),
    Cut(u64),
}

impl Change {
    pub(super) fn apply(&self, content: &mut Content) {
        match self {
            Self::Bytes { offset, bytes } => content.put(bytes, *offset),
            Self::Grow(len) => content.grow(*len),
            Self::Cut(len) => content.cut(*len),
        }
    }

    fn sector(&self) -> Option<u64> {
        match self {
            Self::Bytes { offset, .. } => Some(offset / SECTOR_BYTES),
            Self::Grow(_) | Self::Cut(_) => None,
        }
    }
}

/// One atomic change of names: a creation, a removal, or both sides of a rename.
#[derive(Clone)]
pub(super) struct NameChange {
    pub(super) order: u64,
    pub(super) edits: Vec<Edit>,
    pub(super) dropped: bool,
}

#[derive(Clone)]
pub(super) struct Edit {
    pub(super) dir: Ino,
    pub(super) name: OsString,
    pub(super) to: Option<Ino>,
}

impl NameChange {
    pub(super) fn touches(&self, dir: Ino) -> bool {
        self.edits.iter().any(|edit| edit.dir == dir)
    }

    pub(super) fn apply(&self, dirs: &mut BTreeMap<Ino, Arc<Names>>) {
        for edit in &self.edits {
            let names = Arc::make_mut(dirs.entry(edit.dir).or_default());
            match edit.to {
                Some(ino) => names.insert(edit.name.clone(), ino),
                None => names.remove(&edit.name),
            };
        }
    }
}

#[derive(Clone, Default)]
pub(super) struct DiskFile {
    pub(super) durable: Arc<Content>,
    pub(super) pending: Vec<Unit>,
}

/// The state of the platters. Cheap to copy: contents are shared.
#[derive(Clone, Default)]
pub(super) struct Disk {
    pub(super) files: BTreeMap<Ino, DiskFile>,
    pub(super) dirs: BTreeMap<Ino, Arc<Names>>,
    pub(super) names: Vec<NameChange>,
    order: u64,
}

impl Disk {
    /// Changes with every change.
    pub(super) const fn version(&self) -> u64 {
        self.order
    }

    fn next_order(&mut self) -> u64 {
        self.order += 1;
        self.order
    }

    pub(super) fn change(&mut self, ino: Ino, change: Change) {
        let order = self.next_order();
        self.files.entry(ino).or_default().pending.push(Unit { order, change, dropped: false });
    }

    /// Splits a write into the units that can be lost one by one: its growth and each of its sectors.
    pub(super) fn write(&mut self, ino: Ino, bytes: &[u8], offset: u64, grows: bool) {
        if grows {
            self.change(ino, Change::Grow(offset + bytes.len() as u64));
        }
        let (mut rest, mut at) = (bytes, offset);
        while !rest.is_empty() {
            let room = (SECTOR_BYTES - at % SECTOR_BYTES) as usize;
            let (part, after) = rest.split_at(room.min(rest.len()));
            self.change(ino, Change::Bytes { offset: at, bytes: part.into() });
            at += part.len() as u64;
            rest = after;
        }
    }

    pub(super) fn rename(&mut self, edits: Vec<Edit>) {
        let order = self.next_order();
        self.names.push(NameChange { order, edits, dropped: false });
    }

    pub(super) fn sync_file(&mut self, ino: Ino) {
        let Some(file) = self.files.get_mut(&ino) else { return };
        let (kept, promoted): (Vec<_>, Vec<_>) = file.pending.drain(..).partition(|unit| unit.dropped);
        let rewritten: BTreeSet<_> = promoted.iter().filter_map(|unit| unit.change.sector()).collect();
        let content = Arc::make_mut(&mut file.durable);
        promoted.iter().for_each(|unit| unit.change.apply(content));
        // What an earlier failed sync dropped cannot come back over a sector that was written since.
        let gone = |unit: &Unit| unit.change.sector().is_some_and(|sector| rewritten.contains(&sector));
        file.pending = kept.into_iter().filter(|unit| !gone(unit)).collect();
    }

    /// Makes the names in `dir` durable, with the earlier changes that these depend on.
    pub(super) fn sync_dir(&mut self, dir: Ino) {
        let mut needed = BTreeSet::new();
        let mut kept = Vec::new();
        let mut promoted = Vec::new();
        for change in self.names.drain(..).rev() {
            let key = |edit: &Edit| (edit.dir, edit.name.clone());
            let depended = change.edits.iter().any(|edit| needed.contains(&key(edit)));
            if !change.dropped && (change.touches(dir) || depended) {
                needed.extend(change.edits.iter().map(key));
                promoted.push(change);
            } else {
                kept.push(change);
            }
        }
        kept.reverse();
        self.names = kept;
        promoted.iter().rev().for_each(|change| change.apply(&mut self.dirs));
    }

    pub(super) fn sync_everything(&mut self) {
        for ino in self.files.keys().copied().collect::<Vec<_>>() {
            self.sync_file(ino);
        }
        let (kept, promoted): (Vec<_>, Vec<_>) = self.names.drain(..).partition(|change| change.dropped);
        self.names = kept;
        promoted.iter().for_each(|change| change.apply(&mut self.dirs));
    }

    pub(super) fn drop_everything(&mut self) {
        let all = self.files.values_mut().flat_map(|file| &mut file.pending);
        all.for_each(|unit| unit.dropped = true);
        self.names.iter_mut().for_each(|change| change.dropped = true);
    }

    pub(super) fn drop_file(&mut self, ino: Ino) {
        if let Some(file) = self.files.get_mut(&ino) {
            file.pending.iter_mut().for_each(|unit| unit.dropped = true);
        }
    }

    pub(super) fn drop_dir(&mut self, dir: Ino) {
        self.names.iter_mut().filter(|change| change.touches(dir)).for_each(|change| change.dropped = true);
    }
}
