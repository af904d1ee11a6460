//! A model file system that is nastier than a real one.
//!
//! It keeps what was synced apart from what was not. Cutting the power keeps any subset of the rest, by
//! sectors of 512 bytes, in any order between files and directories.

mod content;
mod crash;
mod disk;
mod fault;
mod handles;
mod live;

pub use crash::{CrashImage, CrashImages, CrashPoint, MetadataOrder};
pub use fault::{Call, SyncPick};

use super::path::named;
use super::{Entry, LockError, Medium, MediumFile, MediumLock, Metadata, Open};
use disk::{Change, Disk, Edit, Ino, ROOT};
use fault::{Faults, SyncFate};
use handles::{RecordingFile, RecordingLock};
use live::{Live, LiveFile};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A model file system in memory. Clones are the same one, as several processes see the same disk.
///
/// ```
/// use ha_core::store::medium::{Medium, Open, RecordingMedium};
/// use std::path::Path;
///
/// let medium = RecordingMedium::new();
/// medium.record();
/// let file = medium.open(Path::new("a"), Open::CreateNew)?;
/// file.write_at(b"x", 0)?;
/// file.sync_data("a.content")?;
/// medium.mark(1); // acknowledged: too early, the name is not durable
/// let forgot = |point: &ha_core::store::medium::CrashPoint| {
///     point.images(100, 1).any(|image| RecordingMedium::from_image(&image).read(Path::new("a")).is_err())
/// };
/// assert!(medium.crash_points().iter().filter(|point| point.mark() == 1).any(forgot));
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone)]
pub struct RecordingMedium {
    shared: Arc<Mutex<State>>,
}

struct State {
    disk: Disk,
    live: Live,
    faults: Faults,
    order: MetadataOrder,
    locks: BTreeSet<PathBuf>,
    mark: u64,
    points: Option<Vec<CrashPoint>>,
}

impl Default for RecordingMedium {
    fn default() -> Self {
        Self::new()
    }
}

impl RecordingMedium {
    /// An empty one.
    #[must_use]
    pub fn new() -> Self {
        let mut disk = Disk::default();
        disk.dirs.insert(ROOT, Arc::default());
        Self::on(disk)
    }

    /// A machine that boots on what a power loss left.
    #[must_use]
    pub fn from_image(image: &CrashImage) -> Self {
        Self::on(image.resolve())
    }

