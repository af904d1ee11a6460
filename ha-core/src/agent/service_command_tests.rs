#![allow(clippy::disallowed_types, reason = "real programs take real time")]
use super::*;
use crate::api::{Environment, Undo, UndoError};
use crate::runtime::Unguarded;
use crate::testkit::resource::ResourceTest;
use crate::{Epoch, GroupId, TokenCell};
use futures::future::BoxFuture;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use tempfile::TempDir;

const LONG: Duration = Duration::from_secs(60);

/// Who runs with this word among its arguments, as `/proc` tells.
fn running(word: &str) -> Vec<u32> {
    let has = |pid: u32| {
        let words = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        words.split(|b| *b == 0).any(|w| w == word.as_bytes())
    };
    let entries = std::fs::read_dir("/proc").unwrap();
    let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    pids.filter(|pid| has(*pid)).collect()
}

fn kill(pid: u32) {
    let pid = rustix::process::Pid::from_raw(pid.cast_signed()).unwrap();
    let _ = rustix::process::kill_process(pid, Signal::KILL);
}

/// A number of seconds to sleep that no other process here sleeps for.
fn unique() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("3{:07}.{:03}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

async fn until(what: &str, condition: impl Fn() -> bool) {
    let deadline = std::time::Instant::now() + LONG;
    while !condition() {
        assert!(std::time::Instant::now() < deadline, "{what} did not come about");
        tokio::task::yield_now().await;
    }
}

/// An operation's surroundings in which undo steps are refused.
struct Refusing;

impl Environment for Refusing {
    fn now(&self) -> Instant {
        Unguarded.now()
    }
    fn sleep(&self, span: Duration) -> BoxFuture<'static, ()> {
        Unguarded.sleep(span)
    }
    fn spawn(&self, task: BoxFuture<'static, ()>) {
        Unguarded.spawn(task);
    }
    fn remember_undo(&self, undo: Undo) -> Result<(), UndoError> {
        Err(UndoError { kind: undo.kind, reason: "the test refuses it".into() })
    }
}

fn ctx_in(environment: impl Environment + 'static, budget: Duration) -> Ctx {
    let token = TokenCell::new(GroupId(0));
    token.set(Epoch(7), Instant::FAR);
    let deadline = environment.now() + budget;
    Ctx::new(Arc::new(environment), Epoch(7), deadline, token)
}

fn ctx() -> Ctx {
    ctx_in(Unguarded, LONG)
}

/// A service that is a program of the shell's, and the place where it leaves files.
struct Service {
    dir: TempDir,
    agent: CommandService,
}

