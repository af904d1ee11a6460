//! The IPv4 header (RFC 791) of a message to a neighbour.

use super::checksum;
use super::error::{FrameError, require, take};
use std::net::Ipv4Addr;

pub(super) const ICMP: u8 = 1;

/// Appends a header without options for `length` bytes of ICMP, which must not leave the link.
pub(super) fn write(frame: &mut Vec<u8>, source: Ipv4Addr, destination: Ipv4Addr, length: usize) {
    let total = u16::try_from(length + 20).unwrap_or(u16::MAX).to_be_bytes();
    // Version and length, don't fragment, time to live 1.
    let mut header = [0x45, 0, total[0], total[1], 0, 0, 0x40, 0, 1, ICMP, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    header[12..16].copy_from_slice(&source.octets());
    header[16..].copy_from_slice(&destination.octets());
    let sum = checksum::internet(&[&header]).to_be_bytes();
    header[10..12].copy_from_slice(&sum);
    frame.extend_from_slice(&header);
}

/// Source, destination and content of an unfragmented ICMP packet.
pub(super) fn parse(packet: &[u8]) -> Result<(Ipv4Addr, Ipv4Addr, &[u8]), FrameError> {
    let (header, _) = take::<20>("an IPv4 packet", packet)?;
    require("IP version", header[0] >> 4, 4, "4")?;
    require("IPv4 protocol", header[9], ICMP.into(), "1 (ICMP)")?;
    let fragment = u16::from_be_bytes([header[6], header[7]]) & 0x3fff;
    require("IPv4 fragment", fragment, 0, "a whole packet")?;
    let start = usize::from(header[0] & 0x0f) * 4;
    let end = usize::from(u16::from_be_bytes([header[2], header[3]]));
    let short = FrameError::Short { what: "an IPv4 packet", found: packet.len(), expected: end.max(20) };
    let content = packet.get(start.max(20)..end).ok_or(short)?;
    if checksum::internet(&[packet.get(..start).unwrap_or_default()]) != 0 {
        return Err(FrameError::Checksum { what: "an IPv4 header" });
    }
    let [source, destination] = [12, 16].map(|at| {
        let [a, b, c, d] = [0, 1, 2, 3].map(|i| header.get(at + i).copied().unwrap_or_default());
        Ipv4Addr::new(a, b, c, d)
    });
    Ok((source, destination, content))
}
