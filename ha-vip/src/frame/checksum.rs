//! The Internet checksum (RFC 1071).

use std::net::Ipv6Addr;

pub(super) const ICMPV6: u8 = 58;

/// The one's complement sum of `parts`, each padded to an even length. Zero over data that contain their right checksum.
pub(super) fn internet(parts: &[&[u8]]) -> u16 {
    let mut sum: u64 = 0;
    for part in parts {
        let mut pairs = part.chunks_exact(2);
        sum += pairs.by_ref().map(|pair| u64::from(u16::from_be_bytes([pair[0], pair[1]]))).sum::<u64>();
        if let [last] = pairs.remainder() {
            sum += u64::from(u16::from_be_bytes([*last, 0]));
        }
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).unwrap_or(0xffff)
}

/// The checksum of an ICMPv6 message with its pseudo-header (RFC 8200 section 8.1).
pub(super) fn icmpv6(source: Ipv6Addr, destination: Ipv6Addr, message: &[u8]) -> u16 {
    let length = u32::try_from(message.len()).unwrap_or(u32::MAX).to_be_bytes();
    internet(&[&source.octets(), &destination.octets(), &length, &[0, 0, 0, ICMPV6], message])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_rfc_1071() {
        assert_eq!(internet(&[&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]]), !0xddf2);
    }

    #[test]
    fn an_odd_byte_counts_as_the_upper_half() {
        assert_eq!(internet(&[&[0xab]]), !0xab00);
        assert_eq!(internet(&[]), 0xffff);
    }
}
