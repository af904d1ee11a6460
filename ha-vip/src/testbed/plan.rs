//! Names and addresses of everything that will be wired. Pure.

use super::TestbedError;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// One interface of a host, and the bridge port that it is plugged into.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Interface {
    /// Its name in the host, which is that of its network.
    pub name: String,
    /// Its hardware address: `02:77:00:00:<network>:<host>`.
    pub mac: [u8; 6],
    /// Its own address.
    pub v4: Ipv4Addr,
    /// Bits of the IPv4 prefix.
    pub v4_prefix: u8,
    /// Its own IPv6 address, on a network that has a prefix.
    pub v6: Option<Ipv6Addr>,
    /// Bits of the IPv6 prefix.
    pub v6_prefix: u8,
    /// The name of its bridge port in the switch.
    pub(super) port: String,
}

/// A network: one bridge.
#[derive(Clone, Debug)]
pub(super) struct Network {
    pub(super) name: String,
    pub(super) kind: Kind,
    pub(super) v4: (Ipv4Addr, u8),
    pub(super) v6: Option<(Ipv6Addr, u8)>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    /// Of hosts, neighbours and the router.
    Lan,
    /// Of hosts only.
    Heartbeat,
    /// Of the router's other side and the clients.
    Outside,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Role {
    Host,
    Neighbour,
    Router,
    Client,
}

/// One machine to be.
#[derive(Clone, Debug)]
pub(super) struct HostPlan {
    pub(super) name: String,
    pub(super) role: Role,
    pub(super) interfaces: Vec<Interface>,
    pub(super) gateways: Vec<IpAddr>,
}

/// Host number of the router in every network that it is in: the last one before the broadcast address.
const ROUTER_V6: u128 = 0xfe;
/// `IFNAMSIZ` without its zero.
const NAME_BYTES: usize = 15;

impl Network {
    /// Reads `10.77.0.0/24` and, if given, `fd00:77::/80`.
    pub(super) fn new(name: &str, kind: Kind, v4: &str, v6: Option<&str>) -> Result<Self, TestbedError> {
        let refuse = |found: String, expected| TestbedError::Plan { found, expected };
        if name.is_empty() || name.len() > NAME_BYTES || !name.bytes().all(|b| b.is_ascii_alphanumeric()) {
            return Err(refuse(format!("network {name:?}"), "1 to 15 letters and digits"));
        }
        let v4 = subnet::<Ipv4Addr>(v4).filter(|(base, bits)| (8..=29).contains(bits) && base.is_private());
        let v4 = v4.ok_or_else(|| {
            refuse(format!("IPv4 prefix of {name}"), "a private network such as 10.77.0.0/24")
        })?;
        let v6 = v6.map(|text| {
            let found = subnet::<Ipv6Addr>(text)
                .filter(|(base, bits)| (8..=112).contains(bits) && base.is_unique_local());
            found.ok_or_else(|| {
                refuse(format!("IPv6 prefix {text} of {name}"), "a unique local one such as fd00:77::/80")
            })
        });
        Ok(Self { name: name.to_owned(), kind, v4, v6: v6.transpose()? })
    }

    fn connects(&self, role: Role) -> bool {
        match (self.kind, role) {
            (Kind::Lan, Role::Host | Role::Neighbour | Role::Router)
            | (Kind::Heartbeat, Role::Host)
            | (Kind::Outside, Role::Client | Role::Router) => true,
            (Kind::Lan, Role::Client)
            | (Kind::Heartbeat, Role::Neighbour | Role::Router | Role::Client)
            | (Kind::Outside, Role::Host | Role::Neighbour) => false,
        }
    }

    /// The address of the host with this number; the router's is the last one.
    fn address(&self, role: Role, number: u8) -> Option<(Ipv4Addr, Option<Ipv6Addr>)> {
        let (base, bits) = self.v4;
        let last = (u32::MAX >> bits).checked_sub(1)?;
        let host = if role == Role::Router { last } else { u32::from(number) };
        if host == 0 || (role != Role::Router && host >= last) {
            return None;
        }
        let v6_host = if role == Role::Router { ROUTER_V6 } else { u128::from(number) };
        let v6 = self.v6.map(|(base, _)| Ipv6Addr::from(u128::from(base) | v6_host));
        Some((Ipv4Addr::from(u32::from(base) | host), v6))
    }

