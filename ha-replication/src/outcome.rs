//! How a transaction may end, and what is known of that.

use crate::ops::PathFault;
use ha_core::{Epoch, Instant, Lsn, NodeId, TokenError};

/// The name of a transaction for ever: an epoch has one writer.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct TxId {
    /// The epoch in which it got its number.
    pub epoch: Epoch,
    /// Its number.
    pub lsn: Lsn,
}

/// How a commit ended.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum CommitOutcome {
    /// Durable where the rule demands it, and in the tree.
    Committed {
        /// Its number.
        lsn: Lsn,
        /// The epoch in which it is acknowledged.
        epoch: Epoch,
        /// The reading of the boot clock at which the permission was checked last.
        checked_at: Instant,
        /// It is the first result of an idempotency key that was used before.
        repeated: bool,
    },
    /// Surely absent.
    Rejected {
        /// Why.
        why: RejectReason,
    },
    /// It may become visible, or not. [`Mirror::outcome`](crate::Mirror::outcome) tells later.
    Unknown {
        /// Its name.
        tx_id: TxId,
        /// Why nobody knows.
        why: UnknownReason,
    },
}

/// Why a transaction was refused: nothing of it exists.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RejectReason {
    /// This copy does not lead.
    #[error("this copy does not lead")]
    NotPrimary,
    /// No permission.
    #[error(transparent)]
    Token(TokenError),
    /// A path that leads elsewhere.
    #[error("path {path:?}: {why}")]
    BadPath {
        /// Which.
        path: String,
        /// What is wrong.
        why: PathFault,
    },
    /// Too many bytes.
    #[error("a transaction of {found} bytes, expected at most {max}")]
    TooLarge {
        /// Its size.
        found: usize,
        /// The limit.
        max: usize,
    },
    /// Nothing to do.
    #[error("an empty transaction")]
    Empty,
    /// Too many operations.
    #[error("{found} operations, expected at most {max}")]
    TooManyOps {
        /// How many.
        found: usize,
        /// The limit.
        max: usize,
    },
    /// The name is taken.
    #[error("{path} exists")]
    Exists {
        /// Which.
        path: String,
    },
    /// There is no such file.
    #[error("{path} does not exist")]
    Missing {
        /// Which.
        path: String,
    },
    /// The file has another length.
    #[error("{path} has {found} bytes, expected {expected}")]
    Offset {
        /// Which.
        path: String,
        /// Its length.
        found: u64,
        /// The offset that was named.
        expected: u64,
    },
    /// A directory, or below a file.
    #[error("{path} is a directory, or lies below a file")]
    NotAFile {
        /// Which.
        path: String,
    },
    /// An idempotency key of no or too many bytes.
    #[error("an idempotency key must have 1 to 256 bytes")]
    BadKey,
    /// No room.
    #[error("node {whose} has too little free space")]
    NoSpace {
        /// Whose disk.
        whose: NodeId,
    },
    /// The mirror failed.
    #[error("the mirror failed: {why}")]
    Failed {
        /// Why.
        why: String,
    },
}

/// Why nobody knows how a transaction ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum UnknownReason {
    /// It waited for its limit. An abort follows it: it stays absent unless the other node was promoted before
    /// it heard of that.
    GaveUp,
    /// The role ended.
    Demoted,
    /// The permission ended while it waited.
    TokenExpired,
    /// The disk failed.
    Failed,
}

/// What became of a transaction, as this node knows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Outcome {
    /// Committed.
    Committed {
        /// Its number.
        lsn: Lsn,
    },
    /// It does not exist and never will.
    Absent,
    /// Not decided here.
    Pending,
    /// Older than what is remembered.
    Forgotten,
}
