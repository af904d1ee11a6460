//! A null-modem cable between two nodes: two ptys, and everything that is written to one is read from the other.

use rustix::fd::OwnedFd;
use rustix::fs::{Mode, OFlags};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{OptionalActions, tcgetattr, tcsetattr};
use std::path::PathBuf;
use std::sync::Arc;

/// The cable. Its threads end with the test's process.
pub struct SerialLine {
    /// Where each node finds its end.
    pub ends: [PathBuf; 2],
    /// Held open, or an end would report a hang-up whenever its node is down.
    _held: [OwnedFd; 2],
}

impl SerialLine {
    pub fn lay() -> Self {
        let [(first, at_first, held_first), (second, at_second, held_second)] = [pty(), pty()];
        carry(Arc::clone(&first), Arc::clone(&second));
        carry(second, first);
        Self { ends: [at_first, at_second], _held: [held_first, held_second] }
    }

    /// As `pair-node` wants it.
    pub fn flag(&self, node: usize) -> String {
        format!("serial:{},115200", self.ends[node].display())
    }
}

fn pty() -> (Arc<OwnedFd>, PathBuf, OwnedFd) {
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&master).unwrap();
    unlockpt(&master).unwrap();
    let path = PathBuf::from(ptsname(&master, Vec::new()).unwrap().to_str().unwrap());
    let slave =
        rustix::fs::open(&path, OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC, Mode::empty()).unwrap();
    let mut raw = tcgetattr(&slave).unwrap();
    raw.make_raw();
    tcsetattr(&slave, OptionalActions::Now, &raw).unwrap();
    (Arc::new(master), path, slave)
}

fn carry(from: Arc<OwnedFd>, to: Arc<OwnedFd>) {
    std::thread::spawn(move || {
        let mut octets = [0; 256];
        while let Ok(length) = rustix::io::read(&from, &mut octets) {
            let mut rest = &octets[..length];
            while !rest.is_empty() {
                let Ok(written) = rustix::io::write(&to, rest) else { return };
                rest = &rest[written..];
            }
        }
    });
}
