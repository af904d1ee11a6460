//! Addresses of interfaces: put, deleted, listed.

use super::message::{AF_UNSPEC, Request, attributes, family, ip, octets, text, u8_at, u32_at};
use super::socket::Reply;
use super::{KernelError, Rtnetlink};
use netlink_packet_core::{NLM_F_CREATE, NLM_F_REPLACE};
use std::fmt;
use std::net::IpAddr;

pub(super) const RTM_NEWADDR: u16 = 20;
pub(super) const RTM_DELADDR: u16 = 21;
const RTM_GETADDR: u16 = 22;

/// `struct ifaddrmsg` (`rtnetlink(7)`).
const HEADER: usize = 8;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_LABEL: u16 = 3;
const IFA_CACHEINFO: u16 = 6;
const IFA_FLAGS: u16 = 8;
const IFA_PROTO: u16 = 11;

/// How long an address lasts unless it is renewed. The kernel counts whole seconds.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, serde::Serialize, serde::Deserialize)]
pub enum Lifetime {
    /// So many seconds, at least one.
    Seconds(u32),
    /// Until it is deleted.
    Forever,
}

impl Lifetime {
    const fn number(self) -> u32 {
        match self {
            Self::Seconds(seconds) => seconds,
            Self::Forever => u32::MAX,
        }
    }
}

/// Properties and states of an address: the bits of `IFA_FLAGS` (`if_addr.h`).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct AddressFlags(pub u32);

impl AddressFlags {
    /// No duplicate address detection (RFC 4862) for it.
    pub const NODAD: Self = Self(0x02);
    /// In use while it is being checked (RFC 4429).
    pub const OPTIMISTIC: Self = Self(0x04);
    /// Somebody else has it, the check found.
    pub const DADFAILED: Self = Self(0x08);
    /// Being checked, and not in use meanwhile.
    pub const TENTATIVE: Self = Self(0x40);
    /// Without a lifetime.
    pub const PERMANENT: Self = Self(0x80);
    /// Without a route to its network.
    pub const NOPREFIXROUTE: Self = Self(0x200);

    /// Both sets together.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether all of `other` are set.
    #[must_use]
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

/// An address of an interface.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Address {
    /// The interface's number.
    pub index: u32,
    /// The address.
    pub address: IpAddr,
    /// The length of its network's prefix.
    pub prefix: u8,
    /// IPv4: its label, which begins with the interface's name.
    pub label: Option<String>,
    /// How far it is valid: 0 everywhere, 253 on the link, 254 on the host (`ip-address(8)`).
    pub scope: u8,
    /// Properties and states.
    pub flags: AddressFlags,
    /// Who made it (`IFA_PROTO`, Linux 5.18 and later); 0 if unknown.
    pub origin: u8,
    /// How long it lasts; when read: what is left.
    pub lifetime: Lifetime,
}

impl Address {
    /// The plain address for an interface, without end.
    #[must_use]
    pub const fn new(index: u32, address: IpAddr, prefix: u8) -> Self {
        let (flags, lifetime) = (AddressFlags(0), Lifetime::Forever);
        Self { index, address, prefix, label: None, scope: 0, flags, origin: 0, lifetime }
    }

    fn header(&self) -> [u8; HEADER] {
        let mut bytes = [0; HEADER];
        bytes[..4].copy_from_slice(&[
            family(self.address),
            self.prefix,
            self.flags.0.to_le_bytes()[0],
            self.scope,
        ]);
        bytes[4..].copy_from_slice(&self.index.to_ne_bytes());
        bytes
    }

    /// The request that adds it, or gives an existing one these properties.
    pub(crate) fn put(&self) -> Request {
        let octets = octets(self.address);
        let lifetime = self.lifetime.number().to_ne_bytes();
        // struct ifa_cacheinfo: preferred, valid, created, updated.
        let cacheinfo = [lifetime, lifetime, [0; 4], [0; 4]].concat();
        let request = Request::new(RTM_NEWADDR, NLM_F_CREATE | NLM_F_REPLACE, &self.header())
            .attribute(IFA_LOCAL, &octets)
            .attribute(IFA_ADDRESS, &octets)
            .attribute(IFA_FLAGS, &self.flags.0.to_ne_bytes())
            .attribute(IFA_CACHEINFO, &cacheinfo);
        let request = match &self.label {
            Some(label) => request.text(IFA_LABEL, label),
            None => request,
        };
        request.optional(IFA_PROTO, (self.origin != 0).then_some([self.origin].as_slice()))
    }

