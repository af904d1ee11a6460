//! What this node itself asked for: without it no renewal is answered with `true`.
//!
//! An arbiter that cannot see a lease end by a clock of its own lets readers conclude it: the same renewal twice, a
//! whole lease apart. Such a reader then swaps by the revision, which a renewal does not change. So a renewal that was
//! written after the reader's second look must not be answered with `true`, and it is not if it had to *end* within
//! a lease of when the last good one was *asked*: the reader's look came later than that.

use crate::api::Clock;
use crate::{Epoch, Incarnation, Instant};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Grants of one group whose outcome is still open at the same time; older ones are forgotten.
const MOST_OPEN_GRANTS: usize = 8;

/// One grant that this node asked for. `T` is what the arbiter needs to renew it.
#[derive(Clone, Debug)]
pub(super) struct OwnGrant<T> {
    pub incarnation: Incarnation,
    pub epoch: Epoch,
    /// The number that its write carries, by which it is recognised.
    pub write: u128,
    /// Its revision, once it is known to stand.
    pub revision: Option<u64>,
    /// When its last good renewal was asked for; at first, when it was itself.
    pub asked: Instant,
    pub token: T,
}

/// The grants of this node, per group.
pub(super) struct OwnLeases<T> {
    clock: Arc<dyn Clock>,
    lease: Duration,
    grants: Mutex<BTreeMap<String, Vec<OwnGrant<T>>>>,
}

impl<T: Clone> OwnLeases<T> {
    pub(super) fn new(clock: Arc<dyn Clock>, lease: Duration) -> Self {
        Self { clock, lease, grants: Mutex::new(BTreeMap::new()) }
    }

    pub(super) fn now(&self) -> Instant {
        self.clock.now()
    }

    pub(super) const fn lease(&self) -> Duration {
        self.lease
    }

    fn locked(&self) -> MutexGuard<'_, BTreeMap<String, Vec<OwnGrant<T>>>> {
        self.grants.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes a grant before it is asked for.
    pub(super) fn asking(&self, group: &str, grant: OwnGrant<T>) {
        let mut grants = self.locked();
        let of_group = grants.entry(group.to_owned()).or_default();
        // The one that is known to stand stays: the new one may be lost.
        while of_group.len() >= MOST_OPEN_GRANTS {
            let oldest_open = of_group.iter().position(|g| g.revision.is_none()).unwrap_or(0);
            of_group.remove(oldest_open);
        }
        of_group.push(grant);
    }

    /// The grant `write` stands as `revision`: what was there before it is over.
    pub(super) fn stands(&self, group: &str, write: u128, revision: u64) -> Option<OwnGrant<T>> {
        let mut grants = self.locked();
        let of_group = grants.get_mut(group)?;
        let at = of_group.iter().position(|g| g.write == write)?;
        of_group.drain(..at);
        let grant = of_group.first_mut()?;
        grant.revision = Some(revision);
        Some(grant.clone())
    }

    /// The grant `write` was refused.
    pub(super) fn refused(&self, group: &str, write: u128) {
        if let Some(of_group) = self.locked().get_mut(group) {
            of_group.retain(|g| g.write != write);
        }
    }

    /// Whether this node asked for a grant to that life at that epoch.
    pub(super) fn may_own(&self, group: &str, incarnation: Incarnation, epoch: Epoch) -> bool {
        self.locked()
            .get(group)
            .is_some_and(|all| all.iter().any(|g| g.incarnation == incarnation && g.epoch == epoch))
    }

    /// The grant that stands without doubt: the only one that is noted, and known by its revision.
    pub(super) fn certain(&self, group: &str) -> Option<OwnGrant<T>> {
        match self.locked().get(group).map(Vec::as_slice) {
            Some([only]) if only.revision.is_some() => Some(only.clone()),
            _ => None,
        }
    }

    /// Whether the lease of a grant is still open.
    pub(super) fn is_open(&self, grant: &OwnGrant<T>) -> bool {
        self.now().since(grant.asked) < self.lease
    }

