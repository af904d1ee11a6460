//! The two socket options of netlink that no safe crate sets.
#![allow(unsafe_code, reason = "setsockopt with netlink's own options")]

use rustix::io::Errno;
use std::os::fd::{AsFd, AsRawFd};

/// Asks the kernel for words beside its error numbers (`NETLINK_EXT_ACK`), and not to copy the request into each
/// acknowledgement (`NETLINK_CAP_ACK`), as `netlink(7)` has them.
pub(crate) fn explain_errors(socket: impl AsFd) -> Result<(), Errno> {
    switch_on(&socket, libc::NETLINK_EXT_ACK)?;
    switch_on(&socket, libc::NETLINK_CAP_ACK)
}

fn switch_on(socket: &impl AsFd, option: libc::c_int) -> Result<(), Errno> {
    let on: libc::c_int = 1;
    let length = size_of_val(&on) as libc::socklen_t;
    let fd = socket.as_fd().as_raw_fd();
    // SAFETY: the descriptor is open for the duration of the call; the option's value is an int that outlives it and
    // whose length is given.
    let code = unsafe { libc::setsockopt(fd, libc::SOL_NETLINK, option, (&raw const on).cast(), length) };
    if code == 0 {
        Ok(())
    } else {
        Err(Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::INVAL))
    }
}
