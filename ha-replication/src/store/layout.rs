//! Names below the mirror's directory, and what all parts of one generation share.

use super::segment::Segments;
use super::superblock::SuperFile;
use super::{StoreConfig, StoreError};
use crate::ops::RelPath;
use crate::record::Chain;
use ha_core::Lsn;
use ha_core::store::medium::{Medium, MediumLock};
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub(super) const LOCK_FILE: &str = "lock";
pub(super) const QUARANTINE_DIR: &str = "quarantine";
const GENERATION: &str = "gen-";

/// What is in a mutex; a panic elsewhere left it whole, because every change below is a single store.
pub(super) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The directories of one generation.
#[derive(Clone, Debug)]
pub(super) struct Places {
    pub(super) root: PathBuf,
    pub(super) journal: PathBuf,
    pub(super) tree: PathBuf,
    pub(super) tmp: PathBuf,
    pub(super) pins: PathBuf,
}

impl Places {
    pub(super) fn of(generation: u64) -> Self {
        let root = PathBuf::from(format!("{GENERATION}{generation}"));
        let below = |name| root.join(name);
        Self { journal: below("journal"), tree: below("tree"), tmp: below("tmp"), pins: below("pins"), root }
    }

    pub(super) fn file(&self, path: &RelPath) -> PathBuf {
        self.tree.join(path.as_path())
    }

    pub(super) fn pins_of(&self, checkpoint: Lsn) -> PathBuf {
        self.pins.join(format!("{:016x}", checkpoint.0))
    }

    /// Makes the empty directories.
    pub(super) fn make(&self, medium: &dyn Medium) -> io::Result<()> {
        [&self.root, &self.journal, &self.tree, &self.tmp, &self.pins]
            .into_iter()
            .try_for_each(|dir| medium.create_dir(dir))
    }
}

/// The number of a generation's directory.
pub(super) fn generation_of(name: &str) -> Option<u64> {
    name.strip_prefix(GENERATION)?.parse().ok()
}

/// What all parts of one generation share.
pub(super) struct Shared {
    pub(super) medium: Arc<dyn Medium>,
    pub(super) config: StoreConfig,
    pub(super) places: Places,
    pub(super) generation: u64,
    pub(super) superblock: Mutex<SuperFile>,
    pub(super) segments: Mutex<Segments>,
    /// Held while a segment is made, so that two threads do not make the same one.
    pub(super) preparing: Mutex<()>,
    /// The last durable checkpoint.
    pub(super) checkpoint: Mutex<(Lsn, Chain)>,
    /// Copies going out: from which LSN on pins and journal are kept, and how many want it.
    pub(super) holds: Mutex<BTreeMap<Lsn, usize>>,
    pub(super) failed: AtomicBool,
    /// Passed on to the next generation at a flip.
    pub(super) lock: Arc<dyn MediumLock>,
}

impl Shared {
    /// An error if an earlier write or sync failed.
    pub(super) fn usable(&self) -> Result<(), StoreError> {
        if self.failed.load(Ordering::Acquire) { Err(StoreError::Failed) } else { Ok(()) }
    }

    /// Remembers that a write or sync failed: its effect is unknown, so nothing is done after it.
    pub(super) fn guard<T>(&self, result: Result<T, StoreError>) -> Result<T, StoreError> {
        if result.is_err() {
            self.failed.store(true, Ordering::Release);
        }
        result
    }

    /// Pins and journal from here on are wanted by copies.
    pub(super) fn held(&self) -> Option<Lsn> {
        locked(&self.holds).keys().next().copied()
    }
}

/// Removes a directory and everything below it; what is missing already is fine.
pub(super) fn remove_tree(medium: &dyn Medium, dir: &Path) -> io::Result<()> {
    use ha_core::store::medium::Kind;
    let entries = match medium.list(dir) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
        listed => listed?,
    };
    for entry in entries {
        let path = dir.join(&entry.name);
        match entry.kind {
            Kind::Directory => remove_tree(medium, &path)?,
            _ => remove_if_there(medium, &path)?,
        }
    }
    medium.remove_dir(dir)
}

/// Whether anything but directories is below a directory.
pub(super) fn holds_files(medium: &dyn Medium, dir: &Path) -> io::Result<bool> {
    use ha_core::store::medium::Kind;
    for entry in medium.list(dir)? {
        if entry.kind != Kind::Directory || holds_files(medium, &dir.join(&entry.name))? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Removes a name; a missing one is fine.
pub(super) fn remove_if_there(medium: &dyn Medium, path: &Path) -> io::Result<()> {
    match medium.remove(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
        _ => Ok(()),
    }
}

/// Makes a directory unless it is there.
pub(super) fn make_if_missing(medium: &dyn Medium, dir: &Path) -> io::Result<()> {
    match medium.create_dir(dir) {
        Err(e) if e.kind() != io::ErrorKind::AlreadyExists => Err(e),
        _ => Ok(()),
    }
}
