//! `pair-node` as real processes on loopback: two nodes under their guardians, UDP between them, a fence command that really
//! kills and verifies, a service that shows it if two run at once.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod pair_node_support;

use pair_node_support::{Pair, exe, mode, name, signal, text};
use std::fs;
use std::os::unix::fs::PermissionsExt;

#[test]
fn a_pair_starts_from_flags_alone_and_says_what_it_is() {
    let mut pair = Pair::fenced();
    pair.start_both();
    let (active, standby) = pair.await_first();
    let status = pair.await_status(active, "both links up", |s| {
        s["peer"]["links"].as_array().is_some_and(|links| links.iter().all(|l| l["state"] == "up"))
            && s["decisions"][0].is_object()
    });
    let keys: Vec<_> = status.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(keys, ["active", "decisions", "groups", "incarnation", "node", "peer", "token"]);
    assert_eq!((status["node"].as_str(), status["peer"]["node"].as_str()), (Some("n1"), Some("n2")));
    assert_eq!(status["incarnation"].as_str().unwrap().len(), 32);
    let links = status["peer"]["links"].as_array().unwrap();
    assert_eq!(links.iter().map(|l| l["link"].as_str().unwrap()).collect::<Vec<_>>(), ["udp-1", "udp-2"]);
    assert!(links.iter().all(|l| l["last_refusal"].is_null()), "{status:#}");
    assert!(links[0]["path"].as_str().unwrap().contains(":6940,"), "{status:#}");
    for decision in status["decisions"].as_array().unwrap() {
        assert!(
            decision["rule"].is_string() && decision["decision"].is_string() && decision["at_ns"].is_u64()
        );
    }
    // A permission that is renewed is valid almost always; that of the other one never is.
    pair.await_status(active, "a valid permission", |s| {
        s["token"][0]["valid"] == true
            && s["token"][0]["epoch"] == 1
            && s["token"][0]["valid_for_ms"].as_f64() > Some(0.0)
    });
    let other = pair.status(standby).unwrap();
    assert_eq!((other["active"].as_array().unwrap().len(), &other["token"][0]["valid"]), (0, &false.into()));
    assert_eq!(mode(&pair.path("n1.sock")), 0o600);
    assert_eq!(mode(&pair.path("key")), 0o600);
    let words = text(&pair.ctl(active, &["status"]));
    assert!(words.contains("group address: active in epoch 1 on NeverStarted"), "{words}");
    let explained = pair.ctl(active, &["explain"]);
    assert!(explained.status.success() && text(&explained).contains("rule     "), "{}", text(&explained));
    pair.assert_never_twice();
}

#[test]
fn a_killed_node_is_released_by_its_guardian_s_word_and_nobody_is_fenced() {
    let mut pair = Pair::fenced();
    pair.start_both();
    let (active, standby) = pair.await_first();
    signal(pair.inner(active), "KILL");
    assert_eq!(pair.await_active(standby, 2), "Released{forced}");
    // Its guardian starts it again, and it stands by.
    pair.await_standby(active);
    assert_eq!(pair.lines("fenced"), Vec::<String>::new());
    pair.assert_never_twice();
}

#[test]
fn a_lost_machine_is_taken_over_from_by_the_fence_command_s_word_and_comes_back_as_standby() {
    let mut pair = Pair::fenced();
    pair.start_both();
    let (active, standby) = pair.await_first();
    pair.cut_power(active);
    assert_eq!(pair.await_active(standby, 2), "Fenced");
    pair.start(active, &[]);
    pair.await_standby(active);
    assert_eq!(pair.status(standby).unwrap()["active"][0]["epoch"], 2);
    pair.assert_never_twice();
}

#[test]
fn a_frozen_machine_is_fenced_and_never_acts_again() {
    let mut pair = Pair::fenced();
    pair.start_both();
    let (active, standby) = pair.await_first();
    let frozen = pair.everybody(active);
    frozen.iter().for_each(|pid| signal(*pid, "STOP"));
    assert_eq!(pair.await_active(standby, 2), "Fenced");
    frozen.iter().for_each(|pid| signal(*pid, "CONT"));
    assert_eq!(pair.lines("fenced"), [name(active)]);
    assert!(pair.everybody(active).is_empty());
    pair.assert_never_twice();
}