    fn gateways(&self) -> Vec<IpAddr> {
        let router = self.address(Role::Router, 0);
        router
            .map_or_else(Vec::new, |(v4, v6)| std::iter::once(v4.into()).chain(v6.map(Into::into)).collect())
    }
}

/// Plans one machine: the `number`th of its kind, in every network that its role is in.
pub(super) fn host(
    name: &str,
    role: Role,
    number: u8,
    networks: &[Network],
) -> Result<HostPlan, TestbedError> {
    let refuse = |found, expected| TestbedError::Plan { found, expected };
    if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') {
        return Err(refuse(format!("host {name:?}"), "letters, digits and dashes"));
    }
    let mut interfaces = Vec::new();
    for (index, network) in networks.iter().enumerate().filter(|(_, network)| network.connects(role)) {
        let port = format!("{name}.{}", network.name);
        if port.len() > NAME_BYTES {
            return Err(refuse(
                format!("{port:?} for a bridge port"),
                "host and network names that make 15 bytes at most",
            ));
        }
        let Some((v4, v6)) = network.address(role, number) else {
            return Err(refuse(
                format!("host number {number} on {}", network.name),
                "a prefix with room for all hosts",
            ));
        };
        let (network_number, host_number) =
            (u8::try_from(index).unwrap_or(u8::MAX), if role == Role::Router { 254 } else { number });
        interfaces.push(Interface {
            name: network.name.clone(),
            mac: [0x02, 0x77, 0, 0, network_number, host_number],
            v4,
            v4_prefix: network.v4.1,
            v6,
            v6_prefix: network.v6.map_or(0, |(_, bits)| bits),
            port,
        });
    }
    // Without clients there is no router, and nobody to be reached through it.
    let routed = networks.iter().any(|network| network.kind == Kind::Outside);
    let first = networks.iter().find(|network| network.kind != Kind::Heartbeat && network.connects(role));
    let gateways = first.filter(|_| routed && role != Role::Router).map_or_else(Vec::new, Network::gateways);
    Ok(HostPlan { name: name.to_owned(), role, interfaces, gateways })
}

fn subnet<A: std::str::FromStr>(text: &str) -> Option<(A, u8)> {
    let (base, bits) = text.split_once('/')?;
    Some((base.parse().ok()?, bits.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn networks() -> Vec<Network> {
        [
            Network::new("lan0", Kind::Lan, "10.77.0.0/24", Some("fd00:77::/80")),
            Network::new("hb0", Kind::Heartbeat, "10.78.0.0/26", None),
            Network::new("out0", Kind::Outside, "10.78.0.128/26", Some("fd00:77:0:0:1::/80")),
        ]
        .map(Result::unwrap)
        .to_vec()
    }

    #[test]
    fn every_machine_has_its_fixed_addresses() {
        let networks = networks();
        let n2 = host("n2", Role::Host, 2, &networks).unwrap();
        let shown: Vec<String> =
            n2.interfaces.iter().map(|i| format!("{} {}/{} {:?}", i.port, i.v4, i.v4_prefix, i.v6)).collect();
        assert_eq!(shown, ["n2.lan0 10.77.0.2/24 Some(fd00:77::2)", "n2.hb0 10.78.0.2/26 None"]);
        assert_eq!(n2.interfaces[1].mac, [2, 0x77, 0, 0, 1, 2]);
        assert_eq!(n2.gateways, ["10.77.0.254", "fd00:77::fe"].map(|a| a.parse::<IpAddr>().unwrap()));
        let router = host("router", Role::Router, 0, &networks).unwrap();
        assert_eq!(
            router.interfaces.iter().map(|i| i.v4.to_string()).collect::<Vec<_>>(),
            ["10.77.0.254", "10.78.0.190"]
        );
        let client = host("c1", Role::Client, 1, &networks).unwrap();
        assert_eq!(client.interfaces[0].v6, Some("fd00:77:0:0:1::1".parse().unwrap()));
        assert_eq!(client.gateways[0].to_string(), "10.78.0.190");
    }

    #[test]
    fn what_cannot_be_wired_is_refused() {
        assert!(Network::new("lan0", Kind::Lan, "8.8.8.0/24", None).is_err(), "not private");
        assert!(Network::new("lan0", Kind::Lan, "10.0.0.0/31", None).is_err(), "no room");
        assert!(Network::new("lan0", Kind::Lan, "10.0.0.0/24", Some("2001:db8::/64")).is_err(), "not local");
        assert!(Network::new("a b", Kind::Lan, "10.0.0.0/24", None).is_err());
        let networks = networks();
        assert!(host("a-rather-long-name", Role::Host, 1, &networks).is_err());
        assert!(host("n1", Role::Host, 62, &networks).is_err(), "62 is the router of a /26");
        assert!(host("n1; rm", Role::Host, 1, &networks).is_err());
    }
}
