//! What a frame from the network says, and who claims what in it.

use super::echo::REPLY_V6;
use super::error::FrameError;
use super::ethernet::{ARP, Ethernet, IPV4, IPV6};
use super::ipv6::{self, Message};
use super::ndp::{ADVERTISEMENT, SOLICITATION};
use super::{Advertisement, Arp, ArpOperation, Echo, Solicitation, is_host};
use crate::MacAddress;
use std::net::IpAddr;

/// A frame that was understood.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Heard {
    /// An ARP message.
    Arp(Ethernet, Arp),
    /// A neighbour solicitation.
    Solicitation(Ethernet, Solicitation),
    /// A neighbour advertisement.
    Advertisement(Ethernet, Advertisement),
    /// An echo reply.
    Echo(Ethernet, Echo),
}

/// Somebody says that an address is at a link-layer address. Receivers put it into their caches.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Claim {
    /// The address.
    pub address: IpAddr,
    /// Where it is said to be: what stands in the message, not what sent the frame.
    pub mac: MacAddress,
    /// Who sent the frame, as its Ethernet header says.
    pub sent_by: MacAddress,
    /// How it was said.
    pub kind: ClaimKind,
}

/// How an address was claimed.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[non_exhaustive]
pub enum ClaimKind {
    /// As the sender of an ARP request; gratuitous ones, too.
    ArpRequest,
    /// As the sender of an ARP reply.
    ArpReply,
    /// As the source of a neighbour solicitation.
    Solicitation,
    /// As the target of a neighbour advertisement.
    Advertisement,
    /// Not claimed: somebody asks whether it is free, to take it (an ARP probe, duplicate address detection).
    Probe,
}

/// What `frame`, from its Ethernet header on, says.
///
/// # Errors
/// [`FrameError`] if it is of another kind, damaged, or breaks a rule of its RFC.
pub fn read(frame: &[u8]) -> Result<Heard, FrameError> {
    let (ethernet, payload) = Ethernet::parse(frame)?;
    match ethernet.kind {
        ARP => Ok(Heard::Arp(ethernet, Arp::parse(payload)?)),
        IPV4 => Ok(Heard::Echo(ethernet, Echo::parse_reply_v4(payload)?)),
        IPV6 => read_icmpv6(ethernet, &ipv6::parse(payload)?),
        other => {
            let expected = "ARP, IPv4 or IPv6";
            Err(FrameError::Field { what: "EtherType", found: other.into(), expected })
        }
    }
}

fn read_icmpv6(ethernet: Ethernet, message: &Message<'_>) -> Result<Heard, FrameError> {
    match message.kind {
        SOLICITATION => Ok(Heard::Solicitation(ethernet, Solicitation::parse(message)?)),
        ADVERTISEMENT => Ok(Heard::Advertisement(ethernet, Advertisement::parse(message)?)),
        REPLY_V6 => Ok(Heard::Echo(ethernet, Echo::parse_reply_v6(message)?)),
        other => {
            let expected = "neighbour discovery or an echo reply";
            Err(FrameError::Field { what: "ICMPv6 type", found: other.into(), expected })
        }
    }
}

impl Heard {
    /// Who claims an address, or asks for one without having any. A question about somebody else's address by the
    /// owner of an address claims the latter: caches learn from it.
    #[must_use]
    pub fn claim(&self) -> Option<Claim> {
        let claim = |address: IpAddr, mac, ethernet: &Ethernet, kind| {
            Some(Claim { address, mac, sent_by: ethernet.source, kind })
        };
        match self {
            Self::Arp(ethernet, arp) if arp.is_probe() => {
                claim(arp.target.into(), arp.sender_mac, ethernet, ClaimKind::Probe)
            }
            Self::Arp(_, arp) if arp.sender.is_unspecified() => None,
            Self::Arp(ethernet, arp) => {
                let kind = match arp.operation {
                    ArpOperation::Request => ClaimKind::ArpRequest,
                    ArpOperation::Reply => ClaimKind::ArpReply,
                };
                claim(arp.sender.into(), arp.sender_mac, ethernet, kind)
            }
            Self::Solicitation(ethernet, asked) if asked.is_probe() => {
                claim(asked.target.into(), ethernet.source, ethernet, ClaimKind::Probe)
            }
            Self::Solicitation(ethernet, asked) => {
                let mac = asked.mac.unwrap_or(ethernet.source);
                claim(asked.source.into(), mac, ethernet, ClaimKind::Solicitation)
            }
            Self::Advertisement(ethernet, told) => {
                let mac = told.mac.unwrap_or(ethernet.source);
                claim(told.target.into(), mac, ethernet, ClaimKind::Advertisement)
            }
            Self::Echo(..) => None,
        }
    }

    /// The neighbour that sent it, and where it believes `address` to be: an ARP message for `address` names that as its
    /// target, a question about it that is sent to one station only is sent there. Linux asks so before it gives an
    /// entry up. Most switches deliver such a frame to that station alone; bridges that flood deliver it to us, too.
    #[must_use]
    pub fn belief(&self, address: IpAddr) -> Option<(IpAddr, MacAddress)> {
        match self {
            Self::Arp(_, arp) if arp.sender.is_unspecified() || arp.sender == arp.target => None,
            Self::Arp(ethernet, arp) if IpAddr::from(arp.target) == address => {
                let named = [arp.target_mac, ethernet.destination].into_iter().find(|mac| is_host(*mac));
                named.map(|mac| (arp.sender.into(), mac))
            }
            Self::Solicitation(ethernet, asked)
                if IpAddr::from(asked.target) == address && !asked.is_probe() =>
            {
                is_host(ethernet.destination).then_some((asked.source.into(), ethernet.destination))
            }
            _ => None,
        }
    }
}
