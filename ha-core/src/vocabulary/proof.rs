//! Why it is safe: proofs that the previous owner stopped, and that the other copy cannot be promoted.

use crate::{Epoch, Generation, Incarnation, Lsn};
use serde::{Deserialize, Serialize};
use std::fmt;

/// What a fence device ends when it says "off".
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FenceScope {
    /// Only its access to storage or network. Ends no incarnation: no licence to acknowledge alone.
    Access,
    /// Its process tree. Ends the incarnation for data; addresses and mounts live until their own expiry.
    Processes,
    /// Everything: power, namespace, or processes and verified removal of what they left in the kernel.
    Incarnation,
}

/// Why the previous owner of a group can no longer act (safety rule 1). No group starts without one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum StopProof {
    /// The owner stopped and said so, or its guardian verified every undo (`forced`).
    Released {
        /// The epoch that was given up.
        epoch: Epoch,
        /// The last transaction that both acknowledged; absent if the guardian spoke.
        final_lsn: Option<Lsn>,
        /// Whether a guardian ended it instead of the node itself.
        forced: bool,
    },
    /// A fence device verified it off after the last sign of life.
    Fenced {
        /// What the device ends.
        scope: FenceScope,
    },
    /// The node came back as a new incarnation that verified that nothing of the old one is left.
    Rebooted {
        /// The new incarnation.
        incarnation: Incarnation,
    },
    /// Both stores were initialised together and neither ever owned the group.
    NeverStarted,
    /// This node's own durable record says that it was alone, so nobody else can have gone on.
    StillAlone {
        /// The epoch of the record.
        epoch: Epoch,
        /// The generation of the record.
        generation: Generation,
    },
    /// The live peer durably promised not to act on any earlier proof.
    Yielded {
        /// The epoch it made way for.
        epoch: Epoch,
        /// The incarnation that promised.
        incarnation: Incarnation,
    },
    /// The third party's lease of the owner ran out: two readings without a renewal, far enough apart (rule 6).
    LeaseExpired {
        /// The grant whose lease it was.
        epoch: Epoch,
    },
    /// The third party still names an earlier life of this very node: nobody else was granted since.
    StillOwner {
        /// The grant of the earlier life.
        epoch: Epoch,
    },
    /// This node's own services ran on without its engine, and nobody took them over: the live peer says so, or
    /// whoever did would have ended them first.
    RanOn {
        /// The grant under which they were started.
        epoch: Epoch,
    },
    /// An operator said that the peer is off. A false answer is the named risk of the question.
    OperatorConfirmed {
        /// The peer incarnation it speaks of, if one was ever seen.
        incarnation: Option<Incarnation>,
    },
    /// Nobody knows, and the configuration says `unguarded`.
    AssumedDead,
}

impl StopProof {
    /// A short name for tables and logs.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Released { forced: false, .. } => "Released",
            Self::Released { forced: true, .. } => "Released{forced}",
            Self::Fenced { .. } => "Fenced",
            Self::Rebooted { .. } => "Rebooted",
            Self::NeverStarted => "NeverStarted",
            Self::StillAlone { .. } => "StillAlone",
            Self::Yielded { .. } => "Yielded",
            Self::LeaseExpired { .. } => "LeaseExpired",
            Self::StillOwner { .. } => "StillOwner",
            Self::RanOn { .. } => "RanOn",
            Self::OperatorConfirmed { .. } => "OperatorConfirmed",
            Self::AssumedDead => "AssumedDead",
        }
    }
}

impl fmt::Display for StopProof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Why the peer can never promote its copy from before (safety rule 2). None acts alone without one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum ExclusionProof {
    /// The live peer durably recorded that it is out of the in-sync set.
    Consented,
    /// The peer's incarnation left in good order, or its guardian said so.
    Departed,
    /// The peer is a new incarnation, which boots not current.
    Rebooted,
    /// A fence device ended the peer's incarnation.
    Fenced,
    /// The third party's compare-and-swap took the peer out of the in-sync set.
    ThirdParty,
    /// An operator confirmed that the peer is off.
    OperatorConfirmed,
}

impl ExclusionProof {
    /// A short name for tables and logs.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Consented => "Consented",
            Self::Departed => "Departed",
            Self::Rebooted => "Rebooted",
            Self::Fenced => "Fenced",
            Self::ThirdParty => "ThirdParty",
            Self::OperatorConfirmed => "OperatorConfirmed",
        }
    }
}

impl fmt::Display for ExclusionProof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
