//! The arbiter kit passes a right arbiter, and catches a wrong one for each of its checks.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a failed step of a test is a failed test"
)]

use async_trait::async_trait;
use ha_core::api::{Arbiter, ArbiterError, ArbiterView, Lease, OwnerRecord, Swap};
use ha_core::testkit::arbiter::{Check, Options, check_with};
use ha_core::{Epoch, Incarnation};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::time::Instant;

const LEASE: Duration = Duration::from_secs(2);

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Flaw {
    None,
    UnknownGroupHasARevision,
    RenewsUnknownGroups,
    ForgetsTheGeneration,
    SwapsWithoutLease,
    LostShowsNothing,
    LostShowsNoLease,
    SwapsAtLaterRevisions,
    IgnoresCase,
    LooksThenWrites,
    ReadsFromAFollower,
    RenewalsLookAlike,
    RenewalsMoveTheRevision,
    AnybodyRenews,
    AnyEpochRenews,
    VainRenewalsCount,
    AnybodyReleases,
    RenewsAfterRelease,
    RenewsForever,
    FreeTooEarly,
    TearsWhenDropped,
    ActsLongAfterwards,
}

#[derive(Clone, Default)]
struct Entry {
    record: Option<OwnerRecord>,
    revision: u64,
    renewed: Option<Instant>,
    renewal: u64,
    reads: u64,
    before: Option<Box<Self>>,
}

/// An arbiter in this process's memory, with one flaw.
#[derive(Clone)]
struct Memory {
    flaw: Flaw,
    entries: Arc<Mutex<BTreeMap<String, Entry>>>,
}

impl Memory {
    fn with<T>(&self, group: &str, look: impl FnOnce(&mut Entry) -> T) -> T {
        let key = if self.flaw == Flaw::IgnoresCase { group.to_lowercase() } else { group.to_owned() };
        look(self.entries.lock().unwrap().entry(key).or_default())
    }

    fn view(&self, entry: &Entry) -> ArbiterView {
        let lives = if self.flaw == Flaw::FreeTooEarly { LEASE / 2 } else { LEASE };
        let held = entry.renewed.is_some_and(|at| at.elapsed() < lives);
        let lease = match entry.record {
            Some(record) if record.owner.is_some() && held => {
                Lease::Held { incarnation: record.incarnation, renewal: entry.renewal }
            }
            _ => Lease::Free,
        };
        let unknown = self.flaw == Flaw::UnknownGroupHasARevision && entry.record.is_none();
        ArbiterView::new(entry.record, lease, if unknown { 1 } else { entry.revision })
    }

    fn put(&self, entry: &mut Entry, mut record: OwnerRecord) -> u64 {
        if self.flaw == Flaw::ForgetsTheGeneration {
            record.generation = ha_core::Generation(0);
        }
        entry.before = Some(Box::new(Entry { before: None, ..entry.clone() }));
        entry.record = Some(record);
        entry.revision += 1;
        entry.revision
    }

    fn take_lease(&self, entry: &mut Entry) {
        if self.flaw != Flaw::SwapsWithoutLease {
            entry.renewed = Some(Instant::now());
            entry.renewal += 1;
        }
    }
}

/// A write that a dropped call leaves on its way, and that heeds no revision any more.
struct LateWrite {
    arbiter: Memory,
    group: String,
    record: Option<OwnerRecord>,
}

impl Drop for LateWrite {
    fn drop(&mut self) {
        if let Some(record) = self.record {
            let (arbiter, group) = (self.arbiter.clone(), self.group.clone());
            tokio::spawn(async move {
                tokio::time::sleep(Duration::from_millis(3)).await;
                arbiter.with(&group, |entry| arbiter.put(entry, record));
            });
        }
    }
}

#[async_trait]
impl Arbiter for Memory {
    fn name(&self) -> &str {
        "memory"
    }

    fn lease(&self) -> Duration {
        LEASE
    }

    async fn read(&self, group: &str) -> Result<ArbiterView, ArbiterError> {
        Ok(self.with(group, |entry| {
            entry.reads += 1;
            match &entry.before {
                Some(before) if self.flaw == Flaw::ReadsFromAFollower && entry.reads.is_multiple_of(3) => {
                    self.view(before)
                }
                _ => self.view(entry),
            }
        }))
    }

    async fn swap(&self, group: &str, revision: u64, record: OwnerRecord) -> Result<Swap, ArbiterError> {
        if self.flaw == Flaw::ActsLongAfterwards {
            let mut late = LateWrite { arbiter: self.clone(), group: group.to_owned(), record: Some(record) };
            tokio::time::sleep(Duration::from_millis(1)).await;
            late.record = None;
        }
        let stands = self.with(group, |entry| match self.flaw {
            Flaw::SwapsAtLaterRevisions => revision >= entry.revision && revision < u64::MAX,
            _ => revision == entry.revision,
        });
        if self.flaw == Flaw::LooksThenWrites {
            tokio::task::yield_now().await;
        }
        let swap = self.with(group, |entry| match self.flaw {
            Flaw::LostShowsNothing if !stands => Swap::Lost(ArbiterView::new(None, Lease::Free, 0)),
            Flaw::LostShowsNoLease if !stands => {
                Swap::Lost(ArbiterView::new(entry.record, Lease::Free, entry.revision))
            }
            _ if !stands => Swap::Lost(self.view(entry)),
            Flaw::TearsWhenDropped => {
                entry.renewed = None;
                Swap::Done { revision: self.put(entry, record) }
            }
            _ => {
                let revision = self.put(entry, record);
                self.take_lease(entry);
                Swap::Done { revision }
            }
        });
        if self.flaw == Flaw::TearsWhenDropped && stands {
            tokio::time::sleep(Duration::from_millis(1)).await;
            self.with(group, |entry| self.take_lease(entry));
        }
        Ok(swap)
    }

