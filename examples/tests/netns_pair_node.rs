//! `pair-node` with a real address on real interfaces: each node in a network namespace of its own.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod pair_node_support;

use pair_node_support::serial_line::SerialLine;
use pair_node_support::{ADDRESS, PATIENCE, Pair, ip, signal};
use std::time::Instant;

/// Kills every process of the node; with `take`, takes the address out of its kernel as well, and verifies both.
fn fence(pair: &Pair, take: bool) -> String {
    let spaces = format!("n1) space={} ;; n2) space={} ;;", pair.space(0), pair.space(1));
    let [take, gone] = if take {
        [
            format!("ip -n $space addr flush dev lan0 to {ADDRESS}/32"),
            format!("! ip -n $space -o addr show dev lan0 | grep -q {ADDRESS}/"),
        ]
    } else {
        ["true".into(), "true".into()]
    };
    let script = pair.path("fence.sh");
    let kills = script.with_extension("kill");
    std::fs::rename(&script, &kills).unwrap();
    let text = format!(
        "case $2 in {spaces} esac\n\
         if [ $1 = status ]; then sh {kills} status $2 >/dev/null 2>&1; [ $? = 2 ] || exit 0; {gone} && exit 2; exit 0; fi\n\
         sh {kills} off $2 || exit 1\n{take} || exit 1\n{gone} && exit 0\nexit 1\n",
        kills = kills.display()
    );
    std::fs::write(&script, text).unwrap();
    format!("sh {} {{action}} {{node}}", script.display())
}

fn fenced(scope: &str) -> Pair {
    let mut pair = Pair::in_spaces(&[]);
    let command = fence(&pair, scope == "incarnation");
    pair.prove_by(&["--fence-command", &command, "--fence-timeout", "10s", "--fence-scope", scope]);
    pair
}

/// Waits until `taker` has the address. The other one never has it at a look after one at which the taker did.
fn await_address(pair: &Pair, taker: usize) {
    let deadline = Instant::now() + PATIENCE;
    while !pair.has_address(taker) {
        assert!(Instant::now() < deadline, "the address did not come\n{}", pair.logs());
    }
    assert!(!pair.has_address(1 - taker), "the address is on both\n{}", pair.logs());
}

#[test]
#[ignore = "needs network namespaces"]
fn the_address_is_where_the_active_node_is_and_a_death_takes_it_away() {
    let mut pair = fenced("incarnation");
    pair.start_both();
    let (active, standby) = pair.await_first();
    await_address(&pair, active);
    signal(pair.inner(active), "KILL");
    await_address(&pair, standby);
    assert_eq!(pair.await_active(standby, 2), "Released{forced}");
    pair.await_standby(active);
    pair.switched_over(standby);
    await_address(&pair, active);
    pair.await_standby(standby);
    signal(pair.outer(active), "TERM");
    await_address(&pair, standby);
    assert_eq!(pair.wait(active).code(), Some(0), "{}", pair.logs());
    signal(pair.outer(standby), "TERM");
    assert_eq!(pair.wait(standby).code(), Some(0), "{}", pair.logs());
    assert!(!pair.has_address(0) && !pair.has_address(1));
    pair.assert_never_twice();
}

#[test]
#[ignore = "needs network namespaces"]
fn a_lost_machine_s_address_is_taken_by_the_fence() {
    let mut pair = fenced("incarnation");
    pair.start_both();
    let (active, standby) = pair.await_first();
    await_address(&pair, active);
    pair.cut_power(active);
    await_address(&pair, standby);
    assert_eq!(pair.await_active(standby, 2), "Fenced");
    // What is left of the earlier life is not in the way of the next one.
    pair.start(active, &[]);
    pair.await_standby(active);
    assert!(!pair.has_address(active));
    pair.assert_never_twice();
}

