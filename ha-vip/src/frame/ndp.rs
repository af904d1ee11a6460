//! Neighbour solicitations and advertisements (RFC 4861 sections 4.3, 4.4, 7.1; RFC 4862 section 5.4).

use super::error::{FrameError, require, take};
use super::ethernet::multicast_mac;
use super::ipv6::{self, ALL_NODES, Message, ON_LINK, solicited_node};
use crate::MacAddress;
use std::net::Ipv6Addr;

pub(super) const SOLICITATION: u8 = 135;
pub(super) const ADVERTISEMENT: u8 = 136;
const SOURCE_MAC: u8 = 1;
const TARGET_MAC: u8 = 2;

/// Who has an address?
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Solicitation {
    /// Who asks; `::` in duplicate address detection.
    pub source: Ipv6Addr,
    /// Whom it asks.
    pub destination: Ipv6Addr,
    /// The address.
    pub target: Ipv6Addr,
    /// Where the asker is; receivers put it into their caches for `source`.
    pub mac: Option<MacAddress>,
}

/// An address is here.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Advertisement {
    /// Who tells.
    pub source: Ipv6Addr,
    /// Whom it tells.
    pub destination: Ipv6Addr,
    /// The address.
    pub target: Ipv6Addr,
    /// Whether the teller forwards packets. Hosts drop it as a router when this turns false.
    pub router: bool,
    /// Whether it was asked.
    pub solicited: bool,
    /// Whether an entry that says something else shall be replaced.
    pub overrides: bool,
    /// Where the address is. If absent, where the frame came from.
    pub mac: Option<MacAddress>,
}

impl Solicitation {
    /// Does anybody have `address`? The probe of duplicate address detection: it changes no cache.
    #[must_use]
    pub const fn probe(address: Ipv6Addr) -> Self {
        let destination = solicited_node(address);
        Self { source: Ipv6Addr::UNSPECIFIED, destination, target: address, mac: None }
    }

    /// Who has `target`? Whoever answers has put (`address`, `mac`) into his cache before (RFC 4861 section 7.2.3).
    #[must_use]
    pub const fn question(address: Ipv6Addr, mac: MacAddress, target: Ipv6Addr) -> Self {
        Self { source: address, destination: target, target, mac: Some(mac) }
    }

    /// Whether it is a probe of duplicate address detection.
    #[must_use]
    pub const fn is_probe(&self) -> bool {
        self.source.is_unspecified()
    }

    /// The frame from `mac` to the solicited-node group of the target: 78 bytes, or 86 with the option.
    #[must_use]
    pub fn multicast(mut self, mac: MacAddress) -> Vec<u8> {
        self.destination = solicited_node(self.target);
        self.to_frame(mac, multicast_mac(self.destination))
    }

    /// The frame from `mac` to `destination`.
    #[must_use]
    pub fn to_frame(&self, mac: MacAddress, destination: MacAddress) -> Vec<u8> {
        let mut message = vec![SOLICITATION, 0, 0, 0, 0, 0, 0, 0];
        message.extend_from_slice(&self.target.octets());
        write_option(&mut message, SOURCE_MAC, self.mac);
        ipv6::frame((mac, self.source), (destination, self.destination), message)
    }

    pub(super) fn parse(message: &Message<'_>) -> Result<Self, FrameError> {
        let (_, target, mac) = parse(message, SOURCE_MAC)?;
        let Message { source, destination, .. } = *message;
        if source.is_unspecified() && mac.is_some() {
            let expected = "an address, as the link-layer option names its place";
            return Err(FrameError::Address {
                what: "source of a solicitation",
                found: source.into(),
                expected,
            });
        }
        if source.is_unspecified() && destination != solicited_node(target) {
            let (what, expected) = ("destination of a probe", "the solicited-node group of its target");
            return Err(FrameError::Address { what, found: destination.into(), expected });
        }
        Ok(Self { source, destination, target, mac })
    }
}