    async fn renew(&self, group: &str, life: Incarnation, epoch: Epoch) -> Result<bool, ArbiterError> {
        Ok(self.with(group, |entry| {
            let Some(record) = entry.record else { return self.flaw == Flaw::RenewsUnknownGroups };
            let named = (record.incarnation == life || self.flaw == Flaw::AnybodyRenews)
                && (record.epoch == epoch || self.flaw == Flaw::AnyEpochRenews)
                && record.owner.is_some();
            let open = match entry.renewed {
                Some(at) => at.elapsed() < LEASE || self.flaw == Flaw::RenewsForever,
                None => self.flaw == Flaw::RenewsAfterRelease,
            };
            let renewed = named && open;
            if renewed || self.flaw == Flaw::VainRenewalsCount {
                entry.renewed = Some(Instant::now());
                entry.renewal += u64::from(self.flaw != Flaw::RenewalsLookAlike);
                entry.revision += u64::from(self.flaw == Flaw::RenewalsMoveTheRevision);
            }
            renewed
        }))
    }

    async fn release(&self, group: &str, life: Incarnation) -> Result<(), ArbiterError> {
        self.with(group, |entry| {
            if self.flaw == Flaw::AnybodyReleases || entry.record.is_some_and(|r| r.incarnation == life) {
                entry.renewed = None;
            }
        });
        Ok(())
    }
}

async fn caught(flaw: Flaw) -> Vec<Check> {
    let entries = Arc::default();
    let make = || Memory { flaw, entries: Arc::clone(&entries) };
    match check_with(Options::default(), make).await {
        Ok(report) => {
            println!("{report}");
            assert_eq!(report.passed, Check::ALL);
            assert_eq!(report.unanswered, 0);
            Vec::new()
        }
        Err(failed) => {
            println!("{failed}");
            failed.failures.iter().map(|f| f.check).collect()
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_right_arbiter_passes() {
    assert_eq!(caught(Flaw::None).await, []);
}

macro_rules! catches {
    ($($name:ident: $flaw:ident => $check:ident;)*) => {$(
        #[tokio::test(start_paused = true)]
        async fn $name() {
            let caught = caught(Flaw::$flaw).await;
            assert!(caught.contains(&Check::$check), "caught {caught:?}, expected {:?}", Check::$check);
        }
    )*};
}

catches! {
    a_revision_of_nothing_is_caught: UnknownGroupHasARevision => UnknownGroup;
    a_renewal_of_nothing_is_caught: RenewsUnknownGroups => UnknownGroup;
    a_forgotten_field_is_caught: ForgetsTheGeneration => RecordReadsBack;
    a_swap_without_lease_is_caught: SwapsWithoutLease => RecordReadsBack;
    an_empty_lost_is_caught: LostShowsNothing => LostShowsWhatStands;
    a_lost_without_the_lease_is_caught: LostShowsNoLease => LostShowsWhatStands;
    a_swap_at_a_later_revision_is_caught: SwapsAtLaterRevisions => LostShowsWhatStands;
    names_that_fall_together_are_caught: IgnoresCase => GroupsAreApart;
    two_winners_are_caught: LooksThenWrites => OneWinner;
    stale_reads_are_caught: ReadsFromAFollower => ReadsAreLinear;
    renewals_that_look_alike_are_caught: RenewalsLookAlike => RenewalShows;
    renewals_that_move_the_revision_are_caught: RenewalsMoveTheRevision => RenewalShows;
    a_renewal_by_anybody_is_caught: AnybodyRenews => OnlyTheOwnerRenews;
    a_renewal_at_any_epoch_is_caught: AnyEpochRenews => OnlyTheOwnerRenews;
    a_vain_renewal_that_counts_is_caught: VainRenewalsCount => OnlyTheOwnerRenews;
    a_release_by_anybody_is_caught: AnybodyReleases => ReleaseTouchesOnlyItsOwn;
    a_renewal_after_the_release_is_caught: RenewsAfterRelease => ReleaseTouchesOnlyItsOwn;
    a_renewal_of_a_lease_that_ran_out_is_caught: RenewsForever => LeaseRunsOut;
    a_lease_that_is_free_too_early_is_caught: FreeTooEarly => LeaseRunsOut;
    a_swap_that_tears_when_dropped_is_caught: TearsWhenDropped => DroppedCalls;
    a_dropped_swap_that_acts_afterwards_is_caught: ActsLongAfterwards => DroppedCalls;
}
