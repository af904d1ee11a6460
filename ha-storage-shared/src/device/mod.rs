//! The edge: direct I/O, one thread for each device, deadlines.

mod clock;
mod deadline;
mod file;
mod initialise;
mod inspect;
mod region;
mod session;
#[cfg(test)]
mod session_tests;
mod worker;

pub use file::AcceptStaleReads;
pub use initialise::Initialisation;
pub use inspect::{BlockReading, GroupReading, Inspection, LivenessReading, NodeReading};

pub(crate) use clock::BootClock;
pub(crate) use file::{Access, Disk};
pub(crate) use inspect::{inspect, read_names};
pub(crate) use region::read_superblock;
pub(crate) use session::{Call, Reply, Session, Settings};
pub(crate) use worker::Worker;
