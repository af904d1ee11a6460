//! A disk whose unsynced writes die with the node, as they do in a power loss.
//!
//! `kill -9` takes the power from a process, not from the machine's page cache: what it wrote stays, synced or not. Here
//! the journal's writes wait in the process until they are synced, and the files of the tree that got their names since the
//! last sync of their directory are gone when the disk is opened again.

mod names;

use ha_core::store::medium::{Entry, LockError, Medium, MediumFile, MediumLock, Metadata, Open, RealMedium};
use names::NewNames;
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// How long a sync takes: two turns of a disk of 7,200 rpm.
const SYNC: Duration = Duration::from_millis(17);
/// The folder whose files this disk holds back. Of other files only the names are lost: they are new in this store.
const JOURNAL: &str = "journal";

/// A real directory whose journal files keep what was not synced in memory.
pub(super) struct VolatileDisk {
    real: RealMedium,
    cached: Mutex<BTreeMap<PathBuf, Arc<Cache>>>,
    names: Mutex<NewNames>,
}

/// What was written to one file since its last sync, in order.
type Cache = Mutex<Vec<(u64, Vec<u8>)>>;

fn locked<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

impl VolatileDisk {
    /// The directory `real`, after a power loss: without what the life before did not sync. `log` keeps what this one
    /// must not keep.
    pub(super) fn after_power_loss(real: RealMedium, log: &Path) -> io::Result<Self> {
        let (names, lost) = NewNames::open(log)?;
        for name in &lost {
            match real.remove(name) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        tracing::info!(files = lost.len(), "the power loss took what was not synced");
        Ok(Self { real, cached: Mutex::default(), names: Mutex::new(names) })
    }
}

impl Medium for VolatileDisk {
    fn place(&self) -> String {
        self.real.place()
    }

    fn open(&self, path: &Path, how: Open) -> io::Result<Box<dyn MediumFile>> {
        if !is_journal(path) {
            let mut names = locked(&self.names);
            let makes = how == Open::CreateNew
                || how == Open::Create && self.real.metadata(path).is_ok_and(|found| found.is_none());
            let file = self.real.open(path, how)?;
            if makes {
                names.made(path)?;
            }
            return Ok(file);
        }
        let file = self.real.open(path, how)?;
        let mut cached = locked(&self.cached);
        if how == Open::CreateNew {
            cached.remove(path);
        }
        let cache = Arc::clone(cached.entry(path.into()).or_default());
        Ok(Box::new(VolatileFile { file, cache }))
    }