#[test]
#[ignore = "needs network namespaces"]
fn a_fence_that_ends_only_processes_is_followed_after_the_address_has_expired() {
    let mut pair = fenced("processes");
    pair.start_both();
    let (active, standby) = pair.await_first();
    await_address(&pair, active);
    pair.cut_power(active);
    assert!(pair.has_address(active), "the kernel keeps it for its lifetime");
    await_address(&pair, standby);
    assert_eq!(pair.await_active(standby, 2), "Fenced");
    pair.assert_never_twice();
}

#[test]
#[ignore = "needs network namespaces"]
fn a_frozen_machine_s_address_lapses_before_its_lease_is_over() {
    let mut pair = Pair::in_spaces(&[]);
    let lease = pair.path("lease").display().to_string();
    pair.prove_by(&["--i-accept-stale-reads", "--lease", &lease, "--address-lifetime", "2s"]);
    // The service of a machine that was frozen as a whole is not what a lease ends: see docs/PAIR-NODE.md.
    pair.without_service();
    pair.start_both();
    let (active, standby) = (0, 1);
    pair.await_status(active, "active", |s| s["active"][0]["epoch"] == 1);
    await_address(&pair, active);
    let frozen = pair.everybody(active);
    frozen.iter().for_each(|pid| signal(*pid, "STOP"));
    await_address(&pair, standby);
    let status = pair.await_status(standby, "active", |s| s["active"][0]["epoch"] == 2);
    assert_eq!(status["active"][0]["proof"], "LeaseExpired");
    frozen.iter().for_each(|pid| signal(*pid, "CONT"));
    pair.await_standby(active);
    assert!(!pair.has_address(active) && pair.has_address(standby));
}

/// The serial link's state on that node, and those of the others.
fn links(status: &serde_json::Value) -> (String, Vec<String>) {
    let links = status["peer"]["links"].as_array().unwrap().iter();
    let (serial, others): (Vec<_>, Vec<_>) =
        links.partition(|link| link["path"].as_str().is_some_and(|path| path.starts_with("serial:")));
    let state = |link: &serde_json::Value| link["state"].as_str().unwrap().to_owned();
    (state(serial[0]), others.into_iter().map(state).collect())
}

/// Both UDP links go over one cable. With that pulled, only the serial line says that the other one lives: nobody is shot,
/// and a group moves over it. The gate lets clients in at whoever has the address.
#[test]
#[ignore = "needs network namespaces"]
fn a_serial_line_alone_keeps_the_pair_together_and_the_gate_opens_at_the_owner() {
    let line = SerialLine::lay();
    let mut pair = fenced("incarnation");
    for node in 0..2 {
        pair.start(node, &["--link", &line.flag(node), "--gate", "2s"]);
    }
    let (active, standby) = pair.await_first();
    await_address(&pair, active);
    let reached = |from: usize| {
        let deadline = Instant::now() + PATIENCE;
        let ping = format!("netns exec {} ping -c 1 -W 1 {ADDRESS}", pair.space(from));
        let answers = || {
            let mut command = std::process::Command::new("ip");
            command.args(ping.split_whitespace()).output().unwrap().status.success()
        };
        while !answers() {
            assert!(Instant::now() < deadline, "nobody answers\n{}", pair.logs());
        }
    };
    reached(standby);
    ip(&format!("-n {} link set hb0 down", pair.space(active)));
    for node in [active, standby] {
        pair.await_status(node, "on the serial line alone", |s| {
            let (serial, others) = links(s);
            let lost = others.iter().all(|state| state == "dead");
            serial == "up" && lost && s["peer"]["state"] == "alive"
        });
    }
    assert_eq!(pair.lines("fenced"), Vec::<String>::new());
    assert_eq!(pair.status(active).unwrap()["active"][0]["epoch"], 1);
    pair.switched_over(active);
    await_address(&pair, standby);
    pair.await_active(standby, 2);
    reached(active);
    assert_eq!(pair.lines("fenced"), Vec::<String>::new());
    pair.assert_never_twice();
}