    fn on(disk: Disk) -> Self {
        let live = Live::boot(&disk);
        let state = State {
            disk,
            live,
            faults: Faults::default(),
            order: MetadataOrder::default(),
            locks: BTreeSet::new(),
            mark: 0,
            points: None,
        };
        Self { shared: Arc::new(Mutex::new(state)) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How names reach the disk; the nasty way unless told otherwise.
    pub fn set_order(&self, order: MetadataOrder) {
        self.state().order = order;
    }

    /// From now on keeps a [`CrashPoint`] after each call that changes something.
    pub fn record(&self) {
        let mut state = self.state();
        state.points = Some(Vec::new());
        state.point("the start");
    }

    /// Something was acknowledged: crash points from here on carry `number`.
    pub fn mark(&self, number: u64) {
        let mut state = self.state();
        state.mark = number;
        state.point("an acknowledgement");
    }

    /// The moments recorded so far.
    #[must_use]
    pub fn crash_points(&self) -> Vec<CrashPoint> {
        self.state().points.clone().unwrap_or_default()
    }

    /// This moment.
    #[must_use]
    pub fn crash_now(&self) -> CrashPoint {
        self.state().snapshot("the last call")
    }

    /// The labels of all syncs that were asked for, and how often; removed and failed ones count.
    #[must_use]
    pub fn labels_seen(&self) -> BTreeMap<&'static str, usize> {
        self.state().faults.labels.clone()
    }

    /// The picked syncs say `Ok` and do nothing; `None` ends it.
    pub fn skip_sync(&self, pick: Option<SyncPick>) {
        self.state().faults.skip = pick;
    }

    /// The first picked sync fails with an input/output error and, as on Linux, drops what it should have
    /// made durable: readers still see it, later syncs say `Ok`, a power loss may take it.
    pub fn fail_sync(&self, pick: SyncPick) {
        self.state().faults.fail = Some(pick);
    }

    /// After `bytes` more of newly used space the disk is full; `None` ends it. Overwriting needs no space.
    pub fn fill_after(&self, bytes: Option<u64>) {
        self.state().faults.space_left = bytes;
    }

    /// Whether every change is refused.
    pub fn set_read_only(&self, read_only: bool) {
        self.state().faults.read_only = read_only;
    }

    /// Calls `hook` before each call, without holding a lock: it may block, which is a disk that stalls.
    pub fn set_hook(&self, hook: impl Fn(&Call<'_>) + Send + Sync + 'static) {
        self.state().faults.hook = Some(Arc::new(hook));
    }

    fn announce(&self, what: &'static str, path: &Path, label: Option<&'static str>) {
        let hook = self.state().faults.hook.clone();
        if let Some(hook) = hook {
            hook(&Call { what, path, label });
        }
    }

    /// Runs one call: hook, then `act` under the lock, then a crash point if it changed something.
    fn call<T>(
        &self,
        what: &'static str,
        path: &Path,
        act: impl FnOnce(&mut State) -> io::Result<T>,
    ) -> io::Result<T> {
        self.announce(what, path, None);
        let mut state = self.state();
        let before = state.disk_version();
        let done = act(&mut state).map_err(|e| named(e, what, path));
        if state.disk_version() != before {
            state.point_at(what, path);
        }
        done
    }

    fn sync(
        &self,
        path: &Path,
        label: &'static str,
        find: impl FnOnce(&State) -> io::Result<Ino>,
    ) -> io::Result<()> {
        self.announce("sync", path, Some(label));
        let mut state = self.state();
        let ino = find(&state).map_err(|e| named(e, "sync", path))?;
        let fate = state.faults.sync(label);
        let result = match fate {
            SyncFate::Skipped => Ok(()),
            SyncFate::Happens => {
                state.disk.sync_file(ino);
                state.disk.sync_dir(ino);
                Ok(())
            }
            SyncFate::Fails => {
                state.disk.drop_file(ino);
                state.disk.drop_dir(ino);
                Err(named(io::Error::other("input/output error"), "sync", path))
            }
        };
        state.point(&format!("sync {label} of {}", path.display()));
        result
    }
}

impl State {
    fn snapshot(&self, after: &str) -> CrashPoint {
        CrashPoint {
            disk: Arc::new(self.disk.clone()),
            order: self.order,
            mark: self.mark,
            after: after.into(),
        }
    }

    fn point(&mut self, after: &str) {
        let Some(mut points) = self.points.take() else { return };
        points.push(self.snapshot(after));
        self.points = Some(points);
    }

    fn point_at(&mut self, what: &str, path: &Path) {
        if self.points.is_some() {
            self.point(&format!("{what} {}", path.display()));
        }
    }

    fn disk_version(&self) -> u64 {
        self.disk.version()
    }

    /// Changes names, in the page cache at once and on the disk some time.
    fn edit(&mut self, edits: Vec<Edit>) {
        for edit in &edits {
            self.live.set(edit.dir, &edit.name, edit.to);
        }
        self.disk.rename(edits);
    }

    fn new_file(&mut self, dir: Ino, name: &std::ffi::OsStr) -> Ino {
        let ino = self.live.new_file();
        self.disk.files.insert(ino, disk::DiskFile::default());
        self.edit(vec![Edit { dir, name: name.into(), to: Some(ino) }]);
        ino
    }

    fn file(&mut self, ino: Ino) -> io::Result<&mut LiveFile> {
        self.live.files.get_mut(&ino).ok_or_else(|| ErrorKind::NotFound.into())
    }

    fn write(&mut self, ino: Ino, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.faults.writable()?;
        let end = offset.checked_add(bytes.len() as u64).ok_or(ErrorKind::FileTooLarge)?;
        let allocated = self.file(ino)?.allocated;
        let wanted = end.saturating_sub(allocated.max(offset));
        let missing = wanted - self.faults.take_space(wanted);
        let fits = bytes.len() - usize::try_from(missing).unwrap_or(bytes.len());
        let part = bytes.get(..fits).unwrap_or(bytes);
        if !part.is_empty() {
            let end = offset + part.len() as u64;
            let file = self.file(ino)?;
            let grows = end > file.content.len();
            file.content.put(part, offset);
            file.content.grow(end);
            file.allocated = file.allocated.max(end);
            self.disk.write(ino, part, offset, grows);
        }
        if missing > 0 { Err(ErrorKind::StorageFull.into()) } else { Ok(()) }
    }

    fn set_len(&mut self, ino: Ino, len: u64) -> io::Result<()> {
        self.faults.writable()?;
        let file = self.file(ino)?;
        if len < file.content.len() {
            file.content.cut(len);
            file.allocated = file.allocated.min(len);
            self.disk.change(ino, Change::Cut(len));
        } else if len > file.content.len() {
            file.content.grow(len);
            self.disk.change(ino, Change::Grow(len));
        }
        Ok(())
    }

    fn allocate(&mut self, ino: Ino, len: u64) -> io::Result<()> {
        self.faults.writable()?;
        let wanted = len.saturating_sub(self.file(ino)?.allocated);
        if self.faults.take_space(wanted) < wanted {
            return Err(ErrorKind::StorageFull.into());
        }
        let file = self.file(ino)?;
        file.allocated = file.allocated.max(len);
        if len > file.content.len() { self.set_len(ino, len) } else { Ok(()) }
    }

    fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        self.faults.writable()?;
        let (source, target) = (self.live.spot(from)?, self.live.spot(to)?);
        let ino = source.ino.ok_or(ErrorKind::NotFound)?;
        if target.ino.is_some_and(|found| self.live.dirs.contains_key(&found)) {
            return Err(ErrorKind::AlreadyExists.into());
        }
        if self.live.dirs.contains_key(&ino) {
            if target.ino.is_some() {
                return Err(ErrorKind::NotADirectory.into());
            }
            if self.live.holds(ino, target.dir) {
                return Err(ErrorKind::InvalidInput.into());
            }
        }
        if target.ino != Some(ino) {
            self.edit(vec![
                Edit { dir: source.dir, name: source.name, to: None },
                Edit { dir: target.dir, name: target.name, to: Some(ino) },
            ]);
        }
        Ok(())
    }
}

impl Medium for RecordingMedium {
    fn place(&self) -> String {
        "memory".into()
    }

