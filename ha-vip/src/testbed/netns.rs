//! A network namespace that exists as long as somebody holds it.

use super::TestbedError;
use super::sys;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::thread;

/// An anonymous network namespace: it has no name in `/run/netns`, and vanishes with its last descriptor, process and
/// socket.
#[derive(Debug)]
pub(super) struct NetNs(OwnedFd);

impl NetNs {
    /// Makes a new one.
    pub(super) fn new() -> Result<Self, TestbedError> {
        let made =
            thread::scope(|scope| scope.spawn(|| sys::new_network().and_then(|()| Self::here())).join());
        let made = made.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        made.map_err(|source| TestbedError::Refused { what: "make a network namespace", source })
    }

    /// The one of the calling thread.
    pub(super) fn here() -> io::Result<Self> {
        Ok(Self(File::open("/proc/thread-self/ns/net")?.into()))
    }

    /// Calls `work` on a thread of its own inside.
    pub(super) fn enter<T: Send>(&self, work: impl FnOnce() -> T + Send) -> io::Result<T> {
        let inside = thread::scope(|scope| {
            let inside = scope.spawn(|| -> io::Result<T> {
                move_into_link_name_space(self.0.as_fd(), Some(LinkNameSpaceType::Network))?;
                Ok(work())
            });
            inside.join()
        });
        inside.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}

impl AsFd for NetNs {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
