//! The logs of a real run of `mail-pair`, of both nodes and all their lives, decided again by `replay`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use serde_json::Value;
use std::path::Path;
use std::process::{Command, Output};

fn replay(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_replay")).args(arguments).output().unwrap()
}

fn replayed(node: &Path) -> Value {
    let out = replay(&[node.to_str().unwrap(), "--json"]);
    assert!(
        out.status.success(),
        "{}{}",
        String::from_utf8_lossy(&out.stdout),
        String::from_utf8_lossy(&out.stderr)
    );
    serde_json::from_slice(&out.stdout).unwrap()
}

#[test]
fn a_run_with_a_kill_and_a_switchover_replays_to_the_same_decisions_on_both_nodes() {
    let dir = tempfile::tempdir().unwrap();
    let run = dir.path().join("run");
    let faults = [
        "--faults",
        "process-kill,switchover",
        "--clients",
        "1",
        "--duration",
        "0",
        "--json",
        "--keep",
        "--dir",
    ];
    let out = Command::new(env!("CARGO_BIN_EXE_mail-pair")).args(faults).arg(&run).output().unwrap();
    let said = || format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    // How long mail paused on a busy machine is not this test's business; that the run happened is.
    assert!(run.join("n1/engine.log").exists() && run.join("n2/engine.log").exists(), "{}", said());
    let (mut lives, mut grants, mut elses) = (0, 0, 0);
    for node in ["n1", "n2"] {
        let verdict = replayed(&run.join(node));
        assert_eq!(
            (&verdict["same"], &verdict["whole"]),
            (&Value::Bool(true), &Value::Bool(true)),
            "{verdict}"
        );
        let list = verdict["lives"].as_array().unwrap();
        lives += list.len();
        assert!(list.iter().all(|l| l["lost_steps"] == 0 && l["steps"].as_u64() > Some(100)), "{list:#?}");
        for decision in verdict["decisions"].as_array().unwrap() {
            grants += u32::from(decision["decision"].get("grant").is_some());
            elses += decision["counterfactuals"].as_array().unwrap().len();
        }
    }
    assert!(lives >= 3, "a kill and no new life? {}", said());
    assert!(grants >= 3 && elses > 5, "{grants} grants, {elses} counterfactuals; {}", said());

    let (node, settings) = (run.join("n2"), run.join("n2/settings.json"));
    let same = replay(&[node.to_str().unwrap(), "--config", settings.to_str().unwrap()]);
    assert!(same.status.success(), "{}", String::from_utf8_lossy(&same.stderr));
    let text = String::from_utf8(same.stdout).unwrap();
    assert!(text.contains("every one as it was recorded") && text.contains("    rule     "), "{text}");
    let other = std::fs::read_to_string(&settings).unwrap().replace("\"mail-pair\"", "\"another\"");
    let file = dir.path().join("other.json");
    std::fs::write(&file, other).unwrap();
    let refused = replay(&[node.to_str().unwrap(), "--config", file.to_str().unwrap()]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("another configuration: cluster"));
}

#[test]
fn what_cannot_be_replayed_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("engine.log");
    std::fs::write(&file, "not a log at all").unwrap();
    let out = replay(&[file.to_str().unwrap()]);
    assert_eq!(out.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&out.stderr).contains("expected an engine log"));
    let help = String::from_utf8(replay(&["--help"]).stdout).unwrap();
    assert!(help.contains("--at") && help.contains("--json") && help.contains("Exit status"), "{help}");
}
