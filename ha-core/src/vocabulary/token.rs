//! The permission to be active, which expires by itself.

use crate::{Epoch, GroupId, Instant};
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

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
    /// Whether `common` says until when instead.
    is_common: AtomicBool,
    common: OnceLock<CommonEnd>,
}

/// The one end of all permissions of a node that nobody else's clock ends, so that renewing them is one write.
#[derive(Clone, Default)]
pub(crate) struct CommonEnd(Arc<AtomicU64>);

impl PartialEq for CommonEnd {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

#[cfg_attr(not(feature = "runtime"), expect(dead_code, reason = "the runtime renews"))]
impl CommonEnd {
    pub(crate) fn set(&self, until: Instant) {
        self.0.store(until.as_nanos(), Ordering::SeqCst);
    }

    fn get(&self) -> Instant {
        Instant::from_nanos(self.0.load(Ordering::SeqCst))
    }
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
        self.write(epoch, valid_until, false);
    }

    fn write(&self, epoch: Epoch, valid_until: Instant, is_common: bool) {
        let s = &self.shared;
        s.sequence.fetch_add(1, Ordering::SeqCst);
        s.epoch.store(epoch.0, Ordering::SeqCst);
        s.valid_until.store(valid_until.as_nanos(), Ordering::SeqCst);
        s.is_common.store(is_common, Ordering::SeqCst);
        s.sequence.fetch_add(1, Ordering::SeqCst);
    }

    /// The end of this cell's common permissions: `end`, or the one that it had in an earlier node's hands.
    pub(crate) fn join(&self, end: &CommonEnd) -> CommonEnd {
        self.shared.common.get_or_init(|| end.clone()).clone()
    }

    /// Permits `epoch` until the end that was joined.
    pub(crate) fn set_common(&self, epoch: Epoch) {
        self.write(epoch, Instant::ZERO, true);
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
            let own = Instant::from_nanos(s.valid_until.load(Ordering::SeqCst));
            let common = s.common.get().filter(|_| s.is_common.load(Ordering::SeqCst));
            // Within the lock: what others' renewals say does not count for a cell that was suspended meanwhile.
            let read = (Epoch(s.epoch.load(Ordering::SeqCst)), common.map_or(own, CommonEnd::get));
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

#[cfg(test)]
#[path = "token_tests.rs"]
mod tests;
