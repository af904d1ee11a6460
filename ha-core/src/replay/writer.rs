//! The files of a log: a few of bounded size, the newest one under the plain name.

use super::frame::{self, FileKind};
use crate::store::medium::{Medium, MediumFile, Open};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

/// How much of the past a log keeps.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct LogLimits {
    /// The size at which the next file is begun, in bytes. One batch of entries may exceed it.
    pub file_bytes: u64,
    /// How many files there are at most: `engine.log`, `engine.log.1` (older), ….
    pub files: u32,
}

impl Default for LogLimits {
    /// 64 MiB in all: by estimate some hours of an idle pair.
    fn default() -> Self {
        Self { file_bytes: 8 << 20, files: 8 }
    }
}

impl LogLimits {
    /// Limits of their own. At least one file of 4 KiB.
    #[must_use]
    pub fn new(file_bytes: u64, files: u32) -> Self {
        Self { file_bytes: file_bytes.max(4096), files: files.max(1) }
    }
}

/// Appends frames to the files of one log. Nothing is synced: what was written survives the process, and a power
/// loss may tear the end off.
pub struct LogWriter {
    medium: Arc<dyn Medium>,
    name: String,
    kind: FileKind,
    limits: LogLimits,
    open: Option<(Box<dyn MediumFile>, u64)>,
}

impl LogWriter {
    /// A log called `name` in `medium`. Nothing is touched before the first append.
    #[must_use]
    pub fn new(medium: Arc<dyn Medium>, name: &str, kind: FileKind, limits: LogLimits) -> Self {
        Self { medium, name: name.into(), kind, limits, open: None }
    }

    /// Appends whole frames. `begin` appends the frame from which a reader can begin; it is asked for where a new
    /// file begins, and first of all if `needed`. After an error the next call opens the file anew and cuts what
    /// was written in part.
    ///
    /// # Errors
    /// What the disk said. The frames are not in the log then.
    pub fn append(
        &mut self,
        frames: &[u8],
        needed: bool,
        begin: &mut dyn FnMut(&mut Vec<u8>),
    ) -> io::Result<()> {
        let (file, length) = match self.open.take() {
            Some(open) => open,
            None => self.open_newest()?,
        };
        let full = length + frames.len() as u64 > self.limits.file_bytes;
        let (file, length) = if full && length > frame::FILE_HEADER_BYTES as u64 {
            drop(file);
            self.rotate()?
        } else {
            (file, length)
        };
        let fresh = length == 0;
        let mut bytes = Vec::new();
        if fresh {
            bytes.extend(frame::file_header(self.kind));
        }
        if fresh || needed {
            begin(&mut bytes);
        }
        if !bytes.is_empty() {
            file.write_at(&bytes, length)?;
        }
        let length = length + bytes.len() as u64;
        file.write_at(frames, length)?;
        self.open = Some((file, length + frames.len() as u64));
        Ok(())
    }

    /// The payloads of all whole frames, oldest first. Files that cannot be read are passed over: this is for
    /// what is only kept for convenience.
    #[must_use]
    pub fn read_back(&self) -> Vec<Vec<u8>> {
        let mut payloads = Vec::new();
        for age in (0..self.limits.files).rev() {
            let Ok(bytes) = self.medium.read(&self.path(age)) else { continue };
            if frame::check_header(self.kind, &bytes, &self.name).is_err() {
                continue;
            }
            let mut at = frame::FILE_HEADER_BYTES;
            while let Some(frame::Cut::Whole(payload, taken)) = bytes.get(at..).map(frame::cut) {
                payloads.push(payload.to_vec());
                at += taken;
            }
        }
        payloads
    }

    fn path(&self, age: u32) -> PathBuf {
        if age == 0 { PathBuf::from(&self.name) } else { PathBuf::from(format!("{}.{age}", self.name)) }
    }

    /// The newest file, cut to what is whole; put aside if it is none of ours.
    fn open_newest(&self) -> io::Result<(Box<dyn MediumFile>, u64)> {
        let path = self.path(0);
        let bytes = match self.medium.read(&path) {
            Ok(bytes) => bytes,
            Err(e) if e.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(e) => return Err(e),
        };
        if !bytes.is_empty() && frame::check_header(self.kind, &bytes, &self.name).is_err() {
            return self.rotate();
        }
        let whole = if bytes.is_empty() { 0 } else { frame::whole_bytes(&bytes) as u64 };
        let file = self.medium.open(&path, Open::Create)?;
        file.set_len(whole)?;
        Ok((file, whole))
    }

    /// Each file becomes one older; the oldest one goes.
    fn rotate(&self) -> io::Result<(Box<dyn MediumFile>, u64)> {
        for age in (0..self.limits.files).rev() {
            let from = self.path(age);
            if self.medium.metadata(&from)?.is_none() {
                continue;
            }
            if age + 1 < self.limits.files {
                self.medium.rename(&from, &self.path(age + 1))?;
            } else {
                self.medium.remove(&from)?;
            }
        }
        Ok((self.medium.open(&self.path(0), Open::Create)?, 0))
    }
}

impl std::fmt::Debug for LogWriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LogWriter")
            .field("name", &self.name)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}
