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
//! One backend so far: [`Loopback`], which needs no privileges and works only within one machine. It is
//! honest in the one thing that matters: two owners can coexist, and a frozen one swallows connections.

mod accept;
mod backend;
mod loopback;
mod resource;
mod socket;
#[cfg(feature = "testbed")]
pub mod testbed;

pub use accept::{AcceptError, AcceptSource};
pub use backend::{AddressBackend, AddressError, Holding};
pub use loopback::Loopback;
pub use resource::VirtualIp;
