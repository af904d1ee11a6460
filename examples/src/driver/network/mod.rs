//! What is between the nodes, and between them and their clients: relays over loopback, or real networks of namespaces.
//!
//! | file | what lives there |
//! |---|---|
//! | `block` | a block of 127.0.0.0/8: both nodes on this machine's one network, relays between them |
//! | `bed` | the test bed: each node, the clients and the outside in a network namespace of their own |
//! | `seen` | who had the service address, where it is a real one |
//! | `cables` | what a fault cuts, and how either network does it |

mod bed;
mod block;
mod cables;
mod seen;

pub(crate) use bed::NetnsError;
pub(crate) use cables::{Cables, Cut};
pub(crate) use seen::AddressSeen;

use super::layout::NODES;
use super::options::Options;
use crate::chassis::BmcPlace;
use crate::node::{MirrorAddresses, OutsideProbe};
use crate::relay::RelayConfig;
use bed::Bed;
use block::Block;
use ha_heartbeat::LinkAddress;
use ha_vip::testbed::{AddressWatch, DataCentre, Host};
use std::error::Error;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// The datagram links.
pub(crate) const DATAGRAMS: [&str; 2] = ["udp0", "udp1"];
/// The serial link.
pub(crate) const SERIAL: &str = "serial";
/// All ports of a run; below the range from which the kernel takes ports by itself.
const UDP_PORT: u16 = 24_900;
const MIRROR_PORT: u16 = 24_920;
const OUTSIDE_PORT: u16 = 24_940;
pub(crate) const SMTP_PORT: u16 = 2525;

/// The network of one run. What it took is given back when it is dropped.
pub(crate) enum Network {
    Loopback(Block),
    Netns(Bed),
}

impl Network {
    /// Takes a free block of addresses, or builds the bed.
    pub(crate) fn make(options: &Options) -> Result<Self, Box<dyn Error>> {
        Ok(if options.netns { Self::Netns(Bed::build()?) } else { Self::Loopback(Block::free()?) })
    }

    /// Its name in reports.
    pub(crate) const fn name(&self) -> &'static str {
        match self {
            Self::Loopback(_) => "loopback",
            Self::Netns(_) => "netns",
        }
    }

    /// What it is, for people.
    pub(crate) const fn in_words(&self) -> &'static str {
        match self {
            Self::Loopback(_) => "this machine's loopback, relays between the nodes",
            Self::Netns(_) => bed::IN_WORDS,
        }
    }

    /// Where clients deliver.
    pub(crate) fn service(&self) -> SocketAddr {
        match self {
            Self::Loopback(block) => block.service(),
            Self::Netns(_) => (bed::SERVICE, SMTP_PORT).into(),
        }
    }

    /// The interface of the service address, and how long an address of it may outlive its last renewal.
    pub(crate) fn interface(&self) -> Option<(String, Duration)> {
        match self {
            Self::Loopback(_) => None,
            Self::Netns(_) => Some((bed::service_on_its_interface(), bed::ADDRESS_LIFETIME)),
        }
    }

    pub(crate) fn links(&self, node: usize) -> [LinkAddress; 2] {
        match self {
            Self::Loopback(block) => block.links(node),
            Self::Netns(bed) => bed.links(node),
        }
    }

    pub(crate) fn mirror(&self, node: usize) -> MirrorAddresses {
        match self {
            Self::Loopback(block) => block.mirror(node),
            Self::Netns(bed) => bed.mirror(node),
        }
    }

    /// The board controller of a node. No fault of the network reaches it.
    pub(crate) fn bmc(&self, node: usize, dir: &Path) -> BmcPlace {
        match self {
            Self::Loopback(block) => block.bmc(node).into(),
            Self::Netns(_) => BmcPlace::Unix(dir.join(format!("{}.bmc", NODES[node]))),
        }
    }

    pub(crate) fn outside(&self, node: usize) -> OutsideProbe {
        match self {
            Self::Loopback(block) => block.outside(node),
            Self::Netns(bed) => bed.outside(node),
        }
    }

    /// Where the outside shall answer.
    pub(crate) fn open_echo(&self) -> io::Result<UdpSocket> {
        match self {
            Self::Loopback(block) => UdpSocket::bind(block.echo()),
            Self::Netns(bed) => bed.open_echo(),
        }
    }

    /// What the relay process carries, ordered at `control`.
    pub(crate) fn relay(&self, control: &Path) -> RelayConfig {
        match self {
            Self::Loopback(block) => block.relay(control),
            Self::Netns(_) => {
                RelayConfig { control: control.into(), udp: Vec::new(), stream: None, outside: None }
            }
        }
    }

    /// The bed, where there is one.
    pub(crate) fn centre(&self) -> Option<&Arc<DataCentre>> {
        match self {
            Self::Loopback(_) => None,
            Self::Netns(bed) => Some(bed.centre()),
        }
    }

    /// Whose network the clients are in; this process's own if there is no bed.
    pub(crate) fn of_clients(&self) -> Option<Arc<Host>> {
        match self {
            Self::Loopback(_) => None,
            Self::Netns(bed) => Some(bed.clients()),
        }
    }

    /// Looks from now on which nodes have the service address, where it is a real one.
    pub(crate) fn watch(&self) -> Result<Option<AddressWatch>, NetnsError> {
        match self {
            Self::Loopback(_) => Ok(None),
            Self::Netns(bed) => bed.watch().map(Some),
        }
    }
}
