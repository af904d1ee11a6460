//! The calls on packet sockets that no safe wrapper offers: link-layer addresses and interface flags.
#![allow(unsafe_code)]

use std::io;
use std::mem::{size_of, zeroed};
use std::os::fd::{AsFd, AsRawFd};

const SIZE: libc::socklen_t = size_of::<libc::sockaddr_ll>() as libc::socklen_t;

/// What a packet socket is bound to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Bound {
    /// The number of the interface; -1 after it was removed.
    pub(crate) index: i32,
    /// Its kind (`ARPHRD_*`).
    pub(crate) hardware: u16,
    /// Its link-layer address now, if it has one of six bytes.
    pub(crate) mac: Option<[u8; 6]>,
}

/// Binds a packet socket to one interface; from now on it receives frames of `protocol`, or none if that is zero.
pub(crate) fn bind(socket: impl AsFd, protocol: u16, index: u32) -> io::Result<()> {
    // SAFETY: `sockaddr_ll` is plain integers; all zeros is a valid value of it.
    let mut at: libc::sockaddr_ll = unsafe { zeroed() };
    at.sll_family = libc::AF_PACKET as _;
    at.sll_protocol = protocol.to_be();
    at.sll_ifindex = i32::try_from(index).map_err(|_| io::Error::from_raw_os_error(libc::ENODEV))?;
    // SAFETY: the descriptor is borrowed for the call; `at` is a `sockaddr_ll` of `SIZE` bytes and outlives it.
    let result = unsafe { libc::bind(socket.as_fd().as_raw_fd(), (&raw const at).cast(), SIZE) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// What a packet socket is bound to, as the kernel sees it now.
pub(crate) fn bound(socket: impl AsFd) -> io::Result<Bound> {
    // SAFETY: `sockaddr_ll` is plain integers; all zeros is a valid value of it.
    let mut at: libc::sockaddr_ll = unsafe { zeroed() };
    let mut length = SIZE;
    // SAFETY: the descriptor is borrowed for the call, which writes at most `length` bytes into `at`; any bytes are
    // a valid `sockaddr_ll`.
    let result =
        unsafe { libc::getsockname(socket.as_fd().as_raw_fd(), (&raw mut at).cast(), &raw mut length) };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    let [a, b, c, d, e, f, ..] = at.sll_addr;
    let mac = (at.sll_halen == 6).then_some([a, b, c, d, e, f]);
    Ok(Bound { index: at.sll_ifindex, hardware: at.sll_hatype, mac })
}

/// The flags (`IFF_*`) of the interface `name` in the network namespace of `socket`.
pub(crate) fn interface_flags(socket: impl AsFd, name: &str) -> io::Result<i32> {
    // SAFETY: `ifreq` is plain data (a union of integers and a pointer that is not followed here); zeros are valid.
    let mut request: libc::ifreq = unsafe { zeroed() };
    // One byte of zero must stay behind the name.
    if name.is_empty() || name.len() >= request.ifr_name.len() || name.contains('\0') {
        return Err(io::Error::from_raw_os_error(libc::ENODEV));
    }
    for (to, from) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *to = from as libc::c_char;
    }
    // SAFETY: the descriptor is borrowed for the call; SIOCGIFFLAGS reads the name, which ends in zero, and writes the
    // flags of `request`, which outlives the call.
    let result =
        unsafe { libc::ioctl(socket.as_fd().as_raw_fd(), libc::SIOCGIFFLAGS as _, &raw mut request) };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: SIOCGIFFLAGS has filled in this member of the union.
    Ok(i32::from(unsafe { request.ifr_ifru.ifru_flags } as u16))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loopback_interface_is_up_and_names_that_cannot_be_are_refused() {
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        assert_ne!(interface_flags(&socket, "lo").unwrap() & libc::IFF_UP, 0);
        for name in ["", "no-such-one", "a-name-that-is-too-long", "l\0o"] {
            assert_eq!(
                interface_flags(&socket, name).unwrap_err().raw_os_error(),
                Some(libc::ENODEV),
                "{name:?}"
            );
        }
    }
}
