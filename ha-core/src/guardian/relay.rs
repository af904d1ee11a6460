//! Passing the child's words on to the service manager, which listens to the main process alone.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::{Path, PathBuf};

/// The service manager's variable.
pub(super) const NOTIFY_SOCKET: &str = "NOTIFY_SOCKET";
/// A datagram longer than this is cut.
const MAX_DATAGRAM_BYTES: usize = 4096;

/// A socket for the child in place of the service manager's.
pub(super) struct Relay {
    socket: UnixDatagram,
    path: PathBuf,
    manager: OsString,
}

impl Relay {
    /// `None` without a service manager.
    pub(super) fn open(runtime_dir: &Path) -> io::Result<Option<Self>> {
        let Some(manager) = std::env::var_os(NOTIFY_SOCKET) else { return Ok(None) };
        let path = runtime_dir.join("notify");
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let socket = UnixDatagram::bind(&path)?;
        socket.set_nonblocking(true)?;
        Ok(Some(Self { socket, path, manager }))
    }

    pub(super) const fn socket(&self) -> &UnixDatagram {
        &self.socket
    }

    /// What the child finds in its environment.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// What stood there before.
    pub(super) fn manager(&self) -> &OsStr {
        &self.manager
    }

    /// Passes everything on that waits.
    pub(super) fn pass_on(&self) {
        let mut buffer = [0; MAX_DATAGRAM_BYTES];
        while let Ok(length) = self.socket.recv(&mut buffer) {
            self.say(&buffer[..length]);
        }
    }

    /// Says `state` as the main process. An absent or full manager is the manager's business.
    pub(super) fn say(&self, state: &[u8]) {
        let kept = without_main_pid(state);
        if let (false, Ok(to)) = (kept.is_empty(), address(&self.manager)) {
            let _ = self.socket.send_to_addr(&kept, &to);
        }
    }
}

/// The main process stays the guardian, whatever the child believes.
fn without_main_pid(state: &[u8]) -> Vec<u8> {
    let kept: Vec<&[u8]> =
        state.split(|b| *b == b'\n').filter(|line| !line.starts_with(b"MAINPID=")).collect();
    kept.join(&b'\n')
}

fn address(manager: &OsStr) -> io::Result<SocketAddr> {
    match manager.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name),
        _ => SocketAddr::from_pathname(manager),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_childs_pid_is_not_passed_on_as_the_main_one() {
        assert_eq!(without_main_pid(b"READY=1\nMAINPID=4\nSTATUS=x"), b"READY=1\nSTATUS=x");
        assert!(without_main_pid(b"MAINPID=4").is_empty());
    }

    #[test]
    fn both_kinds_of_addresses_are_understood() {
        assert_eq!(address(OsStr::new("@a")).unwrap().as_abstract_name(), Some(&b"a"[..]));
        assert_eq!(address(OsStr::new("/run/x")).unwrap().as_pathname(), Some(Path::new("/run/x")));
    }
}
