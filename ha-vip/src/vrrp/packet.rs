//! An advertisement, as bytes and as a value (RFC 9568 section 5.1). Pure.

use super::checksum::{self, Ipv4Checksum};
use super::{AdvertInterval, Priority, Refusal, Vrid};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

const VERSION: u8 = 3;
const ADVERTISEMENT: u8 = 1;
pub(super) const HEADER: usize = 8;
/// The count of addresses is one octet.
pub(crate) const MOST_ADDRESSES: usize = 255;

/// The addresses of a virtual router, all of one family, at most 255, in the order of the message.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct AddressList(Addresses);

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
enum Addresses {
    V4(Vec<Ipv4Addr>),
    V6(Vec<Ipv6Addr>),
}

impl AddressList {
    /// `addresses`; `None` if they are none, of both families, or more than 255.
    #[must_use]
    pub fn new(addresses: &[IpAddr]) -> Option<Self> {
        let count = (1..=MOST_ADDRESSES).contains(&addresses.len());
        let v4 = addresses.iter().map(|at| if let IpAddr::V4(v4) = at { Some(*v4) } else { None });
        let v6 = addresses.iter().map(|at| if let IpAddr::V6(v6) = at { Some(*v6) } else { None });
        let list = v4.collect::<Option<_>>().map(Addresses::V4);
        let list = list.or_else(|| v6.collect::<Option<_>>().map(Addresses::V6));
        list.filter(|_| count).map(Self)
    }

    /// Whether they are IPv6 addresses.
    #[must_use]
    pub const fn is_ipv6(&self) -> bool {
        matches!(self.0, Addresses::V6(_))
    }

    /// How many.
    #[must_use]
    pub fn count(&self) -> usize {
        match &self.0 {
            Addresses::V4(list) => list.len(),
            Addresses::V6(list) => list.len(),
        }
    }

    /// One after the other.
    pub fn iter(&self) -> impl Iterator<Item = IpAddr> {
        let (v4, v6) = match &self.0 {
            Addresses::V4(list) => (list.as_slice(), [].as_slice()),
            Addresses::V6(list) => ([].as_slice(), list.as_slice()),
        };
        v4.iter().map(|at| IpAddr::V4(*at)).chain(v6.iter().map(|at| IpAddr::V6(*at)))
    }

    /// The ones in `bytes`, whose length is a multiple of an address's.
    fn read(bytes: &[u8], ipv6: bool) -> Self {
        Self(if ipv6 {
            Addresses::V6(
                bytes.as_chunks().0.iter().map(|octets: &[u8; 16]| Ipv6Addr::from(*octets)).collect(),
            )
        } else {
            Addresses::V4(
                bytes.as_chunks().0.iter().map(|octets: &[u8; 4]| Ipv4Addr::from(*octets)).collect(),
            )
        })
    }

    fn write(&self, bytes: &mut Vec<u8>) {
        match &self.0 {
            Addresses::V4(list) => list.iter().for_each(|at| bytes.extend(at.octets())),
            Addresses::V6(list) => list.iter().for_each(|at| bytes.extend(at.octets())),
        }
    }
}

/// An advertisement of version 3.
///
/// ```
/// use ha_vip::vrrp::{AddressList, AdvertInterval, Advertisement, Ipv4Checksum, Priority, Vrid};
/// let advertisement = Advertisement {
///     vrid: Vrid::new(7).unwrap(),
///     priority: Priority(100),
///     interval: AdvertInterval::DEFAULT,
///     addresses: AddressList::new(&["10.77.0.100".parse().unwrap()]).unwrap(),
/// };
/// let (from, to) = ("10.77.0.1".parse().unwrap(), "224.0.0.18".parse().unwrap());
/// let bytes = advertisement.encode(from, to, Ipv4Checksum::MessageOnly);
/// assert_eq!(bytes, [0x31, 7, 100, 1, 0, 100, 0x5f, 0xe2, 10, 77, 0, 100]);
/// ```
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Advertisement {
    /// The virtual router.
    pub vrid: Vrid,
    /// The sender's priority; 0 when it leaves.
    pub priority: Priority,
    /// The sender's interval.
    pub interval: AdvertInterval,
    /// The virtual router's addresses.
    pub addresses: AddressList,
}

impl Advertisement {
    /// Its bytes, with the checksum for a datagram from `source` to `destination`.
    #[must_use]
    pub fn encode(&self, source: IpAddr, destination: IpAddr, covers: Ipv4Checksum) -> Vec<u8> {
        // An `AddressList` holds at most 255.
        let count = u8::try_from(self.addresses.count()).unwrap_or(u8::MAX);
        let mut bytes = vec![VERSION << 4 | ADVERTISEMENT, self.vrid.get(), self.priority.0, count];
        bytes.extend(self.interval.centiseconds().to_be_bytes());
        bytes.extend([0, 0]);
        self.addresses.write(&mut bytes);
        let sum = checksum::checksum(&bytes, source, destination, covers);
        bytes[checksum::FIELD].copy_from_slice(&sum.to_be_bytes());
        bytes
    }
}

/// A message of the right version, type and length. The rest is not checked yet.
pub(super) struct Message<'a> {
    header: [u8; HEADER],
    addresses: &'a [u8],
    ipv6: bool,
}

impl<'a> Message<'a> {
    /// Version, type and length, in this order.
    pub(super) fn read(bytes: &'a [u8], source: IpAddr) -> Result<Self, Refusal> {
        let short = Refusal::Short { length: bytes.len(), source_address: source };
        let (header, addresses) = bytes.split_first_chunk::<HEADER>().ok_or(short)?;
        let [version_and_type, vrid, priority, count, ..] = *header;
        match version_and_type >> 4 {
            VERSION => {}
            2 => {
                let [interval_s, priority] = [header[5], priority];
                return Err(Refusal::Version2 {
                    source_address: source,
                    vrid,
                    priority: Priority(priority),
                    interval_s,
                });
            }
            found => return Err(Refusal::Version { found, source_address: source }),
        }
        let found = version_and_type & 0x0F;
        if found != ADVERTISEMENT {
            return Err(Refusal::Type { found, source_address: source });
        }
        let each = if source.is_ipv6() { size_of::<Ipv6Addr>() } else { size_of::<Ipv4Addr>() };
        let expected = HEADER + each * usize::from(count);
        if bytes.len() != expected {
            return Err(Refusal::Length {
                found: bytes.len(),
                expected,
                addresses: count,
                source_address: source,
            });
        }
        Ok(Self { header: *header, addresses, ipv6: source.is_ipv6() })
    }

    pub(super) const fn vrid(&self) -> u8 {
        self.header[1]
    }

    pub(super) const fn priority(&self) -> Priority {
        Priority(self.header[2])
    }

    pub(super) fn checksum(&self) -> u16 {
        u16::from_be_bytes([self.header[6], self.header[7]])
    }

    /// The four bits beside the interval are reserved: ignored.
    pub(super) fn interval(&self) -> Option<AdvertInterval> {
        AdvertInterval::from_centiseconds(u16::from_be_bytes([self.header[4], self.header[5]]) & 0x0FFF)
    }

    pub(super) fn addresses(&self) -> AddressList {
        AddressList::read(self.addresses, self.ipv6)
    }
}
