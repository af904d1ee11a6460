//! ICMP and ICMPv6 echo (RFC 792, RFC 4443 section 4): a neighbour sends the reply to where *it* believes the asker to be.

use super::checksum;
use super::error::{FrameError, require, take};
use super::ethernet::{Ethernet, IPV4};
use super::ipv6::Message;
use super::{ipv4, ipv6};
use crate::MacAddress;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

const REQUEST_V4: u8 = 8;
const REQUEST_V6: u8 = 128;
const REPLY_V4: u8 = 0;
pub(super) const REPLY_V6: u8 = 129;

/// An echo request from `source`, or the reply to it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Echo {
    /// Who sends.
    pub source: IpAddr,
    /// Who shall get it; of the same family.
    pub destination: IpAddr,
    /// Tells the questions of one asker from those of another.
    pub identifier: u16,
    /// Tells the questions of one asker apart.
    pub sequence: u16,
}

impl Echo {
    /// The request as a frame from `mac` to `destination`: 42 bytes, or 62 for IPv6. `None` if the families differ.
    #[must_use]
    pub fn request(&self, mac: MacAddress, destination: MacAddress) -> Option<Vec<u8>> {
        match (self.source, self.destination) {
            (IpAddr::V4(from), IpAddr::V4(to)) => Some(self.request_v4((mac, from), (destination, to))),
            (IpAddr::V6(from), IpAddr::V6(to)) => {
                Some(ipv6::frame((mac, from), (destination, to), self.message(REQUEST_V6)))
            }
            _ => None,
        }
    }

    fn request_v4(&self, from: (MacAddress, Ipv4Addr), to: (MacAddress, Ipv4Addr)) -> Vec<u8> {
        let mut message = self.message(REQUEST_V4);
        let sum = checksum::internet(&[&message]).to_be_bytes();
        if let Some(field) = message.get_mut(2..4) {
            field.copy_from_slice(&sum);
        }
        let mut frame = Vec::with_capacity(42);
        Ethernet { destination: to.0, source: from.0, kind: IPV4 }.write(&mut frame);
        ipv4::write(&mut frame, from.1, to.1, message.len());
        frame.append(&mut message);
        frame
    }

    fn message(&self, kind: u8) -> Vec<u8> {
        let ([i0, i1], [s0, s1]) = (self.identifier.to_be_bytes(), self.sequence.to_be_bytes());
        vec![kind, 0, 0, 0, i0, i1, s0, s1]
    }

    pub(super) fn parse_reply_v4(packet: &[u8]) -> Result<Self, FrameError> {
        let (source, destination, message) = ipv4::parse(packet)?;
        let ([kind, code, _, _], body) = take::<4>("an ICMP message", message)?;
        require("ICMP type", *kind, REPLY_V4.into(), "0 (echo reply)")?;
        require("ICMP code", *code, 0, "0")?;
        if checksum::internet(&[message]) != 0 {
            return Err(FrameError::Checksum { what: "an ICMP message" });
        }
        Self::parse_body(source.into(), destination.into(), body)
    }

    pub(super) fn parse_reply_v6(message: &Message<'_>) -> Result<Self, FrameError> {
        require("ICMPv6 code", message.code, 0, "0")?;
        let [source, destination]: [Ipv6Addr; 2] = [message.source, message.destination];
        Self::parse_body(source.into(), destination.into(), message.body)
    }

    fn parse_body(source: IpAddr, destination: IpAddr, body: &[u8]) -> Result<Self, FrameError> {
        let ([i0, i1, s0, s1], _) = take::<4>("an echo", body)?;
        let (identifier, sequence) = (u16::from_be_bytes([*i0, *i1]), u16::from_be_bytes([*s0, *s1]));
        Ok(Self { source, destination, identifier, sequence })
    }

    #[cfg(test)]
    pub(crate) fn reply_frame(&self, mac: MacAddress, to: MacAddress) -> Option<Vec<u8>> {
        let mut frame = self.request(mac, to)?;
        let (at, kind, sum) = match self.source {
            IpAddr::V4(_) => (34, REPLY_V4, checksum::internet(&[&self.message(REPLY_V4)])),
            IpAddr::V6(from) => {
                let IpAddr::V6(to) = self.destination else { return None };
                (54, REPLY_V6, checksum::icmpv6(from, to, &self.message(REPLY_V6)))
            }
        };
        frame[at] = kind;
        frame[at + 2..at + 4].copy_from_slice(&sum.to_be_bytes());
        Some(frame)
    }
}
