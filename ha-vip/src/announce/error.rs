//! Why an address is not announced.

use crate::packet::PacketError;
use std::io;
use std::net::IpAddr;

/// An address cannot be announced now.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AnnounceError {
    /// Not the address of one node.
    #[error("{address} cannot be announced; expected the address of one node, neither loopback nor a group")]
    NotOfOneNode {
        /// The address.
        address: IpAddr,
    },
    /// This node may not act: its permission ended or was withdrawn. Nothing was sent.
    #[error("{address} was not announced: this node has no permission to act now")]
    NotPermitted {
        /// The address.
        address: IpAddr,
    },
    /// More addresses than fit.
    #[error("{limit} addresses are prepared already, which is the limit; forget some of them first")]
    TooMany {
        /// How many an announcer takes.
        limit: usize,
    },
    /// A frame could not be sent, or no socket opened. Later rounds try again.
    #[error(transparent)]
    Packet(#[from] PacketError),
    /// The thread that sends later rounds has ended: a closure that it was given panicked. The first frames were sent; nothing
    /// follows.
    #[error(
        "the thread that announces has ended (a closure it was given panicked); expected it to run: make a new announcer"
    )]
    ThreadEnded,
    /// The thread that sends later rounds could not be started.
    #[error("cannot start the thread that announces: {source}")]
    Thread {
        /// What the operating system said.
        #[from]
        source: io::Error,
    },
}
