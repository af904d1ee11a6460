//! The permission to be active, as this server checks it.

use ha_core::api::Clock;
use ha_core::{Epoch, Instant, TokenCell, TokenError};
use std::fmt;
use std::sync::Arc;

/// A permission that was found valid.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Checked {
    /// The grant.
    pub epoch: Epoch,
    /// The boot-clock reading it was found valid for.
    pub at: Instant,
}

/// The group's permission together with the clock it is judged by.
#[derive(Clone)]
pub struct Permit {
    token: TokenCell,
    clock: Arc<dyn Clock>,
}

impl Permit {
    /// The permission in `token`, judged by `clock`, which must be the node's boot clock.
    #[must_use]
    pub fn new(token: TokenCell, clock: Arc<dyn Clock>) -> Self {
        Self { token, clock }
    }

    /// Checks it now. Act at once, or check again.
    ///
    /// # Errors
    /// [`TokenError`]: this node must not act.
    pub fn check(&self) -> Result<Checked, TokenError> {
        let at = self.clock.now();
        self.token.check(at).map(|token| Checked { epoch: token.epoch, at })
    }

    /// The epoch of the newest grant, valid or not; 0 without one.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        match self.check() {
            Ok(Checked { epoch, .. }) | Err(TokenError::Expired { epoch }) => epoch,
            Err(_) => Epoch(0),
        }
    }
}

impl fmt::Debug for Permit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Permit").field(&self.token).finish()
    }
}
