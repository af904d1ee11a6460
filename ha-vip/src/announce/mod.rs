//! Tells the network where an address is now.
//!
//! * [`Schedule`]: when, from the instant of the take on. Pure.
//! * [`Course`]: one address on its schedule, with the answers to those who claim it. Pure.
//! * [`Announcer`]: sends the frames: the first at once in the caller's slot, the others from a thread of its own.
//!
//! A neighbour that learnt the address of somebody else, from a claim that came after ours, goes on sending to him until its
//! entry ends: half a minute and more. So the one who holds the address speaks *last*, always: after each claim heard
//! ([`Announcer::conflict_heard`]) and once more when the other one has let go ([`Announcer::loser_released`]).
//!
//! ```no_run
//! use ha_vip::announce::{Announce, Announcer};
//! use ha_vip::conflict::{Conflict, DefendWith, Policy, Watcher};
//! use ha_vip::packet::Here;
//! use std::sync::Arc;
//! # fn example(nic: ha_vip::Nic) -> Result<(), Box<dyn std::error::Error>> {
//! let address = [10, 77, 0, 100].into();
//! let announcer = Arc::new(Announcer::builder().start()?);
//! let tell = |conflict: &Conflict| println!("{} is claimed by {}", conflict.address, conflict.mac);
//! let sink = Arc::new(DefendWith { announcer: Arc::clone(&announcer), tell });
//! let watcher = Watcher::start(&Here, &nic, Policy::Defend, &[], sink)?;
//! announcer.prepare(&nic, address)?; // long before it is taken
//!
//! // The address was added to the interface in this very slot:
//! announcer.announce_now(&nic, address)?;
//! watcher.hold(address);
//!
//! // It is given up:
//! watcher.release(address);
//! announcer.withdraw(&nic, address);
//! # Ok(())
//! # }
//! ```

mod announcer;
mod answer;
mod course;
mod error;
mod frames;
mod schedule;
mod thread;

pub use announcer::{Announcer, AnnouncerBuilder, Neighbours, Permit, Progress};
pub use answer::Answering;
pub use course::{Course, Round};
pub use error::AnnounceError;
pub(crate) use frames::to_one as directed_frames;
pub use schedule::Schedule;

use crate::Nic;
use std::net::IpAddr;

/// Announces addresses; the seam between the one who adds them to an interface and the one who tells the network.
pub trait Announce: Send + Sync {
    /// Tells the network that `address` is at `nic`: the first frames before it returns, without waiting for anything,
    /// the others later. Failures are logged and made good by what follows.
    fn announce(&self, nic: &Nic, address: IpAddr);

    /// Says nothing about `address` any more: when this has returned, no frame goes out.
    fn withdraw(&self, nic: &Nic, address: IpAddr) {
        let _nothing_to_end = (nic, address);
    }
}
