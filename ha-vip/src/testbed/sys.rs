//! The system calls that no safe wrapper offers: namespaces of one's own, a first process without a program, a signal
//! to everybody in a process namespace.
#![allow(unsafe_code)]

use rustix::thread::{UnshareFlags, unshare_unsafe};
use std::ffi::{CStr, c_int};
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::Command;

/// Moves the calling thread into a network of its own.
pub(super) fn new_network() -> io::Result<()> {
    // SAFETY: no file descriptor table is unshared, so no descriptor of another thread changes its meaning.
    Ok(unsafe { unshare_unsafe(UnshareFlags::NEWNET) }?)
}

/// Gives the calling thread a network, mounts and a host name of its own; its children (not itself) get a process
/// namespace of their own.
pub(super) fn new_host() -> io::Result<()> {
    let flags = UnshareFlags::NEWNET | UnshareFlags::NEWPID | UnshareFlags::NEWNS | UnshareFlags::NEWUTS;
    // SAFETY: as above; that the working directory is unshared too (implied by `NEWNS`) only concerns this thread.
    Ok(unsafe { unshare_unsafe(flags) }?)
}

/// Makes the calling process root of a user namespace of its own. It must have one thread.
pub(super) fn new_user() -> io::Result<()> {
    // SAFETY: as above; the kernel refuses (`EINVAL`) if there are other threads.
    Ok(unsafe { unshare_unsafe(UnshareFlags::NEWUSER) }?)
}

/// Has `prepare` called in the child between fork and exec. It may only make system calls: other threads of the
/// parent may have held the allocator's lock.
pub(super) fn before_exec(
    command: &mut Command,
    prepare: impl FnMut() -> io::Result<()> + Send + Sync + 'static,
) {
    // SAFETY: the caller passes a closure that neither allocates nor locks, as this function demands.
    unsafe { command.pre_exec(prepare) };
}

/// Starts the first process of the process namespace that [`new_host`] prepared. It lives until the calling thread or
/// the other end of `line` is gone, whichever comes first; with it the kernel kills everybody in the namespace.
///
/// It mounts `/proc`, and writes one byte to `line`: 0, or the error number.
pub(super) fn fork_init(line: OwnedFd) -> io::Result<c_int> {
    let line = line.as_raw_fd();
    // SAFETY: the child calls only `init`, which makes nothing but async-signal-safe system calls and never returns.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => init(line),
        pid => Ok(pid),
    }
}

fn init(line: RawFd) -> ! {
    const PROC: &CStr = c"proc";
    let flags = libc::MS_NOSUID | libc::MS_NODEV | libc::MS_NOEXEC;
    // SAFETY: plain system calls on constants, on this child's own descriptors and on one byte that outlives them. An
    // ignored SIGCHLD has the kernel reap every orphan.
    unsafe {
        libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
        libc::signal(libc::SIGCHLD, libc::SIG_IGN);
        libc::close_range(0, line.unsigned_abs() - 1, 0);
        libc::close_range(line.unsigned_abs() + 1, u32::MAX, 0);
        let mounted = libc::mount(PROC.as_ptr(), c"/proc".as_ptr(), PROC.as_ptr(), flags, std::ptr::null());
        let mut byte = if mounted == 0 { 0_u8 } else { *libc::__errno_location() as u8 };
        libc::write(line, (&raw const byte).cast(), 1);
        while libc::read(line, (&raw mut byte).cast(), 1) != 0 {}
        libc::_exit(0)
    }
}

/// Sends `signal` to every process of the namespace that the calling thread's children are born into, except its first
/// one, in one system call.
pub(super) fn signal_everybody(signal: c_int) -> io::Result<()> {
    // SAFETY: the child makes two async-signal-safe calls and ends; the parent waits for exactly this child.
    unsafe {
        match libc::fork() {
            -1 => Err(io::Error::last_os_error()),
            0 => {
                let failed = libc::kill(-1, signal) != 0 && *libc::__errno_location() != libc::ESRCH;
                libc::_exit(if failed { *libc::__errno_location() } else { 0 })
            }
            child => {
                let mut status = 0;
                while libc::waitpid(child, &raw mut status, 0) == -1 {
                    let error = io::Error::last_os_error();
                    if error.kind() != io::ErrorKind::Interrupted {
                        return Err(error);
                    }
                }
                match libc::WEXITSTATUS(status) {
                    0 if libc::WIFEXITED(status) => Ok(()),
                    error => Err(io::Error::from_raw_os_error(error)),
                }
            }
        }
    }
}

/// Names the host of the calling thread's namespace.
pub(super) fn set_host_name(name: &str) -> io::Result<()> {
    // SAFETY: the kernel reads `name.len()` bytes of a string that outlives the call.
    match unsafe { libc::sethostname(name.as_ptr().cast(), name.len()) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Keeps what the calling thread mounts from now on to its own namespace.
pub(super) fn keep_mounts_private() -> io::Result<()> {
    let (none, flags) = (std::ptr::null(), libc::MS_REC | libc::MS_PRIVATE);
    // SAFETY: the only pointer that the kernel follows is a constant.
    match unsafe { libc::mount(none, c"/".as_ptr(), none, flags, none.cast()) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// A packet socket for whole ARP frames on the interface `index` of the calling thread's network. It never blocks.
pub(super) fn arp_socket(index: u32) -> io::Result<OwnedFd> {
    let protocol = (libc::ETH_P_ARP as u16).to_be();
    let kind = libc::SOCK_RAW | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK;
    let index = c_int::try_from(index).map_err(|_| io::ErrorKind::InvalidInput)?;
    // SAFETY: zero is valid for a `sockaddr_ll`, which is plain integers. The new descriptor has no other owner. The
    // kernel reads `size` bytes of an address that is so long and outlives the call.
    unsafe {
        let raw = libc::socket(libc::AF_PACKET, kind, c_int::from(protocol));
        if raw < 0 {
            return Err(io::Error::last_os_error());
        }
        let socket = OwnedFd::from_raw_fd(raw);
        let mut at: libc::sockaddr_ll = std::mem::zeroed();
        at.sll_family = libc::AF_PACKET as u16;
        at.sll_protocol = protocol;
        at.sll_ifindex = index;
        let size = size_of::<libc::sockaddr_ll>() as libc::socklen_t;
        match libc::bind(raw, (&raw const at).cast(), size) {
            0 => Ok(socket),
            _ => Err(io::Error::last_os_error()),
        }
    }
}
