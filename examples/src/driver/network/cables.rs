//! What a fault cuts between the nodes, and how it is done: by the relays' valves, or on the bed's real networks.

use super::bed::{CLIENTS, HEARTBEATS, REPLICATION, ROUTER};
use super::{DATAGRAMS, Network, SERIAL};
use crate::driver::cluster::{DriveError, order_relay};
use crate::driver::layout::NODES;
use crate::node::MIRROR_LINK;
use crate::relay::Action;
use ha_vip::testbed::{DataCentre, TestbedError};
use std::path::PathBuf;

/// What is cut, in both directions.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Cut {
    /// The mirror's stream.
    Replication,
    /// The heartbeats on all links but the stream's own.
    Heartbeats,
    /// Everything between the nodes but the serial line.
    Network,
    /// The same; and this node reaches nothing outside any more.
    NetworkAndOutside(usize),
    /// Everything between the nodes.
    Isolation,
}

/// The cables of a run.
pub(crate) struct Cables<'a> {
    network: &'a Network,
    /// Where the relay takes orders.
    relay: PathBuf,
}

/// A cable of the relay's, and which directions of it: from node 0, from node 1.
type Path = (&'static str, [bool; 2]);

const fn both(path: &'static str) -> Path {
    (path, [true, true])
}

impl Cut {
    fn paths(self) -> Vec<Path> {
        let datagrams = DATAGRAMS.map(both);
        let network = || [both(DATAGRAMS[0]), both(DATAGRAMS[1]), both(MIRROR_LINK)];
        match self {
            Self::Replication => vec![both(MIRROR_LINK)],
            Self::Heartbeats => [&datagrams[..], &[both(SERIAL)]].concat(),
            Self::Network => network().into(),
            Self::NetworkAndOutside(node) => {
                let outside = ("outside", [node == 0, node == 1]);
                [&[outside], &network()[..]].concat()
            }
            Self::Isolation => [&datagrams[..], &[both(SERIAL), both(MIRROR_LINK)]].concat(),
        }
    }

    /// On the bed. A cable that serves one purpose is pulled, at its second node; where whole nodes are kept apart, their
    /// frames vanish on all networks at one instant, and carriers stay.
    fn make(self, centre: &DataCentre) -> Result<(), TestbedError> {
        let [first, second] = NODES;
        match self {
            Self::Replication => centre.link_down(second, REPLICATION),
            Self::Heartbeats => HEARTBEATS.iter().try_for_each(|network| centre.link_down(second, network)),
            Self::Network | Self::Isolation => centre.sever(first, second),
            Self::NetworkAndOutside(node) => {
                // Its port of the LAN's switch is as good as dead: neither the router nor a client is reached.
                for neighbour in [ROUTER, CLIENTS] {
                    centre.sever(NODES[node], neighbour)?;
                }
                centre.sever(first, second)
            }
        }
    }

    const fn is_serial_too(self) -> bool {
        matches!(self, Self::Heartbeats | Self::Isolation)
    }
}

impl<'a> Cables<'a> {
    pub(crate) const fn new(network: &'a Network, relay: PathBuf) -> Self {
        Self { network, relay }
    }

    /// Cuts, until [`heal`](Self::heal).
    pub(crate) fn cut(&self, what: Cut) -> Result<(), DriveError> {
        let Some(centre) = self.network.centre() else {
            return what.paths().into_iter().try_for_each(|path| self.turn(path, Action::Cut));
        };
        what.make(centre)?;
        if what.is_serial_too() { self.turn(both(SERIAL), Action::Cut) } else { Ok(()) }
    }

    /// Mends everything that was cut.
    pub(crate) fn heal(&self) -> Result<(), DriveError> {
        let Some(centre) = self.network.centre() else {
            let all = [DATAGRAMS[0], DATAGRAMS[1], SERIAL, MIRROR_LINK, "outside"].map(both);
            return all.into_iter().try_for_each(|path| self.turn(path, Action::Heal));
        };
        centre.heal()?;
        self.turn(both(SERIAL), Action::Heal)
    }

    fn turn(&self, (path, from): Path, action: Action) -> Result<(), DriveError> {
        let wanted = (0u8..).zip(from).filter(|(_, wanted)| *wanted);
        wanted.into_iter().try_for_each(|(from, _)| order_relay(&self.relay, path, from, action))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cut_names_the_relay_s_cables() {
        let names = |cut: Cut| cut.paths().into_iter().map(|(name, _)| name).collect::<Vec<_>>();
        assert_eq!(names(Cut::Replication), ["mirror"]);
        assert_eq!(names(Cut::Heartbeats), ["udp0", "udp1", "serial"]);
        assert_eq!(names(Cut::Network), ["udp0", "udp1", "mirror"]);
        assert_eq!(names(Cut::Isolation), ["udp0", "udp1", "serial", "mirror"]);
        let outside = Cut::NetworkAndOutside(1).paths();
        assert_eq!(outside[0], ("outside", [false, true]));
        assert_eq!(outside.len(), 4);
    }
}
