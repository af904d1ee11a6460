//! Just enough netlink for faults that strike in one system call, and for looking which addresses a host has.

use rustix::net::{AddressFamily, Protocol, RecvFlags, SendFlags, SocketFlags, SocketType};
use std::io;
use std::os::fd::OwnedFd;

/// `NLMSG_ERROR`, which also acknowledges.
const ERROR: u16 = 2;
const DONE: u16 = 3;
/// Of a message: it is a request; it wants an acknowledgement; all entries are wanted.
pub(super) const REQUEST: u16 = 1;
pub(super) const ACK: u16 = 4;
pub(super) const DUMP: u16 = 0x300;
const NESTED: u16 = 0x8000;
const HEADER_BYTES: usize = 16;
/// Larger than any datagram of a dump that the kernel makes.
const BUFFER_BYTES: usize = 64 * 1024;

/// Messages that leave in one datagram, to be handled by the kernel one right after the other.
#[derive(Default)]
pub(super) struct Request {
    bytes: Vec<u8>,
    acknowledged: usize,
    sequence: u32,
}

impl Request {
    /// Adds a message: its fixed part, then attributes.
    pub(super) fn message(
        &mut self,
        kind: u16,
        flags: u16,
        fixed: &[u8],
        fill: impl FnOnce(&mut Attributes<'_>),
    ) {
        let start = self.bytes.len();
        self.sequence += 1;
        self.acknowledged += usize::from(flags & ACK != 0);
        self.bytes.extend_from_slice(&[0; 4]);
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        self.bytes.extend_from_slice(&(flags | REQUEST).to_ne_bytes());
        self.bytes.extend_from_slice(&self.sequence.to_ne_bytes());
        self.bytes.extend_from_slice(&[0; 4]);
        self.bytes.extend_from_slice(fixed);
        fill(&mut Attributes(&mut self.bytes));
        let length = u32::try_from(self.bytes.len() - start).unwrap_or(u32::MAX);
        if let Some(place) = self.bytes.get_mut(start..start + 4) {
            place.copy_from_slice(&length.to_ne_bytes());
        }
    }
}

/// The attributes of a message under construction.
pub(super) struct Attributes<'a>(&'a mut Vec<u8>);

impl Attributes<'_> {
    /// An attribute with these bytes, padded to four.
    pub(super) fn put(&mut self, kind: u16, value: &[u8]) {
        self.0.extend_from_slice(&u16::try_from(value.len() + 4).unwrap_or(u16::MAX).to_ne_bytes());
        self.0.extend_from_slice(&kind.to_ne_bytes());
        self.0.extend_from_slice(value);
        self.0.resize(self.0.len().next_multiple_of(4), 0);
    }

    /// A text with its final zero.
    pub(super) fn put_text(&mut self, kind: u16, text: &str) {
        self.put(kind, &[text.as_bytes(), &[0]].concat());
    }

    /// Attributes within an attribute.
    pub(super) fn nest(&mut self, kind: u16, fill: impl FnOnce(&mut Attributes<'_>)) {
        let mut inner = Vec::new();
        fill(&mut Attributes(&mut inner));
        self.put(kind | NESTED, &inner);
    }
}

/// A netlink socket of the network in which it was opened, usable from any thread.
pub(super) struct Socket(OwnedFd);

impl Socket {
    /// One for interfaces and addresses, in the network of the calling thread.
    pub(super) fn route() -> io::Result<Self> {
        // `NETLINK_ROUTE` is 0, which stands for no protocol given.
        Self::open(None)
    }

    /// One for nftables, in the network of the calling thread.
    pub(super) fn netfilter() -> io::Result<Self> {
        Self::open(Some(rustix::net::netlink::NETFILTER))
    }

