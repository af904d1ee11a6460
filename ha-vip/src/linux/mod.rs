//! Addresses on Linux interfaces, through netlink.
//!
//! ```no_run
//! use ha_vip::VirtualIp;
//! use ha_vip::linux::{AddressSpec, VirtualMac};
//! use std::time::Duration;
//!
//! let addresses: Vec<AddressSpec> = vec!["10.77.0.100/24@lan0".parse()?, "fd00::64/64@lan0".parse()?];
//! let address = VirtualIp::linux("address", addresses)
//!     .lifetime(Duration::from_secs(2)) // the same as the group's address_lifetime
//!     .gate(Duration::from_millis(100))
//!     .route("default via 10.77.0.1 table 100".parse()?)
//!     .rule("from 10.77.0.100/32 table 100 priority 1000".parse()?)
//!     .build()?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! | file | is |
//! |---|---|
//! | `spec`, `path` | how addresses, routes and rules are written |
//! | `builder`, `plan` | what is to be served, and on which interface |
//! | `holder` | the addresses in the kernel: put, renewed, looked at, taken away |
//! | `core`, `keeper` | when: the permission decides |
//! | `lifetime` | how long an address outlives its last renewal |
//! | `gate` | the same in milliseconds, by nftables |
//! | `virtual_mac`, `settings` | a link-layer address that moves along |
//! | `undo` | what the guardian does |
//! | `hook` | who is told |

mod backend;
mod builder;
mod core;
mod error;
mod gate;
mod holder;
mod hook;
mod keeper;
mod lifetime;
mod path;
mod plan;
mod settings;
mod spec;
mod undo;
mod virtual_mac;

pub use backend::LinuxAddresses;
pub use builder::{DEFAULT_LIFETIME, LinuxBuilder};
pub use error::LinuxError;
pub use gate::Gate;
pub use hook::Announce;
pub use lifetime::lifetime_bound;
pub use path::{PathError, RouteSpec, RuleSpec};
pub use plan::{DuplicateDetection, LinkLoss};
pub use spec::{AddressSpec, Scope, SpecError};
pub use undo::{UNDO_KIND, undo, verify};
pub use virtual_mac::VirtualMac;
