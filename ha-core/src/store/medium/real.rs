//! A directory of the operating system.

use super::dirs::Dirs;
use super::path::{named, names, split};
use super::{Entry, Kind, LockError, Medium, MediumFile, MediumLock, Metadata, Open};
use rustix::fs::{self, AtFlags, Dir, FileType, Mode, OFlags, RenameFlags};
use rustix::io::Errno;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Zeros are written in pieces of this size.
const ZEROS_BYTES: usize = 1 << 20;
/// What a write past the page cache must be aligned to, in memory and in the file; no disk asks for more.
const DIRECT_BYTES: usize = 4096;

/// A directory of the operating system. Symbolic links below it are never followed.
#[derive(Debug)]
pub struct RealMedium {
    dirs: Dirs,
    place: PathBuf,
}

impl RealMedium {
    /// The existing directory `place`.
    ///
    /// # Errors
    /// What the operating system said, naming the directory.
    pub fn open(place: impl Into<PathBuf>) -> io::Result<Self> {
        let place = place.into();
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = fs::open(&place, flags, Mode::empty())
            .map_err(|e| named(e, "cannot open the directory", &place))?;
        Ok(Self { dirs: Dirs::new(root), place })
    }

    /// The directory `place`, made durably with all its parents if it is missing.
    ///
    /// # Errors
    /// What the operating system said, naming the directory.
    pub fn create(place: impl Into<PathBuf>) -> io::Result<Self> {
        let place = std::path::absolute(place.into())?;
        make_durably(&place).map_err(|e| named(e, "cannot make the directory", &place))?;
        Self::open(place)
    }

    fn dir(&self, path: &Path) -> io::Result<Arc<OwnedFd>> {
        self.dirs.open(path, &names(path)?)
    }

    /// The directory of `path`, and its last name.
    fn parent<'p>(&self, path: &'p Path) -> io::Result<(Arc<OwnedFd>, &'p OsStr)> {
        let (dir, name) = split(path)?;
        Ok((self.dirs.open(path.parent().unwrap_or(Path::new("")), &dir)?, name))
    }

    fn within<T>(
        &self,
        path: &Path,
        what: &str,
        act: impl FnOnce(&OwnedFd, &OsStr) -> io::Result<T>,
    ) -> io::Result<T> {
        self.parent(path).and_then(|(dir, name)| act(&dir, name)).map_err(|e| named(e, what, path))
    }

    fn between(
        &self,
        from: &Path,
        to: &Path,
        what: &str,
        act: impl FnOnce(&OwnedFd, &OsStr, &OwnedFd, &OsStr) -> io::Result<()>,
    ) -> io::Result<()> {
        let (to_dir, to_name) = self.parent(to).map_err(|e| named(e, what, to))?;
        let done = self.parent(from).and_then(|(dir, name)| act(&dir, name, &to_dir, to_name));
        done.map_err(|e| named(e, &format!("{what} to {}:", to.display()), from))
    }

    fn open_file(&self, path: &Path, how: Open) -> io::Result<File> {
        let flags = OFlags::NOFOLLOW
            | OFlags::CLOEXEC
            | match how {
                Open::Read => OFlags::RDONLY,
                Open::Existing => OFlags::RDWR,
                Open::Create => OFlags::RDWR | OFlags::CREATE,
                Open::CreateNew => OFlags::RDWR | OFlags::CREATE | OFlags::EXCL,
            };
        let mode = Mode::RUSR | Mode::WUSR | Mode::RGRP;
        self.within(path, "cannot open", |dir, name| Ok(File::from(fs::openat(dir, name, flags, mode)?)))
    }
}

fn make_durably(dir: &Path) -> io::Result<()> {
    if dir.is_dir() {
        return Ok(());
    }
    let parent = dir.parent().ok_or(io::ErrorKind::NotFound)?;
    make_durably(parent)?;
    match std::fs::create_dir(dir) {
        Err(e) if e.kind() != io::ErrorKind::AlreadyExists => Err(e),
        _ => File::open(parent)?.sync_all(),
    }
}

fn kind_of(mode: FileType) -> Kind {
    match mode {
        FileType::RegularFile => Kind::File,
        FileType::Directory => Kind::Directory,
        _ => Kind::Other,
    }
}

