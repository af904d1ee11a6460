//! A socket that sends frames to one interface and receives none.

use super::{Namespace, PacketError};
use crate::{MacAddress, Nic, sys};
use socket2::Socket;
use std::fmt;
use std::io;

/// Sends finished frames to one interface.
pub struct PacketSender {
    socket: Socket,
    nic: Nic,
}

/// What the kernel says about an interface.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum LinkState {
    /// Up, and the other end of the cable is there.
    Running,
    /// Up, but without carrier: frames are accepted and lost.
    NoCarrier,
    /// Down.
    Down,
}

impl PacketSender {
    /// Opens a socket for `nic`, and makes sure that it is an Ethernet interface with the link-layer address that is to
    /// be announced.
    ///
    /// # Errors
    /// [`PacketError`].
    pub fn open(namespace: &dyn Namespace, nic: &Nic) -> Result<Self, PacketError> {
        let socket = Socket::from(
            namespace.packet_socket().map_err(|e| PacketError::new("open a socket for", nic, e))?,
        );
        sys::bind(&socket, 0, nic.index).map_err(|e| PacketError::new("bind to", nic, e))?;
        let this = Self { socket, nic: nic.clone() };
        this.check()?;
        Ok(this)
    }

    /// The interface.
    #[must_use]
    pub const fn nic(&self) -> &Nic {
        &self.nic
    }

    /// Whether the interface still exists and still has the link-layer address.
    ///
    /// # Errors
    /// [`PacketError::Gone`], [`PacketError::NotEthernet`], [`PacketError::OtherMac`].
    pub fn check(&self) -> Result<(), PacketError> {
        check(&self.socket, &self.nic)
    }

    /// Sends a frame without waiting. That it was accepted does not mean that it arrived: see [`state`](Self::state).
    ///
    /// # Errors
    /// [`PacketError::Down`], [`PacketError::Gone`], [`PacketError::Full`], [`PacketError::Io`].
    pub fn send(&self, frame: &[u8]) -> Result<(), PacketError> {
        loop {
            match self.socket.send_with_flags(frame, libc::MSG_DONTWAIT) {
                Ok(_) => return Ok(()),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(PacketError::new("send a frame to", &self.nic, e)),
            }
        }
    }

    /// Whether frames have a chance to arrive.
    ///
    /// # Errors
    /// [`PacketError::Gone`], [`PacketError::Io`].
    pub fn state(&self) -> Result<LinkState, PacketError> {
        state(&self.socket, &self.nic)
    }
}

pub(super) fn state(socket: &Socket, nic: &Nic) -> Result<LinkState, PacketError> {
    let flags = sys::interface_flags(socket, &nic.name);
    let flags = flags.map_err(|e| PacketError::new("read the flags of", nic, e))?;
    Ok(match (flags & libc::IFF_UP != 0, flags & libc::IFF_RUNNING != 0) {
        (true, true) => LinkState::Running,
        (true, false) => LinkState::NoCarrier,
        (false, _) => LinkState::Down,
    })
}

/// Whether `socket` is still bound to the Ethernet interface `nic` with its link-layer address.
pub(super) fn check(socket: &Socket, nic: &Nic) -> Result<(), PacketError> {
    let interface = || nic.name.clone();
    let bound = sys::bound(socket).map_err(|e| PacketError::new("look at the socket of", nic, e))?;
    // While an interface is being removed the number is still there, and what belongs to it is not.
    let vanishing = bound.hardware == 0 && bound.mac.is_none();
    if u32::try_from(bound.index) != Ok(nic.index) || vanishing {
        return Err(PacketError::Gone { interface: interface(), index: nic.index });
    }
    if bound.hardware != libc::ARPHRD_ETHER {
        return Err(PacketError::NotEthernet { interface: interface(), found: bound.hardware });
    }
    match bound.mac.map(MacAddress) {
        Some(mac) if mac == nic.mac => Ok(()),
        found => Err(PacketError::OtherMac { interface: interface(), found, expected: nic.mac }),
    }
}

impl fmt::Debug for PacketSender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PacketSender").field("nic", &self.nic).finish_non_exhaustive()
    }
}
