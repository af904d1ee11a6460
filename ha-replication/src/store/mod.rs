//! The mirror on disk: journal, tree, superblock. Blocking; everything goes through
//! [`Medium`](ha_core::store::medium::Medium).

mod copy;
mod digest;
#[cfg(test)]
mod durability;
mod error;
mod journal;
mod keeper;
mod layout;
#[cfg(test)]
mod model;
mod pins;
mod quarantine;
mod reader;
mod recovery;
mod scan;
mod segment;
mod superblock;
#[cfg(test)]
mod tests;
mod tree;

pub(crate) use copy::{CopySource, CopyTarget};
pub(crate) use error::{CopyError, OpenStoreError, StoreError};
pub(crate) use journal::Journal;
pub(crate) use keeper::Keeper;
pub(crate) use reader::Reader;
pub(crate) use recovery::open;
pub(crate) use tree::{Applier, Lookup};

use crate::history::History;
use crate::ops::RelPath;
use crate::record::{Chain, KeyHash, MirrorId, Record, RuleSeen};
use bytes::Bytes;
use ha_core::{Epoch, Lsn, NodeId};
use std::path::PathBuf;

/// The limits that the files need; the caller checked them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StoreLimits {
    pub(crate) segment_bytes: u64,
    pub(crate) spare_segments: u8,
    pub(crate) retain_bytes: u64,
    pub(crate) max_keys: usize,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct StoreConfig {
    pub(crate) mirror: MirrorId,
    pub(crate) me: NodeId,
    pub(crate) limits: StoreLimits,
}

pub(crate) struct Opened {
    pub(crate) journal: Journal,
    pub(crate) applier: Applier,
    pub(crate) keeper: Keeper,
    pub(crate) reader: Reader,
    pub(crate) recovered: Recovered,
}

#[derive(Clone, Debug)]
pub(crate) struct Recovered {
    pub(crate) durable: Lsn,
    /// Epoch of the newest record; 0 of a blank journal.
    pub(crate) epoch: Epoch,
    pub(crate) chain: Chain,
    /// Known committed; applied up to here.
    pub(crate) commit: Lsn,
    pub(crate) acked: Lsn,
    pub(crate) floor: Lsn,
    /// Oldest LSN that the journal holds; durable + 1 if none.
    pub(crate) oldest: Lsn,
    pub(crate) history: History,
    pub(crate) rule: Option<RuleSeen>,
    /// (commit, durable], not applied.
    pub(crate) pending: Vec<Record>,
    pub(crate) keys: Vec<(KeyHash, Lsn)>,
    /// (transaction, its abort).
    pub(crate) aborted: Vec<(Lsn, Lsn)>,
    /// Relative to the medium, for example `gen-1`.
    pub(crate) generation_dir: PathBuf,
    pub(crate) notes: Vec<RecoveryNote>,
}

/// Something that was found and mended when the mirror was opened.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum RecoveryNote {
    /// No mirror was there; an empty one was made.
    Made,
    /// One superblock slot was unreadable; the other one was used.
    SuperblockSlot {
        /// Which of the two.
        slot: u8,
    },
    /// A write that the last power loss tore was cut off after this LSN. Nothing acknowledged was in it.
    TornTail {
        /// The last LSN that stayed.
        after: Lsn,
    },
    /// Records that are known to have existed are unreadable.
    Corruption {
        /// The last readable LSN.
        after: Lsn,
        /// The highest LSN that is known to have existed.
        known: Lsn,
        /// What was found.
        why: String,
    },
}

/// Records that left the journal and are kept aside.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct QuarantineReport {
    /// The last LSN that stayed.
    pub fork: Lsn,
    /// The last LSN that left.
    pub until: Lsn,
    /// The epoch of the first record that left.
    pub epoch: Epoch,
    /// Where they are, relative to the mirror's directory.
    pub file: PathBuf,
}

/// What a tree holds at one LSN.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct StoreDigest {
    /// Applied up to here.
    pub lsn: Lsn,
    /// Files.
    pub files: u64,
    /// Bytes in them.
    pub bytes: u64,
    /// Over paths, lengths and contents, in order of the paths' bytes.
    pub hash: [u8; 32],
}

/// What a checkpoint remembers besides the tree.
#[derive(Clone, Debug)]
pub(crate) struct Facts {
    pub(crate) commit: Lsn,
    pub(crate) acked: Lsn,
    pub(crate) floor: Lsn,
    pub(crate) rule: Option<RuleSeen>,
    pub(crate) history: History,
    pub(crate) aborted: Vec<(Lsn, Lsn)>,
    pub(crate) keys: Vec<(KeyHash, Lsn)>,
}

/// The applier stood here between two batches.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Rotation {
    pub(crate) lsn: Lsn,
    pub(crate) chain: Chain,
}

/// What a name in the tree stands for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Entry {
    Absent,
    File(u64),
    Dir,
    /// One of the directories on the way is a file.
    BelowFile,
}

/// What a copy starts from: S0 and all that is known there.
#[derive(Clone, Debug)]
pub(crate) struct CopyBegin {
    pub(crate) at: Rotation,
    pub(crate) epoch: Epoch,
    pub(crate) facts: Facts,
}

/// A piece of a file, in order; a file's first piece has offset 0.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct CopyChunk {
    pub(crate) file: CopyFile,
    pub(crate) offset: u64,
    pub(crate) data: Bytes,
    /// With the last piece: the BLAKE3 hash of the whole file.
    pub(crate) hash: Option<[u8; 32]>,
}

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum CopyFile {
    Tree(RelPath),
    /// The preserved state of a path (blake3-128 of it) at the start of the copy.
    Pin([u8; 16]),
}
