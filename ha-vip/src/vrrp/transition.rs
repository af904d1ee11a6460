//! What goes into the state machine and what comes out of it.

use super::{Heard, Priority};
use std::fmt;
use std::net::IpAddr;
use std::time::Duration;

/// The state of a speaker (RFC 9568 section 6.3, and keepalived's fault).
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum VrrpState {
    /// Not started, or stopped.
    #[default]
    Initialize,
    /// Listens. Says nothing.
    Backup,
    /// Advertises.
    Active,
    /// Its interface cannot speak, or it was told that something else is broken.
    Fault,
}

impl fmt::Display for VrrpState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Initialize => "initialize",
            Self::Backup => "backup",
            Self::Active => "active",
            Self::Fault => "fault",
        })
    }
}

/// What happened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Input {
    /// Begins to listen.
    Start,
    /// Leaves for good.
    Stop,
    /// Time passed. To be called at [`Machine::deadline`](super::Machine::deadline), earlier does no harm.
    Tick,
    /// An advertisement that passed the checks.
    Heard(Heard),
    /// Whether our own engine lets this node be the active speaker.
    Permit(bool),
    /// Our own priority changes. [`Priority::RELEASE`] is taken for [`Priority::LOWEST`].
    Priority(Priority),
    /// Whether something here is broken.
    Fault(bool),
    /// The speaker with this address is proven to be stopped (by a fence, by a lease that ran out): its time need not
    /// be waited for. Not to be guessed.
    Stopped(IpAddr),
}

/// Why a speaker became what it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Cause {
    /// It was started.
    Started,
    /// It was stopped.
    Stopped,
    /// It has the highest priority that there is, and waits for nobody.
    Owner,
    /// No speaker that it would yield to was heard for long enough.
    Silence,
    /// The engine gave its permission, and nobody that it would yield to is there.
    Permitted,
    /// The engine took its permission back.
    NotPermitted,
    /// This speaker ranks higher.
    Outranked(Heard),
    /// It did not run for so long that others must have taken over meanwhile.
    Overslept {
        /// The time since its last advertisement.
        silent: Duration,
    },
    /// Its interface failed, or it was told of another fault.
    Fault,
    /// The fault is gone.
    Repaired,
}

/// Something the pair may want to act on. Nothing in it is proof of anything: whoever can send on this link can cause it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum VrrpEvent {
    /// The state changed.
    Entered {
        /// The new state.
        state: VrrpState,
        /// Why.
        cause: Cause,
    },
    /// A speaker that ranks higher told us to yield, and this machine did: the pair decides whether its services
    /// follow. Reported once a speaker, until this one is active again.
    Outranked {
        /// Who.
        by: Heard,
    },
    /// A speaker that ranks lower advertises beside us: we answered. Announce the addresses again.
    Contested {
        /// Who.
        by: Heard,
    },
    /// It would become active now, but the engine does not permit it.
    Withheld {
        /// The last speaker that was heard, whether or not it ranks higher.
        last: Option<Heard>,
    },
    /// The active speaker leaves.
    Released {
        /// Who.
        by: Heard,
    },
    /// It woke so late that the silence it noticed may be its own: it listens once more before it takes over.
    WokeLate {
        /// How long after its deadline.
        late: Duration,
    },
}

/// What is to be done, in this order.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Action {
    /// Send an advertisement with this priority and our own interval.
    Advertise(Priority),
    /// Tell whoever wants to know.
    Report(VrrpEvent),
}
