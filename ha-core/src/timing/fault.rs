//! The faults whose outage is predicted. `docs/FAULTS.md` has those in full that `mail-pair` does to a running pair.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

macro_rules! faults {
    ($($(#[$doc:meta])* $name:ident = $text:literal),+ $(,)?) => {
        /// A kind of fault.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
        #[serde(rename_all = "kebab-case")]
        #[non_exhaustive]
        pub enum FaultKind { $($(#[$doc])* $name),+ }

        impl FaultKind {
            /// Every kind, in the order of the fault table.
            pub const ALL: &[Self] = &[$(Self::$name),+];

            /// Its name in tables and on the command line.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$name => $text),+ }
            }
        }
    };
}

faults! {
    /// The active node loses its power; its fence device already answers "off".
    PowerLossActive = "power-loss-active",
    /// The standby loses its power.
    PowerLossStandby = "power-loss-standby",
    /// The active node's process is killed; its guardian lives.
    ProcessKill = "process-kill",
    /// The active node's process is frozen for longer than the feed limit; its guardian lives.
    FreezeChild = "freeze-child",
    /// The active node's guardian is killed.
    GuardianKill = "guardian-kill",
    /// The guardian is killed, and its child before the handover ends.
    GuardianThenChild = "guardian-then-child",
    /// Guardian and process are frozen for less than `dead`. Predicted for the longest such freeze.
    FreezeShort = "freeze-short",
    /// Guardian and process are frozen for longer than `dead`, and wake up later.
    FreezeLong = "freeze-long",
    /// The mirror's stream is cut; beats live.
    ReplicationCut = "replication-cut",
    /// All beats are cut; the mirror's stream lives.
    HeartbeatCut = "heartbeat-cut",
    /// All networks are cut; the serial line lives.
    NetworkCut = "network-cut",
    /// The same, and the active node sees less of the outside than the standby.
    NetworkCutActive = "network-cut-active",
    /// Beats and stream are cut; both nodes and both fence devices live.
    Isolation = "isolation",
    /// A service ignores its stop in a switchover.
    StopFails = "stop-fails",
    /// An operator moves the group.
    Switchover = "switchover",
    /// A resource fails; its monitor finds it, and it is restarted in place.
    ServiceFails = "service-fails",
}

impl fmt::Display for FaultKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A text that names no fault.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("found \"{found}\", expected one of {}", names())]
pub struct UnknownFault {
    found: String,
}

fn names() -> String {
    FaultKind::ALL.iter().map(|fault| fault.name()).collect::<Vec<_>>().join(", ")
}

impl FromStr for FaultKind {
    type Err = UnknownFault;
    fn from_str(text: &str) -> Result<Self, UnknownFault> {
        let found = Self::ALL.iter().find(|fault| fault.name() == text);
        found.copied().ok_or_else(|| UnknownFault { found: text.into() })
    }
}
