//! Which messages are listened to: the checks of RFC 9568 section 7.1, in their order. Pure.

use super::checksum::{self, IP_PROTOCOL};
use super::packet::Message;
use super::{AddressList, AdvertInterval, Advertisement, Ipv4Checksum, Priority, Refusal, Vrid};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The group that speakers listen to over IPv4.
pub const GROUP_V4: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 18);
/// The group that speakers listen to over IPv6.
pub const GROUP_V6: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0x12);
/// With this hop limit a message is sent. One that came through a router has less.
pub const HOP_LIMIT: u8 = 255;

/// A message as it arrived.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Arrival<'a> {
    /// Who sent it.
    pub source: IpAddr,
    /// Where it was sent to.
    pub destination: IpAddr,
    /// TTL or hop limit at the arrival.
    pub hop_limit: u8,
    /// What follows the IP header.
    pub message: &'a [u8],
}

impl<'a> Arrival<'a> {
    /// The message in an IPv4 `datagram`, as a raw socket gives it.
    ///
    /// # Errors
    /// [`Refusal::IpHeader`].
    pub fn from_ipv4(datagram: &'a [u8]) -> Result<Self, Refusal> {
        Self::split_ipv4(datagram).ok_or(Refusal::IpHeader { length: datagram.len() })
    }

    fn split_ipv4(datagram: &'a [u8]) -> Option<Self> {
        let header = datagram.first_chunk::<20>()?;
        let header_length = usize::from(header[0] & 0x0F) * 4;
        let total = usize::from(u16::from_be_bytes([header[2], header[3]]));
        if header[0] >> 4 != 4 || header[9] != IP_PROTOCOL || header_length < header.len() {
            return None;
        }
        let message = datagram.get(header_length..total)?;
        let address = |at: usize| Some(IpAddr::from(*header.get(at..)?.first_chunk::<4>()?));
        Some(Self { source: address(12)?, destination: address(16)?, hop_limit: header[8], message })
    }
}

/// Whom a speaker talks to.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Audience {
    /// Everybody on the link, by the multicast group.
    Group,
    /// These addresses only.
    Unicast {
        /// The other speakers.
        peers: Vec<IpAddr>,
        /// The least hop limit that is accepted from them: 255 unless there are routers between.
        least_hop_limit: u8,
    },
}

/// What a speaker listens to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Admission {
    /// Its virtual router.
    pub vrid: Vrid,
    /// Its own source address.
    pub source: IpAddr,
    /// Whom it talks to.
    pub audience: Audience,
    /// The virtual router's addresses.
    pub addresses: AddressList,
    /// Whether others must list exactly these addresses, in any order.
    pub same_addresses: bool,
}

/// An advertisement of another speaker that passed all checks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Heard {
    /// Who sent it.
    pub source: IpAddr,
    /// Its priority; 0 when it leaves.
    pub priority: Priority,
    /// Its interval.
    pub interval: AdvertInterval,
    /// What its checksum covers. Over IPv6 always with the pseudo-header.
    pub checksum: Ipv4Checksum,
}

impl Admission {
    /// What `arrival` says, if it is to be listened to.
    ///
    /// # Errors
    /// [`Refusal`]: the first check that failed.
    pub fn admit(&self, arrival: &Arrival<'_>) -> Result<Heard, Refusal> {
        self.check_way(arrival)?;
        let message = Message::read(arrival.message, arrival.source)?;
        self.check_router(&message, arrival.source)?;
        let checksum = check_sum(&message, arrival)?;
        let source_address = arrival.source;
        let interval = message.interval().ok_or(Refusal::Interval { source_address })?;
        if arrival.source == self.source {
            return Err(Refusal::OwnSource { source_address });
        }
        Ok(Heard { source: arrival.source, priority: message.priority(), interval, checksum })
    }

    /// The advertisement that this speaker sends.
    #[must_use]
    pub fn advertisement(&self, priority: Priority, interval: AdvertInterval) -> Advertisement {
        Advertisement { vrid: self.vrid, priority, interval, addresses: self.addresses.clone() }
    }

    /// The group of this speaker's family.
    #[must_use]
    pub const fn group(&self) -> IpAddr {
        if self.source.is_ipv6() { IpAddr::V6(GROUP_V6) } else { IpAddr::V4(GROUP_V4) }
    }

    fn check_way(&self, arrival: &Arrival<'_>) -> Result<(), Refusal> {
        let source_address = arrival.source;
        let (at_least, expected) = match &self.audience {
            Audience::Group => (HOP_LIMIT, self.group()),
            Audience::Unicast { least_hop_limit, .. } => (*least_hop_limit, self.source),
        };
        if arrival.hop_limit < at_least {
            return Err(Refusal::HopLimit { found: arrival.hop_limit, at_least, source_address });
        }
        if arrival.destination != expected {
            return Err(Refusal::Destination { found: arrival.destination, expected, source_address });
        }
        match &self.audience {
            Audience::Unicast { peers, .. } if !peers.contains(&source_address) => {
                Err(Refusal::Source { source_address })
            }
            _ => Ok(()),
        }
    }

    fn check_router(&self, message: &Message<'_>, source_address: IpAddr) -> Result<(), Refusal> {
        if message.vrid() != self.vrid.get() {
            return Err(Refusal::Vrid { found: message.vrid(), expected: self.vrid, source_address });
        }
        if !self.same_addresses {
            return Ok(());
        }
        let listed = message.addresses();
        let (found, expected) = (listed.count(), self.addresses.count());
        if found != expected {
            return Err(Refusal::AddressCount { found, expected, source_address });
        }
        let listed: std::collections::BTreeSet<IpAddr> = listed.iter().collect();
        match self.addresses.iter().find(|ours| !listed.contains(ours)) {
            Some(missing) => Err(Refusal::AddressList { missing, source_address }),
            None => Ok(()),
        }
    }
}

/// Either convention will do.
fn check_sum(message: &Message<'_>, arrival: &Arrival<'_>) -> Result<Ipv4Checksum, Refusal> {
    let found = message.checksum();
    let sum = |covers| checksum::checksum(arrival.message, arrival.source, arrival.destination, covers);
    // Zero and all ones are the same number in this arithmetic; some senders write the other one.
    let same = |expected: u16| found == expected || matches!((found, expected), (0, 0xFFFF) | (0xFFFF, 0));
    Ipv4Checksum::ALL.into_iter().find(|covers| same(sum(*covers))).ok_or_else(|| Refusal::Checksum {
        found,
        with_pseudo_header: sum(Ipv4Checksum::PseudoHeader),
        message_only: sum(Ipv4Checksum::MessageOnly),
        source_address: arrival.source,
    })
}
