//! What an order of events protects from.

use serde::Serialize;
use std::fmt;

/// What may come of it if the survivor's first act does not come after the victim's last.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Danger {
    /// Both nodes act with one group's permission, or answer for one address, at the same instant.
    TwiceActive,
    /// The nodes shoot each other.
    BothShot,
    /// A live, answering node is shot.
    LivingShot,
    /// Nothing unsafe: a service stops, or moves, without need.
    NeedlessStop,
    /// Nothing unsafe: an outage lasts longer than was asked for.
    TooLong,
}

impl Danger {
    /// Whether more than comfort is at stake.
    #[must_use]
    pub const fn is_unsafe(self) -> bool {
        matches!(self, Self::TwiceActive | Self::BothShot | Self::LivingShot)
    }
}

impl fmt::Display for Danger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TwiceActive => "both nodes could be active at once",
            Self::BothShot => "both nodes could be shot",
            Self::LivingShot => "a living node could be shot",
            Self::NeedlessStop => "a service could stop without need",
            Self::TooLong => "an outage could last too long",
        })
    }
}
