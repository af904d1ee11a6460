//! Processes that are killed or frozen leave no address behind, and one that wakes up too late takes it away at once.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed step of a test is a failed test")]

mod netns_space;

use netns_space::process::{Node, Process, serve};
use netns_space::{Space, answers, until};
use std::time::{Duration, Instant};

const NODE: Node<'static> = Node {
    specs: "10.77.0.100/24@lan0 fd00::64/64@lan0",
    lifetime: Duration::from_secs(2),
    gate: None,
    token: None,
};

#[test]
#[ignore = "a process that another test starts"]
fn serves_until_it_is_killed() {
    serve();
}

fn start(space: &Space, node: Node<'_>) -> Process {
    Process::start(space, "serves_until_it_is_killed", node)
}

fn is_bare(space: &Space) -> bool {
    !space.has("10.77.0.100") && !space.has("fd00::64")
}

#[test]
#[ignore = "needs network namespaces"]
fn a_killed_process_leaves_no_address() {
    let (one, two) = Space::pair();
    let node = start(&one, NODE);
    assert!(answers(&two, "10.77.0.100") && answers(&two, "fd00::64"));
    let begun = Instant::now();
    node.kill();
    assert!(!is_bare(&one), "the kernel has it for a while");
    until("lapsed", || is_bare(&one));
    println!("gone {:?} after the kill; bound {:?}", begun.elapsed(), ha_vip::linux::lifetime_bound(1));
}

#[test]
#[ignore = "needs network namespaces"]
fn a_frozen_process_leaves_no_address_and_serves_again_if_its_permission_is_still_good() {
    let (one, two) = Space::pair();
    let node = start(&one, NODE);
    let begun = Instant::now();
    node.signal("-STOP");
    until("lapsed", || is_bare(&one));
    println!("gone {:?} after the freeze; bound {:?}", begun.elapsed(), ha_vip::linux::lifetime_bound(1));
    node.signal("-CONT");
    until("back", || answers(&two, "10.77.0.100") && answers(&two, "fd00::64"));
}

#[test]
#[ignore = "needs network namespaces"]
fn a_process_that_wakes_up_without_a_permission_stays_without_addresses() {
    let (one, two) = Space::pair();
    let node = start(&one, Node { token: Some(Duration::from_millis(500)), ..NODE });
    assert!(answers(&two, "10.77.0.100"));
    node.signal("-STOP");
    until("lapsed", || is_bare(&one));
    node.signal("-CONT");
    // A renewal from before the freeze would bring them back now.
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(2) {
        assert!(is_bare(&one) && !answers(&two, "10.77.0.100"));
    }
}

#[test]
#[ignore = "needs network namespaces"]
fn another_address_that_is_renewed_puts_the_end_off_within_the_bound() {
    let (one, _two) = Space::pair();
    let node = start(&one, NODE);
    let begun = Instant::now();
    node.kill();
    let bound = ha_vip::linux::lifetime_bound(1);
    // Once, close to the end of the second: this makes the kernel look again no sooner than a second later.
    until("close to the end", || begun.elapsed() > Duration::from_millis(600));
    one.ip("addr replace 10.88.0.1/24 dev lan0 valid_lft 60 preferred_lft 60");
    until("lapsed", || is_bare(&one));
    println!("gone {:?} after the kill, another address renewed meanwhile; bound {bound:?}", begun.elapsed());
}