/// Renames without ever replacing a directory, as the contract says. A free name takes one call.
fn rename(from: &OwnedFd, from_name: &OsStr, to: &OwnedFd, to_name: &OsStr) -> io::Result<()> {
    match fs::renameat_with(from, from_name, to, to_name, RenameFlags::NOREPLACE) {
        // Taken, or a file system without that flag.
        Err(Errno::EXIST | Errno::INVAL | Errno::NOSYS) => {}
        done => return Ok(done?),
    }
    match fs::statat(to, to_name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(found) if FileType::from_raw_mode(found.st_mode) == FileType::Directory => {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        Ok(_) | Err(Errno::NOENT) => {}
        Err(e) => return Err(e.into()),
    }
    Ok(fs::renameat(from, from_name, to, to_name)?)
}

impl Medium for RealMedium {
    fn place(&self) -> String {
        self.place.display().to_string()
    }

    fn open(&self, path: &Path, how: Open) -> io::Result<Box<dyn MediumFile>> {
        Ok(Box::new(RealFile { file: self.open_file(path, how)?, path: path.into() }))
    }

    fn metadata(&self, path: &Path) -> io::Result<Option<Metadata>> {
        if names(path)?.is_empty() {
            return Ok(Some(Metadata { kind: Kind::Directory, len: 0 }));
        }
        let found = self.within(path, "cannot look at", |dir, name| {
            Ok(fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW)?)
        });
        match found {
            Ok(stat) => {
                let kind = kind_of(FileType::from_raw_mode(stat.st_mode));
                let len = if kind == Kind::File { u64::try_from(stat.st_size).unwrap_or(0) } else { 0 };
                Ok(Some(Metadata { kind, len }))
            }
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e),
        }
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<Entry>> {
        let read = || -> io::Result<Vec<Entry>> {
            let fd = self.dir(dir)?;
            let mut entries = Vec::new();
            for entry in Dir::read_from(&fd)? {
                let entry = entry?;
                let name = OsString::from_vec(entry.file_name().to_bytes().to_vec());
                if name == "." || name == ".." {
                    continue;
                }
                let kind = match entry.file_type() {
                    FileType::Unknown => kind_of(FileType::from_raw_mode(
                        fs::statat(&fd, &name, AtFlags::SYMLINK_NOFOLLOW)?.st_mode,
                    )),
                    known => kind_of(known),
                };
                entries.push(Entry { name, kind });
            }
            entries.sort();
            Ok(entries)
        };
        read().map_err(|e| named(e, "cannot list", dir))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let renamed = self.between(from, to, "cannot rename", rename);
        self.dirs.forget(from);
        renamed
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.between(from, to, "cannot link", |a, a_name, b, b_name| {
            Ok(fs::linkat(a, a_name, b, b_name, AtFlags::empty())?)
        })
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.within(path, "cannot remove", |dir, name| Ok(fs::unlinkat(dir, name, AtFlags::empty())?))
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        let mode = Mode::RWXU | Mode::RGRP | Mode::XGRP;
        self.within(path, "cannot make the directory", |dir, name| Ok(fs::mkdirat(dir, name, mode)?))
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        self.within(path, "cannot remove the directory", |dir, name| {
            Ok(fs::unlinkat(dir, name, AtFlags::REMOVEDIR)?)
        })
        .inspect(|()| self.dirs.forget(path))
    }

    fn sync_dir(&self, dir: &Path, _label: &'static str) -> io::Result<()> {
        let sync = || -> io::Result<()> { Ok(fs::fsync(self.dir(dir)?)?) };
        sync().map_err(|e| named(e, "cannot sync the directory", dir))
    }

    fn sync_everything(&self, _label: &'static str) -> io::Result<()> {
        fs::syncfs(self.dirs.root()).map_err(|e| named(e, "cannot sync the file system of", &self.place))
    }

    fn free_bytes(&self) -> io::Result<u64> {
        let stat = fs::fstatvfs(self.dirs.root()).map_err(|e| named(e, "cannot look at", &self.place))?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }

    fn lock(&self, path: &Path) -> Result<Box<dyn MediumLock>, LockError> {
        let file = match self.open_file(path, Open::Existing) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => self.open_file(path, Open::Create)?,
            opened => opened?,
        };
        match file.try_lock() {
            Ok(()) => {}
            Err(std::fs::TryLockError::WouldBlock) => return Err(LockError::Held { pid: read_pid(&file) }),
            Err(std::fs::TryLockError::Error(e)) => return Err(named(e, "cannot lock", path).into()),
        }
        // Only a hint for the one who is refused: a full disk must not keep us from locking.
        if let Err(e) = file.write_all_at(format!("{:>10}\n", std::process::id()).as_bytes(), 0) {
            tracing::debug!(error = %e, "the process id could not be written into the lock file");
        }
        Ok(Box::new(RealLock { file }))
    }
}