impl Advertisement {
    /// `address` is at `mac`, whatever was known before; to all nodes, unasked (RFC 4861 section 7.2.6).
    #[must_use]
    pub const fn unsolicited(address: Ipv6Addr, mac: MacAddress, router: bool) -> Self {
        let (solicited, overrides) = (false, true);
        Self {
            source: address,
            destination: ALL_NODES,
            target: address,
            router,
            solicited,
            overrides,
            mac: Some(mac),
        }
    }

    /// The same to one neighbour.
    #[must_use]
    pub const fn directed(address: Ipv6Addr, mac: MacAddress, router: bool, neighbour: Ipv6Addr) -> Self {
        let mut this = Self::unsolicited(address, mac, router);
        this.destination = neighbour;
        this
    }

    /// The frame from `mac` to all nodes: 86 bytes.
    #[must_use]
    pub fn multicast(mut self, mac: MacAddress) -> Vec<u8> {
        self.destination = ALL_NODES;
        self.to_frame(mac, multicast_mac(ALL_NODES))
    }

    /// The frame from `mac` to `destination`.
    #[must_use]
    pub fn to_frame(&self, mac: MacAddress, destination: MacAddress) -> Vec<u8> {
        let flags =
            u8::from(self.router) << 7 | u8::from(self.solicited) << 6 | u8::from(self.overrides) << 5;
        let mut message = vec![ADVERTISEMENT, 0, 0, 0, flags, 0, 0, 0];
        message.extend_from_slice(&self.target.octets());
        write_option(&mut message, TARGET_MAC, self.mac);
        ipv6::frame((mac, self.source), (destination, self.destination), message)
    }

    pub(super) fn parse(message: &Message<'_>) -> Result<Self, FrameError> {
        let (flags, target, mac) = parse(message, TARGET_MAC)?;
        let [router, solicited, overrides] = [0x80, 0x40, 0x20].map(|bit| flags & bit != 0);
        let Message { source, destination, .. } = *message;
        if destination.is_multicast() && solicited {
            let (what, expected) = ("destination of a solicited advertisement", "one node");
            return Err(FrameError::Address { what, found: destination.into(), expected });
        }
        if source.is_multicast() || source.is_unspecified() {
            let what = "source of an advertisement";
            return Err(FrameError::Address { what, found: source.into(), expected: "a node" });
        }
        Ok(Self { source, destination, target, router, solicited, overrides, mac })
    }
}

fn write_option(message: &mut Vec<u8>, kind: u8, mac: Option<MacAddress>) {
    if let Some(mac) = mac {
        message.extend_from_slice(&[kind, 1]);
        message.extend_from_slice(&mac.0);
    }
}

/// What both have in common: the first byte of flags, the target, the wanted option.
fn parse(message: &Message<'_>, wanted: u8) -> Result<(u8, Ipv6Addr, Option<MacAddress>), FrameError> {
    require(
        "hop limit of neighbour discovery",
        message.hop_limit,
        ON_LINK.into(),
        "255, as sent on this link",
    )?;
    require("ICMPv6 code", message.code, 0, "0")?;
    let ([flags, ..], rest) = take::<4>("neighbour discovery flags", message.body)?;
    let (target, mut options) = take::<16>("a neighbour discovery target", rest)?;
    let target = Ipv6Addr::from(*target);
    if target.is_multicast() || target.is_unspecified() {
        let what = "target of neighbour discovery";
        return Err(FrameError::Address { what, found: target.into(), expected: "the address of a node" });
    }
    let mut mac = None;
    while !options.is_empty() {
        let ([kind, units], _) = take::<2>("a neighbour discovery option", options)?;
        let length = usize::from(*units) * 8;
        let short = FrameError::Short {
            what: "a neighbour discovery option",
            found: options.len(),
            expected: length,
        };
        if length == 0 {
            let what = "length of a neighbour discovery option";
            return Err(FrameError::Field { what, found: 0, expected: "at least 1" });
        }
        let (option, rest) = options.split_at_checked(length).ok_or(short)?;
        if *kind == wanted && length == 8 && mac.is_none() {
            mac = option.get(2..).and_then(|bytes| bytes.try_into().ok()).map(MacAddress);
        }
        options = rest;
    }
    Ok((*flags, target, mac))
}
