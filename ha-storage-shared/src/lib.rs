//! Shared-disk mode: the pair's data lives on one disk array that both nodes reach.
//!
//! [`DiskArbiter`] lets the disk itself decide who owns a group. [`protocol`] is its pure core (Disk Paxos for two nodes,
//! and the owner's lease), [`layout`] the bytes on the device; the threads and the direct I/O around them are private.
//! `docs/SHARED-DISK.md` has the states, the invariants and what is assumed of the disk.
//!
//! Not built: the poison-pill mailbox, persistent reservations (`StopProof::Reserved`), and the file-system resource
//! that mounts only under a proof and a token.

mod arbiter;
mod device;
mod error;
pub mod layout;
pub mod protocol;
mod sys;

pub use arbiter::{DiskArbiter, DiskArbiterBuilder};
pub use device::{
    AcceptStaleReads, BlockReading, GroupReading, Initialisation, Inspection, LivenessReading, NodeReading,
};
pub use error::DiskError;
