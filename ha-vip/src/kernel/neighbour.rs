//! Neighbours: whose link-layer address the kernel knows.

use super::message::{AF_UNSPEC, Request, attributes, ip, mac, u16_at, u32_at};
use super::{KernelError, Rtnetlink};
use crate::MacAddress;
use std::net::IpAddr;

const RTM_NEWNEIGH: u16 = 28;
const RTM_GETNEIGH: u16 = 30;

/// `struct ndmsg` (`rtnetlink(7)`).
const HEADER: usize = 12;
const NDA_DST: u16 = 1;
const NDA_LLADDR: u16 = 2;
const NUD_FAILED: u16 = 0x20;
const NUD_NOARP: u16 = 0x40;
const NUD_PERMANENT: u16 = 0x80;
const NTF_ROUTER: u8 = 0x80;

/// An entry of the ARP or neighbour cache.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Neighbour {
    /// The interface's number.
    pub index: u32,
    /// The neighbour's address.
    pub address: IpAddr,
    /// Its link-layer address, if it is known.
    pub mac: Option<MacAddress>,
    /// The last look-up of it found nobody.
    pub has_failed: bool,
    /// It was entered by hand and is never looked up.
    pub is_permanent: bool,
    /// It is a router (IPv6).
    pub is_router: bool,
}

impl Rtnetlink {
    /// All neighbours that are looked up by ARP or neighbour discovery, or entered by hand.
    ///
    /// # Errors
    /// [`KernelError`].
    pub fn neighbours(&mut self) -> Result<Vec<Neighbour>, KernelError> {
        let mut header = [0; HEADER];
        header[0] = AF_UNSPEC;
        let replies = self.socket.dump("list the neighbours", &Request::new(RTM_GETNEIGH, 0, &header))?;
        let known = replies.iter().filter(|reply| reply.kind == RTM_NEWNEIGH);
        Ok(known.filter_map(|reply| parse(&reply.body)).collect())
    }
}

fn parse(body: &[u8]) -> Option<Neighbour> {
    let (index, state, flags) = (u32_at(body, 4)?, u16_at(body, 8)?, *body.get(10)?);
    let (mut address, mut link_layer) = (None, None);
    for (attribute, value) in attributes(body, HEADER) {
        match attribute {
            NDA_DST => address = ip(value),
            NDA_LLADDR => link_layer = mac(value),
            _ => {}
        }
    }
    if state & NUD_NOARP != 0 {
        return None;
    }
    Some(Neighbour {
        index,
        address: address?,
        mac: link_layer,
        has_failed: state & NUD_FAILED != 0,
        is_permanent: state & NUD_PERMANENT != 0,
        is_router: flags & NTF_ROUTER != 0,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn no_bytes_make_reading_panic(bytes in proptest::collection::vec(any::<u8>(), 0..256)) {
            let _ = parse(&bytes);
        }
    }
}
