//! The owner's lease: the only place where time matters, and only on the clock of whoever waits.
//!
//! A lease is held by (incarnation, epoch). The swap that names the owner takes it, a renewal writes a new
//! [`Liveness`]. Whoever waits for its end sees one number, [`Lease::Held`]'s `renewal`, that changes with each of the
//! two. The owner must not renew what another may already have found expired: see [`Base`].

use ha_core::api::{Lease, OwnerRecord};
use ha_core::{Epoch, Incarnation, Instant};
use std::time::Duration;

/// What a node's liveness sector says of a group.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Liveness {
    /// The life of the program that writes here, random: two programs with one node id betray themselves by it.
    pub life: u64,
    /// Whose lease was renewed last.
    pub incarnation: Incarnation,
    /// In which epoch.
    pub epoch: Epoch,
    /// How often anything was renewed here.
    pub renewals: u64,
    /// The revision at which that lease was given up; zero: it was not.
    pub released_at: u64,
}

impl Liveness {
    /// Nothing was renewed yet by `life`.
    #[must_use]
    pub const fn blank(life: u64) -> Self {
        Self { life, incarnation: Incarnation(0), epoch: Epoch(0), renewals: 0, released_at: 0 }
    }

    fn holds(&self, record: &OwnerRecord) -> bool {
        self.incarnation == record.incarnation && self.epoch == record.epoch
    }

    /// After a renewal.
    #[must_use]
    pub fn renewed(self, incarnation: Incarnation, epoch: Epoch) -> Self {
        Self { incarnation, epoch, renewals: self.renewals.wrapping_add(1), released_at: 0, ..self }
    }

    /// After the lease on `record` was given up.
    #[must_use]
    pub fn released(self, record: &OwnerRecord, revision: u64) -> Self {
        let renewed = self.renewed(record.incarnation, record.epoch);
        Self { released_at: revision, ..renewed }
    }
}

/// The state of the lease on `record`, from both nodes' liveness sectors. `Err` holds the checksum of a sector that
/// cannot be read: its owner may have died in the middle of a write, so it counts as held until it changes no more.
#[must_use]
pub fn lease_of(revision: u64, record: Option<&OwnerRecord>, sectors: &[Result<Liveness, u32>; 2]) -> Lease {
    let Some(record) = record.filter(|record| record.owner.is_some()) else { return Lease::Free };
    let mut renewal = revision << 32;
    for sector in sectors {
        match sector {
            Ok(liveness) if !liveness.holds(record) => {}
            Ok(liveness) if liveness.released_at == revision => return Lease::Free,
            Ok(liveness) => renewal = renewal.wrapping_add(liveness.renewals),
            Err(found) => renewal = renewal.wrapping_add(u64::from(*found)) ^ (1 << 63),
        }
    }
    Lease::Held { incarnation: record.incarnation, renewal }
}

/// What a node knows of the age of the lease that the record names, on its own clock.
///
/// Whoever found the same renewal twice, a whole lease (and its drift) apart, takes the group. So the owner counts a
/// renewal only if it was durable less than a lease after the one before was *asked for*: then it was on the disk before
/// anybody's wait that began with the one before could end. Later ones are refused, for ever: only a swap helps.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Base {
    seen: Option<(u64, Instant)>,
    held: Option<Held>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Held {
    incarnation: Incarnation,
    epoch: Epoch,
    /// Not later than the newest renewal's arrival on the disk.
    since: Instant,
}

impl Base {
    /// A look that began at `asked` found this. A revision that is newer than the one of the look before was written
    /// after that look began.
    pub fn looked(&mut self, asked: Instant, revision: u64, record: Option<&OwnerRecord>) {
        match self.seen {
            Some((seen, at)) if revision > seen => self.take(at, record),
            None if revision > 0 => self.held = None,
            Some(_) | None => {}
        }
        self.seen = Some((revision, asked));
    }

    /// A swap that began at `asked` succeeded.
    pub fn swapped(&mut self, asked: Instant, revision: u64, record: &OwnerRecord) {
        self.take(asked, Some(record));
        self.seen = Some((revision, asked));
    }

    fn take(&mut self, since: Instant, record: Option<&OwnerRecord>) {
        self.held = record.filter(|record| record.owner.is_some()).map(|record| Held {
            incarnation: record.incarnation,
            epoch: record.epoch,
            since,
        });
    }

