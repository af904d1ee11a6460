//! The protocol by which two nodes agree through a disk: states, and what follows from what was read. No I/O, no clock.
//!
//! It is *Disk Paxos* (Gafni and Lamport, 2003) for two processes and one disk, once for each revision of a group's
//! record. Every node writes only its own [`Block`] and reads the other's; safety needs no clock. The states, their
//! invariants and the crash points are in `docs/SHARED-DISK.md`; `tests/explorer.rs` walks through every interleaving of
//! exactly this code.

mod block;
mod lease;
mod operation;
mod register;

pub use block::{Ballot, Block, HISTORY, Proposal, ProposalId};
pub use lease::{Base, Liveness, lease_of};
pub use operation::{Answer, Fault, Operation, Own, Request, Step};
pub use register::{COPIES, newest, order, settled};
