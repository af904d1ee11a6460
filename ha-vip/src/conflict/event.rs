//! What follows from a claim, and who is told.

use crate::MacAddress;
use crate::announce::Announcer;
use crate::frame::ClaimKind;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

/// What a node does when somebody else claims an address that it holds (RFC 5227 section 2.4).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub enum Policy {
    /// Announces it again, for ever (case c), at the pace of [`Answering`](crate::announce::Answering).
    #[default]
    Defend,
    /// Announces it again, and gives it up when `after` claims came `within` that time (case b, there 2 within 10 s).
    /// Anybody on the network can make the node give up: a forged frame is enough.
    GiveUp {
        /// How many claims; at least 1, at most 64.
        after: u32,
        /// In what time.
        within: Duration,
    },
    /// Only says so.
    Report,
}

/// What was done about a conflict.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Verdict {
    /// The address is announced again.
    Defended,
    /// Nothing.
    Reported,
    /// The address must be given up.
    GivenUp,
}

/// Somebody else claims an address that this node holds: a named event. The first claim of each claimant is told at once,
/// further ones are counted and told every 10 s.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Conflict {
    /// The address.
    pub address: IpAddr,
    /// Who claims it, as the message says.
    pub mac: MacAddress,
    /// Who sent the frame, as its header says; another one than `mac` if it was forged, or by a proxy.
    pub sent_by: MacAddress,
    /// How.
    pub kind: ClaimKind,
    /// Claims of the address since the last event about it, this one included; of other claimants, too, if there are more
    /// than eight.
    pub count: u64,
    /// What was done.
    pub verdict: Verdict,
}

/// Is told what a [`Watcher`](super::Watcher) hears. Called on its thread; must not wait.
pub trait ConflictSink: Send + Sync {
    /// The address is claimed by somebody else, or a neighbour still believes him, and the policy says to announce it again.
    /// Called for each claim: the pace is the announcer's business.
    fn defend(&self, address: IpAddr);

    /// A named event, rarely.
    fn conflict(&self, conflict: &Conflict);
}

/// Defends with an announcer; tells `tell` of conflicts, for logs, health, and to give up.
pub struct DefendWith<F> {
    /// Announces again.
    pub announcer: Arc<Announcer>,
    /// Is told.
    pub tell: F,
}

impl<F: Fn(&Conflict) + Send + Sync> ConflictSink for DefendWith<F> {
    fn defend(&self, address: IpAddr) {
        self.announcer.conflict_heard(address);
    }

    fn conflict(&self, conflict: &Conflict) {
        (self.tell)(conflict);
    }
}

impl<F> std::fmt::Debug for DefendWith<F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DefendWith").field("announcer", &self.announcer).finish_non_exhaustive()
    }
}
