//! The test bed's network: each node, the clients and the outside are hosts of their own, in network namespaces.

use super::{MIRROR_PORT, OUTSIDE_PORT, UDP_PORT};
use crate::driver::layout::NODES;
use crate::node::{MirrorAddresses, OutsideProbe};
use ha_heartbeat::LinkAddress;
use ha_vip::testbed::{AddressWatch, DataCentre, Host, TestbedError};
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

/// What clients reach, and where everybody announces it.
const LAN: &str = "lan0";
/// The two heartbeat networks, each a cable of its own.
pub(super) const HEARTBEATS: [&str; 2] = ["hb0", "hb1"];
/// The cable of the mirror's stream.
pub(super) const REPLICATION: &str = "repl0";
/// On the LAN beside the nodes: all clients.
pub(super) const CLIENTS: &str = "c1";
/// Behind the router: what the nodes call the outside.
const OUTSIDE: &str = "w1";
/// The bed's own name of the router.
pub(super) const ROUTER: &str = "router";
/// The address that moves.
pub(super) const SERVICE: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 100);
/// How long it outlives its last renewal at most, give or take half a second.
pub(super) const ADDRESS_LIFETIME: Duration = Duration::from_secs(2);
/// Between two looks at who has it.
const LOOK: Duration = Duration::from_millis(1);

pub(super) const IN_WORDS: &str =
    "namespaces: n1 and n2 on lan0, hb0, hb1, repl0; clients c1 on lan0; the outside w1 behind a router";

/// There is no bed for the run.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NetnsError {
    #[error(
        "--netns: {0}; or leave --netns out: the same job then runs over this machine's loopback, without privileges"
    )]
    Refused(#[source] TestbedError),
    #[error(
        "--netns: {0}; it needs ip and nft (Debian: apt-get install iproute2 nftables), veth, bridges and nftables"
    )]
    Wiring(#[source] TestbedError),
    #[error("--netns: {0}")]
    Bed(#[from] TestbedError),
}

impl NetnsError {
    /// With what can be done about it.
    pub(crate) fn of(error: TestbedError) -> Self {
        match error {
            TestbedError::Refused { .. } => Self::Refused(error),
            TestbedError::Program { .. } => Self::Wiring(error),
            _ => Self::Bed(error),
        }
    }
}

/// The data centre of a run, and the addresses in it. Everybody in it ends when this is dropped.
pub(crate) struct Bed {
    centre: Arc<DataCentre>,
    nodes: [Arc<Host>; 2],
    clients: Arc<Host>,
    outside: Arc<Host>,
}

impl Bed {
    pub(super) fn build() -> Result<Self, NetnsError> {
        let plan = DataCentre::pair().heartbeat(REPLICATION, "10.78.0.192/26");
        let centre = plan.neighbour(CLIENTS).client(OUTSIDE).build().map_err(NetnsError::of)?;
        let nodes = [centre.host(NODES[0])?, centre.host(NODES[1])?];
        let (clients, outside) = (centre.host(CLIENTS)?, centre.host(OUTSIDE)?);
        Ok(Self { centre: Arc::new(centre), nodes, clients, outside })
    }

    pub(super) const fn centre(&self) -> &Arc<DataCentre> {
        &self.centre
    }

    pub(super) fn clients(&self) -> Arc<Host> {
        Arc::clone(&self.clients)
    }

    /// A node's own address on a network.
    fn own(&self, node: usize, network: &str) -> IpAddr {
        own(&self.nodes[node], network)
    }

    pub(super) fn links(&self, node: usize) -> [LinkAddress; 2] {
        HEARTBEATS.map(|network| LinkAddress::Udp {
            bind: SocketAddr::new(self.own(node, network), UDP_PORT),
            peer: SocketAddr::new(self.own(1 - node, network), UDP_PORT),
        })
    }

    pub(super) fn mirror(&self, node: usize) -> MirrorAddresses {
        let at = |node| SocketAddr::new(self.own(node, REPLICATION), MIRROR_PORT);
        MirrorAddresses { listen: at(node), peer: at(1 - node) }
    }

    fn echo(&self) -> SocketAddr {
        let first = self.outside.interfaces().first();
        SocketAddr::new(first.map_or(Ipv4Addr::UNSPECIFIED, |nic| nic.v4).into(), OUTSIDE_PORT)
    }

    pub(super) fn outside(&self, node: usize) -> OutsideProbe {
        OutsideProbe { from: self.own(node, LAN), echo: self.echo() }
    }

    pub(super) fn open_echo(&self) -> io::Result<UdpSocket> {
        self.outside.run_in(|| UdpSocket::bind(self.echo())).map_err(io::Error::other)?
    }

    pub(super) fn watch(&self) -> Result<AddressWatch, NetnsError> {
        Ok(AddressWatch::start(&self.nodes, SERVICE.into(), LOOK)?)
    }
}

/// Its address there; the unspecified one, which nobody can use, if the bed was built otherwise.
fn own(host: &Host, network: &str) -> IpAddr {
    host.interface(network).map_or(Ipv4Addr::UNSPECIFIED, |nic| nic.v4).into()
}

/// As [`ha_vip::linux::AddressSpec`] is written.
pub(super) fn service_on_its_interface() -> String {
    format!("{SERVICE}/24@{LAN}")
}
