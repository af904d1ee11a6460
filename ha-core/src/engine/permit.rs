//! What a group's permission rests on, and how long it lasts.

use crate::Instant;
use serde::{Deserialize, Serialize};

/// What a group's permission rests on.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub(super) enum Permit {
    None,
    /// On this node's running without a gap, like that of every such group: one end for all.
    Common,
    /// On a lease, which ends by another's clock.
    Leased(Validity),
}

/// How long a permission lasts. Zero if there is none.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub(super) struct Validity {
    pub until: Instant,
    /// When it is renewed at the latest; whatever wakes the engine earlier renews it, so that beats carry it along.
    pub renew_at: Instant,
}

impl Validity {
    pub(super) const NONE: Self = Self { until: Instant::ZERO, renew_at: Instant::ZERO };

    /// When time alone changes something.
    pub(super) fn deadline(&self, now: Instant) -> Instant {
        if *self == Self::NONE {
            Instant::FAR
        } else if self.renew_at > now {
            self.renew_at.min(self.until)
        } else {
            self.until
        }
    }
}