    pub(crate) fn delete(&self) -> Request {
        let octets = octets(self.address);
        Request::new(RTM_DELADDR, 0, &self.header())
            .attribute(IFA_LOCAL, &octets)
            .attribute(IFA_ADDRESS, &octets)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{} on interface {}", self.address, self.prefix, self.index)
    }
}

impl Rtnetlink {
    /// Adds addresses, or gives existing ones these properties and this lifetime; the outcome of each.
    pub fn put_addresses(&mut self, addresses: &[Address]) -> Vec<Result<(), KernelError>> {
        let requests: Vec<_> = addresses.iter().map(Address::put).collect();
        let call = |at: usize| addresses.get(at).map(|address| format!("add {address}")).unwrap_or_default();
        self.socket.transact(&call, &requests, None)
    }

    /// Deletes addresses; the outcome of each.
    pub fn delete_addresses(&mut self, addresses: &[Address]) -> Vec<Result<(), KernelError>> {
        let requests: Vec<_> = addresses.iter().map(Address::delete).collect();
        let call =
            |at: usize| addresses.get(at).map(|address| format!("delete {address}")).unwrap_or_default();
        self.socket.transact(&call, &requests, None)
    }

    /// All addresses of all interfaces.
    ///
    /// # Errors
    /// [`KernelError`].
    pub fn addresses(&mut self) -> Result<Vec<Address>, KernelError> {
        let mut header = [0; HEADER];
        header[0] = AF_UNSPEC;
        let replies = self.socket.dump("list the addresses", &Request::new(RTM_GETADDR, 0, &header))?;
        Ok(replies
            .iter()
            .filter(|reply| reply.kind == RTM_NEWADDR)
            .filter_map(|reply| parse(&reply.body))
            .collect())
    }
}

/// An address out of the body of its message.
pub(super) fn parse(body: &[u8]) -> Option<Address> {
    let mut address = Address::new(u32_at(body, 4)?, IpAddr::from([0; 4]), u8_at(body, 1)?);
    address.flags = AddressFlags(u32::from(u8_at(body, 2)?));
    address.scope = u8_at(body, 3)?;
    let (mut local, mut other) = (None, None);
    for (attribute, value) in attributes(body, HEADER) {
        match attribute {
            IFA_LOCAL => local = ip(value),
            IFA_ADDRESS => other = ip(value),
            IFA_LABEL => address.label = Some(text(value)),
            IFA_FLAGS => address.flags = AddressFlags(u32_at(value, 0).unwrap_or(address.flags.0)),
            IFA_PROTO => address.origin = u8_at(value, 0).unwrap_or(0),
            IFA_CACHEINFO => {
                address.lifetime = match u32_at(value, 4) {
                    Some(u32::MAX) | None => Lifetime::Forever,
                    Some(seconds) => Lifetime::Seconds(seconds),
                }
            }
            _ => {}
        }
    }
    // On a point-to-point link IFA_ADDRESS is the other end; IPv6 has only that one otherwise.
    address.address = local.or(other)?;
    Some(address)
}

/// What a message of the kernel says about an address.
pub(super) fn news(reply: &Reply) -> Option<(bool, Address)> {
    matches!(reply.kind, RTM_NEWADDR | RTM_DELADDR)
        .then(|| parse(&reply.body).map(|address| (reply.kind == RTM_NEWADDR, address)))
        .flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_asked_for_reads_back_as_it_was() {
        let mut v4 = Address::new(7, [10, 77, 0, 100].into(), 24);
        v4.label = Some("lan0:mail".into());
        v4.scope = 253;
        v4.origin = 72;
        v4.flags = AddressFlags::NOPREFIXROUTE;
        v4.lifetime = Lifetime::Seconds(2);
        assert_eq!(parse(&v4.put().body), Some(v4.clone()));
        let v6 = Address { address: "fd00::64".parse().unwrap(), prefix: 64, label: None, ..v4 };
        assert_eq!(parse(&v6.put().body), Some(v6));
    }

    proptest! {
        #[test]
        fn no_bytes_make_reading_panic(bytes in proptest::collection::vec(any::<u8>(), 0..256)) {
            let _ = parse(&bytes);
            let _ = super::super::link::parse(&bytes);
        }
    }
}
