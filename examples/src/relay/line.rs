//! The serial line: two ptys, and octets carried between their masters. The nodes pace their output themselves.

use super::{Valves, Way};
use rustix::fs::{Mode, OFlags, fcntl_getfl, fcntl_setfl};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{OptionalActions, tcgetattr, tcsetattr};
use std::ffi::OsStr;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::rc::Rc;
use tokio::io::unix::AsyncFd;

struct Pty {
    master: AsyncFd<OwnedFd>,
    /// Held open, or the master would report a hang-up whenever the node is down.
    _slave: OwnedFd,
    path: PathBuf,
}

impl Pty {
    fn open() -> io::Result<Self> {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY)?;
        grantpt(&master)?;
        unlockpt(&master)?;
        let path = PathBuf::from(OsStr::from_bytes(ptsname(&master, Vec::new())?.as_bytes()));
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
        let slave = rustix::fs::open(&path, flags, Mode::empty())?;
        let mut settings = tcgetattr(&slave)?;
        settings.make_raw();
        tcsetattr(&slave, OptionalActions::Now, &settings)?;
        fcntl_setfl(&master, fcntl_getfl(&master)? | OFlags::NONBLOCK)?;
        #[expect(
            deprecated,
            reason = "an OwnedFd keeps its descriptor open, which is all that the new way asks for"
        )]
        let master = AsyncFd::new(master)?;
        Ok(Self { master, _slave: slave, path })
    }
}

/// Lays the line; returns the ttys of both nodes.
pub(super) fn lay(name: &str, valves: &Valves) -> io::Result<[PathBuf; 2]> {
    let [from_first, from_second] = valves.path(name);
    let (first, second) = (Rc::new(Pty::open()?), Rc::new(Pty::open()?));
    let paths = [first.path.clone(), second.path.clone()];
    tokio::task::spawn_local(carry(Rc::clone(&first), Rc::clone(&second), from_first));
    tokio::task::spawn_local(carry(second, first, from_second));
    Ok(paths)
}

async fn carry(from: Rc<Pty>, to: Rc<Pty>, way: Way) {
    let mut chunk = [0; 1024];
    loop {
        let Ok(mut ready) = from.master.readable().await else { return };
        let read = ready.try_io(|master| Ok(rustix::io::read(master.get_ref(), &mut chunk)?));
        let length = match read {
            Ok(Ok(length)) => length,
            Ok(Err(error)) => {
                eprintln!("relay: serial line: {error}");
                return;
            }
            Err(_would_block) => continue,
        };
        let Some(delay) = way.fate() else { continue };
        if delay.is_zero() {
            // A line that nobody reads is full: what does not fit is lost, as on a real one.
            let _ = rustix::io::write(to.master.get_ref(), &chunk[..length]);
            continue;
        }
        let (to, octets) = (Rc::clone(&to), chunk[..length].to_vec());
        tokio::task::spawn_local(async move {
            tokio::time::sleep(delay).await;
            let _ = rustix::io::write(to.master.get_ref(), &octets);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};

    fn tty(path: &PathBuf) -> std::fs::File {
        std::fs::OpenOptions::new().read(true).write(true).open(path).unwrap()
    }

    #[test]
    fn octets_cross_the_line_unless_it_is_cut_in_that_direction() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        tokio::task::LocalSet::new().block_on(&runtime, async {
            let valves = Valves::default();
            let [first, second] = lay("serial", &valves).unwrap();
            let (mut first, mut second) = (tty(&first), tty(&second));
            valves.turn("serial", 0, |s| s.cut = true);
            first.write_all(b"lost").unwrap();
            second.write_all(b"\x00\xffraw\r\n").unwrap();
            let read = tokio::task::spawn_blocking(move || {
                let mut found = [0; 7];
                first.read_exact(&mut found).unwrap();
                (first, found)
            });
            let (mut first, found) = read.await.unwrap();
            assert_eq!(&found, b"\x00\xffraw\r\n");
            valves.turn("serial", 0, |s| s.cut = false);
            first.write_all(b"through").unwrap();
            let read = tokio::task::spawn_blocking(move || {
                let mut found = [0; 7];
                second.read_exact(&mut found).unwrap();
                found
            });
            assert_eq!(&read.await.unwrap(), b"through");
        });
    }
}
