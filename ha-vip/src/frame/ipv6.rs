//! The IPv6 header (RFC 8200) of a message within the link.

use super::checksum::{self, ICMPV6};
use super::error::{FrameError, require, take};
use super::ethernet::{Ethernet, IPV6};
use crate::MacAddress;
use std::net::Ipv6Addr;

/// All nodes of the link.
pub const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
/// A router would have counted it down: a message that arrives with it comes from this link (RFC 4861).
pub(super) const ON_LINK: u8 = 255;

/// The group in which the owner of `address` listens for questions (RFC 4291 section 2.7.1).
#[must_use]
pub const fn solicited_node(address: Ipv6Addr) -> Ipv6Addr {
    let [.., a, b, c] = address.octets();
    Ipv6Addr::from_octets([0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, a, b, c])
}

/// An ICMPv6 message as it came, its checksum already found right.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Message<'a> {
    pub(super) source: Ipv6Addr,
    pub(super) destination: Ipv6Addr,
    pub(super) hop_limit: u8,
    pub(super) kind: u8,
    pub(super) code: u8,
    /// What follows the checksum.
    pub(super) body: &'a [u8],
}

/// The frame of an ICMPv6 message with hop limit 255; the checksum in `message` (bytes 2 and 3) is filled in.
pub(super) fn frame(
    (source_mac, source): (MacAddress, Ipv6Addr),
    (destination_mac, destination): (MacAddress, Ipv6Addr),
    mut message: Vec<u8>,
) -> Vec<u8> {
    let sum = checksum::icmpv6(source, destination, &message).to_be_bytes();
    if let Some(field) = message.get_mut(2..4) {
        field.copy_from_slice(&sum);
    }
    let mut frame = Vec::with_capacity(54 + message.len());
    Ethernet { destination: destination_mac, source: source_mac, kind: IPV6 }.write(&mut frame);
    frame.extend_from_slice(&[0x60, 0, 0, 0]);
    frame.extend_from_slice(&u16::try_from(message.len()).unwrap_or(u16::MAX).to_be_bytes());
    frame.extend_from_slice(&[ICMPV6, ON_LINK]);
    frame.extend_from_slice(&source.octets());
    frame.extend_from_slice(&destination.octets());
    frame.append(&mut message);
    frame
}

/// What follows the Ethernet header. Extension headers are not followed: neighbour discovery has none in practice,
/// and Linux, too, refuses its fragments (RFC 6980).
pub(super) fn parse(packet: &[u8]) -> Result<Message<'_>, FrameError> {
    let (header, rest) = take::<40>("an IPv6 packet", packet)?;
    require("IP version", header[0] >> 4, 6, "6")?;
    require("IPv6 next header", header[6], ICMPV6.into(), "58 (ICMPv6)")?;
    let length = usize::from(u16::from_be_bytes([header[4], header[5]]));
    let message = rest.get(..length).ok_or(FrameError::Short {
        what: "an IPv6 payload",
        found: rest.len(),
        expected: length,
    })?;
    let [source, destination] = [8, 24].map(|at| address_at(header, at));
    let ([kind, code, _, _], body) = take::<4>("an ICMPv6 message", message)?;
    if checksum::icmpv6(source, destination, message) != 0 {
        return Err(FrameError::Checksum { what: "an ICMPv6 message" });
    }
    Ok(Message { source, destination, hop_limit: header[7], kind: *kind, code: *code, body })
}

fn address_at(header: &[u8; 40], at: usize) -> Ipv6Addr {
    let mut octets = [0; 16];
    octets.iter_mut().zip(header.iter().skip(at)).for_each(|(to, from)| *to = *from);
    octets.into()
}
