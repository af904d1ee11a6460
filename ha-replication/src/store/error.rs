//! What can go wrong with the files.

use crate::record::{MirrorId, RecordError};
use ha_core::{Lsn, NodeId};
use std::io;

/// The files cannot be relied on any more. Terminal unless said otherwise at the call.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StoreError {
    #[error("{doing}: {source}")]
    Io { doing: &'static str, source: io::Error },
    #[error("an earlier write or sync failed; restart the mirror to recover what is durable")]
    Failed,
    #[error("the journal: {0}")]
    Record(#[from] RecordError),
    #[error("asked to cut the journal after LSN {after}, below LSN {bound} that counts")]
    CutTooDeep { after: Lsn, bound: Lsn },
}

impl StoreError {
    pub(crate) fn io(doing: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { doing, source }
    }

    /// The disk is full: not terminal where the call says so.
    pub(crate) fn is_full(&self) -> bool {
        matches!(self, Self::Io { source, .. } if source.kind() == io::ErrorKind::StorageFull)
    }
}

/// The mirror could not be opened.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OpenStoreError {
    #[error("another process has the mirror open{}", pid.map(|p| format!(": process {p}")).unwrap_or_default())]
    Locked { pid: Option<u32> },
    #[error("the directory belongs to mirror {found}, expected {expected}")]
    OtherMirror { found: MirrorId, expected: MirrorId },
    #[error("the directory belongs to node {found}, expected node {expected}")]
    OtherNode { found: NodeId, expected: NodeId },
    #[error(
        "the superblock: {found}; expected one readable slot of two. Restore the file, or remove the mirror's directory and let the peer fill it"
    )]
    Superblock { found: String },
    #[error("written by a newer program (format version {found}, this one knows 1): use that program")]
    Version { found: u16 },
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A copy was given up; the present one is untouched.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CopyError {
    #[error("a copied file is not what was sent: {what}")]
    Damaged { what: String },
    #[error(transparent)]
    Store(#[from] StoreError),
}
