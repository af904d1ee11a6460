#![allow(clippy::disallowed_types, reason = "real programs take real time")]
use super::*;
use crate::testkit::fence::FenceTest;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::sync::{Arc, Mutex};
use tempfile::TempDir;

const LONG: Duration = Duration::from_secs(60);
const SHORT: Duration = Duration::from_millis(100);
const OFF: FenceAnswer = FenceAnswer::Off { scope: FenceScope::Incarnation };

/// A place for a program that the test writes. It is run by `sh`: a file that was written just now cannot always be
/// executed while other threads fork.
struct Script {
    dir: TempDir,
}

impl Script {
    fn new(text: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("fence"), text.replace("DIR", dir.path().to_str().unwrap())).unwrap();
        Self { dir }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn fence(&self, timeout: Duration) -> CommandFence {
        let line = CommandLine::of(["sh".into(), self.path("fence").display().to_string()]).unwrap();
        CommandFence::new(line).unwrap().with_timeout(timeout)
    }

    /// The pid in a file that the program writes.
    fn pid(&self, name: &str) -> Option<u32> {
        std::fs::read_to_string(self.path(name)).ok()?.trim().parse().ok()
    }
}

/// Whether a process can still do anything.
fn lives(pid: u32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z"))
}

async fn until(what: &str, condition: impl Fn() -> bool) {
    let deadline = std::time::Instant::now() + LONG;
    while !condition() {
        assert!(std::time::Instant::now() < deadline, "{what} did not come about");
        tokio::task::yield_now().await;
    }
}

/// A victim of real life: a process, its pid in a file where the program finds it.
struct Victim {
    file: PathBuf,
    child: Mutex<Option<Child>>,
}

impl Victim {
    fn is_on(&self) -> bool {
        self.child.lock().unwrap().as_mut().is_some_and(|child| child.try_wait().unwrap().is_none())
    }

    fn turn_on(&self) {
        if !self.is_on() {
            let child = Command::new("sleep").arg("300").spawn().unwrap();
            let new = self.file.with_extension("new");
            std::fs::write(&new, child.id().to_string()).unwrap();
            std::fs::rename(new, &self.file).unwrap();
            *self.child.lock().unwrap() = Some(child);
        }
    }
}

impl Drop for Victim {
    fn drop(&mut self) {
        if let Some(child) = self.child.lock().unwrap().as_mut() {
            let _ = child.kill();
            child.wait().unwrap();
        }
    }
}

/// Kills, and says "off" when the process is gone or a zombie.
const HONEST: &str = r#"
pid=$(cat "DIR/$2.pid") || exit 1
gone() { ! [ -d /proc/$pid ] || grep -q ') Z' /proc/$pid/stat || ! [ -d /proc/$pid ]; }
case $1 in
status) gone && exit 2; exit 0 ;;
off) kill -9 $pid; until gone; do :; done; exit 0 ;;
esac
exit 1
"#;

#[tokio::test]
async fn an_honest_command_passes_the_kit() {
    let script = Script::new(HONEST);
    let victim = Victim { file: script.path("n2.pid"), child: Mutex::default() };
    let device = Arc::new(script.fence(LONG));
    let (there, away) = (script.path("fence"), script.path("away"));
    let cut_off =
        |cut| std::fs::rename(if cut { &there } else { &away }, if cut { &away } else { &there }).unwrap();
    let test = FenceTest::new(device, "n2", LONG, || victim.is_on(), || victim.turn_on()).cut_off_by(cut_off);
    let report = test.run().await.map_err(|failed| failed.to_string()).unwrap();
    assert_eq!((report.passed.len(), report.skipped.len()), (7, 0), "{report}");
}

#[tokio::test]
async fn a_command_that_lies_is_found_by_the_kit() {
    let script = Script::new("exit 0");
    let victim = Victim { file: script.path("n2.pid"), child: Mutex::default() };
    let device = Arc::new(script.fence(LONG));
    let failed =
        FenceTest::new(device, "n2", LONG, || victim.is_on(), || victim.turn_on()).run().await.unwrap_err();
    assert!(failed.failures.iter().any(|f| f.check == "off means off"), "{failed}");
}

#[tokio::test]
async fn only_the_agreed_exit_status_is_an_answer() {
    for code in 0..=255 {
        let fence = Script::new(&format!("exit {code}"));
        let device = fence.fence(LONG);
        let expected = match code {
            0 => (FenceAnswer::On, OFF),
            2 => (OFF, FenceAnswer::Failed),
            _ => (FenceAnswer::Failed, FenceAnswer::Failed),
        };
        assert_eq!((device.status("n2").await, device.fence("n2").await), expected, "exit status {code}");
        assert_eq!(device.turn_on("n2").await.is_ok(), code == 0);
    }
}

