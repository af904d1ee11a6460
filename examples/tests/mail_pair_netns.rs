//! `mail-pair --netns`: the main job with real interfaces, a real service address and real cables.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use serde_json::Value;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::process::{Command, Output};

const NOBODY: u32 = 65534;

fn mail_pair(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mail-pair"));
    command.arg("--netns").args(arguments);
    command
}

fn said(out: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr))
}

fn report(out: &Output) -> Value {
    serde_json::from_slice(&out.stdout).unwrap_or_else(|error| panic!("{error}: {}", said(out)))
}

fn short(faults: &str) -> Vec<&str> {
    vec!["--faults", faults, "--clients", "1", "--duration", "0", "--json"]
}

/// How long mail paused on a busy machine is not these tests' business; what was kept, and who had the address, is.
fn assert_safe(report: &Value) {
    for (field, expected) in [
        ("network", Value::from("netns")),
        ("lost", 0.into()),
        ("damaged", 0.into()),
        ("forbidden_duplicates", 0.into()),
        ("dual_active_ms", 0.0.into()),
        ("stores_identical", true.into()),
    ] {
        assert_eq!(report[field], expected, "{field}: {report}");
    }
    assert_eq!(report["present"], report["acknowledged"], "{report}");
    assert_eq!(report["address"]["on_both_ms"], 0.0, "{report}");
    assert!(report["address"]["looks"].as_u64().unwrap() > 100, "{report}");
}

#[test]
#[ignore = "needs network namespaces"]
fn a_real_address_follows_kills_cuts_and_power_losses_and_is_never_on_both() {
    let faults = "process-kill,power-loss-active,replication-cut,network-cut-active,isolation,switchover";
    let out = mail_pair(&short(faults)).output().unwrap();
    let report = report(&out);
    assert_safe(&report);
    assert_eq!(report["address"]["held_by"], serde_json::json!(["n1", "n2"]), "{report}");
    let found = report["faults"].as_array().unwrap();
    let proofs: Vec<_> = found.iter().map(|fault| fault["proof"].as_str().unwrap()).collect();
    assert_eq!(
        proofs,
        ["Released{forced}", "Fenced", "Consented", "Released", "Fenced", "Released"],
        "{report}"
    );
    for moved in [0, 1, 3, 5] {
        assert_ne!(found[moved]["owner_before"], found[moved]["owner_after"], "{report}");
    }
}

#[test]
#[ignore = "needs network namespaces"]
fn one_shared_store_is_served_at_a_real_address() {
    let faults = [&["--mode", "shared"], &short("power-loss-active,heartbeat-cut")[..]].concat();
    let report = report(&mail_pair(&faults).output().unwrap());
    assert_safe(&report);
    assert_eq!(report["mode"], "shared");
    let fenced: Vec<_> = report["faults"].as_array().unwrap().iter().map(|f| &f["proof"]).collect();
    assert_eq!(fenced, ["Fenced", "Fenced"], "{report}");
}

#[test]
#[ignore = "needs network namespaces"]
fn a_takeover_without_a_proof_is_seen_by_the_address_on_both_nodes() {
    let arguments = [&short("isolation")[..], &["--sabotage", "no-fence"]].concat();
    // A failed run is kept, in there.
    let place = tempfile::tempdir().unwrap();
    let out = mail_pair(&arguments).env("TMPDIR", place.path()).output().unwrap();
    let report = report(&out);
    assert_eq!((out.status.code(), &report["verdict"]), (Some(1), &"fail".into()), "{report}");
    assert!(report["address"]["on_both_ms"].as_f64().unwrap() > 0.0, "{report}");
    assert!(report["dual_active_ms"].as_f64() >= report["address"]["on_both_ms"].as_f64(), "{report}");
}

/// In a directory that everybody may read, as the build directory may be closed to others.
#[test]
#[ignore = "needs network namespaces"]
fn an_ordinary_user_runs_it_where_user_namespaces_are_permitted() {
    let place = tempfile::tempdir().unwrap();
    fs::set_permissions(place.path(), Permissions::from_mode(0o777)).unwrap();
    let copy = place.path().join("mail-pair");
    fs::copy(env!("CARGO_BIN_EXE_mail-pair"), &copy).unwrap();
    let mut command = Command::new(&copy);
    command.arg("--netns").args(short("power-loss-active")).env("TMPDIR", place.path()).current_dir("/");
    let report = report(&command.uid(NOBODY).gid(NOBODY).output().unwrap());
    assert_safe(&report);
    assert_eq!(report["faults"][0]["proof"], "Fenced", "{report}");
}

#[test]
#[ignore = "needs network namespaces"]
fn a_machine_that_permits_no_namespaces_is_told_what_to_do() {
    let forbid = "echo 0 > /proc/sys/user/max_net_namespaces && exec \"$0\" --netns";
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", "sh", "-c", forbid, env!("CARGO_BIN_EXE_mail-pair")]);
    let out = command.output().unwrap();
    let said = said(&out);
    assert_eq!(out.status.code(), Some(2), "{said}");
    for part in ["--netns: cannot make a network namespace", "expected root", "leave --netns out"] {
        assert!(said.contains(part), "{part}: {said}");
    }
}
