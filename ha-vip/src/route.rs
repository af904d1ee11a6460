//! Addresses for networks that route instead of resolving: anycast, BGP, OSPF.
//!
//! Each address is put on the loopback interface as a host address, with a host route of origin 72 (`0x48`) in a table
//! of your choice. A routing daemon picks the route up (FRR: `redistribute table-direct 100`, or `redistribute kernel`
//! with a route map on the table; BIRD: a `kernel` protocol with `learn` and `kernel table 100`) and announces it to its
//! neighbours. Nobody is asked by ARP and nothing is announced on a link. Everything else is as in [`linux`](crate::linux):
//! lifetime, renewal, undo. When the address lapses its IPv4 route goes with it, and an IPv6 route lapses by itself.

use crate::VirtualIp;
use crate::kernel::NetNamespace;
use crate::linux::{AddressSpec, LinuxBuilder, LinuxError, RouteSpec};
use std::net::IpAddr;
use std::time::Duration;

/// The table that host routes are put into unless another is named: one that no packet is looked up in by default.
pub const DEFAULT_TABLE: u32 = 100;

/// Builds a [`VirtualIp`] of host routes; begun by [`VirtualIp::route`].
///
/// ```no_run
/// let anycast = ha_vip::VirtualIp::route("address", &["192.0.2.25".parse()?]).table(179).build()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct RouteBuilder {
    name: String,
    addresses: Vec<IpAddr>,
    nic: String,
    table: u32,
    namespace: NetNamespace,
    lifetime: Option<Duration>,
}

impl RouteBuilder {
    pub(crate) fn new(name: &str, addresses: &[IpAddr]) -> Self {
        Self {
            name: name.into(),
            addresses: addresses.to_vec(),
            nic: "lo".into(),
            table: DEFAULT_TABLE,
            namespace: NetNamespace::own(),
            lifetime: None,
        }
    }

    /// The table of the routes. Default: [`DEFAULT_TABLE`].
    #[must_use]
    pub const fn table(mut self, table: u32) -> Self {
        self.table = table;
        self
    }

    /// The interface of the addresses, a loopback or a dummy. Default: `lo`.
    #[must_use]
    pub fn nic(mut self, nic: &str) -> Self {
        self.nic = nic.into();
        self
    }

    /// In this network namespace. Default: the process's own.
    #[must_use]
    pub fn namespace(mut self, namespace: NetNamespace) -> Self {
        self.namespace = namespace;
        self
    }

    /// As [`LinuxBuilder::lifetime`].
    #[must_use]
    pub const fn lifetime(mut self, lifetime: Duration) -> Self {
        self.lifetime = Some(lifetime);
        self
    }

    /// As [`LinuxBuilder::build`].
    ///
    /// # Errors
    /// [`LinuxError`].
    pub fn build(self) -> Result<VirtualIp, LinuxError> {
        let host = |address: &IpAddr| {
            let prefix = if address.is_ipv4() { 32 } else { 128 };
            AddressSpec::new(*address, prefix)?.on(&self.nic)
        };
        let specs = self.addresses.iter().map(host).collect::<Result<Vec<_>, _>>()?;
        let builder = LinuxBuilder::new(&self.name, specs).namespace(self.namespace);
        let builder = self.lifetime.into_iter().fold(builder, LinuxBuilder::lifetime);
        let routes = self.addresses.iter().map(|address| RouteSpec::host(*address, &self.nic, self.table));
        // A routing daemon tells of them; on the loopback interface there is nobody else to tell.
        routes.fold(builder.silent(), LinuxBuilder::route).build()
    }
}
