//! The README's program does what the README says, in the lines it says.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::process::Command;

#[test]
fn the_program_of_the_readme_fails_over_on_proof() {
    let output = Command::new(env!("CARGO_BIN_EXE_hello-failover")).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    let lines: Vec<_> = said.lines().collect();
    assert_eq!(lines[0], "epoch 1, proof NeverStarted: hello from left");
    assert_eq!(lines[1], "epoch 2, proof Fenced: hello from right");
}

#[test]
fn the_program_of_the_readme_has_at_most_forty_lines() {
    let lines = include_str!("../src/bin/hello-failover.rs").lines().count();
    assert!(lines <= 40, "{lines} lines");
}
