//! What is to be served, and on which interfaces that is now.

use super::path::{RouteSpec, RuleSpec};
use super::{AddressSpec, Announce, LinuxError, VirtualMac};
use crate::Nic;
use crate::kernel::{Address, AddressFlags, Lifetime, Link, NetNamespace, Route, Rtnetlink};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

/// What we write into an address, a route or a rule as its origin, so that it is known as ours in a later life.
pub(crate) const ORIGIN: u8 = 0x48;

/// What a lost link makes of the health of an address.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum LinkLoss {
    /// The address is of no use: failed.
    #[default]
    Fails,
    /// The address is still there for clients on this host: degraded.
    Degrades,
}

/// How IPv6 makes sure that nobody else has the address (RFC 4862).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum DuplicateDetection {
    /// Not at all: whoever takes over holds a proof that the former owner has stopped.
    #[default]
    Skip,
    /// While it is in use already (RFC 4429); takes effect where `net.ipv6.conf.*.optimistic_dad` permits it.
    Optimistic,
    /// Before it is used: a second.
    Wait,
}

impl DuplicateDetection {
    const fn flags(self) -> AddressFlags {
        match self {
            Self::Skip => AddressFlags::NODAD,
            Self::Optimistic => AddressFlags::OPTIMISTIC,
            Self::Wait => AddressFlags(0),
        }
    }
}

/// Everything that one resource serves.
pub(crate) struct Plan {
    pub(crate) name: String,
    pub(crate) namespace: NetNamespace,
    pub(crate) specs: Vec<AddressSpec>,
    pub(crate) routes: Vec<RouteSpec>,
    pub(crate) rules: Vec<RuleSpec>,
    pub(crate) lifetime: Lifetime,
    pub(crate) gate: Option<Duration>,
    pub(crate) announce: Option<Arc<dyn Announce>>,
    pub(crate) virtual_mac: Option<VirtualMac>,
    pub(crate) link_loss: LinkLoss,
    pub(crate) detection: DuplicateDetection,
}

/// An address, and the interface it is for.
#[derive(Clone, Debug)]
pub(crate) struct Placed {
    pub(crate) nic: Nic,
    pub(crate) address: Address,
}

impl Plan {
    pub(crate) fn addresses(&self) -> Vec<IpAddr> {
        self.specs.iter().map(AddressSpec::address).collect()
    }

    pub(crate) fn serves(&self, address: IpAddr) -> bool {
        self.specs.iter().any(|spec| spec.address() == address)
    }

    /// The interface that a specification names or that a route leads to, whatever its state.
    pub(crate) fn link_of(&self, kernel: &mut Rtnetlink, spec: &AddressSpec) -> Result<Link, LinuxError> {
        if let Some(name) = spec.nic() {
            return Ok(kernel.link_named(name)?);
        }
        let mut towards = kernel.links_towards(spec.address())?;
        match (towards.pop(), towards.is_empty()) {
            (Some(link), true) => Ok(link),
            (None, _) => {
                let found = "no interface has a directly connected network that holds it".into();
                Err(LinuxError::NicByRoute { address: spec.address(), found })
            }
            (Some(last), false) => {
                towards.push(last);
                let names: Vec<_> = towards.iter().map(|link| link.nic.name.as_str()).collect();
                let found = format!("its network is on several: {}", names.join(", "));
                Err(LinuxError::NicByRoute { address: spec.address(), found })
            }
        }
    }

    /// The one interface of all addresses, for a virtual MAC on it.
    pub(crate) fn common_link(&self, kernel: &mut Rtnetlink) -> Result<Link, LinuxError> {
        let mut common: Option<Link> = None;
        for spec in &self.specs {
            let link = self.link_of(kernel, spec)?;
            match &common {
                Some(other) if other.nic.index != link.nic.index => {
                    let (one, other) = (other.nic.name.clone(), link.nic.name);
                    return Err(LinuxError::SeveralNics { one, other });
                }
                Some(_) => {}
                None => common = Some(link),
            }
        }
        common.ok_or(LinuxError::NoAddress)
    }

    /// Where each address goes now. Refuses interfaces that are down; the virtual MAC's is raised later.
    pub(crate) fn place(&self, kernel: &mut Rtnetlink) -> Result<Vec<Placed>, LinuxError> {
        let mut placed: Vec<Placed> = Vec::with_capacity(self.specs.len());
        let mut known: Vec<Link> = Vec::new();
        let vmac = self.virtual_mac.as_ref().map(|v| kernel.link_named(&v.name)).transpose()?;
        for spec in &self.specs {
            let below = match known.iter().find(|link| spec.nic() == Some(link.nic.name.as_str())) {
                Some(link) => link.clone(),
                None => self.link_of(kernel, spec)?,
            };
            if !below.is_up {
                return Err(LinuxError::NicDown { nic: below.nic.name, address: spec.address() });
            }
            let nic = vmac.as_ref().map_or_else(|| below.nic.clone(), |link| link.nic.clone());
            placed.push(Placed { address: self.address(spec, nic.index), nic });
            known.push(below);
        }
        Ok(placed)
    }

    fn address(&self, spec: &AddressSpec, index: u32) -> Address {
        let mut address = Address::new(index, spec.address(), spec.prefix());
        // A label begins with its interface's name, which a virtual MAC changes.
        address.label = spec.label().filter(|_| self.virtual_mac.is_none()).map(Into::into);
        address.scope = spec.scope().number();
        address.origin = ORIGIN;
        address.lifetime = self.lifetime;
        if spec.address().is_ipv6() {
            address.flags = self.detection.flags();
        }
        if !spec.has_prefix_route() {
            address.flags = address.flags.with(AddressFlags::NOPREFIXROUTE);
        }
        address
    }

    /// The routes, through the interfaces that they name or those of the addresses.
    pub(crate) fn place_routes(
        &self,
        kernel: &mut Rtnetlink,
        placed: &[Placed],
    ) -> Result<Vec<Route>, LinuxError> {
        let mut routes = Vec::with_capacity(self.routes.len());
        for spec in &self.routes {
            let same = |p: &&Placed| p.address.address.is_ipv4() == spec.destination.is_ipv4();
            let index = match &spec.nic {
                Some(name) => kernel.link_named(name)?.nic.index,
                None => placed.iter().find(same).or(placed.first()).map_or(0, |p| p.nic.index),
            };
            routes.push(spec.on(index, ORIGIN, self.seconds()));
        }
        Ok(routes)
    }

    /// The kernel lifetime, if there is one.
    pub(crate) const fn seconds(&self) -> Option<u32> {
        match self.lifetime {
            Lifetime::Seconds(seconds) => Some(seconds),
            Lifetime::Forever => None,
        }
    }
}
