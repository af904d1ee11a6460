//! The gate: the address is accepted, answered for and sent from only while an nftables element with a timeout in
//! milliseconds lives. It fails closed: a frozen or killed process renews nothing, and the kernel drops.
//!
//! A renewal takes the old elements out and puts new ones in, in one transaction. An element whose time is over cannot
//! be taken out, so a renewal that was delayed past the end fails as a whole and opens nothing (`tests/netns_gate.rs`).

mod expression;
mod table;

use crate::kernel::socket::{NETFILTER, NetlinkSocket};
use crate::kernel::{KernelError, NetNamespace};
use std::net::IpAddr;
use std::time::Duration;
use table::Family;

/// A gate around some addresses. [`LinuxBuilder::gate`](super::LinuxBuilder::gate) puts one around a resource; this is
/// for backends of one's own.
pub struct Gate {
    socket: NetlinkSocket,
    table: String,
    addresses: Vec<IpAddr>,
    /// Known to be absent: a transaction that fails costs a grace period of the kernel, some 20 ms.
    is_absent: bool,
}

/// The name of the gate's tables of a resource.
pub(crate) fn table_name(resource: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() { c } else { '_' };
    let name: String = resource.chars().take(60).map(plain).collect();
    format!("ha_vip_{name}")
}

impl Gate {
    /// The gate of a resource; nothing is changed yet.
    ///
    /// # Errors
    /// [`KernelError`] if nftables cannot be asked.
    pub fn connect(
        namespace: &NetNamespace,
        resource: &str,
        addresses: Vec<IpAddr>,
    ) -> Result<Self, KernelError> {
        Self::named(namespace, table_name(resource), addresses)
    }

    pub(crate) fn named(
        namespace: &NetNamespace,
        table: String,
        addresses: Vec<IpAddr>,
    ) -> Result<Self, KernelError> {
        Ok(Self { socket: NetlinkSocket::open(namespace, NETFILTER, 0)?, table, addresses, is_absent: false })
    }

    fn transaction(
        &mut self,
        what: &str,
        requests: &[crate::kernel::message::Request],
    ) -> Result<(), KernelError> {
        let (begin, end) = table::batch();
        let call = format!("{what} the gate {}", self.table);
        // The first that was refused is the reason: it took the others with it.
        self.socket.transact(&|_| call.clone(), requests, Some((&begin, &end))).into_iter().collect()
    }

    /// Builds it, replacing one of an earlier life, and opens it for `timeout`, in one transaction.
    ///
    /// # Errors
    /// [`KernelError`].
    pub fn build(&mut self, timeout: Duration) -> Result<(), KernelError> {
        self.remove()?;
        let mut requests = table::build(&self.table, Family::Inet, &self.addresses);
        if self.addresses.iter().any(IpAddr::is_ipv4) {
            requests.extend(table::build(&self.table, Family::Arp, &self.addresses));
        }
        requests.extend(table::open(&self.table, &self.addresses, timeout));
        self.is_absent = false;
        self.transaction("build", &requests)
    }

    /// Opens it for `timeout` when it is closed.
    ///
    /// # Errors
    /// [`KernelError`].
    pub fn open(&mut self, timeout: Duration) -> Result<(), KernelError> {
        match self.transaction("open", &table::open(&self.table, &self.addresses, timeout)) {
            // Elements that live on are of no use with their old timeout.
            Err(KernelError::Exists { .. }) => {
                self.close()?;
                self.transaction("open", &table::open(&self.table, &self.addresses, timeout))
            }
            other => other,
        }
    }

    /// Keeps it open for `timeout` from now on.
    ///
    /// # Errors
    /// [`KernelError::Absent`] if it has closed by itself: it stays closed.
    pub fn renew(&mut self, timeout: Duration) -> Result<(), KernelError> {
        let mut requests = table::close(&self.table, &self.addresses);
        requests.extend(table::open(&self.table, &self.addresses, timeout));
        self.transaction("renew", &requests)
    }

    /// Closes it. A success if it was closed or is not there.
    ///
    /// # Errors
    /// [`KernelError`].
    pub fn close(&mut self) -> Result<(), KernelError> {
        if self.is_absent {
            return Ok(());
        }
        let requests = table::close(&self.table, &self.addresses);
        match self.transaction("close", &requests) {
            // Something is closed already: one by one.
            Err(error) if error.is_absent() => {}
            other => return other,
        }
        for request in table::close_each(&self.table, &self.addresses) {
            match self.transaction("close", &[request]) {
                Err(error) if !error.is_absent() => return Err(error),
                Ok(()) | Err(_) => {}
            }
        }
        Ok(())
    }

    /// Removes it altogether: nothing is held back any more. A success if it is not there.
    ///
    /// # Errors
    /// [`KernelError`].
    pub fn remove(&mut self) -> Result<(), KernelError> {
        if self.is_absent {
            return Ok(());
        }
        for family in [Family::Inet, Family::Arp] {
            match self.transaction("remove", &[table::remove(&self.table, family)]) {
                Err(error) if !error.is_absent() => return Err(error),
                Ok(()) | Err(_) => {}
            }
        }
        self.is_absent = true;
        Ok(())
    }
}

impl std::fmt::Debug for Gate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Gate")
            .field("table", &self.table)
            .field("addresses", &self.addresses)
            .finish_non_exhaustive()
    }
}
