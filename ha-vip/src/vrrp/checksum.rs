//! The Internet checksum (RFC 1071), with and without the header that is only thought of.

use std::net::IpAddr;

/// VRRP's protocol number in an IP header.
pub(crate) const IP_PROTOCOL: u8 = 112;
/// Where the checksum is in a message.
pub(super) const FIELD: std::ops::Range<usize> = 6..8;

/// What a version 3 checksum covers over IPv4. Over IPv6 it always covers the pseudo-header too.
///
/// RFC 5798 could be read both ways. RFC 9568 section 5.2.8 leaves the pseudo-header out; keepalived includes it (2.2.7
/// can do nothing else, later ones unless `v3_checksum_as_v2` is set) and refuses messages without it, and so does FRR
/// unless `checksum-with-ipv4-pseudoheader` is switched off. Both are accepted here; this says which one is sent.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
#[non_exhaustive]
pub enum Ipv4Checksum {
    /// Pseudo-header and message: keepalived, FRR.
    #[default]
    PseudoHeader,
    /// The message alone: RFC 9568, several vendors of routers.
    MessageOnly,
}

impl Ipv4Checksum {
    /// In the order in which they are tried on a message.
    pub(super) const ALL: [Self; 2] = [Self::PseudoHeader, Self::MessageOnly];
}

/// The checksum that belongs into `message`; the field itself counts as zero.
pub(super) fn checksum(message: &[u8], source: IpAddr, destination: IpAddr, covers: Ipv4Checksum) -> u16 {
    let thought_of = match (source, covers) {
        (IpAddr::V4(_), Ipv4Checksum::MessageOnly) => 0,
        _ => pseudo_header(source, destination, message.len()),
    };
    let (before, rest) = message.split_at(FIELD.start.min(message.len()));
    let after = rest.get(FIELD.len()..).unwrap_or_default();
    !fold(thought_of + sum(before) + sum(after))
}

/// RFC 8200 section 8.1 and its like of RFC 793. Both have the same sum: the addresses, the length, the protocol.
fn pseudo_header(source: IpAddr, destination: IpAddr, length: usize) -> u64 {
    octets(source) + octets(destination) + u64::from(IP_PROTOCOL) + length as u64
}

fn octets(address: IpAddr) -> u64 {
    match address {
        IpAddr::V4(v4) => sum(&v4.octets()),
        IpAddr::V6(v6) => sum(&v6.octets()),
    }
}

/// The sum of the 16-bit words; an odd octet at the end is followed by a zero.
fn sum(bytes: &[u8]) -> u64 {
    let word = |pair: &[u8]| u64::from(pair[0]) << 8 | pair.get(1).map_or(0, |low| u64::from(*low));
    bytes.chunks(2).map(word).sum()
}

fn fold(mut sum: u64) -> u16 {
    while sum > u64::from(u16::MAX) {
        sum = (sum & 0xFFFF) + (sum >> 16);
    }
    sum as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_rfc_1071() {
        assert_eq!(fold(sum(&[0x00, 0x01, 0xF2, 0x03, 0xF4, 0xF5, 0xF6, 0xF7])), 0xDDF2);
    }

    #[test]
    fn what_stands_in_the_field_does_not_matter() {
        let at = IpAddr::from([10, 0, 0, 1]);
        let mut message = *b"\x31\x07\x64\x01\x00\x64\x00\x00\x0A\x00\x00\x64";
        let clean = checksum(&message, at, at, Ipv4Checksum::PseudoHeader);
        message[FIELD].copy_from_slice(&[0xAB, 0xCD]);
        assert_eq!(checksum(&message, at, at, Ipv4Checksum::PseudoHeader), clean);
    }
}
