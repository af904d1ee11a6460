//! The gate: closed within milliseconds of a freeze, while the address is still configured.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed step of a test is a failed test")]

mod netns_space;

use ha_vip::kernel::KernelError;
use ha_vip::linux::Gate;
use netns_space::process::{Node, PORT, Process, serve};
use netns_space::{Space, answers, run, until};
use std::net::{SocketAddr, TcpListener};
use std::time::{Duration, Instant};

const NODE: Node<'static> = Node {
    specs: "10.77.0.100/24@lan0 fd00::64/64@lan0",
    lifetime: Duration::from_secs(60),
    gate: Some(Duration::from_millis(100)),
    token: None,
};

#[test]
#[ignore = "a process that another test starts"]
fn serves_gated_until_it_is_killed() {
    serve();
}

fn ruleset(space: &Space) -> String {
    let out = space.command("nft").args(["list", "ruleset"]).output().unwrap();
    String::from_utf8_lossy(&out.stdout).into_owned()
}

/// Whether the neighbour answers when it is looked up afresh.
fn is_found(space: &Space, address: &str) -> bool {
    let six = if address.contains(':') { "-6" } else { "-4" };
    run("ip", &["-n", &space.name, six, "neigh", "flush", "dev", "lan0"]);
    let out = space.command("ping").args(["-c1", "-W1", address]).output().unwrap();
    drop(out);
    let known = space.ip(&format!("neigh show {address} dev lan0"));
    known.contains("lladdr")
}

#[test]
#[ignore = "needs network namespaces"]
fn a_frozen_process_is_neither_reached_nor_found_while_its_address_is_configured() {
    let (one, two) = Space::pair();
    let node = Process::start(&one, "serves_gated_until_it_is_killed", NODE);
    for address in ["10.77.0.100", "fd00::64"] {
        assert!(answers(&two, address) && is_found(&two, address), "{address}");
    }
    let begun = Instant::now();
    node.signal("-STOP");
    until("the gate closes", || !answers(&two, "10.77.0.100"));
    println!("a connection attempt of 400 ms failed {:?} after the freeze", begun.elapsed());
    for address in ["10.77.0.100", "fd00::64"] {
        assert!(!answers(&two, address), "{address} is reached");
        assert!(!is_found(&two, address), "{address} is answered for");
        assert!(one.has(address), "the address itself is still there");
    }
    // The host itself is reached as ever.
    assert!(is_found(&two, "10.77.0.1") && is_found(&two, "fd00::1"));
    node.signal("-CONT");
    until("open again", || answers(&two, "10.77.0.100") && answers(&two, "fd00::64"));
    node.kill();
    until("closed for good", || !answers(&two, "10.77.0.100"));
    assert!(one.has("10.77.0.100") && !answers(&two, "fd00::64"), "it fails closed");
}

#[test]
#[ignore = "needs network namespaces"]
fn a_renewal_that_comes_after_the_end_opens_nothing() {
    let (one, two) = Space::pair();
    one.ip("addr add 10.77.0.100/24 dev lan0");
    one.ip("addr add fd00::64/64 dev lan0 nodad");
    let listen = |at: &str| {
        let at = SocketAddr::new(at.parse().unwrap(), PORT);
        one.namespace().inside(|| TcpListener::bind(at)).unwrap().unwrap()
    };
    let _listening = [listen("10.77.0.100"), listen("fd00::64")];
    let addresses = vec!["10.77.0.100".parse().unwrap(), "fd00::64".parse().unwrap()];
    let mut gate = Gate::connect(&one.namespace(), "test", addresses).unwrap();
    gate.build(Duration::from_secs(60)).unwrap();
    assert!(answers(&two, "10.77.0.100") && answers(&two, "fd00::64"));
    gate.renew(Duration::from_millis(50)).unwrap();
    until("closed", || !answers(&two, "10.77.0.100"));
    let late = gate.renew(Duration::from_secs(60));
    assert!(matches!(late, Err(KernelError::Absent { .. })), "{late:?}");
    assert!(!answers(&two, "10.77.0.100") && !answers(&two, "fd00::64"));
    gate.open(Duration::from_secs(60)).unwrap();
    gate.open(Duration::from_secs(60)).unwrap();
    assert!(answers(&two, "10.77.0.100") && answers(&two, "fd00::64"));
    gate.close().unwrap();
    gate.close().unwrap();
    assert!(!answers(&two, "10.77.0.100") && !answers(&two, "fd00::64"));
    gate.remove().unwrap();
    gate.remove().unwrap();
    assert!(answers(&two, "10.77.0.100") && !ruleset(&one).contains("ha_vip"));
}

#[test]
#[ignore = "needs network namespaces"]
fn a_gate_of_an_earlier_life_is_removed_and_a_stop_leaves_none() {
    use netns_space::serving::{Serving, specs};
    let (one, two) = Space::pair();
    let mut left = Gate::connect(&one.namespace(), "address", vec!["10.77.0.100".parse().unwrap()]).unwrap();
    left.build(Duration::from_millis(20)).unwrap();
    assert!(ruleset(&one).contains("ha_vip_address"));
    let serving = Serving::new(|| {
        let builder = ha_vip::VirtualIp::linux("address", specs(&["10.77.0.100/24@lan0"]));
        builder.namespace(one.namespace()).gate(Duration::from_millis(200)).build().unwrap()
    });
    assert!(!ruleset(&one).contains("ha_vip_address"), "removed when the next life is built");
    let mut spans = Vec::new();
    for _ in 0..11 {
        let begun = Instant::now();
        serving.start().unwrap();
        spans.push(begun.elapsed());
        assert!(is_found(&two, "10.77.0.100"));
        serving.stop().unwrap();
        assert!(!ruleset(&one).contains("ha_vip_address"));
    }
    spans.sort_unstable();
    println!("start of one gated address: median {:?} worst {:?}", spans[5], spans[10]);
}
