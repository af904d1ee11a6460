//! The frames by which a network learns where an address is: pure codecs, no I/O.
//!
//! * [`Arp`]: IPv4 (RFC 826, RFC 5227), 42 bytes with their Ethernet header.
//! * [`Solicitation`] and [`Advertisement`]: IPv6 neighbour discovery (RFC 4861, RFC 4862).
//! * [`Echo`]: the question whose answer a neighbour sends to whom it believes to be the address.
//! * [`read`]: what a frame from the network says, and [`Heard::claim`]: who claims an address in it.
//!
//! No VLAN tags: a tagged interface has a device of its own, which takes them off. Nothing here panics on any bytes.

mod arp;
mod checksum;
mod echo;
mod error;
mod ethernet;
mod heard;
mod ipv4;
mod ipv6;
mod ndp;

pub use arp::{Arp, ArpOperation};
pub use echo::Echo;
pub use error::FrameError;
pub use ethernet::{BROADCAST, Ethernet, NOBODY, is_host, multicast_mac};
pub use heard::{Claim, ClaimKind, Heard, read};
pub use ipv6::{ALL_NODES, solicited_node};
pub use ndp::{Advertisement, Solicitation};

#[cfg(test)]
mod golden;
#[cfg(test)]
mod hostile;
