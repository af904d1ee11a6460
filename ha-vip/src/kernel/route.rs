//! Routes: added, deleted, listed; and which interface reaches an address directly.

use super::message::{AF_INET, AF_INET6, Request, attributes, family, ip, octets, u8_at, u32_at};
use super::{KernelError, Link, Rtnetlink};
use netlink_packet_core::{NLM_F_CREATE, NLM_F_REPLACE};
use std::fmt;
use std::net::IpAddr;

const RTM_NEWROUTE: u16 = 24;
const RTM_DELROUTE: u16 = 25;
const RTM_GETROUTE: u16 = 26;

/// `struct rtmsg` (`rtnetlink(7)`).
const HEADER: usize = 12;
const RTA_DST: u16 = 1;
const RTA_OIF: u16 = 4;
const RTA_GATEWAY: u16 = 5;
const RTA_PRIORITY: u16 = 6;
const RTA_PREFSRC: u16 = 7;
const RTA_TABLE: u16 = 15;
const RTA_EXPIRES: u16 = 23;
const RTN_UNICAST: u8 = 1;
const SCOPE_LINK: u8 = 253;

/// The table that is looked into unless a rule says otherwise.
pub const MAIN_TABLE: u32 = 254;

/// A route.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Route {
    /// The network's address; all zero with prefix 0 for a default route. Its family is the route's.
    pub destination: IpAddr,
    /// The length of the network's prefix.
    pub prefix: u8,
    /// The next hop, if it is not directly reached.
    pub gateway: Option<IpAddr>,
    /// The interface's number.
    pub index: Option<u32>,
    /// The address that this host sends from by default. An IPv4 route ends with it.
    pub source: Option<IpAddr>,
    /// Its cost; the lowest wins.
    pub metric: Option<u32>,
    /// Its table.
    pub table: u32,
    /// Who made it (`RTA_PROTOCOL`, `/etc/iproute2/rt_protos`).
    pub origin: u8,
    /// IPv6: seconds after which the kernel deletes it.
    pub expires: Option<u32>,
    kind: u8,
}

impl Route {
    /// A route to a network, in the main table.
    #[must_use]
    pub const fn new(destination: IpAddr, prefix: u8) -> Self {
        Self {
            destination,
            prefix,
            gateway: None,
            index: None,
            source: None,
            metric: None,
            table: MAIN_TABLE,
            origin: 0,
            expires: None,
            kind: RTN_UNICAST,
        }
    }

    /// Whether it leads to the network that `address` is in.
    #[must_use]
    pub fn covers(&self, address: IpAddr) -> bool {
        is_within(address, self.destination, self.prefix)
    }

    /// Whether both lead to the same network by the same way; metric, origin and expiry aside if one leaves them open.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        let open = |a: Option<u32>, b: Option<u32>| a.is_none() || b.is_none() || a == b;
        (self.destination, self.prefix, self.table) == (other.destination, other.prefix, other.table)
            && (self.gateway, self.index) == (other.gateway, other.index)
            && open(self.metric, other.metric)
    }

    fn request(&self, kind: u16, flags: u16) -> Request {
        // A next hop is beyond the link; what needs none is on it. IPv6 has no scopes here.
        let scope = if self.gateway.is_none() && self.destination.is_ipv4() { SCOPE_LINK } else { 0 };
        let table = u8::try_from(self.table).unwrap_or(0);
        let header =
            [family(self.destination), self.prefix, 0, 0, table, self.origin, scope, self.kind, 0, 0, 0, 0];
        let number = |value: Option<u32>| value.map(u32::to_ne_bytes);
        let bytes = |value: Option<IpAddr>| value.map(octets);
        Request::new(kind, flags, &header)
            .optional(RTA_DST, (self.prefix > 0).then(|| octets(self.destination)).as_deref())
            .optional(RTA_GATEWAY, bytes(self.gateway).as_deref())
            .optional(RTA_OIF, number(self.index).as_ref().map(<[u8; 4]>::as_slice))
            .optional(RTA_PREFSRC, bytes(self.source).as_deref())
            .optional(RTA_PRIORITY, number(self.metric).as_ref().map(<[u8; 4]>::as_slice))
            .optional(RTA_EXPIRES, number(self.expires).as_ref().map(<[u8; 4]>::as_slice))
            .attribute(RTA_TABLE, &self.table.to_ne_bytes())
    }
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the route to {}/{}", self.destination, self.prefix)?;
        if let Some(gateway) = self.gateway {
            write!(f, " via {gateway}")?;
        }
        write!(f, " in table {}", self.table)
    }
}

