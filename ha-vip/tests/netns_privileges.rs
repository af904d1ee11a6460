//! Two capabilities are enough, and what is missing is named.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed step of a test is a failed test")]

mod netns_space;

use netns_space::process::{Node, Process, serve};
use netns_space::{Space, answers, until};
use std::process::Command;
use std::time::Duration;

#[test]
#[ignore = "a process that another test starts"]
fn serves_as_an_ordinary_user() {
    serve();
}

const NODE: Node<'static> = Node {
    specs: "10.77.0.100/24@lan0 fd00::64/64@lan0",
    lifetime: Duration::from_secs(2),
    gate: Some(Duration::from_millis(500)),
    token: None,
};

/// This test binary where every user may execute it.
struct Program(tempfile::TempDir);

impl Program {
    fn new() -> Self {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        std::fs::copy(std::env::current_exe().unwrap(), dir.path().join("program")).unwrap();
        Self(dir)
    }

    /// It as nobody, with these capabilities only.
    fn as_nobody(&self, space: &Space, capabilities: &str) -> Command {
        let mut command = space.command("setpriv");
        command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups"]);
        command.args(["--inh-caps", capabilities, "--ambient-caps", capabilities]);
        command.arg(self.0.path().join("program"));
        command.current_dir(self.0.path());
        command
    }
}

#[test]
#[ignore = "needs network namespaces"]
fn an_ordinary_user_with_two_capabilities_serves_renews_and_is_gated() {
    let (one, two) = Space::pair();
    let program = Program::new();
    let mut command = program.as_nobody(&one, "-all,+net_admin,+net_raw");
    let process = Process::spawn(&mut command, "serves_as_an_ordinary_user", NODE);
    assert!(answers(&two, "10.77.0.100") && answers(&two, "fd00::64"));
    process.kill();
    until("lapsed", || !one.has("10.77.0.100") && !one.has("fd00::64"));
}

#[test]
#[ignore = "needs network namespaces"]
fn without_them_the_missing_one_is_named() {
    let (one, _two) = Space::pair();
    let program = Program::new();
    let mut command = program.as_nobody(&one, "-all,+net_raw");
    command.args(["--ignored", "--exact", "serves_as_an_ordinary_user", "--nocapture"]);
    command.env("HA_VIP_TEST_SPECS", NODE.specs).env("HA_VIP_TEST_LIFETIME_MS", "2000");
    let out = command.output().unwrap();
    let said = String::from_utf8_lossy(&out.stderr);
    assert!(!out.status.success());
    assert!(said.contains("CAP_NET_ADMIN is missing") && said.contains("user:["), "{said}");
    assert!(!one.has("10.77.0.100"));
}

#[test]
#[ignore = "needs network namespaces"]
fn a_namespace_of_another_owner_is_told_from_a_missing_capability() {
    let (one, _two) = Space::pair();
    // In a user namespace of its own a process has every capability, but not over this network namespace.
    let mut command = one.command("unshare");
    command.args(["--user", "--map-root-user"]).arg(std::env::current_exe().unwrap());
    command.args(["--ignored", "--exact", "serves_as_an_ordinary_user", "--nocapture"]);
    command.env("HA_VIP_TEST_SPECS", NODE.specs).env("HA_VIP_TEST_LIFETIME_MS", "2000");
    let out = command.output().unwrap();
    let said = String::from_utf8_lossy(&out.stderr);
    assert!(!out.status.success());
    assert!(said.contains("the network namespace belongs to another one"), "{said}");
}
