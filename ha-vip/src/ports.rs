//! The ports of addresses: prepared, open while the address is held, closed with a farewell.

use crate::accept::Slot;
use crate::socket::Listening;
use crate::{AcceptSource, AddressError};
use socket2::Socket;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use tokio::sync::watch;

/// Binds a socket that does not listen yet.
pub(crate) type Prepare = Box<dyn Fn(SocketAddr) -> Result<Socket, AddressError> + Send + Sync>;

/// The ports of some addresses.
pub(crate) struct Ports {
    prepare: Prepare,
    farewell: Vec<u8>,
    held: BTreeSet<IpAddr>,
    ports: BTreeMap<SocketAddr, Port>,
}

struct Port {
    at: SocketAddr,
    prepared: Option<Socket>,
    slot: watch::Sender<Slot>,
}

impl Port {
    fn listening(&self) -> Slot {
        self.slot.borrow().clone()
    }

    fn is_open(&self) -> std::io::Result<bool> {
        self.listening().map_or(Ok(false), |listening| listening.is_open())
    }

    fn open(&mut self, prepare: &Prepare) -> Result<(), AddressError> {
        if self.is_open().unwrap_or(false) {
            return Ok(());
        }
        let prepared = match self.prepared.take() {
            Some(prepared) => prepared,
            None => prepare(self.at)?,
        };
        let listening = Listening::open(prepared, self.at)?;
        self.slot.send_replace(Some(Arc::new(listening)));
        Ok(())
    }

    fn close(&mut self, prepare: &Prepare, farewell: &[u8]) -> Result<(), AddressError> {
        let Some(listening) = self.slot.send_replace(None) else { return Ok(()) };
        listening.close(farewell)?;
        drop(listening);
        // The next takeover finds its socket bound; if not, it binds then and says why it cannot.
        match prepare(self.at) {
            Ok(prepared) => self.prepared = Some(prepared),
            Err(error) => tracing::warn!(at = %self.at, %error, "the next takeover is not prepared"),
        }
        Ok(())
    }
}

impl Ports {
    pub(crate) fn new(prepare: Prepare) -> Self {
        Self { prepare, farewell: Vec::new(), held: BTreeSet::new(), ports: BTreeMap::new() }
    }

    /// What a closing port sends to clients that nobody accepted any more.
    pub(crate) fn with_farewell(mut self, farewell: Vec<u8>) -> Self {
        self.farewell = farewell;
        self
    }

    /// Opens the ports of the addresses, now and as they are asked for. After an error all of them are closed.
    pub(crate) fn open_all(&mut self, addresses: &[IpAddr]) -> Result<(), AddressError> {
        let Self { prepare, farewell, held, ports } = self;
        let mut own = ports.values_mut().filter(|port| addresses.contains(&port.at.ip()));
        let opened = own.try_for_each(|port| port.open(prepare));
        if let Err(error) = opened {
            held.retain(|address| !addresses.contains(address));
            for port in ports.values_mut().filter(|port| addresses.contains(&port.at.ip())) {
                if let Err(second) = port.close(prepare, farewell) {
                    tracing::error!(error = %second, "a port stays open after a failed acquisition");
                }
            }
            return Err(error);
        }
        held.extend(addresses);
        Ok(())
    }

    /// Closes the ports of the addresses.
    pub(crate) fn close_all(&mut self, addresses: &[IpAddr]) -> Result<(), AddressError> {
        let Self { prepare, farewell, held, ports } = self;
        held.retain(|address| !addresses.contains(address));
        let own = ports.values_mut().filter(|port| addresses.contains(&port.at.ip()));
        // Every port is closed, whatever the others say.
        own.map(|port| port.close(prepare, farewell)).fold(Ok(()), Result::and)
    }

    pub(crate) fn is_held(&self, address: IpAddr) -> bool {
        self.held.contains(&address)
    }

    /// For each port of the addresses: where, whether it should be open, and whether the kernel has it open.
    pub(crate) fn look<'a>(
        &'a self,
        addresses: &'a [IpAddr],
    ) -> impl Iterator<Item = (SocketAddr, bool, std::io::Result<bool>)> + 'a {
        let own = self.ports.values().filter(|port| addresses.contains(&port.at.ip()));
        own.map(|port| (port.at, self.held.contains(&port.at.ip()), port.is_open()))
    }

    /// The listening socket at a port, if it is open.
    pub(crate) fn listening(&self, at: SocketAddr) -> Slot {
        self.ports.get(&at).and_then(Port::listening)
    }

    pub(crate) fn accept_source(&mut self, at: SocketAddr) -> Result<AcceptSource, AddressError> {
        if at.port() == 0 {
            return Err(AddressError::AnyPort { address: at.ip() });
        }
        if let Some(port) = self.ports.get(&at) {
            return Ok(AcceptSource::new(at, port.slot.subscribe()));
        }
        let mut port = Port { at, prepared: Some((self.prepare)(at)?), slot: watch::Sender::new(None) };
        if self.held.contains(&at.ip()) {
            port.open(&self.prepare)?;
        }
        let source = AcceptSource::new(at, port.slot.subscribe());
        self.ports.insert(at, port);
        Ok(source)
    }
}

impl Drop for Ports {
    fn drop(&mut self) {
        for port in self.ports.values() {
            if let Some(Err(error)) = port.slot.send_replace(None).map(|l| l.close(&self.farewell)) {
                tracing::error!(%error, "a port stays open");
            }
        }
    }
}

impl fmt::Debug for Ports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ports: Vec<_> = self.ports.keys().collect();
        f.debug_struct("Ports").field("held", &self.held).field("ports", &ports).finish_non_exhaustive()
    }
}
