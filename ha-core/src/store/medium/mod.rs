//! The recordable layer: what a journal, a file tree and a state record need of a disk, and no more.
//!
//! | implementor | is |
//! |---|---|
//! | `RealMedium` (feature `runtime`) | a directory of the operating system |
//! | `RecordingMedium` (feature `sim`) | a model in memory that loses, tears and reorders what was not synced |
//!
//! Every sync carries the label of its call site, for example `sync_data("journal.batch")`: a test removes the
//! calls one by one and proves that each of them is needed.

#[cfg(any(feature = "runtime", feature = "sim"))]
mod dirs;
mod path;
#[cfg(feature = "runtime")]
mod real;
#[cfg(feature = "sim")]
mod recording;

#[cfg(feature = "runtime")]
pub use real::RealMedium;
#[cfg(feature = "sim")]
pub use recording::{Call, CrashImage, CrashImages, CrashPoint, MetadataOrder, RecordingMedium, SyncPick};

use std::ffi::OsString;
use std::io;
use std::path::Path;

/// How a file is opened. Always for reading; for writing except in [`Open::Read`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Open {
    /// Must exist; reading only.
    Read,
    /// Must exist.
    Existing,
    /// Made if it is missing.
    Create,
    /// Must not exist.
    CreateNew,
}

/// What a name stands for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[non_exhaustive]
pub enum Kind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// Something that this layer never makes (a symbolic link, a socket). It is never followed.
    Other,
}

/// One name in a directory.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Entry {
    /// Its name, without the directory.
    pub name: OsString,
    /// What it stands for.
    pub kind: Kind,
}

/// What is known of a name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Metadata {
    /// What it stands for.
    pub kind: Kind,
    /// Length in bytes; zero for anything but a file.
    pub len: u64,
}

