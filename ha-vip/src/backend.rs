//! The seam: one way to make a node answer at some addresses.

use crate::AcceptSource;
use crate::linux::LinuxError;
use async_trait::async_trait;
use ha_core::{TokenCell, Undo};
use std::io;
use std::net::{IpAddr, SocketAddr};

/// One way to make a node answer at the addresses of a resource, and stop to.
///
/// The implementor's contract:
/// 1. [`acquire`](Self::acquire) and [`release`](Self::release) may be repeated and may overlap (a `stop` during a
///    `start` that overran); after both ended the later call's effect stands.
/// 2. Whatever can be prepared without answering at the addresses is prepared before `acquire`, so that a takeover
///    waits for as little as possible.
/// 3. After a failed `acquire` nothing of it is left.
/// 4. After `release` returned `Ok` this node does not answer at the addresses.
/// 5. What outlives the process ends by itself soon after the permission did, or is named by [`undo`](Self::undo).
#[async_trait]
pub trait AddressBackend: Send + Sync {
    /// Its name for logs.
    fn name(&self) -> &str;
    /// Whether it can serve `address` at all, without changing anything.
    ///
    /// # Errors
    /// [`AddressError::Foreign`] with what it serves instead.
    fn check(&self, address: IpAddr) -> Result<(), AddressError>;
    /// Answers at `addresses` from now on, and no longer than the permission in `token` is renewed.
    ///
    /// # Errors
    /// [`AddressError`]; then this node answers at none of them.
    async fn acquire(&self, addresses: &[IpAddr], token: &TokenCell) -> Result<(), AddressError>;
    /// Answers at `addresses` no more. A success if it did not.
    ///
    /// # Errors
    /// [`AddressError`]; then it may still answer there.
    async fn release(&self, addresses: &[IpAddr]) -> Result<(), AddressError>;
    /// Looks whether this node answers at `addresses`. Asks the kernel, not its own memory.
    async fn holding(&self, addresses: &[IpAddr]) -> Holding;
    /// How to take `addresses` away after this process is dead; stored before each `acquire`. `None` if the
    /// effect ends with the process.
    fn undo(&self, addresses: &[IpAddr]) -> Option<Undo>;
    /// Connections to `at`, prepared now and open only while its address is held.
    ///
    /// # Errors
    /// [`AddressError::Busy`] if somebody else has the port; [`AddressError::Foreign`]; [`AddressError::Socket`].
    fn accept_source(&self, at: SocketAddr) -> Result<AcceptSource, AddressError>;
}

/// Whether a node answers at its addresses.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Holding {
    /// It does.
    Held,
    /// It does, or will soon, but not as it should.
    Degraded {
        /// What was found.
        found: String,
    },
    /// It does not.
    NotHeld,
    /// It should, but not everything is in place.
    Broken {
        /// What was found, and what was expected.
        found: String,
    },
    /// Nobody can tell.
    Unknown {
        /// Why.
        reason: String,
    },
}

/// An address could not be served.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AddressError {
    /// The backend does not serve such addresses. Nothing was changed.
    #[error("the {backend} backend cannot serve {address}; expected {expected}")]
    Foreign {
        /// The backend.
        backend: &'static str,
        /// What was asked for.
        address: IpAddr,
        /// What it serves.
        expected: &'static str,
    },
    /// Somebody else has the port and does not share it.
    #[error(
        "{at} is taken by a socket that does not share it (without SO_REUSEPORT, or of another user); expected it free: end that process or choose another port"
    )]
    Busy {
        /// The address and port.
        at: SocketAddr,
    },
    /// A port number that both nodes must know was left open.
    #[error("port 0 of {address} stands for any port; expected the one that clients use")]
    AnyPort {
        /// The address.
        address: IpAddr,
    },
    /// Nothing to serve.
    #[error("no address was given; expected at least one")]
    NoAddress,
    /// The address is not held, so there is nothing to accept from.
    #[error("{at} is not served by this node now; expected the address to be acquired first")]
    NotHeld {
        /// The address and port.
        at: SocketAddr,
    },
    /// The operating system refused.
    #[error("cannot {what} {at}: {source}")]
    Socket {
        /// What was tried.
        what: &'static str,
        /// The address and port.
        at: SocketAddr,
        /// Why not.
        source: io::Error,
    },
    /// An address on a Linux interface cannot be served.
    #[error(transparent)]
    Linux(Box<LinuxError>),
}
