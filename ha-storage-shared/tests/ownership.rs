//! The seam's contract, on a real file with direct I/O.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod support;

use ha_core::api::{Arbiter, Lease, Swap};
use ha_core::{Epoch, Generation, InitId};
use std::sync::Arc;
use std::time::Duration;
use support::*;

fn renewal(lease: Lease) -> u64 {
    match lease {
        Lease::Held { renewal, .. } => renewal,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_swap_is_seen_by_the_other_node_and_by_the_next_life() {
    let dir = directory();
    let path = device(&dir);
    let (zero, one) = (open(&path, 0), open(&path, 1));
    let nothing = wait(one.read(GROUP)).unwrap();
    assert_eq!((nothing.record, nothing.lease, nothing.revision), (None, Lease::Free, 0));
    assert_eq!(done(wait(zero.swap(GROUP, 0, record(0, 1))).unwrap()), 1);
    let view = wait(one.read(GROUP)).unwrap();
    assert_eq!((view.record, view.revision), (Some(record(0, 1)), 1));
    assert!(matches!(view.lease, Lease::Held { incarnation, .. } if incarnation == life(0, 1)));
    assert_eq!(wait(one.read("lists")).unwrap().revision, 0, "another group is another record");
    drop(zero);
    assert_eq!(wait(open(&path, 0).read(GROUP)).unwrap(), view);
}

#[test]
fn a_swap_of_an_old_revision_is_lost_and_changes_nothing() {
    let dir = directory();
    let path = device(&dir);
    let (zero, one) = (open(&path, 0), open(&path, 1));
    done(wait(zero.swap(GROUP, 0, record(0, 1))).unwrap());
    done(wait(one.swap(GROUP, 1, record(1, 2))).unwrap());
    for (node, revision) in [(&zero, 0), (&zero, 1), (&one, 7)] {
        let Swap::Lost(view) = wait(node.swap(GROUP, revision, record(0, 9))).unwrap() else { panic!() };
        assert_eq!((view.record, view.revision), (Some(record(1, 2)), 2));
    }
}

#[test]
fn a_swap_of_a_revision_that_is_long_gone_is_lost_and_not_unknown() {
    let dir = directory();
    let zero = open(&device(&dir), 0);
    for epoch in 1..=8 {
        done(wait(zero.swap(GROUP, epoch - 1, record(0, epoch))).unwrap());
    }
    for revision in 0..8 {
        let Swap::Lost(view) = wait(zero.swap(GROUP, revision, record(0, 9))).unwrap() else { panic!() };
        assert_eq!(view.revision, 8);
    }
}

#[test]
fn an_epoch_never_falls_and_a_foreign_record_is_refused() {
    let dir = directory();
    let path = device(&dir);
    let zero = open(&path, 0);
    done(wait(zero.swap(GROUP, 0, record(0, 5))).unwrap());
    let error = wait(zero.swap(GROUP, 1, record(0, 4))).unwrap_err().to_string();
    assert!(error.contains("epochs never fall"), "{error}");
    let mut foreign = record(0, 6);
    foreign.init = InitId(99);
    let error = wait(zero.swap(GROUP, 1, foreign)).unwrap_err().to_string();
    assert!(error.contains("of installation"), "{error}");
    let mut same = record(0, 5);
    same.generation = Generation(1);
    assert_eq!(done(wait(zero.swap(GROUP, 1, same)).unwrap()), 2, "the same epoch is no fall");
}

#[test]
fn an_unknown_group_is_named_with_those_there_are() {
    let dir = directory();
    let path = device(&dir);
    let error = wait(open(&path, 0).read("web")).unwrap_err().to_string();
    assert!(error.contains("\"web\"") && error.contains("mail, lists"), "{error}");
}

#[test]
fn every_renewal_changes_the_number_and_only_the_owner_may_renew() {
    let dir = directory();
    let path = device(&dir);
    let (zero, one) = (open(&path, 0), open(&path, 1));
    done(wait(zero.swap(GROUP, 0, record(0, 1))).unwrap());
    let mut seen = vec![renewal(wait(one.read(GROUP)).unwrap().lease)];
    for _ in 0..5 {
        assert!(wait(zero.renew(GROUP, life(0, 1), Epoch(1))).unwrap());
        let view = wait(one.read(GROUP)).unwrap();
        assert_eq!(view.revision, 1, "a renewal is no new revision");
        seen.push(renewal(view.lease));
    }
    let again = renewal(wait(one.read(GROUP)).unwrap().lease);
    assert_eq!(seen.last(), Some(&again), "nothing was renewed since");
    seen.dedup();
    assert_eq!(seen.len(), 6);
    assert!(!wait(zero.renew(GROUP, life(0, 1), Epoch(2))).unwrap(), "another epoch");
    assert!(!wait(one.renew(GROUP, life(1, 1), Epoch(1))).unwrap(), "another life");
}

#[test]
fn whoever_was_replaced_may_not_renew() {
    let dir = directory();
    let path = device(&dir);
    let (zero, one) = (open(&path, 0), open(&path, 1));
    done(wait(zero.swap(GROUP, 0, record(0, 1))).unwrap());
    done(wait(one.swap(GROUP, 1, record(1, 2))).unwrap());
    assert!(!wait(zero.renew(GROUP, life(0, 1), Epoch(1))).unwrap());
    assert!(wait(one.renew(GROUP, life(1, 2), Epoch(2))).unwrap());
}

#[test]
fn whoever_was_replaced_may_not_renew_though_life_or_epoch_is_the_same() {
    let dir = directory();
    let path = device(&dir);
    let (zero, one) = (open(&path, 0), open(&path, 1));
    let mut another_life = record(0, 1);
    another_life.incarnation = life(0, 9);
    let mut another_epoch = record(0, 1);
    another_epoch.epoch = Epoch(2);
    let mut nobody = record(0, 1);
    nobody.owner = None;
    for (group, next) in [("mail", another_life), ("lists", another_epoch)] {
        done(wait(zero.swap(group, 0, record(0, 1))).unwrap());
        done(wait(one.swap(group, 1, next)).unwrap());
        assert!(!wait(zero.renew(group, life(0, 1), Epoch(1))).unwrap(), "{next:?}");
    }
    done(wait(zero.swap(GROUP, 2, record(0, 1))).unwrap());
    done(wait(one.swap(GROUP, 3, nobody)).unwrap());
    assert!(!wait(zero.renew(GROUP, life(0, 1), Epoch(1))).unwrap(), "nobody owns it");
}

/// A moment before and the very moment at which the lease ends that began when the call was asked for.
fn ends_a_lease_after_it_was_asked_for(call: impl Fn(&ha_storage_shared::DiskArbiter, &Hand, Duration)) {
    let lease = Duration::from_secs(8);
    for (end, renewed) in [(lease - Duration::from_nanos(1), true), (lease, false)] {
        let dir = directory();
        let path = device(&dir);
        let hand = Arc::new(Hand::default());
        let zero = builder(&path, 0).lease(lease).clock(hand.clone()).open().unwrap();
        done(wait(zero.swap(GROUP, 0, record(0, 1))).unwrap());
        hand.forward(Duration::from_secs(1));
        call(&zero, &hand, end);
        let view = wait(open(&path, 1).read(GROUP)).unwrap().record.unwrap();
        assert_eq!(wait(zero.renew(GROUP, view.incarnation, view.epoch)).unwrap(), renewed, "{end:?}");
    }
}

const A_SECOND: Duration = Duration::from_secs(1);

#[test]
fn a_grant_counts_from_when_the_swap_was_asked_for() {
    ends_a_lease_after_it_was_asked_for(|zero, hand, end| {
        let swap = || wait(zero.swap(GROUP, 1, record(0, 2))).unwrap();
        done(hand.during(A_SECOND, end, swap));
    });
}

#[test]
fn a_renewal_counts_from_when_it_was_asked_for() {
    ends_a_lease_after_it_was_asked_for(|zero, hand, end| {
        let renew = || wait(zero.renew(GROUP, life(0, 1), Epoch(1))).unwrap();
        assert!(hand.during(A_SECOND, end, renew));
    });
}

#[test]
fn a_grant_by_the_other_node_counts_from_when_the_look_before_was_asked_for() {
    let dir = directory();
    let path = device(&dir);
    let lease = Duration::from_secs(8);
    for (group, end, renewed) in [("mail", lease - Duration::from_nanos(1), true), ("lists", lease, false)] {
        let hand = Arc::new(Hand::default());
        let zero = builder(&path, 0).lease(lease).clock(hand.clone()).open().unwrap();
        hand.during(A_SECOND, end, || wait(zero.read(group)).unwrap());
        done(wait(open(&path, 1).swap(group, 0, record(0, 1))).unwrap());
        assert_eq!(wait(zero.renew(group, life(0, 1), Epoch(1))).unwrap(), renewed, "{end:?}");
    }
}

#[test]
fn a_renewal_that_was_asked_for_in_time_and_ends_too_late_does_not_count() {
    let dir = directory();
    let path = device(&dir);
    let hand = Arc::new(Hand::default());
    let lease = Duration::from_secs(8);
    let zero = builder(&path, 0).lease(lease).clock(hand.clone()).open().unwrap();
    done(wait(zero.swap(GROUP, 0, record(0, 1))).unwrap());
    hand.forward(lease - Duration::from_nanos(1));
    let renew = || wait(zero.renew(GROUP, life(0, 1), Epoch(1))).unwrap();
    assert!(!hand.during(A_SECOND, Duration::ZERO, renew));
    assert!(!renew(), "for ever, whatever the clock says then");
}

#[test]
fn a_lease_that_ran_out_is_never_renewed_again() {
    let dir = directory();
    let path = device(&dir);
    let hand = Arc::new(Hand::default());
    let lease = Duration::from_secs(8);
    let zero = builder(&path, 0).lease(lease).clock(hand.clone()).open().unwrap();
    done(wait(zero.swap(GROUP, 0, record(0, 1))).unwrap());
    hand.forward(lease - Duration::from_nanos(1));
    assert!(wait(zero.renew(GROUP, life(0, 1), Epoch(1))).unwrap(), "in time");
    hand.forward(lease);
    assert!(!wait(zero.renew(GROUP, life(0, 1), Epoch(1))).unwrap(), "too late");
    assert!(!wait(zero.renew(GROUP, life(0, 1), Epoch(1))).unwrap(), "for ever");
    done(wait(zero.swap(GROUP, 1, record(0, 2))).unwrap());
    assert!(wait(zero.renew(GROUP, life(0, 2), Epoch(2))).unwrap(), "a new grant is a new lease");
}

#[test]
fn a_life_that_never_saw_its_grant_does_not_know_how_old_it_is() {
    let dir = directory();
    let path = device(&dir);
    let zero = open(&path, 0);
    done(wait(zero.swap(GROUP, 0, record(1, 1))).unwrap());
    let one = open(&path, 1);
    assert!(!wait(one.renew(GROUP, life(1, 1), Epoch(1))).unwrap());
    done(wait(zero.swap(GROUP, 1, record(1, 2))).unwrap());
    assert!(wait(one.renew(GROUP, life(1, 2), Epoch(2))).unwrap(), "it is younger than the look before");
}

#[test]
fn a_released_lease_is_free_until_the_next_swap() {
    let dir = directory();
    let path = device(&dir);
    let (zero, one) = (open(&path, 0), open(&path, 1));
    done(wait(zero.swap(GROUP, 0, record(0, 1))).unwrap());
    wait(one.release(GROUP, life(1, 1))).unwrap();
    assert!(matches!(wait(one.read(GROUP)).unwrap().lease, Lease::Held { .. }), "not this life's");
    wait(zero.release(GROUP, life(0, 1))).unwrap();
    assert_eq!(wait(one.read(GROUP)).unwrap().lease, Lease::Free);
    assert!(!wait(zero.renew(GROUP, life(0, 1), Epoch(1))).unwrap());
    done(wait(zero.swap(GROUP, 1, record(0, 1))).unwrap());
    assert!(matches!(wait(one.read(GROUP)).unwrap().lease, Lease::Held { .. }));
    let mut gone = record(0, 1);
    gone.owner = None;
    done(wait(zero.swap(GROUP, 2, gone)).unwrap());
    let view = wait(one.read(GROUP)).unwrap();
    assert_eq!((view.lease, view.record.unwrap().owner), (Lease::Free, None));
    assert_eq!(view.record.unwrap().incarnation, life(0, 1));
}

#[test]
fn a_new_life_of_a_node_neither_renews_nor_takes_back_what_the_one_before_said() {
    let dir = directory();
    let path = device(&dir);
    let (zero, one) = (open(&path, 0), open(&path, 1));
    done(wait(zero.swap(GROUP, 0, record(0, 1))).unwrap());
    assert!(wait(zero.renew(GROUP, life(0, 1), Epoch(1))).unwrap());
    let held = wait(one.read(GROUP)).unwrap();
    drop(zero);
    let zero = open(&path, 0);
    assert_eq!(wait(zero.read(GROUP)).unwrap(), held, "the wait for its end goes on");
    assert_eq!(wait(one.read(GROUP)).unwrap(), held);
    wait(zero.release(GROUP, life(0, 1))).unwrap();
    drop(zero);
    assert_eq!(wait(open(&path, 0).read(GROUP)).unwrap().lease, Lease::Free);
    assert_eq!(wait(one.read(GROUP)).unwrap().lease, Lease::Free);
}

#[test]
fn threads_of_both_nodes_contend_and_each_revision_has_one_winner() {
    let dir = directory();
    let path = device(&dir);
    assert!(contend(&path, 60) >= 120);
}