    /// A renewal that was asked for at `asked` took effect. `false`: it ended too late, or the grant is gone meanwhile.
    pub(super) fn renewed(&self, group: &str, write: u128, asked: Instant) -> bool {
        let now = self.now();
        let mut grants = self.locked();
        let Some(grant) = grants.get_mut(group).and_then(|all| all.iter_mut().find(|g| g.write == write))
        else {
            return false;
        };
        let in_time = now.since(grant.asked) < self.lease;
        if in_time {
            grant.asked = grant.asked.max(asked);
        }
        in_time
    }

    /// Forgets every grant of that life.
    pub(super) fn forget(&self, group: &str, incarnation: Incarnation) {
        let mut grants = self.locked();
        if let Some(of_group) = grants.get_mut(group) {
            of_group.retain(|g| g.incarnation != incarnation);
            if of_group.is_empty() {
                grants.remove(group);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU64, Ordering};

    struct Hand(AtomicU64);
    impl Clock for Hand {
        fn now(&self) -> Instant {
            Instant::ZERO + Duration::from_millis(self.0.load(Ordering::SeqCst))
        }
    }

    fn leases() -> (Arc<Hand>, OwnLeases<()>) {
        let hand = Arc::new(Hand(AtomicU64::new(1000)));
        (Arc::clone(&hand), OwnLeases::new(hand, Duration::from_millis(100)))
    }

    fn grant(leases: &OwnLeases<()>, write: u128) -> OwnGrant<()> {
        OwnGrant {
            incarnation: Incarnation(1),
            epoch: Epoch(1),
            write,
            revision: None,
            asked: leases.now(),
            token: (),
        }
    }

    #[test]
    fn a_renewal_must_end_within_a_lease_of_when_the_last_good_one_was_asked() {
        let (hand, leases) = leases();
        leases.asking("g", grant(&leases, 7));
        leases.stands("g", 7, 1).unwrap();
        hand.0.store(1090, Ordering::SeqCst);
        let asked = leases.now();
        hand.0.store(1099, Ordering::SeqCst);
        assert!(leases.renewed("g", 7, asked));
        // Counted from 1090, when it was asked, not from 1099, when it ended.
        hand.0.store(1189, Ordering::SeqCst);
        assert!(leases.is_open(&leases.certain("g").unwrap()));
        let asked = leases.now();
        hand.0.store(1190, Ordering::SeqCst);
        assert!(!leases.renewed("g", 7, asked), "asked in time, but ended too late");
        assert!(!leases.is_open(&leases.certain("g").unwrap()));
    }

    #[test]
    fn an_open_grant_takes_the_certainty_away_until_its_outcome_is_known() {
        let (_, leases) = leases();
        leases.asking("g", grant(&leases, 7));
        assert!(leases.certain("g").is_none());
        leases.stands("g", 7, 1).unwrap();
        assert_eq!(leases.certain("g").unwrap().write, 7);
        leases.asking("g", grant(&leases, 8));
        assert!(leases.certain("g").is_none());
        leases.refused("g", 8);
        assert_eq!(leases.certain("g").unwrap().write, 7);
        leases.asking("g", grant(&leases, 9));
        leases.stands("g", 9, 2).unwrap();
        assert_eq!(leases.certain("g").unwrap().write, 9);
        assert!(leases.stands("g", 7, 1).is_none(), "over once a later one stands");
        leases.forget("g", Incarnation(1));
        assert!(!leases.may_own("g", Incarnation(1), Epoch(1)));
        assert!(!leases.renewed("g", 9, leases.now()));
    }

    #[test]
    fn what_is_noted_is_bounded_and_what_stands_is_kept() {
        let (_, leases) = leases();
        leases.asking("g", grant(&leases, 0));
        leases.stands("g", 0, 1).unwrap();
        for write in 1..100 {
            leases.asking("g", grant(&leases, write));
        }
        assert_eq!(leases.locked()["g"].len(), MOST_OPEN_GRANTS);
        assert_eq!(leases.locked()["g"][0].write, 0);
    }
}
