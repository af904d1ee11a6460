//! The first steps of a process in [`enter`](super::enter): is it alone, and is it a guardian's child?

use super::client::GuardianClient;
use super::error::GuardianError;
use super::sys;
use rustix::net::sockopt::{socket_domain, socket_peercred, socket_type};
use rustix::net::{AddressFamily, SocketType};
use std::ffi::OsStr;
use std::os::fd::{BorrowedFd, OwnedFd, RawFd};

/// Names the inherited descriptor and the guardian's pid. Removed at once, and worth nothing without a socket
/// that the named process made.
pub(super) const MARKER: &str = "HA_GUARDIAN_SOCKET";
/// systemd's variables that name the process they are meant for.
const ADDRESSED: [&str; 2] = ["LISTEN_PID", "WATCHDOG_PID"];

/// Refuses to go on beside a runtime or other threads.
pub(super) fn alone() -> Result<(), GuardianError> {
    if tokio::runtime::Handle::try_current().is_ok() {
        return Err(GuardianError::InsideRuntime);
    }
    let tasks = std::fs::read_dir("/proc/self/task").map_err(GuardianError::system("/proc/self/task"))?;
    match tasks.count() {
        1 => Ok(()),
        found => Err(GuardianError::Threads { found }),
    }
}

/// The inherited socket and the guardian that made it.
pub(super) struct Inherited {
    socket: OwnedFd,
    guardian: u32,
}

/// The inherited socket, if this process was started by a guardian. Otherwise the marker, if any, has leaked
/// from somewhere and is ignored.
pub(super) fn inherited() -> Option<Inherited> {
    let marker = std::env::var_os(MARKER)?;
    sys::set_environment(MARKER, None);
    let (descriptor, guardian) = marker.to_str()?.split_once(':')?;
    let (descriptor, guardian) = (descriptor.parse::<RawFd>().ok()?, guardian.parse::<u32>().ok()?);
    let socket = sys::adopt(descriptor, |socket| is_made_by(socket, guardian))?;
    rustix::io::fcntl_setfd(&socket, rustix::io::FdFlags::CLOEXEC).ok()?;
    Some(Inherited { socket, guardian })
}

fn is_made_by(socket: BorrowedFd<'_>, guardian: u32) -> bool {
    socket_domain(socket) == Ok(AddressFamily::UNIX)
        && socket_type(socket) == Ok(SocketType::SEQPACKET)
        && socket_peercred(socket)
            .is_ok_and(|peer| u32::try_from(peer.pid.as_raw_nonzero().get()) == Ok(guardian))
}

/// Takes the child's place.
pub(super) fn begin(inherited: Inherited) -> Result<GuardianClient, GuardianError> {
    let parent = rustix::process::getppid().map(|p| p.as_raw_nonzero().get().unsigned_abs());
    if parent != Some(inherited.guardian) {
        return Err(GuardianError::Orphan);
    }
    address_to_me(inherited.guardian);
    GuardianClient::welcomed(inherited.socket)
        .map_err(GuardianError::system("the guardian's welcome"))?
        .ok_or(GuardianError::Orphan)
}

/// What the service manager addressed to the guardian is meant for the child.
fn address_to_me(guardian: u32) {
    let (from, to) = (guardian.to_string(), std::process::id().to_string());
    for name in ADDRESSED {
        if std::env::var_os(name).is_some_and(|value| value == *from) {
            sys::set_environment(name, Some(OsStr::new(&to)));
        }
    }
}

/// The marker's value for a child that inherits `descriptor` from this process.
pub(super) fn marker(descriptor: RawFd) -> String {
    format!("{descriptor}:{}", std::process::id())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::net::{SocketFlags, socketpair};
    use std::os::fd::AsFd;

    #[test]
    fn only_a_packet_socket_of_the_named_process_is_the_guardians() {
        let pair = |kind| socketpair(AddressFamily::UNIX, kind, SocketFlags::CLOEXEC, None).unwrap().0;
        let me = std::process::id();
        assert!(is_made_by(pair(SocketType::SEQPACKET).as_fd(), me));
        assert!(!is_made_by(pair(SocketType::SEQPACKET).as_fd(), me + 1));
        assert!(!is_made_by(pair(SocketType::STREAM).as_fd(), me));
        assert!(!is_made_by(std::fs::File::open("/dev/null").unwrap().as_fd(), me));
    }

    #[test]
    fn a_process_with_threads_is_refused() {
        // The test harness runs each test on a thread of its own.
        assert!(matches!(alone(), Err(GuardianError::Threads { found: 2.. })));
    }

    #[tokio::test]
    async fn a_process_with_a_runtime_is_refused() {
        assert!(matches!(alone(), Err(GuardianError::InsideRuntime)));
    }

    #[test]
    fn io_errors_of_the_first_steps_name_what_was_tried() {
        let error = GuardianError::system("a call")(std::io::Error::other("no"));
        assert_eq!(error.to_string(), "guardian: a call: no");
    }
}
