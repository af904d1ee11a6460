//! What a speaker shows of itself.

use super::{Heard, Priority, Refusal, VrrpEvent, VrrpState};
use std::net::IpAddr;
use tokio::sync::broadcast::{self, error::RecvError};

/// Events that wait for a reader; more than these and the oldest are lost.
const EVENTS: usize = 256;

/// A speaker at one instant.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct VrrpStatus {
    /// Its state.
    pub state: VrrpState,
    /// Whether its engine permits it to be active.
    pub permitted: bool,
    /// Its own priority.
    pub priority: Priority,
    /// The address it speaks from.
    pub source: IpAddr,
    /// The last advertisement of another speaker.
    pub last_heard: Option<Heard>,
    /// The higher speaker that told it to yield, if it is permitted and one did.
    pub outranked_by: Option<Heard>,
    /// Advertisements sent.
    pub sent: u64,
    /// Advertisements that the kernel did not take.
    pub unsent: u64,
    /// Advertisements of others that passed the checks.
    pub heard: u64,
    /// Messages that did not.
    pub refused: u64,
    /// Messages of other virtual routers on the link; they are not counted as refused.
    pub of_other_routers: u64,
    /// Why the last one was refused.
    pub last_refusal: Option<Refusal>,
}

impl VrrpStatus {
    pub(super) const fn new(source: IpAddr, priority: Priority) -> Self {
        Self {
            state: VrrpState::Initialize,
            permitted: false,
            priority,
            source,
            last_heard: None,
            outranked_by: None,
            sent: 0,
            unsent: 0,
            heard: 0,
            refused: 0,
            of_other_routers: 0,
            last_refusal: None,
        }
    }
}

pub(super) fn events() -> broadcast::Sender<VrrpEvent> {
    broadcast::Sender::new(EVENTS)
}

/// What happened to a speaker, in order, from the moment at which this was made.
#[derive(Debug)]
pub struct VrrpEvents {
    pub(super) receiver: broadcast::Receiver<VrrpEvent>,
    pub(super) lost: u64,
}

impl VrrpEvents {
    /// The next event; `None` when the speaker is gone. Dropping the future loses no event.
    pub async fn next(&mut self) -> Option<VrrpEvent> {
        loop {
            match self.receiver.recv().await {
                Ok(event) => return Some(event),
                Err(RecvError::Lagged(count)) => self.lost += count,
                Err(RecvError::Closed) => return None,
            }
        }
    }

    /// How many events were lost because they were not read in time.
    #[must_use]
    pub const fn lost(&self) -> u64 {
        self.lost
    }
}
