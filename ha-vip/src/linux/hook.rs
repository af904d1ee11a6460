//! What happens beside an address: others are told where it is now.

use crate::Nic;
use std::net::IpAddr;

/// Tells the network where an address is. Called by whoever adds it, in the same turn, right after the kernel took it.
///
/// It must not block: send the first announcement at once and leave the rest to a thread of its own.
pub trait Announce: Send + Sync {
    /// `address` is on `nic` from now on.
    fn announce(&self, nic: &Nic, address: IpAddr);

    /// `address` is no longer on `nic`: announce it no more.
    fn withdraw(&self, nic: &Nic, address: IpAddr) {
        let _nothing_to_end = (nic, address);
    }
}
