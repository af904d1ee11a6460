//! The system calls without a safe wrapper: ancillary data of a datagram, and an interface's flags.
#![allow(unsafe_code)]

use socket2::{SockAddr, Socket};
use std::ffi::c_int;
use std::io;
use std::net::Ipv6Addr;
use std::os::fd::AsRawFd;

/// A datagram and what the kernel says about it.
pub(super) struct Datagram {
    pub(super) length: usize,
    pub(super) source: SockAddr,
    /// Only over IPv6, if [`Socket::set_recv_hoplimit_v6`] is on.
    pub(super) hop_limit: Option<u8>,
    /// Only over IPv6, after [`tell_destination_v6`].
    pub(super) destination: Option<Ipv6Addr>,
}

/// Room for the two control messages that are asked for, and to spare; aligned as the kernel wants it.
#[repr(C, align(8))]
struct Control([u8; 256]);

/// The next datagram. What does not fit into `buffer` is lost.
pub(super) fn receive(socket: &Socket, buffer: &mut [u8]) -> io::Result<Datagram> {
    let mut control = Control([0; 256]);
    let mut part = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    // SAFETY: `msghdr` is plain old data; all zeros is a valid value of it.
    let mut header: libc::msghdr = unsafe { std::mem::zeroed() };
    header.msg_iov = &raw mut part;
    header.msg_iovlen = 1;
    header.msg_control = control.0.as_mut_ptr().cast();
    header.msg_controllen = control.0.len() as _;
    // SAFETY: the closure is given valid storage and its length, and hands exactly those to the kernel, which writes an
    // address of the length that it stores. All that `header` points to outlives the call.
    let ((length, hop_limit, destination), source) = unsafe {
        SockAddr::try_init(|storage, storage_length| {
            header.msg_name = storage.cast();
            header.msg_namelen = *storage_length;
            let length = libc::recvmsg(socket.as_raw_fd(), &raw mut header, 0);
            let length = usize::try_from(length).map_err(|_| io::Error::last_os_error())?;
            *storage_length = header.msg_namelen;
            let (hop_limit, destination) = read_control(&header);
            Ok((length, hop_limit, destination))
        })
    }?;
    Ok(Datagram { length: length.min(buffer.len()), source, hop_limit, destination })
}

/// Hop limit and destination of a datagram over IPv6.
///
/// # Safety
/// `header` is as a successful `recvmsg` left it.
unsafe fn read_control(header: &libc::msghdr) -> (Option<u8>, Option<Ipv6Addr>) {
    let (mut hop_limit, mut destination) = (None, None);
    // SAFETY: the kernel filled the control buffer; the macros stay inside of its length.
    let mut next = unsafe { libc::CMSG_FIRSTHDR(header) };
    // SAFETY: `next` is null or points to a whole header inside of the buffer.
    while let Some(message) = unsafe { next.as_ref() } {
        // SAFETY: as above; the payload follows its header.
        let data = unsafe { libc::CMSG_DATA(message) };
        match (message.cmsg_level, message.cmsg_type) {
            (libc::IPPROTO_IPV6, libc::IPV6_HOPLIMIT) => {
                // SAFETY: the payload of this type is an int; it may be unaligned.
                let limit = unsafe { data.cast::<c_int>().read_unaligned() };
                hop_limit = u8::try_from(limit).ok();
            }
            (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => {
                // SAFETY: the payload of this type is an `in6_pktinfo`; it may be unaligned.
                let info = unsafe { data.cast::<libc::in6_pktinfo>().read_unaligned() };
                destination = Some(Ipv6Addr::from(info.ipi6_addr.s6_addr));
            }
            _ => {}
        }
        // SAFETY: `message` is inside of the buffer that `header` describes.
        next = unsafe { libc::CMSG_NXTHDR(header, message) };
    }
    (hop_limit, destination)
}

/// Makes the kernel say where each datagram over IPv6 was sent to.
pub(super) fn tell_destination_v6(socket: &Socket) -> io::Result<()> {
    let on: c_int = 1;
    let length = size_of::<c_int>() as libc::socklen_t;
    // SAFETY: the option takes an int; `on` outlives the call and `length` is its size.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_IPV6,
            libc::IPV6_RECVPKTINFO,
            (&raw const on).cast(),
            length,
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Whether `interface` is up and has a carrier, in the network namespace of `socket`.
pub(super) fn is_running(socket: &Socket, interface: &str) -> io::Result<bool> {
    // SAFETY: `ifreq` is plain old data; all zeros is a valid value of it.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    let (name, _terminator) = request.ifr_name.split_at_mut(libc::IFNAMSIZ - 1);
    if interface.len() > name.len() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    name.iter_mut().zip(interface.bytes()).for_each(|(to, from)| *to = from as _);
    // SAFETY: this call reads a terminated name from `request`, writes flags into it, and nothing else.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCGIFFLAGS, &raw mut request) };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: after success the kernel has filled this member of the union.
    let flags = c_int::from(unsafe { request.ifr_ifru.ifru_flags });
    Ok(flags & libc::IFF_UP != 0 && flags & libc::IFF_RUNNING != 0)
}
