//! What can be wrong with a log.

use crate::Instant;

/// A log cannot be replayed.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReplayError {
    /// The file is none of ours.
    #[error(
        "{place}: found {found}, expected an engine log (it begins with \"HA-STEPS\"); give the engine.log of a node, or its directory"
    )]
    NotALog {
        /// Which file.
        place: String,
        /// What it holds.
        found: String,
    },
    /// Another version of the format.
    #[error(
        "{place}: found a log of format version {found}, this program reads version {expected}; replay it with the version of the program that wrote it"
    )]
    Version {
        /// Which file.
        place: String,
        /// Its version.
        found: u16,
        /// Ours.
        expected: u16,
    },
    /// Another version of the library wrote it: its rules may differ.
    #[error(
        "the log was written by version {found} of this library, this is {expected}; their rules may differ, so replay it with that version"
    )]
    Program {
        /// Who wrote it.
        found: String,
        /// Who reads it.
        expected: String,
    },
    /// No life is in it.
    #[error("{place}: found no entry to begin with: {found}")]
    Empty {
        /// Which file.
        place: String,
        /// What is there instead.
        found: String,
    },
    /// An entry that cannot follow the ones before it.
    #[error("entry {entry}: {found}; the log is damaged, or was put together from parts of several logs")]
    Senseless {
        /// Its number, from 0.
        entry: u64,
        /// What is wrong with it.
        found: String,
    },
    /// The log speaks of another configuration than the one it is to be compared with.
    #[error(
        "the log was written under another configuration: {0}; give the configuration of that node, or none"
    )]
    OtherConfig(String),
    /// A file could not be read.
    #[error("{place}: {found}")]
    Unreadable {
        /// Which file.
        place: String,
        /// What the operating system said.
        found: String,
    },
}

/// A part of a log that could not be read. What is readable around it is replayed.
#[derive(Clone, PartialEq, Eq, Debug, serde::Serialize)]
pub struct Damage {
    /// Which file.
    pub place: String,
    /// From which byte on.
    pub offset: u64,
    /// What was found there.
    pub found: String,
    /// Whether it is the end of the newest file, which a crash may always tear.
    pub torn_tail: bool,
    /// How far the replay had come.
    pub last: Option<Instant>,
}

impl std::fmt::Display for Damage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { place, offset, found, .. } = self;
        if self.torn_tail {
            write!(
                f,
                "{place}: the last write was torn at byte {offset} ({found}), as a crash may; nothing before it is missing"
            )
        } else {
            write!(
                f,
                "{place}: damaged from byte {offset} on ({found}); the rest of this file is not readable"
            )
        }
    }
}