fn read_pid(file: &File) -> Option<u32> {
    let mut text = [0; 11];
    let read = file.read_at(&mut text, 0).ok()?;
    std::str::from_utf8(text.get(..read)?).ok()?.trim().parse().ok()
}

/// The kernel ends the lock with the last descriptor of this opening, or when it is told to.
#[derive(Debug)]
struct RealLock {
    file: File,
}

impl MediumLock for RealLock {}

impl Drop for RealLock {
    // Closing is not enough: a process that is being started holds a copy of the descriptor until its exec.
    fn drop(&mut self) {
        if let Err(e) = self.file.unlock() {
            tracing::debug!(error = %e, "the lock ends with its last descriptor, not now");
        }
    }
}

#[derive(Debug)]
struct RealFile {
    file: File,
    path: PathBuf,
}

impl RealFile {
    fn name<T>(&self, result: io::Result<T>, what: &str) -> io::Result<T> {
        result.map_err(|e| named(e, what, &self.path))
    }

    /// Writes zeros past the page cache where the file system can: they would drive out what is read again,
    /// and their write-back would come between the syncs of others.
    fn fill(&self, from: u64, to: u64) -> io::Result<()> {
        let room = vec![0; ZEROS_BYTES + DIRECT_BYTES];
        let aligned = room.as_ptr().align_offset(DIRECT_BYTES);
        let zeros = room.get(aligned..).and_then(|r| r.get(..ZEROS_BYTES)).unwrap_or_default();
        let whole = |at: u64| at.is_multiple_of(DIRECT_BYTES as u64);
        let flags = fs::fcntl_getfl(&self.file)?;
        let direct = whole(from) && whole(to) && fs::fcntl_setfl(&self.file, flags | OFlags::DIRECT).is_ok();
        let mut filled = self.fill_with(zeros, from, to);
        if direct {
            fs::fcntl_setfl(&self.file, flags)?;
            // Some file systems take the flag and refuse the write.
            if filled.as_ref().is_err_and(|e| e.kind() == io::ErrorKind::InvalidInput) {
                filled = self.fill_with(zeros, from, to);
            }
        }
        filled
    }

    fn fill_with(&self, zeros: &[u8], from: u64, to: u64) -> io::Result<()> {
        let mut at = from;
        while at < to {
            let piece = usize::try_from(to - at).unwrap_or(usize::MAX).min(zeros.len());
            self.file.write_all_at(zeros.get(..piece).unwrap_or(zeros), at)?;
            at += piece as u64;
        }
        Ok(())
    }
}

impl MediumFile for RealFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        loop {
            match self.file.read_at(buf, offset) {
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                read => return self.name(read, "cannot read"),
            }
        }
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.name(self.file.write_all_at(bytes, offset), "cannot write")
    }

    fn len(&self) -> io::Result<u64> {
        self.name(self.file.metadata().map(|m| m.len()), "cannot look at")
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.name(self.file.set_len(len), "cannot set the length of")
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        let have = self.len()?;
        if have < len {
            // Asked for first so that a full disk says so before anything is written; then written, because
            // overwriting an unwritten extent still changes metadata.
            match fs::fallocate(&self.file, fs::FallocateFlags::KEEP_SIZE, have, len - have) {
                Ok(()) | Err(Errno::OPNOTSUPP | Errno::NOSYS) => {}
                Err(e) => return self.name(Err(e.into()), "cannot allocate"),
            }
            self.name(self.fill(have, len), "cannot fill")?;
        }
        Ok(())
    }

    fn sync_data(&self, _label: &'static str) -> io::Result<()> {
        self.name(self.file.sync_data(), "cannot sync")
    }

    fn sync_all(&self, _label: &'static str) -> io::Result<()> {
        self.name(self.file.sync_all(), "cannot sync")
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed step of a test is a failed test")]

    use super::*;

    #[test]
    fn a_lock_that_was_given_up_is_free_although_a_starting_process_holds_a_copy_of_it() {
        let dir = tempfile::tempdir().unwrap();
        let file = File::create(dir.path().join("lock")).unwrap();
        file.try_lock().unwrap();
        let inherited = file.try_clone().unwrap();
        drop(RealLock { file });
        RealMedium::open(dir.path()).unwrap().lock(Path::new("lock")).unwrap();
        drop(inherited);
    }
}
