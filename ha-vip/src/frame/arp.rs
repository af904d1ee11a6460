//! ARP for IPv4 over Ethernet (RFC 826), and its uses as a claim (RFC 5227).

use super::error::{FrameError, require, take};
use super::ethernet::{ARP, BROADCAST, Ethernet, NOBODY};
use crate::MacAddress;
use std::net::Ipv4Addr;

/// Whether a message asks or tells. Receivers learn its sender from both.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ArpOperation {
    /// Who has the target address?
    Request,
    /// The sender has the sender's address.
    Reply,
}

/// An ARP message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Arp {
    /// Asks or tells.
    pub operation: ArpOperation,
    /// The link-layer address that receivers put into their caches.
    pub sender_mac: MacAddress,
    /// The address they put it in for; `0.0.0.0` claims nothing.
    pub sender: Ipv4Addr,
    /// Ignored in requests; zero there.
    pub target_mac: MacAddress,
    /// The address that is asked for, or whom the answer is for.
    pub target: Ipv4Addr,
}

impl Arp {
    /// `address` is at `mac`, in the form of a request: the ARP announcement of RFC 5227 section 2.3.
    #[must_use]
    pub const fn gratuitous_request(address: Ipv4Addr, mac: MacAddress) -> Self {
        let operation = ArpOperation::Request;
        Self { operation, sender_mac: mac, sender: address, target_mac: NOBODY, target: address }
    }

    /// `address` is at `mac`, in the form of a reply, for those who learn from replies only. The target is the
    /// sender in both parts: Linux takes it for gratuitous only then (`arp_is_garp`).
    #[must_use]
    pub const fn gratuitous_reply(address: Ipv4Addr, mac: MacAddress) -> Self {
        let operation = ArpOperation::Reply;
        Self { operation, sender_mac: mac, sender: address, target_mac: mac, target: address }
    }

    /// Does anybody have `address`? Asked without an address of one's own, so that no cache changes (RFC 5227
    /// section 2.1.1).
    #[must_use]
    pub const fn probe(address: Ipv4Addr, mac: MacAddress) -> Self {
        let operation = ArpOperation::Request;
        let (sender, target_mac) = (Ipv4Addr::UNSPECIFIED, NOBODY);
        Self { operation, sender_mac: mac, sender, target_mac, target: address }
    }

    /// Who has `target`? Whoever answers has put (`address`, `mac`) into his cache before (RFC 826).
    #[must_use]
    pub const fn question(address: Ipv4Addr, mac: MacAddress, target: Ipv4Addr) -> Self {
        let operation = ArpOperation::Request;
        Self { operation, sender_mac: mac, sender: address, target_mac: NOBODY, target }
    }

    /// Tells one neighbour, as if it had asked, that `address` is at `mac`.
    #[must_use]
    pub const fn answer(
        address: Ipv4Addr,
        mac: MacAddress,
        neighbour: Ipv4Addr,
        neighbour_mac: MacAddress,
    ) -> Self {
        let operation = ArpOperation::Reply;
        Self { operation, sender_mac: mac, sender: address, target_mac: neighbour_mac, target: neighbour }
    }

    /// Whether it asks for an address without claiming one: somebody is about to take it (RFC 5227).
    #[must_use]
    pub const fn is_probe(&self) -> bool {
        matches!(self.operation, ArpOperation::Request) && self.sender.is_unspecified()
    }

    /// The frame, 42 bytes, to everybody.
    #[must_use]
    pub fn broadcast(&self) -> Vec<u8> {
        self.to_frame(BROADCAST)
    }

    /// The frame, 42 bytes, from its sender to `destination`.
    #[must_use]
    pub fn to_frame(&self, destination: MacAddress) -> Vec<u8> {
        let mut frame = Vec::with_capacity(42);
        Ethernet { destination, source: self.sender_mac, kind: ARP }.write(&mut frame);
        frame.extend_from_slice(&[0, 1, 8, 0, 6, 4, 0]); // Ethernet, IPv4, 6 and 4 bytes, operation
        frame.push(match self.operation {
            ArpOperation::Request => 1,
            ArpOperation::Reply => 2,
        });
        frame.extend_from_slice(&self.sender_mac.0);
        frame.extend_from_slice(&self.sender.octets());
        frame.extend_from_slice(&self.target_mac.0);
        frame.extend_from_slice(&self.target.octets());
        frame
    }

    /// What follows the Ethernet header. Padding behind it is ignored.
    ///
    /// # Errors
    /// [`FrameError`].
    pub fn parse(payload: &[u8]) -> Result<Self, FrameError> {
        let (header, rest) = take::<8>("an ARP message", payload)?;
        let [h0, h1, p0, p1, hardware_bytes, protocol_bytes, o0, o1] = *header;
        require("ARP hardware type", u16::from_be_bytes([h0, h1]), 1, "1 (Ethernet)")?;
        require("ARP protocol type", u16::from_be_bytes([p0, p1]), 0x0800, "2048 (IPv4)")?;
        require("length of an ARP hardware address", hardware_bytes, 6, "6")?;
        require("length of an ARP protocol address", protocol_bytes, 4, "4")?;
        let operation = match u16::from_be_bytes([o0, o1]) {
            1 => ArpOperation::Request,
            2 => ArpOperation::Reply,
            other => {
                let expected = "1 (request) or 2 (reply)";
                return Err(FrameError::Field { what: "ARP operation", found: other.into(), expected });
            }
        };
        let ((sender_mac, sender), rest) = pair(rest)?;
        let ((target_mac, target), _) = pair(rest)?;
        Ok(Self { operation, sender_mac, sender, target_mac, target })
    }
}

fn pair(bytes: &[u8]) -> Result<((MacAddress, Ipv4Addr), &[u8]), FrameError> {
    let (mac, bytes) = take::<6>("an ARP hardware address", bytes)?;
    let (address, bytes) = take::<4>("an ARP protocol address", bytes)?;
    Ok(((MacAddress(*mac), Ipv4Addr::from(*address)), bytes))
}
