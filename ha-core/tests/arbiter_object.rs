//! The object arbiter over a folder and over memory: the kit, crashes at every request, and what does not belong there.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a failed step of a test is a failed test"
)]

mod arbiter_support;
#[path = "arbiter_support/breaking_store.rs"]
mod breaking_store;

use arbiter_support::{HandClock, life, owned};
use breaking_store::{BreakingStore, Cut};
use ha_core::api::{Arbiter, ArbiterError, Lease, OwnerRecord, Swap};
use ha_core::arbiter::ObjectArbiter;
use ha_core::testkit::arbiter::{Check, check};
use ha_core::{Epoch, InitId};
use object_store::local::LocalFileSystem;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use std::sync::Arc;
use std::time::Duration;

fn over(store: Arc<dyn ObjectStore>) -> ObjectArbiter {
    ObjectArbiter::builder(store).prefix("pair").build().unwrap()
}

async fn done(arbiter: &ObjectArbiter, at: u64, record: OwnerRecord) -> u64 {
    match arbiter.swap("g", at, record).await.unwrap() {
        Swap::Done { revision } => revision,
        lost => panic!("{lost:?}"),
    }
}

fn record_place(revision: u64) -> Path {
    Path::from(format!("pair/g/record.{revision:020}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn over_memory_it_passes_the_kit() {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let make = || {
        let builder = ObjectArbiter::builder(Arc::clone(&store)).lease(Duration::from_millis(800));
        builder.deadline(Duration::from_millis(400)).build().unwrap()
    };
    let report = check(make).await.unwrap_or_else(|failed| panic!("{failed}"));
    println!("{report}");
    assert_eq!(report.passed, Check::ALL);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn over_a_folder_it_passes_the_kit() {
    let folder = tempfile::tempdir().unwrap();
    let make = || ObjectArbiter::folder(folder.path()).unwrap().build().unwrap();
    let report = check(make).await.unwrap_or_else(|failed| panic!("{failed}"));
    println!("{report}");
    assert_eq!(report.skipped.len(), 1, "only the lease of 10 s is not waited for");
}

/// Several processes' worth of handles, each with its own view of the folder.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_contenders_each_revision_has_one_winner() {
    let folder = tempfile::tempdir().unwrap();
    let contenders = 24_u8;
    let mut tasks = tokio::task::JoinSet::new();
    for i in 0..contenders {
        let store = LocalFileSystem::new_with_prefix(folder.path()).unwrap();
        tasks.spawn(async move {
            let arbiter = over(Arc::new(store));
            let mut won = Vec::new();
            while won.len() < 2 {
                let view = arbiter.read("g").await.unwrap();
                let epoch = view.record.map_or(1, |r| r.epoch.0 + 1);
                match arbiter.swap("g", view.revision, owned(i, epoch)).await.unwrap() {
                    Swap::Done { revision } => won.push((view.revision, revision, epoch)),
                    Swap::Lost(standing) => assert!(standing.revision > view.revision, "{standing:?}"),
                    other => panic!("{other:?}"),
                }
            }
            won
        });
    }
    let mut all: Vec<_> = tasks.join_all().await.into_iter().flatten().collect();
    all.sort_unstable();
    let expected: Vec<_> = (0..u64::from(contenders) * 2).map(|n| (n, n + 1, n + 1)).collect();
    assert_eq!(all, expected, "no swap was lost, none was done twice");
}

/// A node dies (its future is dropped) before or after each single request that its call makes.
#[tokio::test]
async fn a_crash_at_any_request_leaves_one_record_and_a_way_on() {
    for cut in [Cut::Before, Cut::After] {
        let mut requests = 0;
        loop {
            let store = Arc::new(BreakingStore::new(InMemory::new()));
            let (a, b) = (over(store.clone()), over(store.clone()));
            let standing = done(&b, 0, owned(1, 1)).await;
            store.stall(cut, requests);
            let ended = store.until_stalled(a.swap("g", standing, owned(0, 2))).await;
            store.heal();
            let view = b.read("g").await.unwrap();
            let whole = [(Some(owned(1, 1)), standing), (Some(owned(0, 2)), standing + 1)];
            assert!(whole.contains(&(view.record, view.revision)), "{cut:?} request {requests}: {view:?}");
            let holder = view.record.unwrap().incarnation;
            assert!(
                matches!(view.lease, Lease::Held { incarnation, .. } if incarnation == holder),
                "{view:?}"
            );
            // The life that crashed there may learn that it won, and then renews; otherwise it must not.
            let renewed = a.renew("g", life(0), Epoch(2)).await.unwrap();
            assert_eq!(renewed, holder == life(0), "{cut:?} request {requests}");
            done(&b, view.revision, owned(1, 3)).await;
            assert!(!a.renew("g", life(0), Epoch(2)).await.unwrap());
            assert_eq!(b.read("g").await.unwrap().record, Some(owned(1, 3)));
            if ended.is_some() {
                break;
            }
            requests += 1;
        }
        assert!(requests >= 5, "a swap makes at least five requests, cut at {requests}");
    }
}

#[tokio::test]
async fn a_crash_at_any_request_of_a_renewal_or_release_hurts_nobody() {
    for cut in [Cut::Before, Cut::After] {
        for requests in 0..6 {
            let store = Arc::new(BreakingStore::new(InMemory::new()));
            let (a, b) = (over(store.clone()), over(store.clone()));
            let standing = done(&a, 0, owned(0, 1)).await;
            store.stall(cut, requests);
            store.until_stalled(a.renew("g", life(0), Epoch(1))).await;
            store.heal();
            assert!(a.renew("g", life(0), Epoch(1)).await.unwrap(), "in time, so it is renewed again");
            let next = done(&b, standing, owned(1, 2)).await;
            let before = b.read("g").await.unwrap();
            store.stall(cut, requests);
            store.until_stalled(a.release("g", life(0))).await;
            store.heal();
            assert_eq!(b.read("g").await.unwrap(), before);
            store.stall(cut, requests);
            store.until_stalled(b.release("g", life(1))).await;
            store.heal();
            assert!(
                !b.renew("g", life(1), Epoch(2)).await.unwrap(),
                "whoever asked for a release renews no more"
            );
            assert_eq!(b.read("g").await.unwrap().revision, next);
        }
    }
}

/// The answer of a creation that worked is lost below us, and the client repeats it: it still is our own.
#[tokio::test]
async fn a_repeated_request_does_not_lose_to_itself() {
    let store = Arc::new(BreakingStore::new(InMemory::new()));
    let a = over(store.clone());
    done(&a, 0, owned(0, 1)).await;
    store.repeat_creations();
    done(&a, 1, owned(0, 2)).await;
}

#[tokio::test]
async fn a_store_that_ignores_the_condition_is_refused_before_the_first_swap() {
    let store = Arc::new(BreakingStore::new(InMemory::new()));
    store.ignore_conditions();
    let error = over(store).swap("g", 0, owned(0, 1)).await.unwrap_err();
    assert!(matches!(error, ArbiterError::Unusable { .. }), "{error}");
    assert!(error.to_string().contains("If-None-Match"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_store_that_does_not_answer_is_unavailable_at_the_deadline() {
    let store = Arc::new(BreakingStore::new(InMemory::new()));
    let a = over(store.clone());
    done(&a, 0, owned(0, 1)).await;
    store.stall(Cut::Before, 0);
    for error in [
        a.read("g").await.unwrap_err(),
        a.swap("g", 1, owned(0, 2)).await.unwrap_err(),
        a.renew("g", life(0), Epoch(1)).await.unwrap_err(),
        a.release("g", life(0)).await.unwrap_err(),
    ] {
        assert!(matches!(error, ArbiterError::Unavailable { .. }), "{error}");
    }
}

/// The reader has seen one renewal for a whole lease and takes the group; the owner's renewal, on its way since before,
/// arrives in between. It must not be told that it goes on.
#[tokio::test]
async fn a_renewal_that_arrives_after_a_lease_is_refused() {
    let store = Arc::new(BreakingStore::new(InMemory::new()));
    let clock = Arc::new(HandClock::default());
    let a = ObjectArbiter::builder(store.clone()).prefix("pair").clock(clock.clone()).build().unwrap();
    let b = over(store.clone());
    let standing = done(&a, 0, owned(0, 1)).await;
    let first = b.read("g").await.unwrap();
    store.on_put(move || clock.advance(Duration::from_secs(10)));
    assert!(!a.renew("g", life(0), Epoch(1)).await.unwrap(), "asked in time, ended too late");
    assert_eq!(b.read("g").await.unwrap().revision, first.revision);
    assert!(!a.renew("g", life(0), Epoch(1)).await.unwrap(), "and from now on only by a new swap");
    done(&a, standing, owned(0, 1)).await;
    assert!(a.renew("g", life(0), Epoch(1)).await.unwrap());
    let lost = b.swap("g", standing, owned(1, 2)).await.unwrap();
    assert!(matches!(lost, Swap::Lost(_)), "{lost:?}");
}

/// A node that did not itself ask for the grant, a restarted one say, cannot know how old its lease is.
#[tokio::test]
async fn a_life_that_never_asked_here_does_not_renew() {
    let store = Arc::new(InMemory::new());
    let (a, again) = (over(store.clone()), over(store));
    done(&a, 0, owned(0, 1)).await;
    assert!(!again.renew("g", life(0), Epoch(1)).await.unwrap());
    assert!(a.renew("g", life(0), Epoch(1)).await.unwrap());
}

#[tokio::test]
async fn what_does_not_belong_there_is_named_and_never_overwritten() {
    let foreign = over(Arc::new(InMemory::new()));
    done(&foreign, 0, owned(0, 1)).await;
    for (place, bytes, says) in [
        (record_place(1), b"#!/bin/sh".to_vec(), "#!/bin/sh"),
        (record_place(1), vec![b'x'; 5000], "an object of 5000 bytes"),
        (record_place(1), Vec::new(), "found \"\""),
        (Path::from("pair/g/record.1"), b"x".to_vec(), "pair/g/record.1"),
        (record_place(u64::MAX), b"x".to_vec(), "found \"x\""),
    ] {
        let store = Arc::new(InMemory::new());
        store.put(&place, bytes.clone().into()).await.unwrap();
        let a = over(store.clone());
        for error in [a.read("g").await.unwrap_err(), a.swap("g", 0, owned(0, 1)).await.unwrap_err()] {
            assert!(matches!(error, ArbiterError::Foreign { .. }), "{error}");
            assert!(error.to_string().contains(says), "{error}\nexpected: {says}");
        }
        assert!(!a.renew("g", life(0), Epoch(1)).await.unwrap());
        assert_eq!(store.get(&place).await.unwrap().bytes().await.unwrap(), bytes);
    }
}

#[tokio::test]
async fn a_record_copied_from_another_group_or_pair_is_refused() {
    let store = Arc::new(InMemory::new());
    let a = over(store.clone());
    done(&a, 0, owned(0, 1)).await;
    store.copy(&record_place(1), &Path::from("pair/h/record.00000000000000000001")).await.unwrap();
    let error = a.read("h").await.unwrap_err();
    assert!(error.to_string().contains("the record of group \"g\""), "{error}");

    let mut other_pair = owned(1, 2);
    other_pair.init = InitId(99);
    let error = a.swap("g", 1, other_pair).await.unwrap_err();
    assert!(error.to_string().contains("another pair"), "{error}");
    let error = a.swap("g", 1, owned(1, 0)).await.unwrap_err();
    assert!(error.to_string().contains("an epoch never falls"), "{error}");
    assert_eq!(a.read("g").await.unwrap().record, Some(owned(0, 1)));
}

#[tokio::test]
async fn a_foreign_lease_is_named_and_a_wiped_store_ends_the_renewals() {
    let store = Arc::new(InMemory::new());
    let a = over(store.clone());
    done(&a, 0, owned(0, 1)).await;
    let lease = Path::from("pair/g/lease.00000000000000000001");
    store.put(&lease, "{}".into()).await.unwrap();
    let error = a.read("g").await.unwrap_err();
    assert!(error.to_string().contains("not of revision 1"), "{error}");
    assert!(a.renew("g", life(0), Epoch(1)).await.unwrap(), "the owner mends it");
    assert!(a.read("g").await.is_ok());

    store.delete(&record_place(1)).await.unwrap();
    assert!(!a.renew("g", life(0), Epoch(1)).await.unwrap(), "the store forgot who owns the group");
    assert_eq!(a.read("g").await.unwrap().record, None);
}

#[tokio::test]
async fn an_answer_of_a_list_that_lags_is_corrected() {
    let store = Arc::new(BreakingStore::new(InMemory::new()));
    let (a, b) = (over(store.clone()), over(store.clone()));
    done(&a, 0, owned(0, 1)).await;
    store.freeze_lists().await;
    done(&a, 1, owned(0, 2)).await;
    done(&a, 2, owned(0, 3)).await;
    assert_eq!(b.read("g").await.unwrap().revision, 3);
}

#[tokio::test]
async fn debug_shows_no_credentials_and_bad_times_are_refused() {
    let store = Arc::new(BreakingStore::new(InMemory::new()));
    let shown = format!("{:?} {:?}", ObjectArbiter::builder(store.clone()), over(store.clone()));
    assert!(shown.contains("pair") && !shown.contains("secret"), "{shown}");
    assert!(format!("{store:?}").contains("secret"), "the store's own Debug would have told");
    for (lease, deadline) in [(10, 6), (10, 0), (0, 0)] {
        let builder = ObjectArbiter::builder(store.clone());
        let built = builder.lease(Duration::from_secs(lease)).deadline(Duration::from_secs(deadline)).build();
        assert!(matches!(built.unwrap_err(), ArbiterError::Unusable { .. }));
    }
    assert!(matches!(
        ObjectArbiter::folder("/nonexistent/witness").unwrap_err(),
        ArbiterError::Unusable { .. }
    ));
}

/// Objects older than an hour and sixty-four revisions go when the owner next changes its own record.
#[tokio::test]
async fn old_records_are_cleared_away_and_young_ones_are_kept() {
    let folder = tempfile::tempdir().unwrap();
    let a = over(Arc::new(LocalFileSystem::new_with_prefix(folder.path()).unwrap()));
    for epoch in 0..70 {
        done(&a, epoch, owned(0, epoch + 1)).await;
    }
    let group = folder.path().join("pair/g");
    let count = || std::fs::read_dir(&group).unwrap().count();
    assert_eq!(count(), 70, "none is an hour old");
    for revision in 1..=3 {
        let file =
            std::fs::File::options().write(true).open(group.join(format!("record.{revision:020}"))).unwrap();
        let long_ago = file.metadata().unwrap().modified().unwrap() - Duration::from_secs(7200);
        file.set_modified(long_ago).unwrap();
    }
    done(&a, 70, owned(1, 71)).await;
    assert_eq!(count(), 71, "a takeover does not wait for it");
    done(&a, 71, owned(1, 72)).await;
    assert_eq!(count(), 72 - 3);
    assert_eq!(a.read("g").await.unwrap().record, Some(owned(1, 72)));
}

/// Whatever the store stamps its objects with: the owner renews, a renewal shows, silence does not, and a swap goes by the
/// revision alone.
#[tokio::test]
async fn a_store_whose_clock_steps_by_hours_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let make = || over(Arc::new(LocalFileSystem::new_with_prefix(folder.path()).unwrap()));
    let (a, b) = (make(), make());
    let group = folder.path().join("pair/g");
    let step = |name: String, ahead: bool| {
        let file = std::fs::File::options().write(true).open(group.join(name)).unwrap();
        let now = file.metadata().unwrap().modified().unwrap();
        let hours = Duration::from_secs(5 * 3600);
        file.set_modified(if ahead { now + hours } else { now - hours }).unwrap();
    };
    for (revision, ahead) in [(1, true), (2, false)] {
        assert_eq!(done(&a, revision - 1, owned(0, revision)).await, revision);
        step(format!("record.{revision:020}"), ahead);
        assert!(a.renew("g", life(0), Epoch(revision)).await.unwrap());
        step(format!("lease.{revision:020}"), !ahead);
        let seen = b.read("g").await.unwrap();
        assert_eq!((seen.record, seen.revision), (Some(owned(0, revision)), revision));
        assert!(matches!(seen.lease, Lease::Held { .. }));
        assert_eq!(b.read("g").await.unwrap(), seen, "nothing was renewed, and nothing shows");
        assert!(a.renew("g", life(0), Epoch(revision)).await.unwrap());
        assert_ne!(b.read("g").await.unwrap().lease, seen.lease, "a renewal shows");
        let lost = b.swap("g", revision - 1, owned(1, 9)).await.unwrap();
        assert!(matches!(lost, Swap::Lost(_)), "{lost:?}");
    }
    assert_eq!(done(&b, 2, owned(1, 3)).await, 3);
    assert!(!a.renew("g", life(0), Epoch(2)).await.unwrap(), "replaced, whatever the stamps say");
}

/// Ten minutes after it was asked for, the places that would contradict a swap may have been cleared away.
#[tokio::test]
async fn a_swap_that_took_too_long_answers_nothing() {
    let clock = Arc::new(HandClock::default());
    let store = Arc::new(BreakingStore::new(InMemory::new()));
    let builder = ObjectArbiter::builder(store.clone()).prefix("pair").clock(clock.clone());
    let a = builder.build().unwrap();
    assert_eq!(done(&a, 0, owned(0, 1)).await, 1);
    store.on_put(move || clock.advance(Duration::from_secs(601)));
    let answer = a.swap("g", 1, owned(0, 2)).await;
    assert!(matches!(answer, Err(ArbiterError::Unavailable { .. })), "{answer:?}");
    assert_eq!(a.read("g").await.unwrap().record, Some(owned(0, 2)), "reading tells");
}