/// Whether `address` is in the network `network`/`prefix`.
pub(crate) fn is_within(address: IpAddr, network: IpAddr, prefix: u8) -> bool {
    match (address, network) {
        (IpAddr::V4(a), IpAddr::V4(n)) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(prefix.min(32))).unwrap_or(0);
            a.to_bits() & mask == n.to_bits() & mask
        }
        (IpAddr::V6(a), IpAddr::V6(n)) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(prefix.min(128))).unwrap_or(0);
            a.to_bits() & mask == n.to_bits() & mask
        }
        (IpAddr::V4(_), IpAddr::V6(_)) | (IpAddr::V6(_), IpAddr::V4(_)) => false,
    }
}

impl Rtnetlink {
    /// Adds a route, or replaces the one of the same network, metric and table.
    ///
    /// # Errors
    /// [`KernelError`].
    pub fn put_route(&mut self, route: &Route) -> Result<(), KernelError> {
        self.acknowledged(&format!("add {route}"), route.request(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE))
    }

    /// Deletes a route.
    ///
    /// # Errors
    /// [`KernelError::Absent`] if it is not there (any more).
    pub fn delete_route(&mut self, route: &Route) -> Result<(), KernelError> {
        let mut request = route.clone();
        request.expires = None;
        self.acknowledged(&format!("delete {route}"), request.request(RTM_DELROUTE, 0))
    }

    /// All unicast routes.
    ///
    /// # Errors
    /// [`KernelError`].
    pub fn routes(&mut self) -> Result<Vec<Route>, KernelError> {
        let mut routes = Vec::new();
        for family in [AF_INET, AF_INET6] {
            let request = Request::new(RTM_GETROUTE, 0, &[family, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
            let replies = self.socket.dump("list the routes", &request)?;
            routes.extend(replies.iter().filter_map(|reply| parse(&reply.body)));
        }
        Ok(routes)
    }

    /// The interfaces whose directly connected network `address` is in; of several networks the smallest.
    ///
    /// # Errors
    /// [`KernelError`].
    pub fn links_towards(&mut self, address: IpAddr) -> Result<Vec<Link>, KernelError> {
        let mut routes = self.routes()?;
        routes.retain(|r| {
            r.table == MAIN_TABLE
                && r.gateway.is_none()
                && r.prefix > 0
                && r.index.is_some()
                && r.covers(address)
        });
        let longest = routes.iter().map(|route| route.prefix).max();
        let mut indices: Vec<u32> = routes
            .iter()
            .filter(|route| Some(route.prefix) == longest)
            .filter_map(|route| route.index)
            .collect();
        indices.sort_unstable();
        indices.dedup();
        indices.into_iter().map(|index| self.link(index)).collect()
    }
}

fn parse(body: &[u8]) -> Option<Route> {
    let (family, kind) = (u8_at(body, 0)?, u8_at(body, 7)?);
    let any = match family {
        AF_INET => IpAddr::from([0; 4]),
        AF_INET6 => IpAddr::from([0; 16]),
        _ => return None,
    };
    let mut route = Route::new(any, u8_at(body, 1)?);
    route.table = u32::from(u8_at(body, 4)?);
    route.origin = u8_at(body, 5)?;
    route.kind = kind;
    for (attribute, value) in attributes(body, HEADER) {
        match attribute {
            RTA_DST => route.destination = ip(value)?,
            RTA_GATEWAY => route.gateway = ip(value),
            RTA_OIF => route.index = u32_at(value, 0),
            RTA_PREFSRC => route.source = ip(value),
            RTA_PRIORITY => route.metric = u32_at(value, 0),
            RTA_TABLE => route.table = u32_at(value, 0).unwrap_or(route.table),
            _ => {}
        }
    }
    (kind == RTN_UNICAST).then_some(route)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_network_holds_its_own_addresses_only() {
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        assert!(is_within(ip("10.77.0.100"), ip("10.77.0.0"), 24));
        assert!(!is_within(ip("10.77.1.100"), ip("10.77.0.0"), 24));
        assert!(is_within(ip("10.77.1.100"), ip("0.0.0.0"), 0));
        assert!(is_within(ip("fd00::64"), ip("fd00::"), 64));
        assert!(!is_within(ip("fd00:0:0:1::64"), ip("fd00::"), 64));
        assert!(!is_within(ip("fd00::64"), ip("0.0.0.0"), 0));
    }

    #[test]
    fn what_is_asked_for_reads_back_as_it_was() {
        let mut route = Route::new([10, 9, 0, 0].into(), 16);
        route.gateway = Some([10, 77, 0, 1].into());
        route.index = Some(3);
        route.source = Some([10, 77, 0, 100].into());
        route.metric = Some(5);
        route.table = 1000;
        route.origin = 72;
        assert_eq!(parse(&route.request(RTM_NEWROUTE, 0).body), Some(route));
    }

    proptest! {
        #[test]
        fn no_bytes_make_reading_panic(bytes in proptest::collection::vec(any::<u8>(), 0..256)) {
            let _ = parse(&bytes);
        }
    }
}