#[test]
fn a_switchover_moves_the_address_there_and_back() {
    let mut pair = Pair::fenced();
    pair.start_both();
    let (active, standby) = pair.await_first();
    let refused = pair.ctl(standby, &["switchover"]);
    assert_eq!(refused.status.code(), Some(1));
    assert!(text(&refused).contains("not active here: ask n1"), "{}", text(&refused));
    for (epoch, from, to) in [(2, active, standby), (3, standby, active)] {
        pair.await_standby(to);
        let moved = pair.switched_over(from);
        assert_eq!(text(&moved), format!("{} has it, in epoch {epoch}\n", name(to)));
        assert_eq!(pair.await_active(to, epoch), "Released");
    }
    assert_eq!(pair.lines("served"), ["n1 1", "n2 2", "n1 3"]);
    pair.assert_never_twice();
}

#[test]
fn a_stopped_node_hands_over_releases_and_exits_with_zero() {
    let mut pair = Pair::fenced();
    pair.start_both();
    let (active, standby) = pair.await_first();
    signal(pair.outer(active), "TERM");
    assert_eq!(pair.await_active(standby, 2), "Released");
    assert_eq!(pair.wait(active).code(), Some(0), "{}", pair.logs());
    assert!(pair.everybody(active).is_empty());
    // The last one releases as well, to nobody.
    signal(pair.outer(standby), "TERM");
    assert_eq!(pair.wait(standby).code(), Some(0), "{}", pair.logs());
    assert_eq!(pair.lines("fenced"), Vec::<String>::new());
    assert!(pair.everybody(standby).is_empty());
    pair.assert_never_twice();
}

#[test]
fn without_a_guardian_a_death_needs_the_fence_and_a_stop_is_as_orderly() {
    let mut pair = Pair::fenced();
    pair.start(0, &["--no-guardian"]);
    pair.start(1, &["--no-guardian"]);
    let (active, standby) = pair.await_first();
    signal(pair.outer(active), "KILL");
    assert_eq!(pair.await_active(standby, 2), "Fenced");
    pair.wait(active);
    // What the killed node had started was still there; the fence command ended it before anybody took over.
    assert!(pair.everybody(active).is_empty());
    signal(pair.outer(standby), "TERM");
    assert_eq!(pair.wait(standby).code(), Some(0), "{}", pair.logs());
    pair.assert_never_twice();
}

#[test]
fn accepted_split_brain_takes_silence_for_death_and_says_so() {
    let mut pair = Pair::with(&["--accept-split-brain"]);
    pair.start_both();
    let (active, standby) = pair.await_first();
    pair.cut_power(active);
    assert_eq!(pair.await_active(standby, 2), "AssumedDead");
    let log = pair.lines("n2.log").join("\n");
    assert!(log.contains("both nodes may serve at once"), "{log}");
}

