//! The raw sockets of one speaker on one interface.

use super::admission::{Admission, Arrival, Audience, GROUP_V4, GROUP_V6, HOP_LIMIT};
use super::checksum::IP_PROTOCOL;
use super::{Ipv4Checksum, Refusal, VrrpError, sys};
use rustix::net::netdevice::name_to_index;
use socket2::{Domain, InterfaceIndexOrAddress, Protocol, SockAddr, Socket, Type};
use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr, SocketAddrV6, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd};

/// Longer than any message: 255 addresses of 16 bytes, and headers.
const BUFFER: usize = 8192;
/// Internetwork control (RFC 791 precedence 6), as routers mark it.
const TRAFFIC_CLASS: u32 = 0xC0;

/// A pair of raw sockets: one hears what is sent to the group or to us, the other one speaks from the source address.
pub(super) struct VrrpSocket {
    interface: String,
    index: u32,
    source: IpAddr,
    receiver: Socket,
    sender: Socket,
    destinations: Vec<IpAddr>,
    buffer: Vec<u8>,
}

fn failed(what: &'static str, interface: &str) -> impl Fn(io::Error) -> VrrpError {
    move |source| match source.kind() {
        ErrorKind::PermissionDenied => VrrpError::Capability { what, capability: "CAP_NET_RAW" },
        _ => VrrpError::Socket { what, interface: interface.into(), source },
    }
}

/// The index of `interface` in the calling thread's network namespace.
pub(super) fn index_of(interface: &str) -> Result<u32, VrrpError> {
    let fail = |source| VrrpError::Interface { interface: interface.into(), source };
    let any = Socket::new(Domain::UNIX, Type::DGRAM, None).map_err(fail)?;
    name_to_index(&any, interface).map_err(|e| fail(e.into()))
}

/// The address that the kernel would speak from to `destination` through `interface`. Sends nothing.
pub(super) fn source_towards(destination: IpAddr, interface: &str, index: u32) -> Result<IpAddr, VrrpError> {
    let ask = || {
        let destination = SockAddr::from(scoped(destination, index, 1));
        let socket = Socket::new(destination.domain(), Type::DGRAM, Some(Protocol::UDP))?;
        socket.bind_device(Some(interface.as_bytes()))?;
        socket.connect(&destination)?;
        let source = socket.local_addr()?.as_socket().map(|at| at.ip());
        source.filter(|at| !at.is_unspecified()).ok_or_else(|| ErrorKind::AddrNotAvailable.into())
    };
    ask().map_err(|source| VrrpError::NoSource { interface: interface.into(), source })
}

/// Link-local addresses need the interface beside them.
fn scoped(at: IpAddr, index: u32, port: u16) -> SocketAddr {
    match at {
        IpAddr::V6(v6) if v6.is_unicast_link_local() || v6.is_multicast() => {
            SocketAddrV6::new(v6, port, 0, index).into()
        }
        _ => SocketAddr::new(at, port),
    }
}

impl VrrpSocket {
    /// Opens both in the calling thread's network namespace.
    pub(super) fn open(interface: &str, admission: &Admission) -> Result<Self, VrrpError> {
        let index = index_of(interface)?;
        let destinations = match &admission.audience {
            Audience::Group => vec![admission.group()],
            Audience::Unicast { peers, .. } => peers.clone(),
        };
        let fail = failed("open a raw socket of protocol 112", interface);
        let source = admission.source;
        let [receiver, sender] =
            [raw(source, interface).map_err(&fail)?, raw(source, interface).map_err(&fail)?];
        listen(&receiver, source, index).map_err(failed("join the VRRP group", interface))?;
        let no_source = |source| VrrpError::NoSource { interface: interface.into(), source };
        sender.bind(&scoped(source, index, 0).into()).map_err(no_source)?;
        speak(&sender, source, index).map_err(failed("set hop limit and interface", interface))?;
        let buffer = vec![0; BUFFER];
        Ok(Self { interface: interface.into(), index, source, receiver, sender, destinations, buffer })
    }