    fn open(&self, path: &Path, how: Open) -> io::Result<Box<dyn MediumFile>> {
        let ino = self.call("open", path, |state| {
            let spot = state.live.spot(path)?;
            match (spot.ino, how) {
                (Some(ino), _) if state.live.dirs.contains_key(&ino) => Err(ErrorKind::IsADirectory.into()),
                (Some(_), Open::CreateNew) => Err(ErrorKind::AlreadyExists.into()),
                (Some(_), Open::Existing | Open::Create) if state.faults.read_only => {
                    Err(ErrorKind::ReadOnlyFilesystem.into())
                }
                (Some(ino), _) => Ok(ino),
                (None, Open::Read | Open::Existing) => Err(ErrorKind::NotFound.into()),
                (None, Open::Create | Open::CreateNew) => {
                    state.faults.room_for_a_name()?;
                    Ok(state.new_file(spot.dir, &spot.name))
                }
            }
        })?;
        Ok(Box::new(RecordingFile {
            medium: self.clone(),
            ino,
            path: path.into(),
            writable: how != Open::Read,
        }))
    }

    fn metadata(&self, path: &Path) -> io::Result<Option<Metadata>> {
        self.call("metadata", path, |state| match state.live.find(path) {
            Ok(ino) => {
                let len = state.live.files.get(&ino).map_or(0, |file| file.content.len());
                Ok(Some(Metadata { kind: state.live.kind(ino), len }))
            }
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e),
        })
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<Entry>> {
        self.call("list", dir, |state| {
            let ino = state.live.directory(dir)?;
            let names = state.live.dirs.get(&ino).into_iter().flatten();
            Ok(names.map(|(name, ino)| Entry { name: name.clone(), kind: state.live.kind(*ino) }).collect())
        })
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.call("rename", from, |state| state.rename(from, to))
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.call("link", from, |state| {
            state.faults.room_for_a_name()?;
            let (ino, target) = (state.live.find(from)?, state.live.spot(to)?);
            if state.live.dirs.contains_key(&ino) {
                return Err(ErrorKind::PermissionDenied.into());
            }
            if target.ino.is_some() {
                return Err(ErrorKind::AlreadyExists.into());
            }
            state.edit(vec![Edit { dir: target.dir, name: target.name, to: Some(ino) }]);
            Ok(())
        })
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.call("remove", path, |state| {
            state.faults.writable()?;
            let spot = state.live.spot(path)?;
            let ino = spot.ino.ok_or(ErrorKind::NotFound)?;
            if state.live.dirs.contains_key(&ino) {
                return Err(ErrorKind::IsADirectory.into());
            }
            state.edit(vec![Edit { dir: spot.dir, name: spot.name, to: None }]);
            Ok(())
        })
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.call("create_dir", path, |state| {
            state.faults.room_for_a_name()?;
            let spot = state.live.spot(path)?;
            if spot.ino.is_some() {
                return Err(ErrorKind::AlreadyExists.into());
            }
            let ino = state.live.new_dir();
            state.disk.dirs.insert(ino, Arc::default());
            state.edit(vec![Edit { dir: spot.dir, name: spot.name, to: Some(ino) }]);
            Ok(())
        })
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        self.call("remove_dir", path, |state| {
            state.faults.writable()?;
            let spot = state.live.spot(path)?;
            let ino = spot.ino.ok_or(ErrorKind::NotFound)?;
            match state.live.dirs.get(&ino) {
                None => Err(ErrorKind::NotADirectory.into()),
                Some(names) if !names.is_empty() => Err(ErrorKind::DirectoryNotEmpty.into()),
                Some(_) => {
                    state.edit(vec![Edit { dir: spot.dir, name: spot.name, to: None }]);
                    Ok(())
                }
            }
        })
    }