#[test]
fn a_lease_is_initialised_by_the_first_node_and_decides_after_a_loss() {
    let mut pair = Pair::with(&["--i-accept-stale-reads", "--lease"]);
    let lease = pair.path("lease").display().to_string();
    // The second node alone waits: it never initialises anything.
    pair.start(1, &[&lease]);
    let deadline = std::time::Instant::now() + pair_node_support::PATIENCE;
    while !pair.lines("n2.log").join("\n").contains("waits until the lease") {
        assert!(std::time::Instant::now() < deadline, "{}", pair.logs());
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    assert!(!pair.path("lease").exists());
    pair.start(0, &[&lease]);
    let (active, standby) = pair.await_first();
    pair.cut_power(active);
    assert_eq!(pair.await_active(standby, 2), "LeaseExpired");
    pair.start(active, &[&lease]);
    pair.await_standby(active);
    signal(pair.outer(standby), "TERM");
    assert_eq!(pair.await_active(active, 3), "Released");
    assert_eq!(pair.wait(standby).code(), Some(0), "{}", pair.logs());
    pair.assert_never_twice();
}

#[test]
fn a_lease_of_another_pair_is_refused() {
    let mut pair = Pair::with(&["--i-accept-stale-reads", "--lease"]);
    let lease = pair.path("lease").display().to_string();
    pair.start(0, &[&lease]);
    pair.await_status(0, "a status", |_| true);
    signal(pair.outer(0), "TERM");
    assert_eq!(pair.wait(0).code(), Some(0), "{}", pair.logs());
    pair.start(0, &[&lease, "--cluster", "another"]);
    assert_eq!(pair.wait(0).code(), Some(1), "{}", pair.logs());
    let log = pair.lines("n1.log").join("\n");
    assert!(log.contains("--lease: ") && log.contains("installation"), "{log}");
}

#[test]
fn different_flags_on_both_nodes_are_named() {
    let mut pair = Pair::fenced();
    pair.start(0, &[]);
    pair.start(1, &["--stop-timeout", "3s"]);
    pair.await_status(0, "a named difference", |s| {
        s["peer"]["links"].as_array().is_some_and(|links| links.iter().any(|l| !l["last_refusal"].is_null()))
    });
}

#[test]
fn what_is_missing_or_in_use_is_said_before_anything_runs() {
    let mut pair = Pair::fenced();
    let run = |pair: &Pair, change: &[(&str, &str)]| {
        let mut flags = pair.flags(0);
        for (flag, value) in change {
            let at = flags.iter().position(|f| f == flag).unwrap();
            flags[at + 1] = (*value).into();
        }
        let output = exe().arg("run").args(flags).args(["--accept-split-brain"]).output().unwrap();
        (output.status.code(), text(&output))
    };
    let at = |name: &str| pair.path(name).display().to_string();
    fs::write(at("open-key"), [7; 32]).unwrap();
    fs::set_permissions(at("open-key"), fs::Permissions::from_mode(0o644)).unwrap();
    fs::write(at("file"), "not a socket").unwrap();
    for (change, status, expected) in [
        (("--key-file", at("no-key")), 1, "pair-node key"),
        (("--key-file", at("open-key")), 1, "chmod 600"),
        (("--state-dir", "/proc/nothing".into()), 1, "--state-dir /proc/nothing"),
        (("--control", at("file")), 1, "something else than a socket"),
        (("--control", at("no/where.sock")), 1, "--control"),
        (("--control", at(&"x".repeat(120))), 1, "more than 103 bytes"),
        (("--peer", "n1".into()), 2, "--name and --peer are both"),
        (("--dead", "100ms".into()), 2, "more than twice the beat"),
        (("--dead", "3m".into()), 2, "links[0].dead"),
    ] {
        let (found, said) = run(&pair, &[(change.0, change.1.as_str())]);
        assert_eq!(found, Some(status), "{change:?}: {said}");
        assert!(said.contains(expected), "{change:?}: {said}");
    }
    pair.start(0, &[]);
    pair.await_status(0, "a status", |_| true);
    let (found, said) = run(&pair, &[]);
    assert_eq!(found, Some(1), "{said}");
    assert!(said.contains("another guardian"), "{said}");
}

#[test]
fn keys_and_fence_commands_are_tried_by_hand() {
    let pair = Pair::fenced();
    assert_eq!((fs::read(pair.path("key")).unwrap().len(), mode(&pair.path("key"))), (32, 0o600));
    let again = exe().arg("key").arg(pair.path("key")).output().unwrap();
    assert_eq!(again.status.code(), Some(1));
    assert!(text(&again).contains("must not be overwritten"), "{}", text(&again));
    for (command, action, status, expected) in [
        ("true", "status", 0, "n2 is on"),
        ("sh -c 'exit 2'", "status", 2, "n2 was verified off"),
        ("true", "off", 0, "n2 was verified off"),
        ("true", "on", 0, "n2 is on"),
        (
            "sh -c 'echo no power; exit 7'",
            "off",
            1,
            "exit status 7, expected exit status 0, once the node is verified off; it printed: no power",
        ),
        ("/no/such", "off", 1, "cannot execute /no/such"),
        ("sh -c 'sleep 100'", "status", 1, "did not end within 200ms"),
    ] {
        let timeout = if expected.contains("200ms") { "200ms" } else { "60s" };
        let options = ["fence", "--fence-timeout", timeout, "--fence-command", command, action, "n2"];
        let output = exe().args(options).output().unwrap();
        assert_eq!(output.status.code(), Some(status), "{command} {action}: {}", text(&output));
        assert!(text(&output).contains(expected), "{command} {action}: {}", text(&output));
    }
}

#[test]
fn a_node_that_does_not_run_is_no_hang_for_who_asks() {
    let dir = tempfile::tempdir().unwrap();
    let output = exe()
        .args(["ctl", "--control", dir.path().join("none").to_str().unwrap(), "status"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output).contains("no node runs with this --control"), "{}", text(&output));
    assert_eq!(exe().args(["ctl", "--control", "x", "dance"]).output().unwrap().status.code(), Some(2));
    for help in [&["--help"][..], &["run", "--help"], &["ctl", "--help"], &["fence", "--help"]] {
        assert!(exe().args(help).output().unwrap().status.success());
    }
}
