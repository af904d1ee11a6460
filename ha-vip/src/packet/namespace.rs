//! Where sockets are opened: in this thread's network namespace, or in another one.

use std::io;
use std::os::fd::OwnedFd;

/// A network namespace. A socket stays in the one that it was opened in, whoever uses it.
///
/// For a namespace that is not the caller's, run [`packet_socket`] and [`forwards_ipv6`] on a thread that has
/// entered it (`setns(2)`).
pub trait Namespace: Send + Sync {
    /// A packet socket in it that is not bound yet.
    ///
    /// # Errors
    /// As the operating system says; EPERM without CAP_NET_RAW.
    fn packet_socket(&self) -> io::Result<OwnedFd>;

    /// Whether it forwards IPv6 packets that arrive on `interface`.
    ///
    /// # Errors
    /// As the operating system says, or with what was found instead of 0 or 1.
    fn forwards_ipv6(&self, interface: &str) -> io::Result<bool>;
}

/// The network namespace of the calling thread.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Here;

impl Namespace for Here {
    fn packet_socket(&self) -> io::Result<OwnedFd> {
        packet_socket()
    }

    fn forwards_ipv6(&self, interface: &str) -> io::Result<bool> {
        forwards_ipv6(interface)
    }
}

/// A packet socket in this thread's namespace. Not bound, it receives nothing.
///
/// # Errors
/// As the operating system says; EPERM without CAP_NET_RAW.
pub fn packet_socket() -> io::Result<OwnedFd> {
    socket2::Socket::new(socket2::Domain::PACKET, socket2::Type::RAW, None).map(Into::into)
}

/// Whether this thread's namespace forwards IPv6 packets that arrive on `interface` (`/proc/sys/net` shows each thread
/// its own).
///
/// # Errors
/// As the operating system says, or with what was found instead of a number.
pub fn forwards_ipv6(interface: &str) -> io::Result<bool> {
    let text = std::fs::read_to_string(format!("/proc/sys/net/ipv6/conf/{interface}/forwarding"))?;
    let number = text.trim().parse::<i32>();
    number.map(|forwarding| forwarding != 0).map_err(|_| {
        let found = format!("forwarding of {interface} is {text:?}; expected a number");
        io::Error::new(io::ErrorKind::InvalidData, found)
    })
}
