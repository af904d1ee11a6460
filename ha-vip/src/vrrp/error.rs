//! A speaker could not begin.

use std::io;
use std::net::IpAddr;
use std::time::Duration;

/// A speaker could not begin. Nothing of it is left.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VrrpError {
    /// No router has the number 0.
    #[error("virtual router 0; expected 1..=255, the same on all speakers")]
    Vrid,
    /// 0 is what a leaving speaker says.
    #[error("priority 0; expected 1..=255")]
    Priority,
    /// The interval does not fit into the message.
    #[error("an interval of {found:?}; expected whole centiseconds, 10 ms to 40.95 s")]
    Interval {
        /// What was asked for.
        found: Duration,
    },
    /// The addresses do not fit into one message.
    #[error("{count} addresses; expected 1 to 255, all IPv4 or all IPv6 (two routers serve both families)")]
    Addresses {
        /// How many were given.
        count: usize,
    },
    /// A source or a peer is of another family than the addresses.
    #[error(
        "{found} cannot speak for addresses of the other family; expected the family of the virtual addresses"
    )]
    Family {
        /// The source or peer.
        found: IpAddr,
    },
    /// Unicast without anybody to speak to.
    #[error("unicast without peers; expected the other speakers' addresses")]
    NoPeers,
    /// There is no such interface.
    #[error("no interface {interface}: {source}; expected one in the speaker's network namespace")]
    Interface {
        /// Its name.
        interface: String,
        /// What the kernel said.
        source: io::Error,
    },
    /// The interface has no address to speak from.
    #[error(
        "{interface} has no address to speak from: {source}; expected one of the virtual addresses' family (IPv6: a link-local one that passed duplicate address detection), or give the source"
    )]
    NoSource {
        /// The interface.
        interface: String,
        /// What the kernel said.
        source: io::Error,
    },
    /// The process lacks a capability.
    #[error("not permitted to {what}; expected the capability {capability}")]
    Capability {
        /// What was tried.
        what: &'static str,
        /// What it takes.
        capability: &'static str,
    },
    /// The operating system refused.
    #[error("cannot {what} on {interface}: {source}")]
    Socket {
        /// What was tried.
        what: &'static str,
        /// The interface.
        interface: String,
        /// Why not.
        source: io::Error,
    },
    /// No thread to run in.
    #[error("cannot start the speaker's thread: {source}")]
    Thread {
        /// Why not.
        source: io::Error,
    },
}
