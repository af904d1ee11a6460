//! The entries of a log, oldest first, with what is damaged in between.

use super::entry::Entry;
use super::error::{Damage, ReplayError};
use super::frame::{self, Cut, FileKind};
use std::path::{Path, PathBuf};

/// The name of a node's log in its directory.
const NAME: &str = "engine.log";

/// One file of a log.
#[derive(Clone, Debug)]
pub struct LogPart {
    /// Where it is, for messages.
    pub place: String,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

/// A log in memory.
#[derive(Clone, Debug)]
pub struct LogReader {
    parts: Vec<LogPart>,
}

/// What is found in a log.
#[derive(Clone, Debug)]
pub(super) enum Found {
    Entry(Entry),
    Damage(Damage),
}

impl LogReader {
    /// Reads a log: a file with its older ones (`engine.log`, `engine.log.1`, …), or the directory of a node.
    ///
    /// # Errors
    /// [`ReplayError::Unreadable`], [`ReplayError::NotALog`], [`ReplayError::Version`].
    pub fn open(path: &Path) -> Result<Self, ReplayError> {
        let newest = if path.is_dir() { path.join(NAME) } else { path.to_owned() };
        let mut parts = vec![read(&newest)?];
        for age in 1u32.. {
            let mut older = newest.clone().into_os_string();
            older.push(format!(".{age}"));
            let older = PathBuf::from(older);
            if !older.exists() {
                break;
            }
            parts.push(read(&older)?);
        }
        parts.reverse();
        Self::from_parts(parts)
    }

    /// A log that was read already, its oldest file first.
    ///
    /// # Errors
    /// [`ReplayError::NotALog`], [`ReplayError::Version`].
    pub fn from_parts(parts: Vec<LogPart>) -> Result<Self, ReplayError> {
        for part in &parts {
            frame::check_header(FileKind::Steps, &part.bytes, &part.place)?;
        }
        Ok(Self { parts })
    }

    /// A log in memory, from frames as a [`StepEncoder`](super::StepEncoder) makes them.
    #[must_use]
    pub fn from_frames(place: &str, frames: &[u8]) -> Self {
        let bytes = [&frame::file_header(FileKind::Steps)[..], frames].concat();
        Self { parts: vec![LogPart { place: place.into(), bytes }] }
    }

    /// Where it is, for messages.
    #[must_use]
    pub fn place(&self) -> &str {
        self.parts.last().map_or("the log", |p| p.place.as_str())
    }

    /// Its size in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.parts.iter().map(|p| p.bytes.len()).sum()
    }

    pub(super) fn read(&self) -> impl Iterator<Item = Found> {
        let newest = self.parts.len().saturating_sub(1);
        self.parts.iter().enumerate().flat_map(move |(n, part)| part.read(n == newest))
    }
}

impl LogPart {
    fn read(&self, newest: bool) -> impl Iterator<Item = Found> {
        let mut at = frame::FILE_HEADER_BYTES;
        std::iter::from_fn(move || {
            let damage = |found, torn_tail| {
                Found::Damage(Damage {
                    place: self.place.clone(),
                    offset: at as u64,
                    found,
                    torn_tail,
                    last: None,
                })
            };
            let rest = self.bytes.get(at..)?;
            let (found, taken) = match frame::cut(rest) {
                Cut::End => return None,
                Cut::Bad(found, reaches_end) => (damage(found, reaches_end && newest), rest.len()),
                Cut::Whole(payload, taken) => match postcard::from_bytes(payload) {
                    Ok(entry) => (Found::Entry(entry), taken),
                    Err(e) => (damage(format!("an entry that this version cannot read: {e}"), false), taken),
                },
            };
            at += taken;
            Some(found)
        })
    }
}

fn read(path: &Path) -> Result<LogPart, ReplayError> {
    let place = path.display().to_string();
    match std::fs::read(path) {
        Ok(bytes) => Ok(LogPart { place, bytes }),
        Err(e) => Err(ReplayError::Unreadable { place, found: e.to_string() }),
    }
}

/// The entries of frames that were never in a file.
pub(crate) fn entries(frames: &[u8]) -> impl Iterator<Item = Result<Entry, String>> {
    let mut at = 0;
    std::iter::from_fn(move || match frame::cut(frames.get(at..)?) {
        Cut::End => None,
        Cut::Bad(found, _) => {
            at = frames.len();
            Some(Err(found))
        }
        Cut::Whole(payload, taken) => {
            at += taken;
            Some(postcard::from_bytes(payload).map_err(|e| e.to_string()))
        }
    })
}
