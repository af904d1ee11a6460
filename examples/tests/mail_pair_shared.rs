//! `mail-pair --mode shared`: both nodes write to one Maildir in turn, as the arbiter on its disk says.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use ha_storage_shared::{AcceptStaleReads, DiskArbiter, DiskError};
use serde_json::Value;
use std::path::Path;
use std::process::{Command, Output};

fn mail_pair(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_mail-pair")).args(["--mode", "shared"]).args(arguments).output().unwrap()
}

/// How often each grant's mail is in the store.
fn grants_in(store: &Path) -> std::collections::BTreeMap<u64, usize> {
    let mut grants = std::collections::BTreeMap::new();
    for entry in std::fs::read_dir(store.join("new")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let epoch = name.split_once(".E").unwrap().1.split_once('I').unwrap().0;
        *grants.entry(epoch.parse().unwrap()).or_insert(0) += 1;
    }
    grants
}

#[test]
fn a_kill_and_a_switchover_go_through_the_disk_and_both_nodes_fill_one_store() {
    let dir = tempfile::tempdir().unwrap();
    let run = dir.path().join("run");
    let faults = ["--faults", "process-kill,switchover", "--clients", "1", "--duration", "0"];
    let out = mail_pair(&[&faults[..], &["--json", "--keep", "--dir", run.to_str().unwrap()]].concat());
    let said = format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    let report: Value = serde_json::from_slice(&out.stdout).expect(&said);
    for (field, expected) in [
        ("mode", Value::from("shared")),
        ("lost", 0.into()),
        ("damaged", 0.into()),
        ("dual_active_ms", 0.0.into()),
        ("stores_identical", true.into()),
    ] {
        assert_eq!(report[field], expected, "{field}: {said}");
    }
    assert_eq!(report["present"], report["acknowledged"], "{said}");
    // How long mail paused on a busy machine is not this test's business; who owned on what proof is.
    let moves: Vec<_> = report["faults"].as_array().unwrap().iter().collect();
    assert_eq!(moves.len(), 2, "{said}");
    for (fault, proof) in moves.iter().zip(["Released{forced}", "Released"]) {
        assert_eq!(fault["proof"], proof, "{said}");
        assert_ne!(fault["owner_before"], fault["owner_after"], "{said}");
        assert_eq!(fault["epoch_after"].as_u64(), fault["epoch_before"].as_u64().map(|e| e + 1), "{said}");
    }
    let grants = grants_in(&run.join("shared/mail"));
    assert_eq!(grants.keys().copied().collect::<Vec<_>>(), [1, 2, 3], "{said}");
    assert!(!run.join("n1/mirror").exists() && !run.join("n2/mirror").exists());
    // The last owner gave the group back when it ended; the disk still knows its grant.
    let arbiter = run.join("shared/arbiter");
    let found = match DiskArbiter::inspect(&arbiter, None) {
        Err(DiskError::NoDirectIo { .. }) => DiskArbiter::inspect(&arbiter, Some(AcceptStaleReads)),
        found => found,
    };
    assert_eq!(found.unwrap().groups[0].record.unwrap().epoch.0, 3, "{said}");
    // What the disk answered is recorded like everything else that the engines were fed.
    for node in ["n1", "n2"] {
        let replayed =
            Command::new(env!("CARGO_BIN_EXE_replay")).args([run.join(node)]).arg("--json").output().unwrap();
        let verdict: Value = serde_json::from_slice(&replayed.stdout).unwrap();
        assert_eq!((&verdict["same"], &verdict["whole"]), (&true.into(), &true.into()), "{verdict}");
    }
}

#[test]
fn what_needs_a_mirror_is_refused_before_anything_runs() {
    for (arguments, named) in [
        (["--faults", "replication-cut"], "replication-cut"),
        (["--sabotage", "no-exclusion"], "no other copy"),
        (["--sabotage", "no-fsync-wait"], "no journal"),
    ] {
        let out = mail_pair(&arguments);
        let said = String::from_utf8_lossy(&out.stderr).into_owned();
        assert_eq!(out.status.code(), Some(2), "{said}");
        assert!(said.contains(named) && said.contains("--mode mirror"), "{said}");
    }
}
