//! One open tty: how it is set, reading it, and writing to it without ever waiting unasked.

use crate::framing::{MAX_LINE_BYTES, encode_line_frame};
use crate::pacing::{Pacer, time_of};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::termios::{ControlModes, OptionalActions, tcgetattr, tcsetattr};
use serial2::{SerialPort, Settings};
use std::io::{self, ErrorKind};
use std::os::fd::AsFd;
use std::path::Path;
use std::time::{Duration, Instant};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// How long a guardian's last word may wait for room on a line.
const SEND_DEADLINE: Duration = Duration::from_millis(250);

/// Raw 8N1 at `baud`, without flow control.
fn raw(baud: u32) -> impl FnOnce(Settings) -> io::Result<Settings> {
    move |mut settings| {
        settings.set_raw();
        settings.set_baud_rate(baud)?;
        Ok(settings)
    }
}

/// The reading side of a tty.
pub(crate) struct LineReader {
    /// Interested in input alone: an idle line would wake its reader each time that the kernel took what was written.
    port: AsyncFd<SerialPort>,
}

impl LineReader {
    pub(crate) fn open(path: &Path, baud: u32) -> io::Result<Self> {
        let port = SerialPort::open(path, raw(baud))?;
        ignore_modem_lines(&port)?;
        #[expect(
            deprecated,
            reason = "a SerialPort keeps its descriptor open, which is all that the new way asks for"
        )]
        let port = AsyncFd::with_interest(port, Interest::READABLE)?;
        Ok(Self { port })
    }

    /// Reads what there is, at least one octet; none means that the line hung up.
    pub(crate) async fn read(&self, octets: &mut [u8]) -> io::Result<usize> {
        loop {
            let read = |port: &SerialPort| Ok(rustix::io::read(port.as_fd(), &mut *octets)?);
            match self.port.async_io(Interest::READABLE, read).await {
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                done => return done,
            }
        }
    }
}

/// The writing side of a tty.
pub(crate) struct LineWriter {
    port: SerialPort,
    pacer: Pacer,
    origin: Instant,
}

impl LineWriter {
    pub(crate) fn open(path: &Path, baud: u32, patience: Option<Duration>) -> io::Result<Self> {
        let port = SerialPort::open(path, raw(baud))?;
        ignore_modem_lines(&port)?;
        let patience = patience.unwrap_or_else(|| time_of(MAX_LINE_BYTES, baud));
        Ok(Self { port, pacer: Pacer::new(baud, patience), origin: Instant::now() })
    }

    /// Sends at once or drops. A frame cut short by a full line is ended by the next one's delimiter.
    pub(crate) fn send_or_drop(&mut self, frame: &[u8]) -> io::Result<()> {
        let line = on_the_line(frame)?;
        if !self.pacer.admit(self.origin.elapsed(), line.len()) {
            return Ok(());
        }
        match rustix::io::write(self.port.as_fd(), &line) {
            Ok(_) | Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => Ok(()),
            Err(e) => Err(e.into()),
        }
    }

    /// Sends, waiting for the line within a deadline.
    pub(crate) fn send_waiting(&mut self, frame: &[u8]) -> io::Result<()> {
        let line = on_the_line(frame)?;
        let wait = self.pacer.wait(self.origin.elapsed()).min(SEND_DEADLINE);
        std::thread::sleep(wait);
        if !self.pacer.admit(self.origin.elapsed(), line.len()) {
            return Err(ErrorKind::TimedOut.into());
        }
        let started = Instant::now();
        let mut rest = &line[..];
        while !rest.is_empty() {
            let left = SEND_DEADLINE.saturating_sub(started.elapsed());
            if left.is_zero() {
                return Err(io::Error::new(ErrorKind::TimedOut, "nobody reads the line: its buffer is full"));
            }
            match rustix::io::write(self.port.as_fd(), rest) {
                Ok(written) => rest = rest.get(written..).unwrap_or_default(),
                Err(rustix::io::Errno::AGAIN) => self.wait_for_room(left)?,
                Err(rustix::io::Errno::INTR) => {}
                Err(e) => return Err(e.into()),
            }
        }
        Ok(())
    }

    fn wait_for_room(&self, limit: Duration) -> io::Result<()> {
        let limit = Timespec::try_from(limit).map_err(io::Error::other)?;
        match poll(&mut [PollFd::new(&self.port, PollFlags::OUT)], Some(&limit)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(e) => Err(e.into()),
        }
    }
}

fn on_the_line(frame: &[u8]) -> io::Result<Vec<u8>> {
    encode_line_frame(frame).ok_or_else(|| {
        let limit = ha_core::wire::SERIAL_FRAME_BYTES;
        let found = frame.len();
        io::Error::new(
            ErrorKind::InvalidInput,
            format!("frame of {found} bytes, a serial line takes 1 to {limit}"),
        )
    })
}

/// A three-wire cable has no carrier, and closing one of two openings must not hang up the other.
fn ignore_modem_lines(port: &SerialPort) -> io::Result<()> {
    let mut settings = tcgetattr(port)?;
    settings.control_modes |= ControlModes::CLOCAL | ControlModes::CREAD;
    settings.control_modes &= !ControlModes::HUPCL;
    tcsetattr(port, OptionalActions::Now, &settings)?;
    Ok(())
}
