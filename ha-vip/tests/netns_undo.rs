//! What the guardian does after the process is dead, and what it leaves alone.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed step of a test is a failed test")]

mod netns_space;

use ha_core::Undo;
use ha_vip::VirtualIp;
use ha_vip::kernel::NetNamespace;
use netns_space::Space;
use netns_space::process::{Node, Process, serve};
use netns_space::serving::{Serving, specs};
use std::time::Duration;

#[test]
#[ignore = "a process that another test starts"]
fn serves_until_the_guardian_comes() {
    serve();
}

fn handler() -> ha_vip::UndoHandler {
    ha_vip::undo_handlers().into_iter().find(|handler| handler.kind == "ha-vip/address").unwrap()
}

fn run(undo: &Undo) -> Result<(), String> {
    (handler().undo)(undo.version, &undo.bytes)
}

fn verify(undo: &Undo) -> Result<bool, String> {
    (handler().verify)(undo.version, &undo.bytes)
}

#[test]
#[ignore = "needs network namespaces"]
fn everything_of_ours_is_taken_away_and_nothing_else() {
    let (one, _two) = Space::pair();
    one.ip("addr add 10.77.0.150/24 dev lan0");
    one.ip("route add 10.98.0.0/16 via 10.77.0.2 table 100");
    let node = Node {
        specs: "10.77.0.100/24@lan0 fd00::64/64@lan0",
        lifetime: Duration::from_secs(60),
        gate: Some(Duration::from_secs(10)),
        token: None,
    };
    let process = Process::start_with_everything(&one, "serves_until_the_guardian_comes", node);
    let undo = process.undo.clone();
    assert!(one.has("10.77.0.100") && one.has("fd00::64") && one.ip("link show").contains("vmac.51"));
    assert_eq!(arp_ignore(&one, "lan0"), "1");
    process.kill();
    assert_eq!(verify(&undo), Ok(false));
    for _ in 0..2 {
        run(&undo).unwrap();
        assert_eq!(verify(&undo), Ok(true));
    }
    assert!(!one.has("10.77.0.100") && !one.has("fd00::64"));
    assert!(!one.ip("link show").contains("vmac.51"));
    let routes = one.ip("route show table 100");
    assert!(routes.contains("10.98.0.0/16") && !routes.contains("10.99.0.0/16"), "{routes}");
    assert!(!one.ip("rule show").contains("10.77.0.100"));
    let rules = one.command("nft").args(["list", "ruleset"]).output().unwrap();
    assert!(!String::from_utf8_lossy(&rules.stdout).contains("ha_vip"));
    assert!(one.has("10.77.0.150/24"), "not ours");
    assert_eq!(arp_ignore(&one, "lan0"), "0", "as it was");
}

fn arp_ignore(space: &Space, nic: &str) -> String {
    let out = space.command("cat").arg(format!("/proc/sys/net/ipv4/conf/{nic}/arp_ignore")).output().unwrap();
    String::from_utf8_lossy(&out.stdout).trim().to_owned()
}

#[test]
#[ignore = "needs network namespaces"]
fn the_same_address_of_somebody_else_is_left_alone() {
    let (one, _two) = Space::pair();
    let serving = Serving::new(|| {
        let builder = VirtualIp::linux("address", specs(&["10.77.0.100/24@lan0"]));
        builder.namespace(one.namespace()).build().unwrap()
    });
    let undo = serving.undo().unwrap();
    drop(serving);
    one.ip("addr add 10.77.0.100/24 dev lan0");
    run(&undo).unwrap();
    assert_eq!(verify(&undo), Ok(true), "nothing of ours is left");
    assert!(one.has("10.77.0.100/24"));
}

#[test]
#[ignore = "needs network namespaces"]
fn what_cannot_be_looked_at_is_not_called_gone() {
    let undo = {
        let (one, _two) = Space::pair();
        let serving = Serving::new(|| {
            let builder = VirtualIp::linux("address", specs(&["10.77.0.100/24@lan0"]));
            builder.namespace(one.namespace()).build().unwrap()
        });
        serving.undo().unwrap()
    };
    assert!(verify(&undo).unwrap_err().contains("no such file"));
    assert!(NetNamespace::named("ha-vip-nowhere").inside(|| ()).is_err());
}
