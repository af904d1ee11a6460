//! Faults of cables, ports and networks, and their healing.

use super::cable::{self, Filtered};
use super::netlink::Socket;
use super::plan::{self, Interface, Kind, Role};
use super::{DataCentre, Host, TestbedError, wiring};
use std::net::Ipv4Addr;
use std::sync::Arc;

const SWITCH: &str = "the switch";

impl DataCentre {
    /// Pulls the cable of one interface: it loses its carrier, and nothing passes.
    ///
    /// # Errors
    /// [`TestbedError::NoHost`], [`TestbedError::NoInterface`], [`TestbedError::System`]; so for all faults.
    pub fn link_down(&self, host: &str, interface: &str) -> Result<(), TestbedError> {
        self.set_link(host, interface, false)
    }

    /// Plugs the cable in again.
    ///
    /// # Errors
    /// As of [`link_down`](Self::link_down).
    pub fn link_up(&self, host: &str, interface: &str) -> Result<(), TestbedError> {
        self.set_link(host, interface, true)
    }

    fn set_link(&self, host: &str, interface: &str, up: bool) -> Result<(), TestbedError> {
        let host = self.host(host)?;
        let port = host.interface(interface)?.port.as_str();
        let set = self.board().set_links([port], up);
        set.map_err(TestbedError::system("set the link", host.name()))
    }

    /// Takes the card out of a running host: the interface is gone, with its addresses and routes. Only
    /// [`power_off`](Self::power_off) and [`power_on`](Self::power_on) bring it back.
    ///
    /// # Errors
    /// As of [`link_down`](Self::link_down), and [`TestbedError::Off`].
    pub fn delete_link(&self, host: &str, interface: &str) -> Result<(), TestbedError> {
        let host = self.host(host)?;
        let name = host.interface(interface)?.name.clone();
        let deleted = host.run_in(|| {
            let route = Socket::route()?;
            cable::delete_links(&route, [name.as_str()])
        })?;
        deleted.map_err(TestbedError::system("delete the link", host.name()))
    }

    /// Drops every frame that `from` sends to `to` (and its multicasts and broadcasts towards it), on all networks that
    /// both are in, from one instant on. The other direction goes on, and so do the carriers.
    ///
    /// # Errors
    /// As of [`link_down`](Self::link_down), and [`TestbedError::NotNeighbours`].
    pub fn drop_one_way(&self, from: &str, to: &str) -> Result<(), TestbedError> {
        let pairs = self.pairs(from, to)?;
        self.filter("drop one way", |held| held.severed.extend(pairs))
    }

    /// Drops every frame between the two hosts, in both directions and on all their networks, from one instant on.
    /// Others reach both.
    ///
    /// # Errors
    /// As of [`drop_one_way`](Self::drop_one_way).
    pub fn sever(&self, one: &str, other: &str) -> Result<(), TestbedError> {
        let pairs = [self.pairs(one, other)?, self.pairs(other, one)?].concat();
        self.filter("sever", |held| held.severed.extend(pairs))
    }

    /// Cuts a host off from everything at one instant, on all networks, then also takes the carrier of its cables.
    ///
    /// # Errors
    /// As of [`link_down`](Self::link_down).
    pub fn isolate(&self, host: &str) -> Result<(), TestbedError> {
        let host = self.host(host)?;
        self.cut(&host)?;
        let set = self.board().set_links(ports(&host), false);
        set.map_err(TestbedError::system("set the links", host.name()))
    }

    /// Ends [`isolate`](Self::isolate): the carriers come back, then everything passes at one instant.
    ///
    /// # Errors
    /// As of [`link_down`](Self::link_down).
    pub fn rejoin(&self, host: &str) -> Result<(), TestbedError> {
        let host = self.host(host)?;
        let set = self.board().set_links(ports(&host), true);
        set.map_err(TestbedError::system("set the links", host.name()))?;
        self.uncut(&host)
    }

    /// Lets an interface send and receive at most so many bits a second, with a queue of 50 ms.
    ///
    /// # Errors
    /// As of [`link_down`](Self::link_down), [`TestbedError::Off`], [`TestbedError::Program`] (`tc`).
    pub fn rate_limit(&self, host: &str, interface: &str, bits_per_second: u64) -> Result<(), TestbedError> {
        let host = self.host(host)?;
        let rate = format!("{bits_per_second}bit");
        let limit = ["root", "tbf", "rate", rate.as_str(), "burst", "4kb", "latency", "50ms"];
        self.shape(&host, host.interface(interface)?, "replace", &limit)
    }

    /// Ends [`rate_limit`](Self::rate_limit).
    ///
    /// # Errors
    /// As of [`rate_limit`](Self::rate_limit).
    pub fn no_rate_limit(&self, host: &str, interface: &str) -> Result<(), TestbedError> {
        let host = self.host(host)?;
        self.shape(&host, host.interface(interface)?, "delete", &["root"])
    }

