//! The unprivileged backend: addresses of 127.0.0.0/8 on one machine.

use crate::accept::Slot;
use crate::socket::{self, Listening};
use crate::{AcceptSource, AddressBackend, AddressError, Holding};
use async_trait::async_trait;
use ha_core::Undo;
use socket2::Socket;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;

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
#[derive(Default)]
pub struct Loopback {
    state: Mutex<State>,
    farewell: Vec<u8>,
}

#[derive(Default)]
struct State {
    held: BTreeSet<IpAddr>,
    ports: BTreeMap<SocketAddr, Port>,
}

struct Port {
    at: SocketAddr,
    prepared: Option<Socket>,
    slot: watch::Sender<Slot>,
}

impl Port {
    fn new(at: SocketAddr) -> Result<Self, AddressError> {
        Ok(Self { at, prepared: Some(socket::prepare(at)?), slot: watch::Sender::new(None) })
    }

    fn listening(&self) -> Slot {
        self.slot.borrow().clone()
    }

    fn is_open(&self) -> std::io::Result<bool> {
        self.listening().map_or(Ok(false), |listening| listening.is_open())
    }

    fn open(&mut self) -> Result<(), AddressError> {
        if self.is_open().unwrap_or(false) {
            return Ok(());
        }
        let prepared = match self.prepared.take() {
            Some(prepared) => prepared,
            None => socket::prepare(self.at)?,
        };
        let listening = Listening::open(prepared, self.at)?;
        self.slot.send_replace(Some(Arc::new(listening)));
        Ok(())
    }

    fn close(&mut self, farewell: &[u8]) -> Result<(), AddressError> {
        let Some(listening) = self.slot.send_replace(None) else { return Ok(()) };
        listening.close(farewell)?;
        drop(listening);
        // The next takeover finds its socket bound; if not, it binds then and says why it cannot.
        match socket::prepare(self.at) {
            Ok(prepared) => self.prepared = Some(prepared),
            Err(error) => tracing::warn!(at = %self.at, %error, "the next takeover is not prepared"),
        }
        Ok(())
    }
}

impl State {
    fn of(&mut self, address: IpAddr) -> impl Iterator<Item = &mut Port> {
        self.ports.values_mut().filter(move |port| port.at.ip() == address)
    }
}

impl Loopback {
    /// A backend without ports yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// What a release sends to clients that nobody accepted any more; for SMTP `421 …\r\n`.
    #[must_use]
    pub fn with_farewell(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.farewell = bytes.into();
        self
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
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

    /// A duplicate of the listening socket at `at`, for servers that want one of their own. Non-blocking; it fails with
    /// `InvalidInput` once the address is released. For anything that outlives a takeover use
    /// [`accept_source`](AddressBackend::accept_source), which is also what opens the port.
    ///
    /// # Errors
    /// [`AddressError::NotHeld`] unless the address is held and the port was prepared.
    pub fn listener(&self, at: SocketAddr) -> Result<std::net::TcpListener, AddressError> {
        Self::served(at.ip())?;
        let listening = self.state().ports.get(&at).and_then(Port::listening);
        listening.ok_or(AddressError::NotHeld { at })?.duplicate()
    }

    fn open_all(&self, address: IpAddr) -> Result<(), AddressError> {
        let mut state = self.state();
        let opened = state.of(address).try_for_each(Port::open);
        if let Err(error) = opened {
            state.held.remove(&address);
            for port in state.of(address) {
                if let Err(second) = port.close(&self.farewell) {
                    tracing::error!(error = %second, "a port stays open after a failed acquisition");
                }
            }
            return Err(error);
        }
        state.held.insert(address);
        Ok(())
    }

    fn close_all(&self, address: IpAddr) -> Result<(), AddressError> {
        let mut state = self.state();
        state.held.remove(&address);
        // Every port is closed, whatever the others say.
        state.of(address).map(|port| port.close(&self.farewell)).fold(Ok(()), Result::and)
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

    async fn acquire(&self, address: IpAddr) -> Result<(), AddressError> {
        Self::served(address)?;
        self.open_all(address)
    }

    async fn release(&self, address: IpAddr) -> Result<(), AddressError> {
        Self::served(address)?;
        self.close_all(address)
    }

    async fn holding(&self, address: IpAddr) -> Holding {
        let mut state = self.state();
        let held = state.held.contains(&address);
        for port in state.of(address) {
            let at = port.at;
            match port.is_open() {
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
        if held { Holding::Held } else { Holding::NotHeld }
    }

    /// Sockets end with their process, and none is inherited by a program that it starts.
    fn undo(&self, _: IpAddr) -> Option<Undo> {
        None
    }

    fn accept_source(&self, at: SocketAddr) -> Result<AcceptSource, AddressError> {
        Self::served(at.ip())?;
        if at.port() == 0 {
            return Err(AddressError::AnyPort { address: at.ip() });
        }
        let mut state = self.state();
        let held = state.held.contains(&at.ip());
        if let Some(port) = state.ports.get(&at) {
            return Ok(AcceptSource::new(at, port.slot.subscribe()));
        }
        let mut port = Port::new(at)?;
        if held {
            port.open()?;
        }
        let source = AcceptSource::new(at, port.slot.subscribe());
        state.ports.insert(at, port);
        Ok(source)
    }
}

impl Drop for Loopback {
    fn drop(&mut self) {
        let state = self.state.get_mut().unwrap_or_else(PoisonError::into_inner);
        for port in state.ports.values_mut() {
            if let Some(Err(error)) = port.slot.send_replace(None).map(|l| l.close(&self.farewell)) {
                tracing::error!(%error, "a port stays open");
            }
        }
    }
}

impl fmt::Debug for Loopback {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state();
        let ports: Vec<_> = state.ports.keys().collect();
        f.debug_struct("Loopback").field("held", &state.held).field("ports", &ports).finish_non_exhaustive()
    }
}
