//! What is open: files and locks.

use super::disk::Ino;
use super::{RecordingMedium, State};
use crate::store::medium::path::named;
use crate::store::medium::{MediumFile, MediumLock};
use std::io::{self, ErrorKind};
use std::path::PathBuf;

pub(super) struct RecordingLock {
    pub(super) medium: RecordingMedium,
    pub(super) path: PathBuf,
}

impl MediumLock for RecordingLock {}

impl Drop for RecordingLock {
    fn drop(&mut self) {
        self.medium.state().locks.remove(&self.path);
    }
}

pub(super) struct RecordingFile {
    pub(super) medium: RecordingMedium,
    pub(super) ino: Ino,
    pub(super) path: PathBuf,
    pub(super) writable: bool,
}

impl RecordingFile {
    fn change(
        &self,
        what: &'static str,
        act: impl FnOnce(&mut State, Ino) -> io::Result<()>,
    ) -> io::Result<()> {
        if !self.writable {
            return Err(named(ErrorKind::PermissionDenied, what, &self.path));
        }
        self.medium.call(what, &self.path, |state| act(state, self.ino))
    }
}

impl MediumFile for RecordingFile {
    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        self.medium.call("read", &self.path, |state| Ok(state.file(self.ino)?.content.read(buf, offset)))
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.change("write", |state, ino| state.write(ino, bytes, offset))
    }

    fn len(&self) -> io::Result<u64> {
        self.medium.call("len", &self.path, |state| Ok(state.file(self.ino)?.content.len()))
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.change("set_len", |state, ino| state.set_len(ino, len))
    }

    fn allocate(&self, len: u64) -> io::Result<()> {
        self.change("allocate", |state, ino| state.allocate(ino, len))
    }

    fn sync_data(&self, label: &'static str) -> io::Result<()> {
        self.medium.sync(&self.path, label, |_| Ok(self.ino))
    }

    fn sync_all(&self, label: &'static str) -> io::Result<()> {
        self.sync_data(label)
    }
}
