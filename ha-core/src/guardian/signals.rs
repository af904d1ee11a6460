//! The signals of the guardian: read from descriptors, passed on to the child.

use super::sys::{self, Mask, Received};
use std::io;
use std::os::fd::{AsFd, RawFd};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::process::Command;

/// What is passed on to the child.
const FORWARDED: [i32; 6] =
    [libc::SIGTERM, libc::SIGINT, libc::SIGHUP, libc::SIGQUIT, libc::SIGUSR1, libc::SIGUSR2];

/// Blocked signals, readable. The end of children has a descriptor of its own, so that waiting for it does
/// not take a signal that is to be passed on.
pub(super) struct Signals {
    forwarded: OwnedFd,
    ended: OwnedFd,
    before: Mask,
}

impl Signals {
    pub(super) fn block() -> io::Result<Self> {
        sys::keep_zombies()?;
        let (forwarded, before) = sys::block_signals(&FORWARDED)?;
        let (ended, _) = sys::block_signals(&[libc::SIGCHLD])?;
        Ok(Self { forwarded, ended, before })
    }

    /// Readable when a signal is to be passed on.
    pub(super) fn forwarded(&self) -> BorrowedFd<'_> {
        self.forwarded.as_fd()
    }

    /// Readable when a child has ended.
    pub(super) fn child_ended(&self) -> &OwnedFd {
        &self.ended
    }

    /// The next signal to pass on.
    pub(super) fn next(&self) -> Option<Received> {
        sys::next_signal(&self.forwarded)
    }

    /// Empties [`Signals::child_ended`]; reap afterwards.
    pub(super) fn forget_ended_children(&self) {
        while sys::next_signal(&self.ended).is_some() {}
    }

    /// Lets the spawned process start with the mask from before and inherit `descriptor`.
    pub(super) fn hand_down(&self, command: &mut Command, descriptor: RawFd) {
        sys::hand_down(command, descriptor, self.before);
    }
}

/// Whether a signal asks for an orderly end.
pub(super) const fn is_stop(signal: i32) -> bool {
    matches!(signal, libc::SIGTERM | libc::SIGINT | libc::SIGQUIT)
}
