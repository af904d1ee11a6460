//! The permission to be active, which expires by itself.

use crate::{Epoch, GroupId, Instant};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A checked permission: `group` may act in `epoch`, read at `checked_at`, valid until `valid_until`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct RoleToken {
    /// The group that may act.
    pub group: GroupId,
    /// The grant it acts in.
    pub epoch: Epoch,
    /// The boot-clock instant at which the permission ends unless it was renewed.
    pub valid_until: Instant,
}

/// Why a [`TokenCell`] gives no permission.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TokenError {
    /// The group is not granted to this node.
    #[error("the group is not granted to this node")]
    NotGranted,
    /// The permission ran out or was suspended; it may be confirmed again.
    #[error("the permission of epoch {epoch} ran out; it is being confirmed")]
    Expired {
        /// The grant that ran out.
        epoch: Epoch,
    },
}

/// The place where the control thread renews a group's permission and everybody else checks it.
///
/// Reads never block the writer. A check compares with the clock reading it is given, never with a timer:
///
/// 1. read the boot clock **after** the work that the check is to cover was prepared;
/// 2. call [`TokenCell::check`] with that reading;
/// 3. act at once, or check again.
///
/// ```
/// use ha_core::{Epoch, GroupId, Instant, TokenCell};
/// let cell = TokenCell::new(GroupId(0));
/// assert!(cell.check(Instant::from_nanos(1)).is_err());
/// cell.set(Epoch(7), Instant::from_nanos(10));
/// assert_eq!(cell.check(Instant::from_nanos(9)).unwrap().epoch, Epoch(7));
/// assert!(cell.check(Instant::from_nanos(10)).is_err());
/// ```
#[derive(Clone)]
pub struct TokenCell {
    group: GroupId,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    /// Odd while a write is under way (a sequence lock with one writer).
    sequence: AtomicU64,
    epoch: AtomicU64,
    valid_until: AtomicU64,
}

impl TokenCell {
    /// A cell that permits nothing yet.
    #[must_use]
    pub fn new(group: GroupId) -> Self {
        Self { group, shared: Arc::default() }
    }

    /// The group whose permission it holds.
    #[must_use]
    pub const fn group(&self) -> GroupId {
        self.group
    }

    /// Permits `epoch` until `valid_until`. An instant in the past suspends; only one thread may write.
    pub fn set(&self, epoch: Epoch, valid_until: Instant) {
        let s = &self.shared;
        s.sequence.fetch_add(1, Ordering::SeqCst);
        s.epoch.store(epoch.0, Ordering::SeqCst);
        s.valid_until.store(valid_until.as_nanos(), Ordering::SeqCst);
        s.sequence.fetch_add(1, Ordering::SeqCst);
    }

    /// Permits nothing any more.
    pub fn revoke(&self) {
        self.set(Epoch(0), Instant::ZERO);
    }

    /// The permission at `now`.
    ///
    /// # Errors
    /// [`TokenError::NotGranted`] without a grant, [`TokenError::Expired`] if it ran out or is suspended.
    pub fn check(&self, now: Instant) -> Result<RoleToken, TokenError> {
        let (epoch, valid_until) = self.read();
        if epoch == Epoch(0) {
            Err(TokenError::NotGranted)
        } else if now >= valid_until {
            Err(TokenError::Expired { epoch })
        } else {
            Ok(RoleToken { group: self.group, epoch, valid_until })
        }
    }

    fn read(&self) -> (Epoch, Instant) {
        let s = &self.shared;
        loop {
            let before = s.sequence.load(Ordering::SeqCst);
            let read = (
                Epoch(s.epoch.load(Ordering::SeqCst)),
                Instant::from_nanos(s.valid_until.load(Ordering::SeqCst)),
            );
            if before.is_multiple_of(2) && s.sequence.load(Ordering::SeqCst) == before {
                return read;
            }
            std::hint::spin_loop();
        }
    }
}

impl fmt::Debug for TokenCell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (epoch, valid_until) = self.read();
        f.debug_struct("TokenCell")
            .field("group", &self.group)
            .field("epoch", &epoch)
            .field("valid_until", &valid_until)
            .finish()
    }
}
