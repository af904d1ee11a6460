//! The program that proves a configuration says what the library says, as text and as JSON.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::path::PathBuf;
use std::process::{Command, Output};

fn file(name: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "config", name].iter().collect()
}

fn prove(name: &str, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_prove")).arg(file(name)).args(arguments).output().unwrap()
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn both_examples_are_proven_with_their_outages_and_their_availability() {
    for (name, place) in [("mail.toml", "mirror: 99.9"), ("shared.toml", "shared disk: 99.9")] {
        let output = prove(name, &["--ranges"]);
        let said = text(&output);
        assert!(output.status.success(), "{said}");
        for wanted in ["both nodes active at once: 0 ms", "power-loss-active", place, "timing.feed_limit"] {
            assert!(said.contains(wanted), "{name}: no {wanted} in\n{said}");
        }
    }
}

#[test]
fn json_holds_the_same_proof() {
    let output = prove("mail.toml", &["--json"]);
    let answer: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(answer["proven"], true);
    assert_eq!(answer["proof"]["outages"][0]["total_ms"], 650.0);
    assert_eq!(answer["proof"]["inequalities"][0]["danger"], "twice-active");
    assert!(answer["proof"]["availability"][0]["honest_seconds_per_year"].as_f64() > Some(1.0));
}

#[test]
fn a_budget_gives_a_configuration_that_proves_by_itself_or_the_smallest_that_is_possible() {
    let output = prove("mail.toml", &["--json", "--budget", "3s"]);
    let answer: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(answer["proven"], true, "{answer}");
    assert_eq!(answer["config"]["outage_budget"], "3s");
    let said = text(&prove("mail.toml", &["--budget", "100ms"]));
    assert!(said.contains("not possible: found a budget of 100 ms, expected at least"), "{said}");
}

#[test]
fn a_refusal_names_the_mend_and_ends_with_one() {
    let config = std::fs::read_to_string(file("mail.toml")).unwrap() + "[timing]\nfeed_limit = \"240ms\"\n";
    let at = tempfile::tempdir().unwrap();
    let path = at.path().join("bad.toml");
    std::fs::write(&path, config).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_prove")).arg(&path).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output).contains("raise timing.feed_limit from 240 ms to 251 ms"), "{}", text(&output));
    let output = Command::new(env!("CARGO_BIN_EXE_prove")).arg(at.path().join("none")).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
}
