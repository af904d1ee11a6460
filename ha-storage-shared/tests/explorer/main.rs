//! Every interleaving of two nodes that run the protocol core itself on one disk.
//!
//! A write makes its sector torn and then whole; a read takes the other's copies one at a time, in either order, with
//! anything in between. A node may die and come back between any two of these, or give a call up.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod search;
mod world;

use search::{Report, explore};
use world::{Bounds, Sabotage};

const SMALL: Bounds = Bounds { calls: [1, 1], crashes: 1, observer: false, attempts: 2, progress: 8 };

fn assert_sound(bounds: Bounds) {
    let report = explore(bounds, Sabotage::None);
    println!("{bounds:?}: {report}");
    assert!(report.violation.is_none(), "{report}");
    assert!(!report.cut_short, "{report}");
    assert!(report.contended > 0 && report.recovered > 0, "nothing was tried: {report}");
}

fn assert_found(bounds: Bounds, sabotage: Sabotage, words: &str) {
    let report: Report = explore(bounds, sabotage);
    println!("{sabotage:?}: {report}");
    let violation = report.violation.expect("the explorer must notice");
    assert!(violation.what.contains(words), "{}", violation.what);
}

#[test]
fn two_nodes_choose_one_value_whatever_the_order_of_reads_writes_and_deaths() {
    assert_sound(SMALL);
}

#[test]
fn a_second_call_finds_what_the_first_one_left_behind() {
    assert_sound(Bounds { calls: [2, 1], observer: true, attempts: 1, ..SMALL });
}

#[test]
#[ignore = "needs minutes and gigabytes: run it when the protocol changes"]
fn more_calls_more_deaths_and_more_contention() {
    assert_sound(Bounds { calls: [2, 1], attempts: 1, progress: 64, ..SMALL });
    assert_sound(Bounds { crashes: 2, attempts: 3, progress: 64, ..SMALL });
    assert_sound(Bounds { calls: [2, 2], attempts: 1, progress: 64, ..SMALL });
    assert_sound(Bounds { calls: [2, 1], progress: 64, ..SMALL });
}

#[test]
fn without_the_reading_after_the_second_write_two_values_are_chosen() {
    assert_found(SMALL, Sabotage::NoSecondReading, "two values");
}

#[test]
fn without_the_first_write_two_values_are_chosen() {
    assert_found(SMALL, Sabotage::NoFirstWrite, "two values");
}

#[test]
fn a_node_that_forgets_its_slot_when_it_restarts_chooses_a_second_value() {
    assert_found(Bounds { calls: [2, 1], ..SMALL }, Sabotage::ForgetsItsSlot, "two values");
}

#[test]
fn copies_that_are_written_together_can_both_be_lost() {
    assert_found(SMALL, Sabotage::CopiesTogether, "no progress");
}

#[test]
fn a_node_that_writes_its_only_whole_copy_first_can_lose_both() {
    assert_found(Bounds { calls: [2, 1], crashes: 2, ..SMALL }, Sabotage::FixedOrder, "no progress");
}

#[test]
fn a_torn_copy_that_is_read_only_once_hides_what_others_saw() {
    let bounds = Bounds { calls: [2, 1], observer: true, attempts: 1, ..SMALL };
    assert_found(bounds, Sabotage::OneReading, "chosen after it was told to have lost");
}

#[test]
fn a_reading_that_leaves_proposals_open_is_overtaken_by_a_dead_one() {
    let bounds = Bounds { calls: [3, 1], ..SMALL };
    assert_found(bounds, Sabotage::ReadsLeaveThingsOpen, "chosen after it was told to have lost");
}
