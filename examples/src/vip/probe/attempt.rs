//! One connection of the probe.

use super::record::now;
use rustix::event::epoll;
use socket2::{Domain, Socket, Type};
use std::io::{self, Read};
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::time::Duration;

/// A node's line is not longer.
const LINE_BYTES: usize = 64;

/// A connection that is being made, or waits for its answer. Dropping it resets it.
pub(super) struct Attempt {
    socket: Socket,
    began: Duration,
    number: u64,
    heard: Vec<u8>,
}

impl Attempt {
    /// Begins to connect, and has `epoll` tell when there is something to read.
    pub(super) fn begin(target: SocketAddr, epoll: &OwnedFd, place: usize) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(target), Type::STREAM, None)?;
        socket.set_nonblocking(true)?;
        socket.set_linger(Some(Duration::ZERO))?;
        let began = now();
        match socket.connect(&target.into()) {
            Err(error) if error.raw_os_error() != Some(rustix::io::Errno::INPROGRESS.raw_os_error()) => {
                return Err(error);
            }
            Ok(()) | Err(_) => {}
        }
        epoll::add(epoll, &socket, epoll::EventData::new_u64(place as u64), epoll::EventFlags::IN)?;
        Ok(Self { socket, began, number: 0, heard: Vec::new() })
    }

    pub(super) fn numbered(mut self, number: u64) -> Self {
        self.number = number;
        self
    }

    pub(super) const fn began(&self) -> Duration {
        self.began
    }

    pub(super) const fn number(&self) -> u64 {
        self.number
    }

    /// The node that answered, once its whole line is here.
    pub(super) fn read(&mut self) -> io::Result<Option<String>> {
        let mut bytes = [0; LINE_BYTES];
        match (&self.socket).read(&mut bytes) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(length) => self.heard.extend_from_slice(bytes.get(..length).unwrap_or_default()),
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {
                return Ok(None);
            }
            Err(error) => return Err(error),
        }
        if let Some(line) =
            self.heard.split(|byte| *byte == b'\n').next().filter(|line| line.len() < self.heard.len())
        {
            return Ok(Some(String::from_utf8_lossy(line).into_owned()));
        }
        if self.heard.len() >= LINE_BYTES {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "the answer is longer than a node's name",
            ));
        }
        Ok(None)
    }
}
