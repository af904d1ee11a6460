//! The kernel's network configuration, asked over netlink by blocking system calls.
//!
//! Synchronous on purpose: the guardian, which has no runtime, takes addresses away by the same calls, and a takeover
//! costs two system calls an address and no switch of tasks. All foreign types end here. Nothing runs `ip` or `nft`.
//!
//! | file | is |
//! |---|---|
//! | `socket` | one netlink socket: requests, acknowledgements, dumps |
//! | `message` | writing and reading messages and attributes |
//! | `link`, `address`, `route`, `rule`, `neighbour` | what is asked |
//! | `events` | what the kernel tells by itself |
//! | `namespace`, `capability` | where, and with what right |

mod address;
mod capability;
mod error;
mod events;
mod link;
pub(crate) mod message;
mod namespace;
mod neighbour;
mod route;
mod rule;
pub(crate) mod socket;
mod sys;

pub use address::{Address, AddressFlags, Lifetime};
pub use capability::{Capability, Missing};
pub use error::KernelError;
pub use events::{Event, Events, Watch};
pub(crate) use events::{Waker, sleep};
pub use link::{Link, MacvlanMode};
pub use namespace::NetNamespace;
pub use neighbour::Neighbour;
pub(crate) use route::is_within;
pub use route::{MAIN_TABLE, Route};
pub use rule::Rule;

use message::Request;
use socket::{NetlinkSocket, ROUTE};

/// A connection to the network configuration of one namespace (`rtnetlink(7)`).
///
/// ```no_run
/// use ha_vip::kernel::{NetNamespace, Rtnetlink};
/// let mut kernel = Rtnetlink::open(&NetNamespace::own())?;
/// let lan = kernel.link_named("lan0")?;
/// println!("{} has carrier: {}", lan.nic.name, lan.has_carrier);
/// # Ok::<(), ha_vip::kernel::KernelError>(())
/// ```
pub struct Rtnetlink {
    socket: NetlinkSocket,
}

impl Rtnetlink {
    /// Connects to the configuration of `namespace`.
    ///
    /// # Errors
    /// [`KernelError::Namespace`] if it cannot be entered.
    pub fn open(namespace: &NetNamespace) -> Result<Self, KernelError> {
        Ok(Self { socket: NetlinkSocket::open(namespace, ROUTE, 0)? })
    }

    fn acknowledged(&mut self, call: &str, request: Request) -> Result<(), KernelError> {
        self.socket.transact(&|_| call.into(), &[request], None).into_iter().collect()
    }
}

impl std::fmt::Debug for Rtnetlink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Rtnetlink").finish_non_exhaustive()
    }
}
