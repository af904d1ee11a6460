//! The invariants I1–I12 as named functions. Each takes what the world knows to be true and says what is wrong.

mod actors;
mod address;
mod admission;
mod data;
mod decisions;
mod detached;
mod epochs;
mod leftovers;
mod service;
mod shots;

pub use actors::one_actor;
pub use address::one_address;
pub use admission::shooting_disabled;
pub use data::{Acknowledged, all_present};
pub use decisions::{Rate, Recording};
pub use detached::left_alone;
pub use epochs::Epochs;
pub use leftovers::nothing_left;
pub use service::{Found, served_or_asked};
pub use shots::{Shots, not_heard, not_reachable};

use std::fmt;

/// Which invariant.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Invariant {
    /// At most one node acts with a group's token at any instant of true time.
    I1,
    /// No write of an older epoch is accepted after a newer one was granted, and no epoch is granted twice.
    I2,
    /// No acknowledged message is missing on whichever node serves.
    I3,
    /// A stopped group leaves nothing running.
    I4,
    /// With faults gone and a proof obtainable, service is back, or a question stands.
    I5,
    /// The same inputs give the same decisions.
    I6,
    /// Bounded actions and queues.
    I7,
    /// An address answers from one machine only.
    I8,
    /// With timings that do not fit each other nobody shoots.
    I9,
    /// After total power loss, in any order, service resumes or a question stands.
    I10,
    /// Never both nodes fenced by each other.
    I11,
    /// No healthy node is fenced while any link shows it alive both ways.
    I12,
    /// A condition of the user's own ([`Campaign::expecting`](crate::sim::Campaign::expecting)).
    Own,
    /// What was left running without an engine is left alone.
    Detached,
    /// An arbiter's absence alone stops nobody (rule 13).
    Rule13,
}

/// An invariant that does not hold, and how that was seen.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Broken {
    /// Which.
    pub invariant: Invariant,
    /// What was found.
    pub detail: String,
}

impl Broken {
    pub(super) const fn new(invariant: Invariant, detail: String) -> Self {
        Self { invariant, detail }
    }
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} broken: {}", self.invariant, self.detail)
    }
}

/// What a check says.
pub type Verdict = Result<(), Broken>;
