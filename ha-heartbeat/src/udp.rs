//! Datagrams between two addresses.

use async_trait::async_trait;
use ha_core::api::{FrameSender, HeartbeatTransport, LinkDescription, LinkFactory};
use ha_core::wire::MAX_FRAME_BYTES;
use socket2::{Domain, Protocol, Socket, Type};
use std::io::{self, ErrorKind};
use std::net::{SocketAddr, UdpSocket};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// The kernel's room for datagrams not yet received: hundreds of beats, more than any pause worth surviving;
/// a flood costs this much memory and no more.
const RECEIVE_BUFFER_BYTES: usize = 128 * 1024;

/// UDP unicast between two nodes.
///
/// The socket is not connected: the peer's guardian sends from a port of its own, and relays may stand between.
/// Frames are accepted from anyone; their MAC decides.
#[derive(Clone, Debug)]
pub struct UdpLink {
    name: String,
    bind: SocketAddr,
    peer: SocketAddr,
}

impl UdpLink {
    /// A link that receives at `bind` and sends to `peer`.
    #[must_use]
    pub fn new(name: &str, bind: SocketAddr, peer: SocketAddr) -> Self {
        Self { name: name.into(), bind, peer }
    }

    fn socket(&self, bind: SocketAddr) -> io::Result<UdpSocket> {
        let open = || {
            let socket = Socket::new(Domain::for_address(bind), Type::DGRAM, Some(Protocol::UDP))?;
            socket.set_recv_buffer_size(RECEIVE_BUFFER_BYTES)?;
            socket.set_nonblocking(true)?;
            socket.bind(&bind.into())?;
            Ok(UdpSocket::from(socket))
        };
        open().map_err(|e: io::Error| {
            let hint = match e.kind() {
                ErrorKind::AddrInUse => "; another process receives there: choose another port or end it",
                ErrorKind::AddrNotAvailable => "; this machine has no such address",
                _ => "",
            };
            io::Error::new(e.kind(), format!("link {}: cannot bind udp {bind}: {e}{hint}", self.name))
        })
    }
}

#[async_trait]
impl LinkFactory for UdpLink {
    fn name(&self) -> &str {
        &self.name
    }

    async fn open(&self) -> io::Result<Box<dyn HeartbeatTransport>> {
        // Not for writing: every datagram that left would wake the receiver.
        #[expect(
            deprecated,
            reason = "a UdpSocket keeps its descriptor open, which is all that the new way asks for"
        )]
        let socket = AsyncFd::with_interest(self.socket(self.bind)?, Interest::READABLE)?;
        let name = format!("udp {} -> {}", socket.get_ref().local_addr()?, self.peer);
        Ok(Box::new(UdpTransport { socket, peer: self.peer, name }))
    }

    fn open_sender(&self) -> io::Result<Box<dyn FrameSender>> {
        let socket = self.socket(SocketAddr::new(self.bind.ip(), 0))?;
        Ok(Box::new(UdpSender { socket, peer: self.peer }))
    }
}

struct UdpTransport {
    socket: AsyncFd<UdpSocket>,
    peer: SocketAddr,
    name: String,
}

#[async_trait]
impl HeartbeatTransport for UdpTransport {
    async fn send(&self, frame: &[u8]) -> io::Result<()> {
        send_whole(self.socket.get_ref(), frame, self.peer)
    }

    async fn recv(&self, buf: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.socket.async_io(Interest::READABLE, |socket| socket.recv_from(buf)).await {
                Ok((len, _)) => return Ok(len),
                // An earlier datagram met no listener: the peer is down, which silence says anyway.
                Err(e) if e.kind() == ErrorKind::ConnectionRefused => {}
                Err(e) => return Err(e),
            }
        }
    }

    fn describe(&self) -> LinkDescription {
        LinkDescription {
            name: self.name.clone(),
            kind: "udp",
            mtu_bytes: MAX_FRAME_BYTES,
            bits_per_second: None,
        }
    }
}

struct UdpSender {
    socket: UdpSocket,
    peer: SocketAddr,
}

impl FrameSender for UdpSender {
    fn send(&mut self, frame: &[u8]) -> io::Result<()> {
        send_whole(&self.socket, frame, self.peer)
    }
}

/// A longer frame would arrive cut: receivers have room for the longest one and no more.
fn send_whole(socket: &UdpSocket, frame: &[u8], peer: SocketAddr) -> io::Result<()> {
    if frame.len() > MAX_FRAME_BYTES {
        let text = format!("found a frame of {} bytes, expected at most {MAX_FRAME_BYTES}", frame.len());
        return Err(io::Error::new(ErrorKind::InvalidInput, text));
    }
    dropped_at_will(socket.send_to(frame, peer))
}

/// A full queue or an absent listener lost one beat of many; anything else is the link's trouble.
fn dropped_at_will(sent: io::Result<usize>) -> io::Result<()> {
    match sent {
        Err(e)
            if !matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::ConnectionRefused)
                && e.raw_os_error() != Some(rustix::io::Errno::NOBUFS.raw_os_error()) =>
        {
            Err(e)
        }
        _ => Ok(()),
    }
}