impl Service {
    fn new(program: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let program = program.replace("DIR", dir.path().to_str().unwrap());
        let agent = CommandService::new("service", CommandLine::of(["sh", "-c", &program]).unwrap());
        Self { dir, agent }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    async fn written(&self, name: &str) -> String {
        until(name, || std::fs::read_to_string(self.file(name)).is_ok_and(|s| s.ends_with('\n'))).await;
        std::fs::read_to_string(self.file(name)).unwrap().trim().into()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_passes_the_kit() {
    let span = unique();
    let line = CommandLine::of(["sleep", &span]).unwrap();
    let make = || -> Arc<dyn Resource> { Arc::new(CommandService::new("service", line.clone())) };
    let left = || running(&span).iter().map(|pid| format!("process {pid}")).collect();
    let report = ResourceTest::new(make)
        .left_behind(left)
        .taken_back_by(crate::guardian::take_back)
        .broken_by(|| running(&span).into_iter().for_each(kill))
        .within(LONG)
        .run()
        .await;
    let report = report.map_err(|failed| failed.to_string()).unwrap();
    assert_eq!((report.passed.len(), report.skipped.len()), (11, 0), "{report}");
}

#[tokio::test]
async fn nothing_is_executed_before_the_guardian_knows_how_to_end_it() {
    let service = Service::new("echo ran > DIR/ran; exec sleep 300");
    let error = service.agent.start(&ctx_in(Refusing, LONG)).await.unwrap_err().to_string();
    assert!(error.contains("held back"), "{error}");
    assert_eq!(service.agent.monitor(&ctx()).await, Health::Stopped);
    // The child is gone by then, so nothing can run later either.
    assert!(!service.file("ran").exists());
}

#[tokio::test]
async fn nothing_is_executed_without_a_permission() {
    let service = Service::new("echo ran > DIR/ran; exec sleep 300");
    let ctx = ctx();
    ctx.token().revoke();
    let error = service.agent.start(&ctx).await.unwrap_err().to_string();
    assert!(error.contains("not granted"), "{error}");
    assert!(!service.file("ran").exists());
}

#[tokio::test]
async fn what_cannot_be_executed_is_said() {
    let dir = tempfile::tempdir().unwrap();
    let plain = dir.path().join("plain");
    std::fs::write(&plain, "#!/bin/sh\n").unwrap();
    for (program, hint) in [("/no/such/service", "expected the path"), (plain.to_str().unwrap(), "chmod +x")]
    {
        let agent = CommandService::new("service", CommandLine::of([program]).unwrap());
        let error = agent.start(&ctx()).await.unwrap_err().to_string();
        assert!(error.contains(&format!("cannot execute {program}")) && error.contains(hint), "{error}");
        assert_eq!(agent.monitor(&ctx()).await, Health::Stopped);
        agent.stop(&ctx()).await.unwrap();
    }
}

#[tokio::test]
async fn it_is_asked_to_end_and_given_the_time_for_it() {
    let service = Service::new(
        "trap 'echo farewell > DIR/farewell; exit 0' TERM; echo up > DIR/up; while :; do sleep 0.01; done",
    );
    service.agent.start(&ctx()).await.unwrap();
    service.written("up").await;
    assert_eq!(service.agent.monitor(&ctx()).await, Health::Running);
    service.agent.stop(&ctx()).await.unwrap();
    assert_eq!(service.written("farewell").await, "farewell");
    assert_eq!(service.agent.monitor(&ctx()).await, Health::Stopped);
}

#[tokio::test]
async fn one_that_ignores_its_stop_is_killed_with_its_children_within_the_budget() {
    let span = unique();
    let service = Service::new(&format!(
        "trap '' TERM; (trap '' TERM; exec sleep {span}) & echo up > DIR/up; while :; do sleep {span}; done"
    ));
    service.agent.start(&ctx()).await.unwrap();
    service.written("up").await;
    until("both sleepers", || running(&span).len() >= 2).await;
    service.agent.stop(&ctx_in(Unguarded, Duration::from_secs(4))).await.unwrap();
    assert_eq!(running(&span), Vec::<u32>::new());
}

#[tokio::test]
async fn a_daemon_that_left_the_group_and_the_session_is_ended_too() {
    let span = unique();
    let service =
        Service::new(&format!("setsid sleep {span} >/dev/null 2>&1 & echo up > DIR/up; exec sleep 300"));
    service.agent.start(&ctx()).await.unwrap();
    service.written("up").await;
    until("the daemon", || !running(&span).is_empty()).await;
    service.agent.stop(&ctx()).await.unwrap();
    assert_eq!(running(&span), Vec::<u32>::new());
}

#[tokio::test]
async fn one_that_ended_is_failed_and_starts_again_without_what_the_first_one_left() {
    let span = unique();
    let service = Service::new(&format!(
        "if [ -e DIR/once ]; then exec sleep 300; fi; echo up > DIR/once; sleep {span} & exit 3"
    ));
    service.agent.start(&ctx()).await.unwrap();
    service.written("once").await;
    let deadline = std::time::Instant::now() + LONG;
    while service.agent.monitor(&ctx()).await != Health::Failed {
        assert!(std::time::Instant::now() < deadline, "its end was not noticed");
        tokio::task::yield_now().await;
    }
    service.agent.start(&ctx()).await.unwrap();
    assert_eq!(running(&span), Vec::<u32>::new());
    assert_eq!(service.agent.monitor(&ctx()).await, Health::Running);
    service.agent.stop(&ctx()).await.unwrap();
}

#[tokio::test]
async fn a_budget_that_is_over_kills_at_once() {
    let span = unique();
    let service = Service::new(&format!("trap '' TERM; echo up > DIR/up; while :; do sleep {span}; done"));
    service.agent.start(&ctx()).await.unwrap();
    service.written("up").await;
    service.agent.stop(&ctx_in(Unguarded, Duration::ZERO)).await.unwrap();
    assert_eq!(running(&span), Vec::<u32>::new());
}

#[tokio::test]
async fn the_service_is_told_its_epoch_and_nothing_of_the_service_manager() {
    let service = Service::new("echo $HA_EPOCH > DIR/epoch; exec sleep 300");
    let command = service.agent.command(&ctx(), Mark::new(1));
    for name in NOT_INHERITED {
        assert!(command.get_envs().any(|(n, value)| n == name && value.is_none()), "{name}");
    }
    service.agent.start(&ctx()).await.unwrap();
    assert_eq!(service.written("epoch").await, "7");
    service.agent.stop(&ctx()).await.unwrap();
}

#[tokio::test]
async fn an_agent_that_is_dropped_leaves_nothing_running() {
    let span = unique();
    let agent = CommandService::new("service", CommandLine::of(["sleep", &span]).unwrap());
    agent.start(&ctx()).await.unwrap();
    until("its start", || !running(&span).is_empty()).await;
    drop(agent);
    until("its end", || running(&span).is_empty()).await;
}
