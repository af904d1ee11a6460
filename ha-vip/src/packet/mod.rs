//! Raw frames of one interface: a socket that sends, and a listener that several kinds of frames wake.
//!
//! Both are synchronous. A sender never waits: announcements go out in the caller's own scheduling slot. A
//! [`Listener`] waits on a thread of its own. Needs CAP_NET_RAW in the network namespace of the interface.

mod error;
mod filter;
mod listener;
mod namespace;
mod sender;

pub use error::PacketError;
pub use filter::Wanted;
pub use listener::{Arrival, Listener, Waker};
pub use namespace::{Here, Namespace, forwards_ipv6, packet_socket};
pub use sender::{LinkState, PacketSender};
