//! What the explorer found in the engine, kept as the path that led there. Each fails without its rule.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use ha_core::engine::Sabotage;
use ha_core::sim::explore::{Family, replay};

/// Follows the path of a family and requires every invariant.
fn holds(family: &str, path: &str) {
    let family = Family::named(family).unwrap();
    if let Err(counterexample) = replay(&family, &path.parse().unwrap()) {
        panic!("{counterexample}");
    }
}

/// The group was released to a node that lost its power before it took it: the former owner never asked its
/// device, never shot and never asked anybody (`fencing.rs`, `would_start`).
#[test]
fn a_group_released_to_a_node_that_died_is_started_again() {
    holds("commands", "switchover:0:0 +3 power-loss:1 +55");
    holds("commands", "switchover:0:0 +2 freeze:1 +55");
}

/// The first beat of a woken node echoed the oldest beat of its sockets. If everything was cut right then, the two
/// nodes counted their slots from different instants, and fenced each other (`saying.rs`, `send_beats`).
#[test]
fn an_owner_that_wakes_just_before_everything_is_cut_is_not_fenced_while_it_fences() {
    for sleep in 4..12 {
        for later in 0..6 {
            holds("freeze", &format!("freeze:0 +{sleep} thaw:0 +{later} isolate +55"));
            holds("freeze", &format!("freeze:0 +{sleep} thaw:0 +{later} cut-links +55"));
        }
    }
}

/// The owner was alone with its mirror by its last word, and about to admit the copy again; both shot, the other one for the
/// sake of a group without a mirror (`fencing.rs`, `peer_may_have_reason`). The simulator found it first, in eighty lines.
#[test]
fn an_owner_that_was_alone_and_its_standby_do_not_both_shoot() {
    holds("mixed", "cut-stream +4 heal +9 cut-links +11");
}

/// The copy that went on alone was on one node, the group that it must be with on the other: nobody served, nobody asked
/// (`cohort.rs`, `leaves_a_follower_behind`).
#[test]
fn a_group_is_not_left_behind_by_the_one_that_it_must_be_with() {
    holds("tied", "cut-stream +4 power-loss:0 mend");
}

/// A taker of a group was granted the next epoch and lost its power at once; the former owner, cut off from the
/// storage meanwhile, waited for a confirmation that nobody could ever give (`permission.rs`).
#[test]
fn a_suspended_owner_makes_way_for_a_later_grant_of_a_life_that_ended() {
    holds("access", "freeze:0 +13 power-loss:1 +1 mend");
}

/// After a long gap of its own the turns of the slots were over: no shot, and nobody was asked (`fencing.rs`,
/// `slots_are_over`).
#[test]
fn an_owner_that_slept_through_every_slot_asks() {
    holds("freeze", "freeze:0 +11 freeze:1 +54 thaw:0 +55");
}

/// The former owner took back what it had released to a node that lost its power, with the epoch that the other had
/// been granted unheard (`claim.rs`, `next_epoch`). Only a release without preparation comes so far.
#[test]
fn an_epoch_granted_unheard_to_the_taker_of_a_group_is_not_granted_again() {
    let family = Family::named("commands").unwrap().sabotaged(Sabotage::MoveAnywhere);
    let path = "dies:1 +10 switchover:0:0 +3 cut-links +26".parse().unwrap();
    if let Err(counterexample) = replay(&family, &path) {
        panic!("{counterexample}");
    }
}

/// An owner that woke while it was being shot took its standby out of the arbiter's record first. The standby was a
/// member by its own record: it waited for a slot in which it had no right to shoot (`third_proof.rs`,
/// `third_would_grant`).
#[test]
fn a_standby_that_the_arbiter_excluded_asks_although_its_own_record_says_member() {
    for later in 10..16 {
        holds("lease", &format!("freeze:0 +{later} thaw:0 +55"));
    }
}
