//! Where a service gets its connections from, wherever the address is.

use crate::socket::{Listening, passes};
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::net::TcpStream;
use tokio::sync::watch;

pub(crate) type Slot = Option<Arc<Listening>>;

/// Accepts connections to one port of an address while the address is held, and waits while it is not.
///
/// Clones share the connections: each goes to one of them. A source outlives releases and takeovers; get it
/// once, before the group starts. Connections that arrive between the start of the address and the first
/// `accept` wait in the kernel; nobody is refused meanwhile.
#[derive(Clone)]
pub struct AcceptSource {
    at: SocketAddr,
    slot: watch::Receiver<Slot>,
}

/// No connection was accepted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AcceptError {
    /// The backend is gone: no connection will ever come.
    #[error("the backend of {at} is gone")]
    Gone {
        /// The address and port.
        at: SocketAddr,
    },
    /// The operating system has no room for another connection (descriptors, memory). Wait a little before the next call.
    #[error("cannot accept a connection to {at}: {source}")]
    Exhausted {
        /// The address and port.
        at: SocketAddr,
        /// What it said.
        source: io::Error,
    },
}

impl AcceptSource {
    pub(crate) const fn new(at: SocketAddr, slot: watch::Receiver<Slot>) -> Self {
        Self { at, slot }
    }

    /// The address and port.
    #[must_use]
    pub const fn at(&self) -> SocketAddr {
        self.at
    }

    /// Whether connections are taken now.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.slot.borrow().is_some()
    }

    /// The next connection, with Nagle's algorithm off. Dropping the future loses no connection.
    ///
    /// # Errors
    /// [`AcceptError::Exhausted`], after which it may be called again; [`AcceptError::Gone`].
    pub async fn accept(&self) -> Result<(TcpStream, SocketAddr), AcceptError> {
        let mut slot = self.slot.clone();
        loop {
            let listening = slot.borrow_and_update().clone();
            let Some(listening) = listening else {
                slot.changed().await.map_err(|_| AcceptError::Gone { at: self.at })?;
                continue;
            };
            let accepted = tokio::select! {
                changed = slot.changed() => {
                    changed.map_err(|_| AcceptError::Gone { at: self.at })?;
                    continue;
                }
                accepted = listening.listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, peer)) => {
                    if let Err(error) = stream.set_nodelay(true) {
                        tracing::debug!(%error, "a connection ended as it was accepted");
                    }
                    return Ok((stream, peer));
                }
                Err(e) if passes(&e) => {}
                // Closed between two looks at the slot: its news is on the way.
                Err(_) if !listening.is_open().unwrap_or(false) => {
                    drop(listening);
                    slot.changed().await.map_err(|_| AcceptError::Gone { at: self.at })?;
                }
                Err(source) => return Err(AcceptError::Exhausted { at: self.at, source }),
            }
        }
    }
}

impl fmt::Debug for AcceptSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AcceptSource").field("at", &self.at).field("open", &self.is_open()).finish()
    }
}
