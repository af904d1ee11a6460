//! The 14 bytes in front of everything.

use super::error::{FrameError, take};
use crate::MacAddress;
use std::net::Ipv6Addr;

/// To everybody on the segment.
pub const BROADCAST: MacAddress = MacAddress([0xff; 6]);
/// "Not known", as in the target of an ARP request.
pub const NOBODY: MacAddress = MacAddress([0; 6]);

pub(super) const ARP: u16 = 0x0806;
pub(super) const IPV4: u16 = 0x0800;
pub(super) const IPV6: u16 = 0x86dd;

/// An Ethernet II header without a VLAN tag.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ethernet {
    /// Who shall get it.
    pub destination: MacAddress,
    /// Who sent it, as far as a frame can tell.
    pub source: MacAddress,
    /// What is in it (EtherType).
    pub kind: u16,
}

impl Ethernet {
    /// Appends the header.
    pub(super) fn write(&self, frame: &mut Vec<u8>) {
        frame.extend_from_slice(&self.destination.0);
        frame.extend_from_slice(&self.source.0);
        frame.extend_from_slice(&self.kind.to_be_bytes());
    }

    /// The header, and what follows it.
    ///
    /// # Errors
    /// [`FrameError::Short`].
    pub fn parse(frame: &[u8]) -> Result<(Self, &[u8]), FrameError> {
        let (header, payload) = take::<14>("an Ethernet frame", frame)?;
        let [d0, d1, d2, d3, d4, d5, s0, s1, s2, s3, s4, s5, k0, k1] = *header;
        let (destination, source) =
            (MacAddress([d0, d1, d2, d3, d4, d5]), MacAddress([s0, s1, s2, s3, s4, s5]));
        Ok((Self { destination, source, kind: u16::from_be_bytes([k0, k1]) }, payload))
    }
}

/// Whether `mac` can be that of one host: neither zero nor of a group. A claim by another one is forged or of a
/// cluster that answers with a group address; it still spoils caches, but nobody can be asked to give way.
#[must_use]
pub const fn is_host(mac: MacAddress) -> bool {
    let [first, ..] = mac.0;
    first & 1 == 0
        && u64::from_be_bytes([0, 0, mac.0[0], mac.0[1], mac.0[2], mac.0[3], mac.0[4], mac.0[5]]) != 0
}

/// Where frames to an IPv6 group go (RFC 2464 section 7).
#[must_use]
pub const fn multicast_mac(group: Ipv6Addr) -> MacAddress {
    let [.., a, b, c, d] = group.octets();
    MacAddress([0x33, 0x33, a, b, c, d])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_neither_a_group_nor_nobody() {
        assert!(is_host(MacAddress([2, 0, 0, 0, 0, 1])) && is_host(MacAddress([0, 0, 0, 0, 0, 1])));
        assert!(!is_host(NOBODY) && !is_host(BROADCAST) && !is_host(MacAddress([0x33, 0x33, 0, 0, 0, 1])));
    }
}
