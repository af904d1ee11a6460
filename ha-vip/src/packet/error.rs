//! Why no frames can be sent or heard.

use crate::kernel::{Capability, Missing};
use crate::{MacAddress, Nic};
use std::io;

/// Frames cannot be sent to, or heard from, an interface.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PacketError {
    /// The process may not open packet sockets.
    #[error("no packet socket for {interface}: {missing}")]
    MissingCapability {
        /// The interface.
        interface: String,
        /// `CAP_NET_RAW`, and where it lacks.
        missing: Missing,
    },
    /// The interface is gone, or its name or number belongs to another one now.
    #[error("{interface} (number {index}) is gone or was renamed; expected it to exist: look it up again")]
    Gone {
        /// The interface.
        interface: String,
        /// Its number.
        index: u32,
    },
    /// The interface is down. Frames go again as soon as it is up.
    #[error("{interface} is down; expected it up")]
    Down {
        /// The interface.
        interface: String,
    },
    /// Not an Ethernet interface.
    #[error(
        "{interface} is of hardware type {found}; expected 1 (Ethernet): addresses are announced on no other"
    )]
    NotEthernet {
        /// The interface.
        interface: String,
        /// Its type (`ARPHRD_*`).
        found: u16,
    },
    /// The interface has another link-layer address than the one to be announced: nobody would be reached there.
    #[error(
        "{interface} has the link-layer address {found:?}; expected {expected}: look the interface up again"
    )]
    OtherMac {
        /// The interface.
        interface: String,
        /// Its address now.
        found: Option<MacAddress>,
        /// The one that was to be announced.
        expected: MacAddress,
    },
    /// Too many frames wait to be sent. This one was dropped.
    #[error("the queue of {interface} is full: a frame was dropped")]
    Full {
        /// The interface.
        interface: String,
    },
    /// The operating system refused.
    #[error("cannot {what} {interface}: {source}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// The interface.
        interface: String,
        /// What it said.
        source: io::Error,
    },
}

impl PacketError {
    pub(super) fn new(what: &'static str, nic: &Nic, source: io::Error) -> Self {
        let interface = nic.name.clone();
        match source.raw_os_error() {
            Some(libc::EPERM | libc::EACCES) => {
                Self::MissingCapability { interface, missing: Missing::now(Capability::NetRaw) }
            }
            Some(libc::ENODEV | libc::ENXIO) => Self::Gone { interface, index: nic.index },
            Some(libc::ENETDOWN) => Self::Down { interface },
            Some(libc::ENOBUFS | libc::EAGAIN) => Self::Full { interface },
            _ => Self::Io { what, interface, source },
        }
    }
}