    fn shape(
        &self,
        host: &Host,
        interface: &Interface,
        verb: &str,
        what: &[&str],
    ) -> Result<(), TestbedError> {
        let door = host.door()?;
        for (netns, device) in
            [(door.netns(), interface.name.as_str()), (&self.switch, interface.port.as_str())]
        {
            let words = [&["tc", "qdisc", verb, "dev", device], what].concat();
            wiring::run(netns, host.name(), &words, "")?;
        }
        Ok(())
    }

    /// Plugs in a stranger that has `address`, on the LAN that it belongs to, as somebody's forgotten laptop would: it
    /// answers for it and announces nothing. Returns it; [`power_off`](Self::power_off) by its name ends it.
    ///
    /// # Errors
    /// [`TestbedError::Plan`] if no LAN has such addresses, and as of [`DataCentreBuilder::build`](super::DataCentreBuilder::build).
    pub fn duplicate_address_host(&self, address: Ipv4Addr) -> Result<Arc<Host>, TestbedError> {
        let in_lan = |(base, bits): (Ipv4Addr, u8)| {
            (u32::from(base) ^ u32::from(address)) >> (32 - u32::from(bits)) == 0
        };
        let lan = self.networks.iter().find(|network| network.kind == Kind::Lan && in_lan(network.v4));
        let expected = "an address of a LAN";
        let lan =
            lan.ok_or_else(|| TestbedError::Plan { found: format!("a stranger at {address}"), expected })?;
        let strangers = self.all_hosts().iter().filter(|host| host.name().starts_with("dup")).count();
        // Strangers have numbers of their own (and so hardware addresses) from 200 on.
        let number = 200 + u8::try_from(strangers).unwrap_or(0);
        let name = format!("dup{}", strangers + 1);
        let mut plan = plan::host(&name, Role::Neighbour, number, &self.networks)?;
        plan.interfaces.retain(|interface| interface.name == lan.name);
        for interface in &mut plan.interfaces {
            (interface.v4, interface.v6) = (address, None);
        }
        plan.gateways.clear();
        let door = self.plug_in(&plan)?;
        let host = Arc::new(Host::new(plan, door));
        self.add(Arc::clone(&host));
        Ok(host)
    }

    /// Ends every drop and isolation, and plugs every cable in again, of all hosts. What cannot be healed stays: deleted
    /// interfaces, hosts without power, strangers, rate limits.
    ///
    /// # Errors
    /// [`TestbedError::System`].
    pub fn heal(&self) -> Result<(), TestbedError> {
        let on: Vec<_> = self.all_hosts().into_iter().filter(|host| host.is_on()).collect();
        for port in on.iter().flat_map(|host| ports(host)) {
            match self.board().set_links([port], true) {
                Err(error) if error.raw_os_error() != Some(libc::ENODEV) => {
                    return Err(TestbedError::system("set the link", port)(error));
                }
                Ok(()) | Err(_) => {}
            }
        }
        self.filter("heal", |held| *held = Filtered::default())
    }

    /// From one instant on nothing enters or leaves the host.
    pub(super) fn cut(&self, host: &Host) -> Result<(), TestbedError> {
        self.filter("cut", |held| held.cut.extend(ports(host).map(str::to_owned)))
    }

    pub(super) fn uncut(&self, host: &Host) -> Result<(), TestbedError> {
        self.filter("rejoin", |held| held.cut.retain(|port| ports(host).all(|own| own != port)))
    }

    fn filter(&self, what: &'static str, change: impl FnOnce(&mut Filtered)) -> Result<(), TestbedError> {
        let mut board = self.board();
        let mut wanted = board.held().clone();
        change(&mut wanted);
        board.hold(wanted).map_err(TestbedError::system(what, SWITCH))
    }

    /// Ports of both on each network that they share.
    fn pairs(&self, from: &str, to: &str) -> Result<Vec<(String, String)>, TestbedError> {
        let (from, to) = (self.host(from)?, self.host(to)?);
        let shared = |one: &Interface| {
            to.interface(&one.name).ok().map(|other| (one.port.clone(), other.port.clone()))
        };
        let pairs: Vec<_> = from.interfaces().iter().filter_map(shared).collect();
        if pairs.is_empty() {
            return Err(TestbedError::NotNeighbours {
                from: from.name().to_owned(),
                to: to.name().to_owned(),
            });
        }
        Ok(pairs)
    }
}

pub(super) fn ports(host: &Host) -> impl Iterator<Item = &str> {
    host.plan.interfaces.iter().map(|interface| interface.port.as_str())
}