    /// Whether the lease of this life and epoch has not run out at `now`.
    #[must_use]
    pub fn lives(&self, now: Instant, lease: Duration, incarnation: Incarnation, epoch: Epoch) -> bool {
        self.held.is_some_and(|held| {
            held.incarnation == incarnation && held.epoch == epoch && now.since(held.since) < lease
        })
    }

    /// A renewal asked for at `asked` was durable at `now`. Whether it counts.
    pub fn renewed(&mut self, asked: Instant, now: Instant, lease: Duration) -> bool {
        match &mut self.held {
            Some(held) if now.since(held.since) < lease => {
                held.since = asked;
                true
            }
            Some(_) | None => {
                self.held = None;
                false
            }
        }
    }

    /// The lease was given up.
    pub fn released(&mut self) {
        self.held = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ha_core::{InitId, NodeId};

    const LEASE: Duration = Duration::from_nanos(10);

    fn at(ns: u64) -> Instant {
        Instant::from_nanos(ns)
    }

    fn record(epoch: u64) -> OwnerRecord {
        let mut record = OwnerRecord::new(InitId(1), Incarnation(7));
        record.epoch = Epoch(epoch);
        record.owner = Some(NodeId(0));
        record
    }

    fn renewal(lease: Lease) -> u64 {
        match lease {
            Lease::Held { renewal, .. } => renewal,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn every_renewal_and_every_swap_is_seen() {
        let blank = Liveness::blank(1);
        let first = lease_of(1, Some(&record(1)), &[Ok(blank), Ok(blank)]);
        let once = blank.renewed(Incarnation(7), Epoch(1));
        let second = lease_of(1, Some(&record(1)), &[Ok(once), Ok(blank)]);
        let swapped = lease_of(2, Some(&record(1)), &[Ok(once), Ok(blank)]);
        assert!(renewal(first) != renewal(second) && renewal(second) != renewal(swapped));
    }

    #[test]
    fn only_the_renewals_of_the_life_and_epoch_that_the_record_names_are_seen() {
        let blank = Ok(Liveness::blank(2));
        let without = lease_of(1, Some(&record(1)), &[blank, blank]);
        for (incarnation, epoch) in [(8, 1), (7, 2), (8, 2)] {
            let other = Liveness::blank(1).renewed(Incarnation(incarnation), Epoch(epoch));
            assert_eq!(lease_of(1, Some(&record(1)), &[Ok(other), blank]), without, "{incarnation} {epoch}");
        }
    }

    #[test]
    fn a_release_holds_only_for_the_revision_it_saw() {
        let released = Liveness::blank(1).released(&record(1), 3);
        let blank = Ok(Liveness::blank(2));
        assert_eq!(lease_of(3, Some(&record(1)), &[Ok(released), blank]), Lease::Free);
        assert!(matches!(lease_of(4, Some(&record(1)), &[Ok(released), blank]), Lease::Held { .. }));
        assert!(matches!(lease_of(3, Some(&record(2)), &[Ok(released), blank]), Lease::Held { .. }));
    }

    #[test]
    fn a_torn_liveness_sector_is_a_held_lease_until_it_stops_changing() {
        let blank = Ok(Liveness::blank(2));
        let torn = lease_of(3, Some(&record(1)), &[Err(5), blank]);
        assert_eq!(torn, lease_of(3, Some(&record(1)), &[Err(5), blank]));
        assert_ne!(torn, lease_of(3, Some(&record(1)), &[Err(6), blank]));
    }

    #[test]
    fn a_renewal_that_arrives_after_the_lease_ran_out_does_not_count() {
        let mut base = Base::default();
        base.swapped(at(100), 1, &record(1));
        assert!(base.renewed(at(105), at(109), LEASE));
        assert!(base.lives(at(114), LEASE, Incarnation(7), Epoch(1)));
        assert!(!base.renewed(at(113), at(115), LEASE), "asked in time, durable too late");
        assert!(!base.renewed(at(114), at(114), LEASE), "and never again");
    }

    #[test]
    fn a_lease_that_another_took_for_us_counts_from_our_look_before() {
        let mut base = Base::default();
        base.looked(at(100), 4, Some(&record(1)));
        assert!(!base.lives(at(100), LEASE, Incarnation(7), Epoch(1)), "nobody knows how old it is");
        base.looked(at(103), 5, Some(&record(2)));
        assert!(base.lives(at(109), LEASE, Incarnation(7), Epoch(2)));
        assert!(!base.lives(at(110), LEASE, Incarnation(7), Epoch(2)));
    }
}
