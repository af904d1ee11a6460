//! Netlink messages: written into a buffer, read attribute by attribute.
//!
//! Reading takes an attribute only if it has the length that it should have and passes over the others, so that
//! nothing that a newer kernel adds to a message makes the rest of it unreadable.

use crate::MacAddress;
use netlink_packet_core::{NLA_F_NESTED, NLA_HEADER_SIZE, NLA_TYPE_MASK, NetlinkBuffer, NlasIterator};
use std::net::IpAddr;

/// The address families, as numbers (`socket(2)`).
pub(crate) const AF_UNSPEC: u8 = 0;
pub(crate) const AF_INET: u8 = 2;
pub(crate) const AF_INET6: u8 = 10;

/// The family's number of an address.
pub(crate) const fn family(address: IpAddr) -> u8 {
    match address {
        IpAddr::V4(_) => AF_INET,
        IpAddr::V6(_) => AF_INET6,
    }
}

/// One message that is asked of the kernel, without its netlink header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Request {
    /// `RTM_NEWADDR` and the like.
    pub(crate) kind: u16,
    /// `NLM_F_…` beside `NLM_F_REQUEST`.
    pub(crate) flags: u16,
    /// The family's fixed header and the attributes.
    pub(crate) body: Vec<u8>,
}

impl Request {
    pub(crate) fn new(kind: u16, flags: u16, header: &[u8]) -> Self {
        let mut this = Self { kind, flags, body: Vec::with_capacity(128) };
        this.body.extend_from_slice(header);
        this.pad();
        this
    }

    fn pad(&mut self) {
        self.body.resize(self.body.len().next_multiple_of(4), 0);
    }

    /// Adds an attribute.
    pub(crate) fn attribute(mut self, kind: u16, value: &[u8]) -> Self {
        self.push(kind, value);
        self
    }

    /// Adds an attribute if there is a value.
    pub(crate) fn optional(self, kind: u16, value: Option<&[u8]>) -> Self {
        match value {
            Some(value) => self.attribute(kind, value),
            None => self,
        }
    }

    /// Adds an attribute whose value is a C string.
    pub(crate) fn text(self, kind: u16, value: &str) -> Self {
        let mut bytes = value.as_bytes().to_vec();
        bytes.push(0);
        self.attribute(kind, &bytes)
    }

    /// Adds an attribute that holds what `fill` adds.
    pub(crate) fn nested(mut self, kind: u16, fill: impl FnOnce(Self) -> Self) -> Self {
        let at = self.body.len();
        self.push(kind | NLA_F_NESTED, &[]);
        let mut this = fill(self);
        let length = length_of(this.body.len() - at);
        if let Some(field) = this.body.get_mut(at..at + 2) {
            field.copy_from_slice(&length.to_ne_bytes());
        }
        this
    }

    fn push(&mut self, kind: u16, value: &[u8]) {
        let length = length_of(NLA_HEADER_SIZE + value.len());
        self.body.extend_from_slice(&length.to_ne_bytes());
        self.body.extend_from_slice(&kind.to_ne_bytes());
        self.body.extend_from_slice(value);
        self.pad();
    }

    /// Appends it with its netlink header.
    pub(crate) fn write(&self, out: &mut Vec<u8>, flags: u16, sequence: u32) {
        let length = u32::try_from(HEADER + self.body.len()).unwrap_or(u32::MAX);
        out.extend_from_slice(&length.to_ne_bytes());
        out.extend_from_slice(&self.kind.to_ne_bytes());
        out.extend_from_slice(&(self.flags | flags).to_ne_bytes());
        out.extend_from_slice(&sequence.to_ne_bytes());
        out.extend_from_slice(&0_u32.to_ne_bytes());
        out.extend_from_slice(&self.body);
    }
}

const HEADER: usize = 16;

/// Attributes are small: names, addresses, a few expressions. One that were longer would be refused by the kernel.
fn length_of(bytes: usize) -> u16 {
    u16::try_from(bytes).unwrap_or(u16::MAX)
}

/// One message of the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Message<'a> {
    pub(crate) kind: u16,
    pub(crate) flags: u16,
    pub(crate) sequence: u32,
    pub(crate) body: &'a [u8],
}

