//! What can go wrong when a mirror is opened or asked.

use ha_core::{Lsn, NodeId};
use std::io;
use std::net::SocketAddr;

/// A mirror could not be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The disk said no.
    #[error("mirror at {place}: {source}")]
    Io {
        /// Where.
        place: String,
        /// Why.
        source: io::Error,
    },
    /// Somebody has it open.
    #[error("the mirror at {place} is in use{}; expected one process for one mirror", pid.map(|p| format!(" by process {p}")).unwrap_or_default())]
    Locked {
        /// Where.
        place: String,
        /// Who, if that is known.
        pid: Option<u32>,
    },
    /// The directory belongs to another mirror.
    #[error(
        "the directory {place} holds mirror {found:032x}, expected {expected:032x}; use another directory, or the mirror's name as it was"
    )]
    OtherMirror {
        /// Where.
        place: String,
        /// What was found.
        found: u128,
        /// What was asked for.
        expected: u128,
    },
    /// The directory belongs to the other node.
    #[error(
        "the directory {place} belongs to node {found}, expected node {expected}; each node needs its own directory"
    )]
    OtherNode {
        /// Where.
        place: String,
        /// What was found.
        found: NodeId,
        /// What was asked for.
        expected: NodeId,
    },
    /// Written by a newer library.
    #[error("{place} has format version {found}, this library knows up to {expected}; use the newer library")]
    Version {
        /// Where.
        place: String,
        /// What was found.
        found: u16,
        /// The newest known.
        expected: u16,
    },
    /// No slot of the superblock is whole.
    #[error(
        "the superblock at {place} is damaged: {found}; move the directory away and let the peer copy its mirror"
    )]
    Superblock {
        /// Where.
        place: String,
        /// What was read.
        found: String,
    },
    /// A tree or journal that cannot be read back.
    #[error("the mirror at {place} cannot be recovered: {found}")]
    Damaged {
        /// Where.
        place: String,
        /// What was found.
        found: String,
    },
    /// A limit makes no sense.
    #[error("limit {field} is {found}, expected {expected}")]
    Limit {
        /// Which.
        field: &'static str,
        /// What was found.
        found: String,
        /// What would be right.
        expected: String,
    },
    /// A pair has two nodes.
    #[error("node {found}; expected 0 or 1")]
    Node {
        /// What was found.
        found: NodeId,
    },
    /// An address others can reach, without a key.
    #[error(
        "address {addr} is not a loopback address; without a key only loopback is allowed: give the pair's key"
    )]
    KeyNeeded {
        /// Which.
        addr: SocketAddr,
    },
    /// The port could not be bound.
    #[error("cannot listen on {addr}: {source}")]
    Listen {
        /// Which.
        addr: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// Opened outside of a tokio runtime.
    #[error("a mirror is opened inside a tokio runtime (its stream runs there); found none")]
    NoRuntime,
}

/// A request to an open mirror failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MirrorError {
    /// The mirror failed and serves nobody any more.
    #[error("the mirror failed: {why}")]
    Failed {
        /// Why.
        why: String,
    },
    /// There is nothing to give up.
    #[error("found {found}, expected a divergence after transaction {expected}: nothing was given up")]
    NotDiverged {
        /// What the last comparison of the copies said.
        found: String,
        /// The fork that was named.
        expected: Lsn,
    },
    /// The disk said no.
    #[error("{0}")]
    Io(#[from] io::Error),
}
