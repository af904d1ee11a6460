//! Waits for frames of one interface.

use super::filter::FRAME_LIMIT_BYTES;
use super::{LinkState, Namespace, PacketError, Wanted, sender};
use crate::{Nic, sys};
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use socket2::Socket;
use std::fmt;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

/// Waits for frames of one interface, on a thread that has nothing else to do. What does not fit into the kernel's
/// buffer while nobody looks is lost.
pub struct Listener {
    sockets: Vec<Socket>,
    turn: usize,
    wake: Waker,
    nic: Nic,
    buffer: [u8; FRAME_LIMIT_BYTES],
}

/// Ends the waiting of a [`Listener`], from any thread.
#[derive(Clone, Debug)]
pub struct Waker(Arc<OwnedFd>);

/// What ended a wait.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Arrival<'a> {
    /// A frame, from its Ethernet header on, cut off after 512 bytes.
    Frame(&'a [u8]),
    /// Nothing came in time.
    Quiet,
    /// Somebody called [`Waker::wake`].
    Woken,
    /// The interface went down. Frames come again as soon as it is up.
    LinkDown,
}

impl Listener {
    /// Hears the frames that are `wanted` from now on.
    ///
    /// # Errors
    /// [`PacketError`].
    pub fn open(namespace: &dyn Namespace, nic: &Nic, wanted: &[Wanted]) -> Result<Self, PacketError> {
        let sockets =
            wanted.iter().map(|&wanted| open(namespace, nic, wanted)).collect::<Result<Vec<_>, _>>()?;
        let failed = |e: rustix::io::Errno| PacketError::new("make a waker for", nic, e.into());
        let wake = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).map_err(failed)?;
        let this = Self {
            sockets,
            turn: 0,
            wake: Waker(Arc::new(wake)),
            nic: nic.clone(),
            buffer: [0; FRAME_LIMIT_BYTES],
        };
        this.check()?;
        Ok(this)
    }

    /// Ends a wait from another thread.
    #[must_use]
    pub fn waker(&self) -> Waker {
        self.wake.clone()
    }

    /// The interface.
    #[must_use]
    pub const fn nic(&self) -> &Nic {
        &self.nic
    }

    /// Whether the interface still exists and still has its link-layer address; a listener to one that is gone hears
    /// nothing ever again.
    ///
    /// # Errors
    /// [`PacketError::Gone`], [`PacketError::OtherMac`].
    pub fn check(&self) -> Result<(), PacketError> {
        self.sockets.iter().try_for_each(|socket| sender::check(socket, &self.nic))
    }

    /// Whether the interface is up, with or without carrier.
    ///
    /// # Errors
    /// [`PacketError::Gone`], [`PacketError::Io`].
    pub fn is_up(&self) -> Result<bool, PacketError> {
        let Some(socket) = self.sockets.first() else { return Ok(false) };
        sender::state(socket, &self.nic).map(|state| state != LinkState::Down)
    }

    /// Waits at most `timeout` for a frame.
    ///
    /// # Errors
    /// [`PacketError::Gone`], [`PacketError::Io`].
    pub fn next(&mut self, timeout: Duration) -> Result<Arrival<'_>, PacketError> {
        // The sockets take turns, so that a flood of one kind does not hide the other.
        let first = self.turn;
        self.turn = self.turn.wrapping_add(1);
        let mut waited = false;
        loop {
            for offset in 0..self.sockets.len() {
                match self.receive(first.wrapping_add(offset) % self.sockets.len()) {
                    Ok(Some(length)) => {
                        return Ok(self.buffer.get(..length).map_or(Arrival::Quiet, Arrival::Frame));
                    }
                    Ok(None) => {}
                    Err(PacketError::Down { .. }) => {
                        self.check()?;
                        return Ok(Arrival::LinkDown);
                    }
                    Err(error) => return Err(error),
                }
            }
            if waited {
                return Ok(Arrival::Quiet);
            }
            if self.wait_for(timeout, &self.sockets)? {
                return Ok(Arrival::Woken);
            }
            waited = true;
        }
    }

    /// Hears nothing for `duration`, so that a flood costs no more than what was heard before; the kernel drops what does
    /// not fit. Returns early if woken.
    ///
    /// # Errors
    /// [`PacketError::Io`].
    pub fn rest(&self, duration: Duration) -> Result<(), PacketError> {
        self.wait_for(duration, &[]).map(drop)
    }

    fn receive(&mut self, which: usize) -> Result<Option<usize>, PacketError> {
        let Some(mut socket) = self.sockets.get(which) else { return Ok(None) };
        match socket.read(&mut self.buffer) {
            Ok(length) => Ok(Some(length)),
            Err(e) if matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => Ok(None),
            Err(e) => Err(PacketError::new("receive from", &self.nic, e)),
        }
    }

    /// Whether it was woken.
    fn wait_for(&self, timeout: Duration, sockets: &[Socket]) -> Result<bool, PacketError> {
        let mut waiting: Vec<_> = sockets.iter().map(|socket| PollFd::new(socket, PollFlags::IN)).collect();
        waiting.push(PollFd::new(&self.wake.0, PollFlags::IN));
        let timeout = Timespec::try_from(timeout).ok();
        match poll(&mut waiting, timeout.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(e) => return Err(PacketError::new("wait for", &self.nic, e.into())),
        }
        let woken = waiting.last().is_some_and(|wake| !wake.revents().is_empty());
        if woken {
            let _taken = rustix::io::read(&self.wake.0, &mut [0; 8]);
        }
        Ok(woken)
    }
}

fn open(namespace: &dyn Namespace, nic: &Nic, wanted: Wanted) -> Result<Socket, PacketError> {
    let failed = |what| move |e| PacketError::new(what, nic, e);
    let socket = Socket::from(namespace.packet_socket().map_err(failed("open a socket for"))?);
    // Before it is bound, as it would receive other frames otherwise.
    socket.attach_filter(&wanted.filter()).map_err(failed("filter frames of"))?;
    socket.set_nonblocking(true).map_err(failed("open a socket for"))?;
    sys::bind(&socket, wanted.protocol(), nic.index).map_err(failed("bind to"))?;
    Ok(socket)
}

impl Waker {
    /// Ends the present wait of the listener, or the next one.
    pub fn wake(&self) {
        let _counted_already = rustix::io::write(&self.0, &1_u64.to_ne_bytes());
    }
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listener")
            .field("nic", &self.nic)
            .field("sockets", &self.sockets.len())
            .finish_non_exhaustive()
    }
}
