//! The system calls that no safe wrapper offers: signal masks, `signalfd`, inherited descriptors, the
//! environment of a process that is known to be single-threaded.
#![allow(unsafe_code)]

use std::ffi::{OsStr, c_int};
use std::io;
use std::mem::{MaybeUninit, size_of};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::process::Command;

/// A signal mask to be given back to children.
#[derive(Clone, Copy)]
pub(super) struct Mask(libc::sigset_t);

/// One signal taken from a [`block_signals`] descriptor.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Received {
    /// Its number.
    pub(super) signal: c_int,
    /// Whether the kernel sent it, as a terminal does, to the whole foreground group.
    pub(super) from_kernel: bool,
}

fn check(returned: c_int) -> io::Result<c_int> {
    if returned < 0 { Err(io::Error::last_os_error()) } else { Ok(returned) }
}

/// Blocks `signals`, makes them readable from a non-blocking descriptor, and returns the mask from before.
pub(super) fn block_signals(signals: &[c_int]) -> io::Result<(OwnedFd, Mask)> {
    let mut set = MaybeUninit::<libc::sigset_t>::uninit();
    let mut before = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: `sigemptyset` initialises the set that the following calls read; `before` is written by
    // `pthread_sigmask` before it is assumed to be initialised (only if the call succeeded); the descriptor
    // that `signalfd` returns is new and owned by nobody else.
    unsafe {
        check(libc::sigemptyset(set.as_mut_ptr()))?;
        for &signal in signals {
            check(libc::sigaddset(set.as_mut_ptr(), signal))?;
        }
        match libc::pthread_sigmask(libc::SIG_BLOCK, set.as_ptr(), before.as_mut_ptr()) {
            0 => {}
            error => return Err(io::Error::from_raw_os_error(error)),
        }
        let fd = check(libc::signalfd(-1, set.as_ptr(), libc::SFD_CLOEXEC | libc::SFD_NONBLOCK))?;
        Ok((OwnedFd::from_raw_fd(fd), Mask(before.assume_init())))
    }
}

/// The next pending signal of a [`block_signals`] descriptor, if any.
pub(super) fn next_signal(signals: &OwnedFd) -> Option<Received> {
    let mut info = MaybeUninit::<libc::signalfd_siginfo>::zeroed();
    let size = size_of::<libc::signalfd_siginfo>();
    // SAFETY: the buffer is `size` bytes long; a `signalfd_siginfo` is plain integers, valid for any bytes.
    let (read, info) = unsafe {
        let read = libc::read(signals.as_raw_fd(), info.as_mut_ptr().cast(), size);
        (read, info.assume_init())
    };
    (usize::try_from(read) == Ok(size)).then(|| Received {
        signal: c_int::try_from(info.ssi_signo).unwrap_or(0),
        from_kernel: info.ssi_code == libc::SI_KERNEL,
    })
}

/// Gives `SIGCHLD` its default meaning: an inherited *ignore* would reap children behind our back.
pub(super) fn keep_zombies() -> io::Result<()> {
    // SAFETY: SIG_DFL is a valid disposition and installs no handler.
    let before = unsafe { libc::signal(libc::SIGCHLD, libc::SIG_DFL) };
    if before == libc::SIG_ERR { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Lets the spawned process inherit `descriptor` and start with the signal mask `mask`.
pub(super) fn hand_down(command: &mut Command, descriptor: RawFd, mask: Mask) {
    // SAFETY: between fork and exec the closure makes two async-signal-safe system calls and neither
    // allocates nor locks.
    unsafe {
        command.pre_exec(move || {
            check(libc::fcntl(descriptor, libc::F_SETFD, 0))?;
            match libc::pthread_sigmask(libc::SIG_SETMASK, &raw const mask.0, std::ptr::null_mut()) {
                0 => Ok(()),
                error => Err(io::Error::from_raw_os_error(error)),
            }
        });
    }
}

/// Takes ownership of an inherited descriptor, if it is open and `is_ours` recognises it.
pub(super) fn adopt(raw: RawFd, is_ours: impl FnOnce(BorrowedFd<'_>) -> bool) -> Option<OwnedFd> {
    // SAFETY: F_GETFD reads a flag of a descriptor that may or may not be open.
    if raw <= 2 || unsafe { libc::fcntl(raw, libc::F_GETFD) } < 0 {
        return None;
    }
    // SAFETY: the descriptor is open, and the borrow ends before anything could close it (the caller has
    // made sure that this is the only thread).
    let ours = is_ours(unsafe { BorrowedFd::borrow_raw(raw) });
    // SAFETY: `is_ours` recognised the socket that the guardian handed down for this call alone; nothing in
    // this young process owns it.
    ours.then(|| unsafe { OwnedFd::from_raw_fd(raw) })
}

/// Sets or removes an environment variable. The caller has made sure that this is the only thread.
pub(super) fn set_environment(name: &str, value: Option<&OsStr>) {
    // SAFETY: called by `enter` only, after it counted the threads of this process: there is one.
    unsafe {
        match value {
            Some(value) => std::env::set_var(name, value),
            None => std::env::remove_var(name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_closed_or_standard_descriptor_is_not_adopted() {
        assert!(adopt(1, |_| true).is_none());
        assert!(adopt(1 << 20, |_| true).is_none());
    }

    #[test]
    fn a_descriptor_that_is_not_recognised_is_left_open() {
        let file = std::fs::File::open("/dev/null").unwrap();
        assert!(adopt(file.as_raw_fd(), |_| false).is_none());
        assert!(file.metadata().is_ok());
    }
}
