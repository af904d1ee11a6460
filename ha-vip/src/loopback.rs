//! The unprivileged backend: addresses of 127.0.0.0/8 on one machine.

use crate::ports::Ports;
use crate::{AcceptSource, AddressBackend, AddressError, Holding, socket};
use async_trait::async_trait;
use ha_core::{TokenCell, Undo};
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Addresses of 127.0.0.0/8, without privileges, for demonstrations and tests on one machine.
///
/// Such an address is always there; holding it means listening on its ports. All sockets are bound with
/// `SO_REUSEPORT`, so nothing but the cluster's own rules keeps two nodes from owning an address at once: the
/// kernel then spreads connections over both, and those that go to a frozen owner wait there for ever. They are bound (not
/// listening) from the first [`accept_source`](AddressBackend::accept_source) on; acquiring is only `listen`.
///
/// Releasing accepts what waits in the kernel's queue, sends each of these clients the farewell and ends them in good order,
/// then stops listening, in duplicates too. A client whose handshake ends in the microseconds between is reset by the kernel
/// (with `net.ipv4.tcp_migrate_req = 1` it goes to another listener instead); it was told nothing, so it lost nothing.
///
/// Needs a tokio runtime with I/O. Dropping it stops listening at once.
pub struct Loopback {
    ports: Mutex<Ports>,
}

impl Loopback {
    /// A backend without ports yet.
    #[must_use]
    pub fn new() -> Self {
        Self { ports: Mutex::new(Ports::new(Box::new(socket::prepare))) }
    }

    /// What a release sends to clients that nobody accepted any more; for SMTP `421 …\r\n`.
    #[must_use]
    pub fn with_farewell(self, bytes: impl Into<Vec<u8>>) -> Self {
        Self { ports: Mutex::new(Ports::new(Box::new(socket::prepare)).with_farewell(bytes.into())) }
    }

    fn ports(&self) -> MutexGuard<'_, Ports> {
        self.ports.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn served(address: IpAddr) -> Result<(), AddressError> {
        if matches!(address, IpAddr::V4(v4) if v4.is_loopback()) {
            return Ok(());
        }
        Err(AddressError::Foreign {
            backend: "loopback",
            address,
            expected: "an address of 127.0.0.0/8 (for others choose a backend that adds addresses to an interface)",
        })
    }

    fn all_served(addresses: &[IpAddr]) -> Result<(), AddressError> {
        addresses.iter().try_for_each(|address| Self::served(*address))
    }

    /// A duplicate of the listening socket at `at`, for servers that want one of their own. Non-blocking; it fails with
    /// `InvalidInput` once the address is released. For anything that outlives a takeover use
    /// [`accept_source`](AddressBackend::accept_source), which is also what opens the port.
    ///
    /// # Errors
    /// [`AddressError::NotHeld`] unless the address is held and the port was prepared.
    pub fn listener(&self, at: SocketAddr) -> Result<std::net::TcpListener, AddressError> {
        Self::served(at.ip())?;
        let listening = self.ports().listening(at);
        listening.ok_or(AddressError::NotHeld { at })?.duplicate()
    }
}

impl Default for Loopback {
    fn default() -> Self {
        Self::new()
    }
}

#[async_trait]
impl AddressBackend for Loopback {
    fn name(&self) -> &str {
        "loopback"
    }

    fn check(&self, address: IpAddr) -> Result<(), AddressError> {
        Self::served(address)
    }

    /// The permission is not looked at again: such an address ends with its process.
    async fn acquire(&self, addresses: &[IpAddr], _: &TokenCell) -> Result<(), AddressError> {
        Self::all_served(addresses)?;
        self.ports().open_all(addresses)
    }

    async fn release(&self, addresses: &[IpAddr]) -> Result<(), AddressError> {
        Self::all_served(addresses)?;
        self.ports().close_all(addresses)
    }

    async fn holding(&self, addresses: &[IpAddr]) -> Holding {
        let ports = self.ports();
        for (at, held, open) in ports.look(addresses) {
            match open {
                Ok(open) if open == held => {}
                Ok(true) => return Holding::Broken { found: format!("{at} listens; expected it closed") },
                Ok(false) => {
                    return Holding::Broken { found: format!("{at} is closed; expected it to listen") };
                }
                Err(e) => {
                    return Holding::Unknown { reason: format!("the kernel does not tell of {at}: {e}") };
                }
            }
        }
        let held = addresses.iter().filter(|address| ports.is_held(**address)).count();
        match held {
            0 => Holding::NotHeld,
            all if all == addresses.len() => Holding::Held,
            some => Holding::Broken { found: format!("{some} of {} addresses are held", addresses.len()) },
        }
    }

    /// Sockets end with their process, and none is inherited by a program that it starts.
    fn undo(&self, _: &[IpAddr]) -> Option<Undo> {
        None
    }

    fn accept_source(&self, at: SocketAddr) -> Result<AcceptSource, AddressError> {
        Self::served(at.ip())?;
        self.ports().accept_source(at)
    }
}

impl fmt::Debug for Loopback {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Loopback").field("ports", &*self.ports()).finish()
    }
}