    /// What is readable when something arrived.
    pub(super) fn readable(&self) -> BorrowedFd<'_> {
        self.receiver.as_fd()
    }

    /// The next message, if one waits.
    pub(super) fn receive(&mut self) -> io::Result<Option<Result<Arrival<'_>, Refusal>>> {
        let datagram = match sys::receive(&self.receiver, &mut self.buffer) {
            Ok(datagram) => datagram,
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => return Ok(None),
            Err(e) => return Err(e),
        };
        let message = self.buffer.get(..datagram.length).unwrap_or_default();
        if self.source.is_ipv4() {
            return Ok(Some(Arrival::from_ipv4(message)));
        }
        let unspecified = IpAddr::from([0u16; 8]);
        Ok(Some(Ok(Arrival {
            source: datagram.source.as_socket().map_or(unspecified, |from| from.ip()),
            destination: datagram.destination.map_or(unspecified, IpAddr::V6),
            hop_limit: datagram.hop_limit.unwrap_or(0),
            message,
        })))
    }

    /// Sends to everybody it is meant for; the first error, after all were tried.
    pub(super) fn send(&self, encode: impl Fn(IpAddr) -> Vec<u8>) -> io::Result<()> {
        let mut outcome = Ok(());
        for destination in &self.destinations {
            let to = scoped(*destination, self.index, 0).into();
            let sent = self.sender.send_to(&encode(*destination), &to).map(drop);
            outcome = outcome.and(sent);
        }
        outcome
    }

    /// Whether it could speak now: the interface is up with a carrier, and has the source address.
    pub(super) fn can_speak(&self) -> bool {
        let running = sys::is_running(&self.sender, &self.interface).unwrap_or(false);
        running && UdpSocket::bind(scoped(self.source, self.index, 0)).is_ok()
    }
}

fn raw(source: IpAddr, interface: &str) -> io::Result<Socket> {
    let domain = Domain::for_address(SocketAddr::new(source, 0));
    let socket = Socket::new(domain, Type::RAW, Some(Protocol::from(i32::from(IP_PROTOCOL))))?;
    socket.bind_device(Some(interface.as_bytes()))?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

fn listen(receiver: &Socket, source: IpAddr, index: u32) -> io::Result<()> {
    if source.is_ipv4() {
        receiver.set_multicast_all_v4(false)?;
        receiver.join_multicast_v4_n(&GROUP_V4, &InterfaceIndexOrAddress::Index(index))
    } else {
        receiver.set_multicast_all_v6(false)?;
        receiver.set_recv_hoplimit_v6(true)?;
        sys::tell_destination_v6(receiver)?;
        receiver.join_multicast_v6(&GROUP_V6, index)
    }
}

fn speak(sender: &Socket, source: IpAddr, index: u32) -> io::Result<()> {
    let hops = u32::from(HOP_LIMIT);
    match source {
        IpAddr::V4(v4) => {
            sender.set_ttl_v4(hops)?;
            sender.set_multicast_ttl_v4(hops)?;
            sender.set_multicast_loop_v4(false)?;
            sender.set_multicast_if_v4(&v4)?;
            sender.set_tos_v4(TRAFFIC_CLASS)
        }
        IpAddr::V6(_) => {
            sender.set_unicast_hops_v6(hops)?;
            sender.set_multicast_hops_v6(hops)?;
            sender.set_multicast_loop_v6(false)?;
            sender.set_multicast_if_v6(index)?;
            sender.set_tclass_v6(TRAFFIC_CLASS)
        }
    }
}

/// The bytes of one advertisement for each destination.
pub(super) fn encoder<'a>(
    admission: &'a Admission,
    priority: super::Priority,
    interval: super::AdvertInterval,
    covers: Ipv4Checksum,
) -> impl Fn(IpAddr) -> Vec<u8> + 'a {
    let advertisement = admission.advertisement(priority, interval);
    move |destination| advertisement.encode(admission.source, destination, covers)
}
