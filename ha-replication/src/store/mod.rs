//! The mirror on disk: journal, tree, superblock. Blocking; everything goes through
//! [`Medium`](ha_core::store::medium::Medium).

mod error;

pub(crate) use error::{CopyError, OpenStoreError, StoreError};

use crate::history::History;
use crate::ops::RelPath;
use crate::record::{Chain, KeyHash, MirrorId, Record, RuleSeen};
use bytes::Bytes;
use ha_core::store::medium::Medium;
use ha_core::{Epoch, Lsn, NodeId};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

/// The limits that the files need; the caller checked them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StoreLimits {
    pub(crate) segment_bytes: u64,
    pub(crate) spare_segments: u8,
    pub(crate) retain_bytes: u64,
    pub(crate) max_transaction_bytes: usize,
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
    SuperblockSlot { slot: u8 },
    /// A write that the last power loss tore was cut off after this LSN. Nothing acknowledged was in it.
    TornTail { after: Lsn },
    /// Records that are known to have existed are unreadable.
    Corruption { after: Lsn, known: Lsn, why: String },
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

pub(crate) struct Journal;
pub(crate) struct Applier;
#[derive(Clone)]
pub(crate) struct Lookup;
pub(crate) struct Keeper;
#[derive(Clone)]
pub(crate) struct Reader;
pub(crate) struct CopySource;
pub(crate) struct CopyTarget;

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

/// Opens the mirror in `medium`, or makes an empty one; restores and redoes. Takes the lock.
pub(crate) fn open(_medium: Arc<dyn Medium>, _config: StoreConfig) -> Result<Opened, OpenStoreError> {
    Err(StoreError::Unfinished.into())
}

impl Journal {
    /// Durable on return. Any error is terminal.
    pub(crate) fn append(&mut self, _batch: &[Record]) -> Result<(Lsn, Chain), StoreError> {
        Err(StoreError::Unfinished)
    }
    /// Exports what comes after `after` into quarantine, then removes it. `None`: there was nothing.
    pub(crate) fn cut(&mut self, _after: Lsn) -> Result<Option<QuarantineReport>, StoreError> {
        Err(StoreError::Unfinished)
    }
}

impl Applier {
    /// Applies in order; `aborted` transactions move only the cursor. Returns the last LSN applied.
    pub(crate) fn apply(
        &mut self,
        _batch: &[Record],
        _aborted: &dyn Fn(Lsn) -> bool,
    ) -> Result<Lsn, StoreError> {
        Err(StoreError::Unfinished)
    }
    /// Starts a new checkpoint between two batches; hand the result to [`Keeper::checkpoint`].
    pub(crate) fn rotate(&mut self) -> Result<Rotation, StoreError> {
        Err(StoreError::Unfinished)
    }
    pub(crate) fn lookup(&self) -> Lookup {
        Lookup
    }
}

impl Lookup {
    pub(crate) fn file_len(&self, _path: &RelPath) -> io::Result<Entry> {
        Ok(Entry::Absent)
    }
}

impl Keeper {
    /// Keeps the spare segments ready. `StorageFull` here is not terminal.
    pub(crate) fn prepare_segments(&mut self) -> Result<(), StoreError> {
        Err(StoreError::Unfinished)
    }
    /// Makes the tree durable up to the rotation; returns its LSN. `facts` are as of the rotation or later.
    pub(crate) fn checkpoint(&mut self, _at: Rotation, _facts: &Facts) -> Result<Lsn, StoreError> {
        Err(StoreError::Unfinished)
    }
    pub(crate) fn free_bytes(&self) -> io::Result<u64> {
        Ok(0)
    }
    /// Scans the tree; the applier must stand still at `at`.
    pub(crate) fn digest(&self, _at: Lsn) -> Result<StoreDigest, StoreError> {
        Err(StoreError::Unfinished)
    }
    /// Begins to receive a whole copy beside the present one.
    pub(crate) fn copy_target(&mut self, _begin: CopyBegin) -> Result<CopyTarget, CopyError> {
        Err(StoreError::Unfinished.into())
    }
}

impl Reader {
    /// Oldest LSN that the journal holds.
    pub(crate) fn oldest(&self) -> Lsn {
        Lsn(0)
    }
    /// `None`: not retained (LSN 0 and the checkpoint's LSN are always known).
    pub(crate) fn chain_at(&self, _lsn: Lsn) -> Result<Option<Chain>, StoreError> {
        Err(StoreError::Unfinished)
    }
    /// Records `from..=to`, at least one, then at most `max_bytes`; empty: not retained.
    pub(crate) fn read(&self, _from: Lsn, _to: Lsn, _max_bytes: usize) -> Result<Vec<Record>, StoreError> {
        Err(StoreError::Unfinished)
    }
    /// Holds pins and journal from `rotation` on until dropped.
    pub(crate) fn copy_source(&self, _rotation: Rotation) -> CopySource {
        CopySource
    }
}

impl CopySource {
    /// The next piece of at most `max` bytes: tree files, then pins. `None`: all was sent; the copy is whole
    /// together with the records up to what is applied now.
    pub(crate) fn next(&mut self, _max: usize) -> Result<Option<CopyChunk>, StoreError> {
        Err(StoreError::Unfinished)
    }
}

impl CopyTarget {
    pub(crate) fn chunk(&mut self, _chunk: CopyChunk) -> Result<(), CopyError> {
        Err(StoreError::Unfinished.into())
    }
    /// Records after S0, in order.
    pub(crate) fn append(&mut self, _batch: &[Record]) -> Result<(Lsn, Chain), StoreError> {
        Err(StoreError::Unfinished)
    }
    /// When all pieces are there and the journal holds `s1`: the copy becomes the mirror. The parts opened
    /// before must have been given up (their threads ended).
    pub(crate) fn finish(self, _s1: Lsn) -> Result<Opened, OpenStoreError> {
        Err(StoreError::Unfinished.into())
    }
}