#[tokio::test]
async fn an_interpreter_that_cannot_run_the_script_does_not_say_off() {
    let script = Script::new("");
    for program in ["sh /no/such/script", "sh -c 'if' --", "grep --no-such-option"] {
        let device = CommandFence::new(program.parse().unwrap()).unwrap();
        let error = device.ask("n2").await.unwrap_err().to_string();
        assert!(error.contains("exit status 2") && error.contains("it printed"), "{program}: {error}");
        assert_eq!(device.status("n2").await, FenceAnswer::Failed);
    }
    std::fs::write(script.path("fence"), "echo looked everywhere; exit 2").unwrap();
    assert_eq!(script.fence(LONG).status("n2").await, OFF);
}

#[tokio::test]
async fn a_signal_is_no_answer_and_is_told_with_what_was_printed() {
    let fence = Script::new("echo the board is deaf >&2; kill -9 $$");
    let error = fence.fence(LONG).turn_off("n2").await.unwrap_err().to_string();
    for part in
        ["fence off n2 ended with signal 9", "expected exit status 0", "it printed: the board is deaf"]
    {
        assert!(error.contains(part), "{error}");
    }
}

#[tokio::test]
async fn words_and_scope_reach_their_places() {
    let script = Script::new(r#"printf '%s|' "$@" > DIR/words; exit 2"#);
    let line = format!("sh {} --node='{{node}} x' {{action}}", script.path("fence").display());
    let device = CommandFence::new(line.parse().unwrap()).unwrap().with_scope(FenceScope::Processes);
    assert_eq!(device.status("n 2;$(id)").await, FenceAnswer::Off { scope: FenceScope::Processes });
    let words = std::fs::read_to_string(script.path("words")).unwrap();
    assert_eq!(words, "--node=n 2;$(id) x|status|");
    let half = CommandFence::new("fence {node}".parse().unwrap()).unwrap_err().to_string();
    assert!(half.contains("not {action}"), "{half}");
}

#[tokio::test]
async fn what_cannot_be_executed_is_said_and_proves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let plain = dir.path().join("plain");
    std::fs::write(&plain, "#!/bin/sh\nexit 0\n").unwrap();
    for (program, hint) in
        [(Path::new("/no/such/fence"), "expected the path"), (&plain, "chmod +x"), (dir.path(), "chmod +x")]
    {
        let device = CommandFence::new(CommandLine::of([program.to_str().unwrap()]).unwrap()).unwrap();
        assert_eq!(
            (device.status("n2").await, device.fence("n2").await),
            (FenceAnswer::Failed, FenceAnswer::Failed)
        );
        let error = device.turn_off("n2").await.unwrap_err().to_string();
        assert!(error.contains("cannot execute") && error.contains(hint), "{error}");
    }
}

#[tokio::test]
async fn a_command_that_overruns_proves_nothing_and_its_whole_group_is_killed() {
    // It ignores every polite signal, has a grandchild that does so too, and would end with 0, late.
    let script = Script::new(
        "trap '' TERM INT HUP\n(trap '' TERM; echo $$ > DIR/grand; sleep 300) &\necho $! > DIR/child; echo $$ > DIR/own\n\
         echo it takes its time\nsleep 2\nexit 0",
    );
    let error = script.fence(SHORT).turn_off("n2").await.unwrap_err();
    assert!(matches!(error, CommandError::Timeout { .. }), "{error}");
    assert_eq!(script.fence(SHORT).status("n2").await, FenceAnswer::Failed);
    for name in ["own", "child"] {
        if let Some(pid) = script.pid(name) {
            until("the end of the group", || !lives(pid)).await;
        }
    }
}

#[tokio::test]
async fn grandchildren_that_keep_the_output_open_hold_up_no_answer() {
    let script = Script::new("sleep 300 & echo $! > DIR/child; exit 0");
    assert_eq!(script.fence(LONG).fence("n2").await, OFF);
    let pid = script.pid("child").unwrap();
    until("the end of the grandchild", || !lives(pid)).await;
}

#[tokio::test]
async fn what_on_started_runs_on() {
    let script = Script::new("sleep 300 >/dev/null 2>&1 & echo $! > DIR/child; exit 0");
    script.fence(LONG).turn_on("n2").await.unwrap();
    let pid = script.pid("child").unwrap();
    assert!(lives(pid));
    rustix::process::kill_process(rustix::process::Pid::from_raw(pid.cast_signed()).unwrap(), Signal::KILL)
        .unwrap();
}

#[tokio::test]
async fn megabytes_of_output_are_read_and_their_end_is_kept() {
    let script = Script::new("head -c 5000000 /dev/zero | tr '\\0' x; echo; echo the last word; exit $2");
    let device = script.fence(LONG);
    assert_eq!(device.fence("0").await, OFF);
    let error = device.turn_off("7").await.unwrap_err().to_string();
    assert!(error.ends_with("the last word") && error.len() < 3000, "{} bytes: {error}", error.len());
}

#[tokio::test]
async fn a_call_that_is_given_up_leaves_no_process() {
    let script = Script::new("echo $$ > DIR/own; sleep 300");
    let device = script.fence(LONG);
    let call = tokio::spawn(async move { device.status("n2").await });
    until("the program's start", || script.pid("own").is_some()).await;
    let pid = script.pid("own").unwrap();
    assert!(lives(pid));
    call.abort();
    until("its end", || !lives(pid)).await;
}