    fn open(protocol: Option<Protocol>) -> io::Result<Self> {
        let flags = SocketFlags::CLOEXEC;
        Ok(Self(rustix::net::socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, protocol)?))
    }

    /// Sends the request and waits for all its acknowledgements; the first refusal is the result.
    pub(super) fn submit(&self, request: &Request) -> io::Result<()> {
        rustix::net::send(&self.0, &request.bytes, SendFlags::empty())?;
        let (mut waiting, mut refused) = (request.acknowledged, None);
        while waiting > 0 {
            self.receive(|kind, payload| {
                if kind == ERROR {
                    waiting = waiting.saturating_sub(1);
                    refused = refused.take().or_else(|| error_of(payload));
                }
            })?;
            // A refused batch of nftables acknowledges nothing that comes after the refusal.
            if let Some(error) = refused.take() {
                return Err(error);
            }
        }
        Ok(())
    }

    /// Sends a request for a dump and hands each entry's payload to `each`.
    pub(super) fn dump(&self, request: &Request, mut each: impl FnMut(&[u8])) -> io::Result<()> {
        rustix::net::send(&self.0, &request.bytes, SendFlags::empty())?;
        let (mut over, mut refused) = (false, None);
        while !over {
            self.receive(|kind, payload| match kind {
                DONE => over = true,
                ERROR => (over, refused) = (true, error_of(payload)),
                _ => each(payload),
            })?;
        }
        refused.map_or(Ok(()), Err)
    }

    fn receive(&self, mut each: impl FnMut(u16, &[u8])) -> io::Result<()> {
        let mut buffer = vec![0_u8; BUFFER_BYTES];
        let (length, _) = rustix::net::recv(&self.0, buffer.as_mut_slice(), RecvFlags::empty())?;
        let mut rest = buffer.get(..length).unwrap_or_default();
        while let Some((kind, payload, after)) = split(rest) {
            each(kind, payload);
            rest = after;
        }
        Ok(())
    }
}

/// The first message of a datagram: kind, payload, rest.
fn split(bytes: &[u8]) -> Option<(u16, &[u8], &[u8])> {
    let length = usize::try_from(u32::from_ne_bytes(bytes.get(..4)?.try_into().ok()?)).ok()?;
    let kind = u16::from_ne_bytes(bytes.get(4..6)?.try_into().ok()?);
    let payload = bytes.get(HEADER_BYTES..length)?;
    Some((kind, payload, bytes.get(length.next_multiple_of(4)..).unwrap_or_default()))
}

/// The attributes after the fixed part of an entry: kind and value.
pub(super) fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let length = usize::from(u16::from_ne_bytes(bytes.get(..2)?.try_into().ok()?));
        let kind = u16::from_ne_bytes(bytes.get(2..4)?.try_into().ok()?);
        let value = bytes.get(4..length)?;
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind & !NESTED, value))
    })
}

fn error_of(payload: &[u8]) -> Option<io::Error> {
    let number = i32::from_ne_bytes(payload.get(..4)?.try_into().ok()?);
    (number != 0).then(|| io::Error::from_raw_os_error(-number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_framed_and_padded_as_the_kernel_reads_it() {
        let mut request = Request::default();
        request.message(19, ACK, &[0; 16], |a| a.put_text(3, "lan0"));
        assert_eq!(request.bytes.len(), 16 + 16 + 12);
        assert_eq!(request.acknowledged, 1);
        let (kind, payload, rest) = split(&request.bytes).unwrap();
        assert_eq!((kind, rest.len()), (19, 0));
        assert_eq!(attributes(&payload[16..]).collect::<Vec<_>>(), [(3, &b"lan0\0"[..])]);
    }

    #[test]
    fn cut_short_bytes_end_quietly() {
        assert!(split(&[40, 0, 0, 0, 1, 0]).is_none());
        assert!(split(&[3, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]).is_none());
        assert_eq!(attributes(&[9, 0, 1, 0, 5]).count(), 0);
        assert_eq!(attributes(&[0, 0, 1, 0]).count(), 0);
    }
}
