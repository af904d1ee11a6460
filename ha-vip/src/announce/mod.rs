//! Tells the network where an address is now.
//!
//! * [`Schedule`]: when, from the instant of the take on. Pure.
//! * [`Course`]: one address on its schedule, with the answers to those who claim it. Pure.
//! * [`Announcer`]: sends the frames: the first at once in the caller's slot, the others from a thread of its own.
//!
//! A neighbour that learnt the address of somebody else, from a claim that came after ours, goes on sending to him until its
//! entry ends: half a minute and more. So the one who holds the address speaks *last*, always: after each claim heard
//! ([`Announcer::conflict_heard`]) and once more when the other one has let go ([`Announcer::loser_released`]).

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
    fn withdraw(&self, address: IpAddr);
}
