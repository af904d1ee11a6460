//! A third party that decides who owns a group.

use crate::{Epoch, Generation, Incarnation, InitId, NodeId};
use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// What a third party keeps of one group: the truth, while it can be read.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct OwnerRecord {
    /// The installation the record belongs to; a foreign one is refused.
    pub init: InitId,
    /// The newest grant ever made. Never falls: a lower one shows that the arbiter lost its memory.
    pub epoch: Epoch,
    /// Who holds that grant; absent once it was released.
    pub owner: Option<NodeId>,
    /// The life that holds it; of the last owner once it was released.
    pub incarnation: Incarnation,
    /// The mirror's generation; zero for a group without one.
    pub generation: Generation,
    /// Which copies are in the in-sync set: bit *n* is node *n*. Every node for a group whose data is shared.
    pub in_sync: u64,
}

impl OwnerRecord {
    /// A record of which nobody is the owner yet.
    #[must_use]
    pub const fn new(init: InitId, incarnation: Incarnation) -> Self {
        Self { init, epoch: Epoch(0), owner: None, incarnation, generation: Generation(0), in_sync: 0 }
    }

    /// Whether `node` is in the in-sync set.
    #[must_use]
    pub const fn lists(&self, node: NodeId) -> bool {
        node.0 < 64 && self.in_sync & (1 << node.0) != 0
    }
}

/// The state of the owner's lease: how the arbiter tells whether the owner still lives.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Lease {
    /// Nobody holds one: it was released, never taken, or the arbiter itself saw it expire.
    Free,
    /// Somebody renewed it. Whoever reads twice, a whole lease plus drift apart on its own clock, and finds the same
    /// `renewal`, knows that it ran out: no clock of another machine is trusted.
    Held {
        /// By whom.
        incarnation: Incarnation,
        /// Changes with every renewal.
        renewal: u64,
    },
}

/// One reading of an arbiter.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ArbiterView {
    /// What it keeps; nothing if it never heard of the group.
    pub record: Option<OwnerRecord>,
    /// Whether the owner's lease stands.
    pub lease: Lease,
    /// The revision of `record`, to be given to the next compare-and-swap; zero if there is none yet. It changes with
    /// every swap and never with a renewal.
    pub revision: u64,
}

impl ArbiterView {
    /// A reading.
    #[must_use]
    pub const fn new(record: Option<OwnerRecord>, lease: Lease, revision: u64) -> Self {
        Self { record, lease, revision }
    }
}

/// How a compare-and-swap ended.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum Swap {
    /// The record is now the new one, durably, under this revision.
    Done {
        /// The new revision.
        revision: u64,
    },
    /// Another revision stands; nothing was changed.
    Lost(ArbiterView),
}

/// Why an arbiter gave no answer. None of these says anything about the record: a swap that ended so may have happened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ArbiterError {
    /// It cannot be reached, or did not answer in time.
    #[error("the arbiter {arbiter} gave no answer: {reason}")]
    Unavailable {
        /// Its name.
        arbiter: String,
        /// What was seen.
        reason: String,
    },
    /// What it keeps cannot be understood.
    #[error(
        "the arbiter {arbiter} keeps something else than a record of group \"{group}\": found {found}; {advice}"
    )]
    Foreign {
        /// Its name.
        arbiter: String,
        /// The group asked for.
        group: String,
        /// What was found.
        found: String,
        /// What to do.
        advice: String,
    },
    /// It can never serve as configured: no direct I/O, no conditional put, no permission.
    #[error("the arbiter {arbiter} cannot be used: {reason}")]
    Unusable {
        /// Its name.
        arbiter: String,
        /// What is missing, and what to do.
        reason: String,
    },
}

/// A third party: compare-and-swap of one [`OwnerRecord`] per group, and a lease of the owner.
///
/// The implementor's contract:
/// 1. [`swap`](Self::swap) is atomic and durable before it says [`Swap::Done`], and linear with every other swap and read
///    of the group, by whomever.
/// 2. A call that ends with an error may have taken effect; the caller reads again.
/// 3. Dropping a call's future is such an error.
/// 4. [`renew`](Self::renew) succeeds only while the record names that life and epoch as the owner.
/// 5. `Lease::Free` while the record names an owner is said only if the lease ran out by the arbiter's own clock, at
///    least [`lease`](Self::lease) after its last renewal reached it.
/// 6. [`renew`](Self::renew) says `true` only if it *ended* less than a lease, on the caller's boot clock, after the last
///    renewal that said so (or the swap) was *asked for*. A reader that saw one renewal for a whole lease may be about to
///    swap by the revision, which no renewal changes. An owner that gets `false` swaps again.
#[async_trait]
pub trait Arbiter: Send + Sync {
    /// Its name for logs.
    fn name(&self) -> &str;
    /// How long a lease lives after a renewal. The owner counts it from before it asked for the renewal.
    fn lease(&self) -> Duration;
    /// Reads the group's record and lease, linearly: never from a cache or a follower that may lag.
    ///
    /// # Errors
    /// [`ArbiterError`]; none of them is a proof of anything.
    async fn read(&self, group: &str) -> Result<ArbiterView, ArbiterError>;
    /// Replaces the record if its revision is still `revision` (zero: there is none). A record that names an owner also
    /// takes the lease for it, in the same step.
    ///
    /// # Errors
    /// [`ArbiterError`]; the swap may have happened.
    async fn swap(&self, group: &str, revision: u64, record: OwnerRecord) -> Result<Swap, ArbiterError>;
    /// Renews the owner's lease. `false`: somebody else owns the group, or the lease ran out.
    ///
    /// # Errors
    /// [`ArbiterError`]; the renewal may have happened.
    async fn renew(&self, group: &str, incarnation: Incarnation, epoch: Epoch) -> Result<bool, ArbiterError>;
    /// Gives the lease up, after the record was swapped to one without an owner or to tell others at once. A lease that
    /// is not this life's is left alone.
    ///
    /// # Errors
    /// [`ArbiterError`]; the lease then runs out by itself.
    async fn release(&self, group: &str, incarnation: Incarnation) -> Result<(), ArbiterError>;
}