/// The messages of one datagram; ends early at the first that is not whole.
pub(crate) fn messages(mut datagram: &[u8]) -> impl Iterator<Item = Message<'_>> {
    std::iter::from_fn(move || {
        let packet = NetlinkBuffer::new_checked(datagram).ok()?;
        let length = usize::try_from(packet.length()).ok()?;
        let message = Message {
            kind: packet.message_type(),
            flags: packet.flags(),
            sequence: packet.sequence_number(),
            body: datagram.get(HEADER..length)?,
        };
        datagram = datagram.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(message)
    })
}

/// The attributes after a fixed header of `header` bytes; ends early at the first that is not whole.
pub(crate) fn attributes(body: &[u8], header: usize) -> impl Iterator<Item = (u16, &[u8])> {
    let rest = body.get(header..).unwrap_or_default();
    NlasIterator::new(rest).map_while(|attribute| {
        let attribute = attribute.ok()?;
        let (kind, length) = (attribute.kind() & NLA_TYPE_MASK, usize::from(attribute.length()));
        Some((kind, attribute.into_inner().get(NLA_HEADER_SIZE..length)?))
    })
}

/// One attribute.
pub(crate) fn find(body: &[u8], header: usize, wanted: u16) -> Option<&[u8]> {
    attributes(body, header).find(|(kind, _)| *kind == wanted).map(|(_, value)| value)
}

pub(crate) fn u8_at(bytes: &[u8], at: usize) -> Option<u8> {
    bytes.get(at).copied()
}

pub(crate) fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(at..at.checked_add(2)?)?.try_into().ok()?))
}

pub(crate) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at.checked_add(4)?)?.try_into().ok()?))
}

/// An address of 4 or 16 bytes.
pub(crate) fn ip(bytes: &[u8]) -> Option<IpAddr> {
    if let Ok(v4) = <[u8; 4]>::try_from(bytes) {
        return Some(v4.into());
    }
    <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from)
}

/// The bytes of an address.
pub(crate) fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().to_vec(),
    }
}

/// A link-layer address, if it has 48 bits.
pub(crate) fn mac(bytes: &[u8]) -> Option<MacAddress> {
    bytes.try_into().ok().map(MacAddress)
}

/// A C string, up to its end.
pub(crate) fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(bytes.get(..end).unwrap_or_default()).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_written_is_read() {
        let request = Request::new(20, 0, &[2, 24, 0, 0, 7, 0, 0, 0])
            .attribute(2, &[10, 77, 0, 100])
            .text(3, "lan0:a")
            .nested(18, |inner| {
                inner.text(1, "macvlan").nested(2, |data| data.attribute(1, &4_u32.to_ne_bytes()))
            });
        let mut datagram = Vec::new();
        request.write(&mut datagram, 5, 9);
        request.write(&mut datagram, 5, 10);
        let read: Vec<_> = messages(&datagram).collect();
        assert_eq!(read.len(), 2);
        assert_eq!((read[1].kind, read[1].flags, read[1].sequence), (20, 5, 10));
        let body = read[0].body;
        assert_eq!(find(body, 8, 2).and_then(ip), Some([10, 77, 0, 100].into()));
        assert_eq!(find(body, 8, 3).map(text).as_deref(), Some("lan0:a"));
        let info = find(body, 8, 18).unwrap();
        assert_eq!(find(info, 0, 1).map(text).as_deref(), Some("macvlan"));
        assert_eq!(find(find(info, 0, 2).unwrap(), 0, 1).and_then(|v| u32_at(v, 0)), Some(4));
        assert_eq!(find(body, 8, 99), None);
    }

    proptest! {
        #[test]
        fn no_bytes_make_reading_panic_or_go_on_for_ever(bytes in proptest::collection::vec(any::<u8>(), 0..512), header in 0_usize..600) {
            for message in messages(&bytes).take(1000) {
                prop_assert!(message.body.len() <= bytes.len());
            }
            prop_assert!(messages(&bytes).count() <= bytes.len() / HEADER);
            prop_assert!(attributes(&bytes, header).count() <= bytes.len() / NLA_HEADER_SIZE);
        }
    }
}