    fn metadata(&self, path: &Path) -> io::Result<Option<Metadata>> {
        self.real.metadata(path)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<Entry>> {
        self.real.list(dir)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut names = locked(&self.names);
        let replaces = self.real.metadata(to)?.is_some();
        let mut cached = locked(&self.cached);
        self.real.rename(from, to)?;
        // Of a name that was replaced either the old or the new content must stay: here the new one does.
        if replaces {
            names.settled(from)?;
            names.settled(to)?;
        } else {
            names.moved(from, to)?;
        }
        if let Some(cache) = cached.remove(from) {
            cached.insert(to.into(), cache);
        }
        Ok(())
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.real.link(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.real.remove(path)?;
        locked(&self.cached).remove(path);
        locked(&self.names).settled(path)
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.real.create_dir(path)
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        self.real.remove_dir(path)
    }

    fn sync_dir(&self, dir: &Path, label: &'static str) -> io::Result<()> {
        self.real.sync_dir(dir, label)?;
        locked(&self.names).synced(dir)
    }

    fn sync_everything(&self, label: &'static str) -> io::Result<()> {
        let caches: Vec<_> =
            locked(&self.cached).iter().map(|(path, cache)| (path.clone(), Arc::clone(cache))).collect();
        for (path, cache) in caches {
            match self.real.open(&path, Open::Existing) {
                Ok(file) => write_back(&*file, &cache)?,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
        }
        let mut names = locked(&self.names);
        self.real.sync_everything(label)?;
        names.all_synced()
    }

    fn free_bytes(&self) -> io::Result<u64> {
        self.real.free_bytes()
    }

    fn lock(&self, path: &Path) -> Result<Box<dyn MediumLock>, LockError> {
        self.real.lock(path)
    }
}

fn is_journal(path: &Path) -> bool {
    path.components().any(|part| part.as_os_str() == JOURNAL)
}

struct VolatileFile {
    file: Box<dyn MediumFile>,
    cache: Arc<Cache>,
}

fn write_back(file: &dyn MediumFile, cache: &Cache) -> io::Result<()> {
    let mut writes = locked(cache);
    for (offset, bytes) in writes.iter() {
        file.write_at(bytes, *offset)?;
    }
    writes.clear();
    Ok(())
}

/// Lays `bytes` of a write at `at` over `buf`, which was read at `offset`.
fn lay_over(buf: &mut [u8], offset: u64, at: u64, bytes: &[u8]) {
    let from = at.max(offset);
    let to = (at + bytes.len() as u64).min(offset + buf.len() as u64);
    let place = |n: u64, base: u64| usize::try_from(n - base).unwrap_or(usize::MAX);
    if from < to
        && let Some(target) = buf.get_mut(place(from, offset)..place(to, offset))
        && let Some(source) = bytes.get(place(from, at)..place(to, at))
    {
        target.copy_from_slice(source);
    }
}

impl MediumFile for VolatileFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let writes = locked(&self.cache);
        let room = u64::try_from(buf.len()).unwrap_or(u64::MAX);
        let read = self.file.read_at(buf, offset)?;
        let ends = writes.iter().map(|(at, bytes)| at + bytes.len() as u64);
        let end = ends.max().unwrap_or(0).saturating_sub(offset).min(room);
        let len = read.max(usize::try_from(end).unwrap_or(read));
        for (at, bytes) in writes.iter() {
            lay_over(&mut buf[..len], offset, *at, bytes);
        }
        Ok(len)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        locked(&self.cache).push((offset, bytes.to_vec()));
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        let writes = locked(&self.cache);
        let ends = writes.iter().map(|(at, bytes)| at + bytes.len() as u64);
        Ok(self.file.len()?.max(ends.max().unwrap_or(0)))
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        // A cut is metadata: what was written before it must not come back behind it.
        write_back(&*self.file, &self.cache)?;
        self.file.set_len(len)
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        self.file.allocate(len)
    }

    fn sync_data(&self, label: &'static str) -> io::Result<()> {
        std::thread::sleep(SYNC);
        write_back(&*self.file, &self.cache)?;
        self.file.sync_data(label)
    }

    fn sync_all(&self, label: &'static str) -> io::Result<()> {
        std::thread::sleep(SYNC);
        write_back(&*self.file, &self.cache)?;
        self.file.sync_all(label)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn disk(dir: &Path) -> VolatileDisk {
        let real = RealMedium::create(dir.join("disk")).unwrap();
        VolatileDisk::after_power_loss(real, &dir.join("unsynced.log")).unwrap()
    }

    #[test]
    fn a_new_name_stays_only_if_its_directory_was_synced() {
        let dir = tempfile::tempdir().unwrap();
        let names = |disk: &VolatileDisk| {
            let listed = disk.list(Path::new("tree")).unwrap();
            listed.into_iter().map(|e| e.name.into_string().unwrap()).collect::<Vec<_>>()
        };
        let first = disk(dir.path());
        first.create_dir(Path::new("tree")).unwrap();
        first.open(Path::new("tree/kept"), Open::CreateNew).unwrap();
        first.sync_dir(Path::new("tree"), "test").unwrap();
        first.open(Path::new("tree/lost"), Open::Create).unwrap();
        first.open(Path::new("new"), Open::CreateNew).unwrap();
        first.rename(Path::new("new"), Path::new("tree/moved")).unwrap();
        first.open(Path::new("new"), Open::CreateNew).unwrap();
        first.rename(Path::new("new"), Path::new("tree/kept")).unwrap();
        assert_eq!(names(&first), ["kept", "lost", "moved"]);
        assert_eq!(names(&disk(dir.path())), ["kept"]);
        let third = disk(dir.path());
        third.open(Path::new("tree/all"), Open::CreateNew).unwrap();
        third.sync_everything("test").unwrap();
        assert_eq!(names(&disk(dir.path())), ["all", "kept"]);
    }

    #[test]
    fn only_what_was_synced_is_there_after_a_power_loss() {
        let dir = tempfile::tempdir().unwrap();
        let (first, path) = (disk(dir.path()), Path::new("journal/1"));
        first.create_dir(Path::new(JOURNAL)).unwrap();
        let file = first.open(path, Open::Create).unwrap();
        file.allocate(8).unwrap();
        file.write_at(b"kept", 0).unwrap();
        file.sync_data("test").unwrap();
        file.write_at(b"lo", 2).unwrap();
        file.write_at(b"st", 7).unwrap();
        assert_eq!(first.read(path).unwrap(), b"kelo\0\0\0st");
        assert_eq!(disk(dir.path()).read(path).unwrap(), b"kept\0\0\0\0");
    }

    #[test]
    fn a_renamed_file_takes_what_was_not_synced_along() {
        let dir = tempfile::tempdir().unwrap();
        let (disk, from, to) = (disk(dir.path()), Path::new("journal/a"), Path::new("journal/b"));
        disk.create_dir(Path::new(JOURNAL)).unwrap();
        let file = disk.open(from, Open::Create).unwrap();
        file.write_at(b"x", 0).unwrap();
        disk.rename(from, to).unwrap();
        assert_eq!(disk.read(to).unwrap(), b"x");
        file.sync_all("test").unwrap();
        assert_eq!(std::fs::read(dir.path().join("disk").join(to)).unwrap(), b"x");
    }
}
