//! Addresses on Linux interfaces, through netlink.

mod spec;

pub use spec::{AddressSpec, Scope, SpecError};