    fn sync_dir(&self, dir: &Path, label: &'static str) -> io::Result<()> {
        self.sync(dir, label, |state| state.live.directory(dir))
    }

    fn sync_everything(&self, label: &'static str) -> io::Result<()> {
        self.announce("sync", Path::new(""), Some(label));
        let mut state = self.state();
        let result = match state.faults.sync(label) {
            SyncFate::Skipped => Ok(()),
            SyncFate::Happens => {
                state.disk.sync_everything();
                Ok(())
            }
            SyncFate::Fails => {
                state.disk.drop_everything();
                Err(named(io::Error::other("input/output error"), "sync", Path::new("")))
            }
        };
        state.point(&format!("sync {label} of everything"));
        result
    }

    fn free_bytes(&self) -> io::Result<u64> {
        Ok(self.state().faults.space_left.unwrap_or(u64::MAX))
    }

    fn lock(&self, path: &Path) -> Result<Box<dyn MediumLock>, LockError> {
        if !self.state().locks.insert(path.into()) {
            return Err(LockError::Held { pid: Some(std::process::id()) });
        }
        let lock = RecordingLock { medium: self.clone(), path: path.into() };
        if self.metadata(path)?.is_none() {
            self.open(path, Open::Create)?;
        }
        Ok(Box::new(lock))
    }
}

impl fmt::Debug for RecordingMedium {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state();
        let points = state.points.as_ref().map_or(0, Vec::len);
        write!(f, "RecordingMedium({} files, {points} crash points)", state.live.files.len())
    }
}
