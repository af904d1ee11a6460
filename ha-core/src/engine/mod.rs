//! The pure decision engine of a pair.
//!
//! # The caller's contract
//!
//! 1. Create one [`Engine`] a life with [`Engine::boot`], from the durable record as read.
//! 2. Call [`Engine::handle`] with a `now` that never goes backwards.
//! 3. After every call drain [`Engine::next_action`] until it is empty, before the next `handle`.
//! 4. Execute actions in any order, but set [`Action::Token`] before anything else of the same drain.
//! 5. Report the completion of every `Persist`, `Op`, `FenceQuery` and `FenceShoot` exactly once, however late.
//! 6. Sleep until [`Engine::next_deadline`] or the next input. When waking, feed everything that the sockets
//!    hold **before** [`Input::Tick`].
//! 7. After [`Action::EndSelf`], [`Action::Reborn`] or [`Action::Departed`] feed nothing more.

mod action;
mod beat;
mod event;
mod input;
#[cfg(feature = "sabotage")]
mod sabotage;

pub use action::*;
pub use beat::*;
pub use event::*;
pub use input::*;
#[cfg(feature = "sabotage")]
pub use sabotage::*;

use crate::config::Config;
use crate::{Epoch, ExclusionProof, GroupId, Incarnation, Instant, NodeId, SetRecord, StopProof};
use std::sync::Arc;

/// The state machine of one node. See the [module](self) for the caller's contract.
#[derive(Clone, Debug)]
pub struct Engine {
    config: Arc<Config>,
    outbox: std::collections::VecDeque<Action>,
}

impl Engine {
    /// An engine at the start of its life.
    #[must_use]
    pub fn boot(config: Arc<Config>, boot: Boot, now: Instant) -> Self {
        let _ = (boot, now);
        Self { config, outbox: std::collections::VecDeque::new() }
    }

    /// Breaks a safety rule, to prove that the simulator catches it.
    #[cfg(feature = "sabotage")]
    pub fn sabotage(&mut self, switch: Sabotage) {
        let _ = switch;
    }

    /// Takes one input at `now`.
    pub fn handle(&mut self, now: Instant, input: Input) {
        let _ = (now, input, &self.config);
    }

    /// The next effect to carry out.
    pub fn next_action(&mut self) -> Option<Action> {
        self.outbox.pop_front()
    }

    /// When [`Input::Tick`] is due.
    #[must_use]
    pub fn next_deadline(&self) -> Instant {
        Instant::FAR
    }

    /// A snapshot for operators.
    #[must_use]
    pub fn status(&self, now: Instant) -> Status {
        let _ = now;
        Status {
            me: NodeId(0),
            incarnation: Incarnation(0),
            peer: PeerStatus { state: PeerState::Unknown, incarnation: None, links: Vec::new() },
            groups: Vec::new(),
        }
    }
}

/// A snapshot of an engine.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Status {
    /// Which node.
    pub me: NodeId,
    /// Its life.
    pub incarnation: Incarnation,
    /// The peer as seen from here.
    pub peer: PeerStatus,
    /// The groups.
    pub groups: Vec<GroupStatus>,
}

/// The peer in a [`Status`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PeerStatus {
    /// Its state.
    pub state: PeerState,
    /// Its life, if one was accepted.
    pub incarnation: Option<Incarnation>,
    /// The links, in the order of the configuration.
    pub links: Vec<LinkState>,
}

/// A group in a [`Status`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct GroupStatus {
    /// Which.
    pub group: GroupId,
    /// Its role here.
    pub role: RoleName,
    /// The epoch: of the grant where this node owns it, else the highest known.
    pub epoch: Epoch,
    /// The proof on which the present grant rests.
    pub proof: Option<StopProof>,
    /// The proof on which it acknowledges alone.
    pub exclusion: Option<ExclusionProof>,
    /// How well the data is protected.
    pub protection: Protection,
    /// Whether this node could take over at once.
    pub viable: bool,
    /// The durable in-sync set.
    pub set: SetRecord,
    /// What the operator is asked.
    pub question: Option<Question>,
}

/// How well a group's data is protected, as the owner knows it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[non_exhaustive]
pub enum Protection {
    /// The group has no mirrored data, or this node does not own it.
    None,
    /// Every acknowledged transaction is on both nodes, and the standby can take over.
    Full,
    /// Both must hold a transaction, but the other copy is not admitted yet: acknowledgements may wait.
    CatchingUp,
    /// This copy alone acknowledges.
    Standalone,
}
