//! Virtual addresses that follow the active node.
//!
//! An [`AddressBackend`] makes a node answer at an address, and stop to. [`VirtualIp`] makes a
//! [`Resource`](ha_core::api::Resource) of it, to be put into a group **before** the service. The service
//! accepts its connections from an [`AcceptSource`]:
//!
//! ```no_run
//! use ha_vip::{Loopback, VirtualIp};
//! use std::sync::Arc;
//!
//! # async fn example() -> Result<(), ha_vip::AddressError> {
//! let backend = Arc::new(Loopback::new().with_farewell("421 4.3.2 going to the other node\r\n"));
//! let address = VirtualIp::new("address", [127, 0, 0, 25].into(), backend)?;
//! let smtp = address.accept_source(2525)?; // bound at once, listening only while the address is held
//! tokio::spawn(async move {
//!     while let Ok((stream, peer)) = smtp.accept().await {
//!         // serve it; the future only waits while the address is elsewhere
//!         # drop((stream, peer));
//!     }
//! });
//! # Ok(())
//! # }
//! ```
//!
//! | backend | answers |
//! |---|---|
//! | [`VirtualIp::linux`] | at addresses on the machine's interfaces; needs `CAP_NET_ADMIN` |
//! | [`VirtualIp::route`] | at host addresses that a routing daemon announces (anycast, BGP) |
//! | [`Exec`] | at whatever commands of yours bring here: cloud APIs, load balancers |
//! | [`Loopback`] | at 127.0.0.0/8, without privileges, within one machine. It is honest in the one thing that matters: two owners can coexist, and a frozen one swallows connections |
//!
//! `docs/VIP.md` has the whole story.
//!
//! [`vrrp`] lets a pair stand beside routers and keepalived as one virtual router.

mod accept;
pub mod announce;
mod backend;
pub mod conflict;
pub mod exec;
pub mod frame;
pub mod kernel;
pub mod linux;
mod loopback;
mod nic;
pub mod packet;
mod ports;
mod resource;
pub mod route;
mod socket;
mod sys;
#[cfg(feature = "testbed")]
pub mod testbed;
pub mod verify;
pub mod vrrp;

pub use accept::{AcceptError, AcceptSource};
pub use backend::{AddressBackend, AddressError, Holding};
pub use exec::Exec;
pub use linux::Announce;
pub use loopback::Loopback;
pub use nic::{MacAddress, MacAddressError, Nic};
pub use resource::VirtualIp;

/// What a guardian runs for the undo steps of this crate: each kind with its undo and its verification, for
/// [`GuardianConfig::handler`](ha_core::guardian::GuardianConfig::handler).
///
/// ```
/// use ha_core::guardian::GuardianConfig;
/// let mut guardian = GuardianConfig::new("/run/mail-pair/node-a");
/// for handler in ha_vip::undo_handlers() {
///     guardian = guardian.handler(handler.kind, handler.undo, handler.verify);
/// }
/// ```
#[must_use]
pub const fn undo_handlers() -> [UndoHandler; 2] {
    [
        UndoHandler { kind: linux::UNDO_KIND, undo: linux::undo, verify: linux::verify },
        UndoHandler { kind: exec::UNDO_KIND, undo: exec::undo, verify: exec::verify },
    ]
}

/// One kind of undo step.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct UndoHandler {
    /// The kind.
    pub kind: &'static str,
    /// Takes the effect back.
    pub undo: fn(u16, &[u8]) -> Result<(), String>,
    /// Whether nothing of it is left.
    pub verify: fn(u16, &[u8]) -> Result<bool, String>,
}
