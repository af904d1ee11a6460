//! How a node ends.

use crate::engine::EndReason;
use crate::guardian::GuardianClient;
use serde::{Deserialize, Serialize};
use std::fmt;

/// How a node's life ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Ended {
    /// Everything was handed over on request.
    Departed,
    /// Everything was handed over because the guardian is gone: the process must become a new guardian.
    Reborn,
    /// The engine left on request, and what it owns runs on: the process must exit without stopping it.
    Detached,
    /// A stop failed or overran its budget: the process must end, so that its guardian can finish the stop.
    StopOverrun,
    /// A record could not be made durable: the process must end.
    RecordNotDurable,
    /// The engine wants the process to end for a reason this version does not name.
    EndSelf,
    /// The last handle was dropped, or [`Node::halt`](super::Node::halt) was called: nothing was handed over.
    Halted,
    /// The control thread panicked: the process must end.
    Crashed,
}

impl Ended {
    pub(super) const fn of(reason: EndReason) -> Self {
        match reason {
            EndReason::StopOverrun => Self::StopOverrun,
            EndReason::RecordNotDurable => Self::RecordNotDurable,
        }
    }

    /// Whether the process may still hold what only the owner may hold, so that it must not live on.
    #[must_use]
    pub const fn must_end_process(&self) -> bool {
        matches!(self, Self::StopOverrun | Self::RecordNotDurable | Self::EndSelf | Self::Crashed)
    }
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Departed => "handed over on request",
            Self::Reborn => "handed over after the guardian was lost",
            Self::Detached => "left on request, with the services running",
            Self::StopOverrun => "a stop failed or overran its budget",
            Self::RecordNotDurable => "a record could not be made durable",
            Self::EndSelf => "the engine ended it",
            Self::Halted => "halted without a handover",
            Self::Crashed => "the control thread panicked",
        })
    }
}

/// Carries out the end of the process. Called on the control thread after every permission was revoked.
///
/// The default, [`EndProcess`], ends the process. Replace it only where several nodes share one process, as
/// tests and demonstrations do: a node that must end and does not is a node that may still act.
pub trait EndHook: Send + Sync {
    /// Ends the process if `ended` asks for it.
    fn end(&self, ended: Ended);
}

/// Ends the process: through the guardian where there is one, by `abort` otherwise.
#[derive(Clone, Debug, Default)]
pub struct EndProcess {
    guardian: Option<GuardianClient>,
}

impl EndProcess {
    /// Ends the process through `guardian`.
    #[must_use]
    pub const fn through(guardian: GuardianClient) -> Self {
        Self { guardian: Some(guardian) }
    }
}

impl EndHook for EndProcess {
    /// After a departure the guardian is told that an orderly exit follows; the program still has to exit. After
    /// the loss of the guardian the process becomes a new one.
    fn end(&self, ended: Ended) {
        if ended.must_end_process() {
            tracing::error!(target: "ha_core", %ended, "the process ends itself");
            match &self.guardian {
                Some(guardian) => guardian.end_me(ended),
                None => std::process::abort(),
            }
        }
        match (&self.guardian, ended) {
            (Some(guardian), Ended::Departed) => guardian.goodbye(),
            (Some(guardian), Ended::Reborn) => {
                let e = guardian.reborn();
                tracing::error!(target: "ha_core", error = %e, "could not become a new guardian; exit and be started again");
            }
            _ => {}
        }
    }
}