/// A directory and everything below it. Blocking; call it from a thread that may wait for a disk.
///
/// Paths are relative to the root; the empty path is the root. A path with `..`, a leading `/` or a symbolic
/// link on its way is an error, whoever sent it.
///
/// The caller's contract:
/// 1. What was written is durable only after `sync_data` or `sync_all` of *that* file returned `Ok`.
/// 2. A new, renamed or removed name is durable only after `sync_dir` of *its directory* returned `Ok`;
///    syncing the file does not do it.
/// 3. A rename is atomic: after a crash either all of it happened or nothing.
/// 4. After a failed write or sync nothing that was not synced before may be relied on, and a later `Ok` of
///    the same handle proves nothing about it: give the handle up, rewrite, or stop.
pub trait Medium: Send + Sync {
    /// Where it is, for messages.
    fn place(&self) -> String;
    /// Opens a file.
    ///
    /// # Errors
    /// `NotFound`, `AlreadyExists`, `StorageFull`, `ReadOnlyFilesystem`, … naming the path.
    fn open(&self, path: &Path, how: Open) -> io::Result<Box<dyn MediumFile>>;
    /// Reads a whole file.
    ///
    /// # Errors
    /// What the disk said, naming the path.
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let file = self.open(path, Open::Read)?;
        let wanted = usize::try_from(file.len()?).map_err(|_| io::ErrorKind::FileTooLarge)?;
        let mut bytes = vec![0; wanted];
        let read = read_full(&*file, &mut bytes, 0)?;
        bytes.truncate(read);
        Ok(bytes)
    }
    /// What is known of a name; `None` if there is none.
    ///
    /// # Errors
    /// What the disk said, naming the path.
    fn metadata(&self, path: &Path) -> io::Result<Option<Metadata>>;
    /// The names in a directory, in order of their bytes.
    ///
    /// # Errors
    /// What the disk said, naming the path.
    fn list(&self, dir: &Path) -> io::Result<Vec<Entry>>;
    /// Renames atomically. A file replaces a file; a directory only takes a free name.
    ///
    /// # Errors
    /// What the disk said, naming both paths.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Gives a file a second, free name.
    ///
    /// # Errors
    /// What the disk said, naming both paths.
    fn link(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes the name of a file.
    ///
    /// # Errors
    /// What the disk said, naming the path.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Makes a directory in an existing one.
    ///
    /// # Errors
    /// What the disk said, naming the path.
    fn create_dir(&self, path: &Path) -> io::Result<()>;
    /// Removes an empty directory.
    ///
    /// # Errors
    /// What the disk said, naming the path.
    fn remove_dir(&self, path: &Path) -> io::Result<()>;
    /// Makes the names in `dir` durable: the new, the renamed and the removed ones, not what they stand for.
    ///
    /// # Errors
    /// What the disk said, naming the path; see rule 4.
    fn sync_dir(&self, dir: &Path, label: &'static str) -> io::Result<()>;
    /// Makes every content and every name below the root durable: one bulk write-back instead of a sync of
    /// each file. It may write back more than that (the whole file system).
    ///
    /// # Errors
    /// What the disk said; see rule 4.
    fn sync_everything(&self, label: &'static str) -> io::Result<()>;
    /// The space that files may still take, in bytes.
    ///
    /// # Errors
    /// What the disk said.
    fn free_bytes(&self) -> io::Result<u64>;
    /// Takes the lock file at `path` (made if it is missing) until the guard is dropped or the process ends.
    ///
    /// # Errors
    /// [`LockError::Held`] if another process, or another part of this one, has it.
    fn lock(&self, path: &Path) -> Result<Box<dyn MediumLock>, LockError>;
}

/// An open file. Offsets and lengths in bytes.
#[expect(clippy::len_without_is_empty, reason = "an empty file is nothing special here")]
pub trait MediumFile: Send + Sync {
    /// Reads at most `buf.len()` bytes; zero at the end.
    ///
    /// # Errors
    /// What the disk said, naming the path.
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize>;
    /// Writes all of `bytes`.
    ///
    /// # Errors
    /// What the disk said, naming the path; a part may have been written.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;
    /// The length.
    ///
    /// # Errors
    /// What the disk said, naming the path.
    fn len(&self) -> io::Result<u64>;
    /// Cuts the file, or grows it with zeros that take no space yet.
    ///
    /// # Errors
    /// What the disk said, naming the path.
    fn set_len(&self, len: u64) -> io::Result<()>;
    /// Grows the file to at least `len` with written zeros, so that overwriting them needs no space.
    ///
    /// # Errors
    /// `StorageFull` if there is no room; what the disk said, naming the path.
    fn allocate(&self, len: u64) -> io::Result<()>;
    /// Makes the content and the length durable.
    ///
    /// # Errors
    /// What the disk said, naming the path; see [`Medium`]'s rule 4.
    fn sync_data(&self, label: &'static str) -> io::Result<()>;
    /// As [`MediumFile::sync_data`], and times and owner too.
    ///
    /// # Errors
    /// As there.
    fn sync_all(&self, label: &'static str) -> io::Result<()>;
}

/// A lock that is held until this is dropped.
pub trait MediumLock: Send + Sync {}

/// A lock was not taken.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LockError {
    /// Somebody has it.
    #[error("the lock is held{}", pid.map(|p| format!(" by process {p}")).unwrap_or_default())]
    Held {
        /// The process that wrote its id into the lock file, if that can be read.
        pid: Option<u32>,
    },
    /// The lock file could not be opened or locked.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Reads until `buf` is full or the file ends; returns the number of bytes.
///
/// # Errors
/// What the disk said.
pub fn read_full(file: &dyn MediumFile, buf: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut done = 0;
    while let Some(rest) = buf.get_mut(done..).filter(|rest| !rest.is_empty()) {
        let read = file.read_at(rest, offset + done as u64)?;
        if read == 0 {
            break;
        }
        done += read;
    }
    Ok(done)
}
