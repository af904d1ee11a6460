//! The measurement of takeovers measures: a real keepalived loses its power, and its links.

#![allow(clippy::unwrap_used, reason = "a failed set-up fails the test")]

use ha_examples::vip::bench::fence::PowerSwitch;
use ha_vip::testbed::{self, DataCentre};
use serde_json::Value;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

fn trials(arguments: &[&str]) -> Vec<Value> {
    let mut bench = Command::new(env!("CARGO_BIN_EXE_vip-bench"));
    let output = bench
        .args(["--json", "--trials", "1", "--software", "keepalived", "--events"])
        .args(arguments)
        .output();
    let output = output.unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    serde_json::from_slice(&output.stdout).unwrap()
}

#[test]
#[ignore = "needs network namespaces"]
fn a_power_loss_of_keepalived_is_an_outage_and_a_cut_puts_its_address_on_both() {
    let trials = trials(&["power-loss,heartbeat-cut"]);
    let [loss, cut] = trials.as_slice() else { panic!("{trials:?}") };
    assert_eq!((&loss["before"], &loss["after"]), (&"n1".into(), &"n2".into()));
    // Three adverts of 50 ms must be missed, less the one that was just sent.
    assert!(loss["outage_ms"].as_f64().unwrap() >= 100.0, "{loss}");
    assert_eq!(loss["both_ms"], 0.0, "{loss}");
    assert!(
        cut["both_ms"].as_f64().unwrap() > 0.0 && cut["both_answered_ms"].as_f64().unwrap() > 0.0,
        "{cut}"
    );
}

#[test]
#[ignore = "needs network namespaces"]
fn the_fence_command_says_off_only_of_what_is_off() {
    testbed::test(|| {
        let centre = Arc::new(DataCentre::pair().build().unwrap());
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("fence.sock");
        let switch = PowerSwitch::listen(&centre, socket.clone(), Duration::ZERO).unwrap();
        let order = |action: &str, node: &str| {
            let mut helper = Command::new(env!("CARGO_BIN_EXE_vip-bench"));
            let helper = helper.arg("fence-helper").arg("--socket").arg(&socket).args([action, node]);
            helper.stderr(Stdio::null()).status().unwrap().code().unwrap()
        };
        let mut sleep = Command::new("sleep");
        sleep.arg("600");
        let process = centre.host("n1").unwrap().spawn(sleep).unwrap();
        assert_eq!(order("status", "n1"), 0);
        assert_eq!(order("off", "n1"), 0);
        assert!(process.try_wait().unwrap().is_some(), "it was off before it said so");
        assert_eq!(order("status", "n1"), 2);
        assert_eq!(order("off", "n1"), 0, "again");
        assert_eq!(order("off", "nobody"), 1);
        assert_eq!(order("on", "n1"), 0);
        assert_eq!((order("status", "n1"), order("status", "n2")), (0, 0));
        assert!(switch.orders().contains(&"off nobody -> failed".to_owned()));
        drop(switch);
        assert_eq!(order("off", "n1"), 1, "nobody answers for a switch that is gone");
        assert!(centre.host("n1").unwrap().is_on());
    });
}
