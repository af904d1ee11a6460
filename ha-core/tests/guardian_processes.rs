//! The guardian with real processes, signals, files and sockets.
//!
//! The test binary is also the guarded program, so it has a `main` of its own: a guardian must be entered
//! before there is a second thread, and the usual harness has started some by then.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod guardian_node;

use guardian_node::{FEED_LIMIT, RESTARTS, Side, from_hex, to_hex};
use ha_core::engine::ReleasedNotice;
use ha_core::wire::Received;
use ha_core::{Epoch, GroupId, Incarnation};
use rustix::process::{Pid, Signal, kill_process};
use std::cell::RefCell;
use std::io::{BufRead, BufReader, Write};
use std::net::UdpSocket;
use std::os::unix::net::UnixDatagram;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitCode, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;
use tempfile::TempDir;

/// Nothing here takes so long; a test that waits longer has failed.
const PATIENCE: Duration = Duration::from_secs(60);

/// A guarded program under test.
struct Guarded {
    guardian: Child,
    stdin: Option<ChildStdin>,
    lines: Receiver<String>,
    dir: PathBuf,
    socket: UdpSocket,
    /// The peer's side of the link.
    peer: RefCell<Side>,
}

/// One life as it introduced itself.
#[derive(Clone, PartialEq, Debug)]
struct Life {
    pid: u32,
    incarnation: Incarnation,
    predecessor: String,
}

fn command(dir: &Path, socket: &UdpSocket, behaviour: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args([
        "node",
        dir.to_str().unwrap(),
        &socket.local_addr().unwrap().port().to_string(),
        behaviour,
    ]);
    command
}

fn listener() -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket
}

impl Guarded {
    fn start(dir: &TempDir, behaviour: &str) -> Self {
        let socket = listener();
        let command = command(dir.path(), &socket, behaviour);
        Self::spawn(command, dir, socket)
    }

    fn spawn(mut command: Command, dir: &TempDir, socket: UdpSocket) -> Self {
        let mut guardian = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let stdin = guardian.stdin.take();
        let stdout = BufReader::new(guardian.stdout.take().unwrap());
        let peer = RefCell::new(Side::new(1, Incarnation(2)));
        let (send, lines) = channel();
        std::thread::spawn(move || stdout.lines().map_while(Result::ok).try_for_each(|l| send.send(l)));
        Self { guardian, stdin, lines, dir: dir.path().into(), socket, peer }
    }

    fn line(&self) -> String {
        self.lines
            .recv_timeout(PATIENCE)
            .unwrap_or_else(|e| panic!("{e}; reports:\n{}", self.file("reports")))
    }

    fn ask(&mut self, command: &str) -> String {
        self.tell(command);
        self.line()
    }

    fn tell(&mut self, command: &str) {
        writeln!(self.stdin.as_mut().unwrap(), "{command}").unwrap();
    }

    fn ready(&self) -> Life {
        let line = self.line();
        let words: Vec<&str> = line.split(' ').collect();
        let ["ready", pid, incarnation, predecessor] = words.as_slice() else { panic!("{line}") };
        Life {
            pid: pid.parse().unwrap(),
            incarnation: Incarnation(u128::from_str_radix(incarnation, 16).unwrap()),
            predecessor: (*predecessor).into(),
        }
    }

    fn daemon(&mut self) -> u32 {
        self.ask("daemon").strip_prefix("daemon ").unwrap().parse().unwrap()
    }

    /// Lets the child and its peer prove to each other that they are there.
    fn acquaint(&mut self, life: &Life) {
        while self.peer.borrow().session.peer() != Some(life.incarnation) {
            let frame = to_hex(&self.peer.borrow_mut().speak());
            let answer = from_hex(&self.ask(&format!("hear {frame}")));
            let _ = self.peer.borrow_mut().hear(&answer);
        }
    }

    /// The next last word that the peer accepts: authentic, of the present life, with a number of its own.
    fn released(&self) -> ReleasedNotice {
        let mut buffer = [0; 1024];
        let length = self.socket.recv(&mut buffer).expect("a released frame");
        match self.peer.borrow_mut().hear(&buffer[..length]) {
            Ok(Received::Released(notice)) => notice,
            other => panic!("{other:?}"),
        }
    }

    fn file(&self, name: &str) -> String {
        std::fs::read_to_string(self.dir.join(name)).unwrap_or_default()
    }

    fn undone(&self) -> Vec<String> {
        self.file("undone").lines().map(String::from).collect()
    }

    fn code(&mut self) -> Option<i32> {
        self.guardian.wait().unwrap().code()
    }
}

impl Drop for Guarded {
    /// The end of its input is an orderly stop for the program.
    fn drop(&mut self) {
        self.stdin = None;
        if self.guardian.try_wait().is_ok_and(|ended| ended.is_none()) {
            signal(self.guardian.id(), Signal::CONT);
            let _ = self.guardian.wait();
        }
        while self.lines.recv().is_ok() {}
    }
}

fn signal(pid: u32, signal: Signal) {
    kill_process(Pid::from_raw(i32::try_from(pid).unwrap()).unwrap(), signal).unwrap();
}

/// Whether the process is there and not a zombie.
fn lives(pid: u32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| !stat.rsplit_once(')').unwrap().1.trim_start().starts_with('Z'))
}

fn await_end(pid: u32) {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    use rustix::process::{PidfdFlags, pidfd_open};
    let Ok(handle) = pidfd_open(Pid::from_raw(pid.cast_signed()).unwrap(), PidfdFlags::empty()) else {
        return;
    };
    let patience = Timespec { tv_sec: PATIENCE.as_secs().cast_signed(), tv_nsec: 0 };
    assert_eq!(poll(&mut [PollFd::new(&handle, PollFlags::IN)], Some(&patience)), Ok(1), "{pid} lives on");
}

fn dir() -> TempDir {
    tempfile::tempdir().unwrap()
}

fn exit_codes_pass_through() {
    let at = dir();
    assert_eq!(Guarded::start(&at, "refuses").code(), Some(7), "a refusal to start is not repeated");
    let mut guarded = Guarded::start(&at, "plain");
    guarded.ready();
    guarded.tell("goodbye 5");
    assert_eq!(guarded.code(), Some(5));
}

fn a_child_that_dies_too_often_is_given_up_with_its_code() {
    let at = dir();
    let mut guarded = Guarded::start(&at, "crashes");
    assert_eq!(guarded.code(), Some(128 + 6));
    let started = guarded.file("reports").matches("started child").count();
    assert_eq!(started, 1 + RESTARTS as usize);
}

fn one_sigterm_is_one_orderly_stop() {
    let at = dir();
    let mut guarded = Guarded::start(&at, "patient");
    let life = guarded.ready();
    signal(guarded.guardian.id(), Signal::TERM);
    assert_eq!(guarded.line(), "stop");
    // Some service managers repeat themselves.
    signal(guarded.guardian.id(), Signal::TERM);
    assert_eq!(guarded.ask("ping"), format!("pong {}", life.pid));
    assert_eq!(guarded.ask("stops"), "stops 1");
    guarded.tell("exit 3");
    assert_eq!(guarded.code(), Some(3), "who was asked to stop is not restarted");
}

/// The terminal itself signals the whole foreground group.
fn one_ctrl_c_is_one_orderly_stop() {
    use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
    let at = dir();
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&master).unwrap();
    unlockpt(&master).unwrap();
    let terminal = ptsname(&master, Vec::new()).unwrap().into_string().unwrap();
    let socket = listener();
    let node = command(at.path(), &socket, "patient");
    let mut command = Command::new("setsid");
    command.args(["--ctty", "--wait"]).arg(node.get_program()).args(node.get_args());
    let slave = || std::fs::OpenOptions::new().read(true).write(true).open(&terminal).unwrap();
    let mut session = command.stdin(slave()).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(session.stdout.take().unwrap()).lines().map(Result::unwrap);
    let mut master = std::fs::File::from(master);
    assert!(lines.next().unwrap().starts_with("ready"));
    master.write_all(b"\x03").unwrap();
    assert_eq!(lines.next().unwrap(), "stop");
    master.write_all(b"ping\n").unwrap();
    assert!(lines.next().unwrap().starts_with("pong"));
    master.write_all(b"stops\n").unwrap();
    assert_eq!(lines.next().unwrap(), "stops 1");
    master.write_all(b"goodbye 4\n").unwrap();
    assert_eq!(session.wait().unwrap().code(), Some(4));
}

fn notice(life: &Life, groups: &[(u8, u64)], complete: bool) -> ReleasedNotice {
    let groups = groups.iter().map(|(group, epoch)| (GroupId((*group).into()), Epoch(*epoch))).collect();
    ReleasedNotice { incarnation: life.incarnation, groups, complete }
}

/// What must be true after any sudden end of the child.
fn is_finished(guarded: &Guarded, life: &Life, daemon: u32) {
    assert_eq!(guarded.released(), notice(life, &[(0, 5), (1, 9)], true));
    assert!(!lives(life.pid) && !lives(daemon), "the last word came before the end");
    assert_eq!(guarded.undone(), ["three", "two", "one"]);
    let next = guarded.ready();
    assert_eq!(next.predecessor, "Gone");
    assert!(next.incarnation != life.incarnation && next.pid != life.pid);
    assert_eq!(guarded.released(), notice(life, &[(0, 5), (1, 9)], true), "the last word is repeated");
}

fn with_effects(at: &TempDir, behaviour: &str) -> (Guarded, Life, u32) {
    let mut guarded = Guarded::start(at, behaviour);
    let life = guarded.ready();
    guarded.acquaint(&life);
    for text in ["one", "two", "three"] {
        assert_eq!(guarded.ask(&format!("remember note {text} 0")), "stored");
    }
    let daemon = guarded.daemon();
    assert!(lives(daemon));
    (guarded, life, daemon)
}

fn a_killed_child_is_finished_and_started_again() {
    let at = dir();
    let (guarded, life, daemon) = with_effects(&at, "plain");
    assert_eq!(life.predecessor, "Gone");
    signal(life.pid, Signal::KILL);
    is_finished(&guarded, &life, daemon);
}

fn a_frozen_child_is_finished_and_started_again() {
    let at = dir();
    let (guarded, life, daemon) = with_effects(&at, "plain");
    signal(life.pid, Signal::STOP);
    is_finished(&guarded, &life, daemon);
    assert!(guarded.file("reports").contains("missed its feed limit"));
}

fn a_child_that_asks_is_finished_and_started_again() {
    let at = dir();
    let (mut guarded, life, daemon) = with_effects(&at, "plain");
    guarded.tell("end-me");
    is_finished(&guarded, &life, daemon);
    assert!(guarded.file("reports").contains("asked to be ended (as told)"));
}

fn a_guardian_that_was_frozen_with_its_child_blames_only_itself() {
    let at = dir();
    let mut guarded = Guarded::start(&at, "plain");
    let life = guarded.ready();
    signal(guarded.guardian.id(), Signal::STOP);
    signal(life.pid, Signal::STOP);
    #[expect(clippy::disallowed_methods, reason = "the passing of time is what is tested")]
    std::thread::sleep(FEED_LIMIT * 2);
    signal(guarded.guardian.id(), Signal::CONT);
    signal(life.pid, Signal::CONT);
    // The answer comes from a guardian that has judged after its gap.
    assert_eq!(guarded.ask("ping"), format!("pong {}", life.pid));
    signal(life.pid, Signal::KILL);
    guarded.ready();
    let reports = guarded.file("reports");
    assert!(reports.contains("died of signal 9") && !reports.contains("missed"), "{reports}");
}

fn a_group_whose_effect_stays_is_not_released() {
    let at = dir();
    let mut guarded = Guarded::start(&at, "plain");
    let life = guarded.ready();
    guarded.acquaint(&life);
    guarded.ask("remember stuck x 1");
    guarded.ask("remember note y 0");
    signal(life.pid, Signal::KILL);
    assert_eq!(guarded.released(), notice(&life, &[(0, 5)], false));
    assert_eq!(guarded.ready().predecessor, "Leftovers");
}

fn an_undo_step_is_in_the_file_before_it_is_acknowledged() {
    let at = dir();
    let mut guarded = Guarded::start(&at, "plain");
    guarded.ready();
    for n in 0..20 {
        assert_eq!(guarded.ask(&format!("remember-and-read effect-{n}")), "in the file: true");
    }
    let refused = guarded.ask("remember mystery x 0");
    assert!(refused.starts_with("error the guardian refused") && refused.contains("mystery"), "{refused}");
}

fn a_child_whose_guardian_is_killed_is_born_again_as_a_guardian() {
    let at = dir();
    let (mut guarded, life, daemon) = with_effects(&at, "reborn");
    signal(guarded.guardian.id(), Signal::KILL);
    assert_eq!(guarded.line(), "lost");
    let next = guarded.ready();
    assert_eq!(next.predecessor, "Gone");
    assert_ne!(next.incarnation, life.incarnation);
    assert!(!lives(daemon), "what the old life left is gone");
    assert_eq!(guarded.undone(), ["three", "two", "one"]);
    let name = std::fs::read_to_string(format!("/proc/{}/comm", life.pid)).unwrap();
    assert!(name.starts_with("guardian_pro"), "{name}");

    // It really is one: it finishes and restarts the new child.
    guarded.acquaint(&next);
    signal(next.pid, Signal::KILL);
    assert_eq!(guarded.released(), notice(&next, &[(0, 5), (1, 9)], true));
    let third = guarded.ready();
    assert_eq!(guarded.ask("ping"), format!("pong {}", third.pid));
    guarded.tell("goodbye 0");
    await_end(life.pid);
}

fn a_new_guardian_finishes_what_a_dead_one_and_its_dead_child_left() {
    let at = dir();
    let (guarded, life, daemon) = with_effects(&at, "plain");
    signal(guarded.guardian.id(), Signal::KILL);
    assert_eq!(guarded.line(), "lost");
    signal(life.pid, Signal::KILL);
    await_end(life.pid);
    assert!(lives(daemon));
    let next = Guarded::start(&at, "plain");
    assert_eq!(next.ready().predecessor, "Gone");
    assert!(!lives(daemon));
    assert_eq!(next.undone(), ["three", "two", "one"]);
}

fn a_new_guardian_finishes_the_living_child_of_a_dead_one() {
    let at = dir();
    let (guarded, life, daemon) = with_effects(&at, "plain");
    signal(guarded.guardian.id(), Signal::KILL);
    assert_eq!(guarded.line(), "lost");
    let next = Guarded::start(&at, "plain");
    assert_eq!(next.ready().predecessor, "Gone");
    assert!(!lives(life.pid) && !lives(daemon));
}

fn an_unknown_undo_kind_refuses_the_start_until_it_is_registered() {
    let at = dir();
    let (guarded, life, _) = with_effects(&at, "plain");
    signal(guarded.guardian.id(), Signal::KILL);
    assert_eq!(guarded.line(), "lost");
    signal(life.pid, Signal::KILL);
    await_end(life.pid);
    let refused = command(at.path(), &listener(), "forgetful").stdin(Stdio::null()).output().unwrap();
    let message = String::from_utf8(refused.stderr).unwrap();
    assert_eq!(refused.status.code(), Some(2));
    assert!(message.contains("\"note\"") && message.contains("GuardianConfig::handler"), "{message}");
    assert!(guarded.undone().is_empty());
    let next = Guarded::start(&at, "plain");
    assert_eq!(next.ready().predecessor, "Gone");
    assert_eq!(next.undone().len(), 3, "the refusal forgot nothing");
}

fn a_second_guardian_in_the_same_directory_is_refused() {
    let at = dir();
    let guarded = Guarded::start(&at, "plain");
    guarded.ready();
    let refused = command(at.path(), &listener(), "plain").stdin(Stdio::null()).output().unwrap();
    let message = String::from_utf8(refused.stderr).unwrap();
    assert_eq!(refused.status.code(), Some(2));
    assert!(message.contains(&format!("another guardian (pid {})", guarded.guardian.id())), "{message}");
}

fn enter_inside_a_runtime_is_refused() {
    let refused = command(dir().path(), &listener(), "inside").stdin(Stdio::null()).output().unwrap();
    assert_eq!(refused.status.code(), Some(2));
    assert!(String::from_utf8(refused.stderr).unwrap().contains("inside a tokio runtime"));
}

fn nothing_leaks_into_grandchildren() {
    let at = dir();
    let mut guarded = Guarded::start(&at, "plain");
    guarded.ready();
    assert_eq!(guarded.ask("grandchild"), "marker false, sockets 0");
}

fn a_leaked_marker_makes_no_child() {
    let at = dir();
    let socket = listener();
    let mut command = command(at.path(), &socket, "plain");
    command.env("HA_GUARDIAN_SOCKET", format!("0:{}", std::process::id()));
    let guarded = Guarded::spawn(command, &at, socket);
    assert_ne!(guarded.ready().pid, guarded.guardian.id());
}

fn the_service_manager_hears_the_child_through_its_guardian() {
    let at = dir();
    let manager = UnixDatagram::bind(at.path().join("manager")).unwrap();
    manager.set_read_timeout(Some(PATIENCE)).unwrap();
    let heard = || {
        let mut buffer = [0; 100];
        let length = manager.recv(&mut buffer).unwrap();
        String::from_utf8(buffer[..length].to_vec()).unwrap()
    };
    let socket = listener();
    let node = command(at.path(), &socket, "plain");
    let mut command = Command::new("sh");
    command.args(["-c", "LISTEN_PID=$$ WATCHDOG_PID=$$ exec \"$0\" \"$@\""]);
    command.arg(node.get_program()).args(node.get_args()).env("NOTIFY_SOCKET", at.path().join("manager"));
    let mut guarded = Guarded::spawn(command, &at, socket);
    let life = guarded.ready();
    guarded.tell("notify READY=1");
    assert_eq!(heard(), "READY=1");
    guarded.tell("notify-directly STATUS=well");
    assert_eq!(heard(), "STATUS=well");
    assert_eq!(guarded.ask("environment LISTEN_PID"), life.pid.to_string());
    assert_eq!(guarded.ask("environment WATCHDOG_PID"), life.pid.to_string());
}

/// A child with effects, a note of another group, and a service of group 0 in a session of its own.
fn with_service(at: &TempDir) -> (Guarded, Life, u32, u32) {
    let (mut guarded, life, daemon) = with_effects(at, "plain");
    assert_eq!(guarded.ask("remember note other 1"), "stored");
    let service = guarded.ask("service 0").strip_prefix("service ").unwrap().parse().unwrap();
    (guarded, life, daemon, service)
}

fn what_a_child_left_running_is_neither_killed_nor_undone_before_the_next_one_ends() {
    let at = dir();
    let (mut guarded, life, daemon, service) = with_service(&at);
    assert_eq!(guarded.ask("detach 0"), "detached");
    guarded.tell("exit 0");
    let next = guarded.ready();
    assert_ne!((next.pid, next.incarnation), (life.pid, life.incarnation));
    assert_eq!(next.predecessor, "Leftovers");
    assert!(lives(service) && !lives(daemon));
    assert_eq!(guarded.undone(), ["other"]);
    // From here on it is the next life's, with the steps of the first.
    signal(next.pid, Signal::KILL);
    assert_eq!(guarded.ready().predecessor, "Gone");
    assert!(!lives(service));
    assert_eq!(guarded.undone(), ["other", "three", "two", "one"]);
}

fn a_new_guardian_leaves_alone_what_was_left_running() {
    let at = dir();
    let (mut guarded, life, daemon, service) = with_service(&at);
    assert_eq!(guarded.ask("detach 0"), "detached");
    signal(guarded.guardian.id(), Signal::KILL);
    assert_eq!(guarded.line(), "lost");
    signal(life.pid, Signal::KILL);
    await_end(life.pid);
    let mut next = Guarded::start(&at, "plain");
    assert_eq!(next.ready().predecessor, "Leftovers");
    assert!(lives(service) && !lives(daemon));
    assert_eq!(next.undone(), ["other"]);
    next.tell("goodbye 0");
    assert_eq!(next.code(), Some(0));
    await_end(service);
    assert_eq!(next.undone(), ["other", "three", "two", "one"]);
}

fn a_stop_after_a_detachment_ends_the_guardian_and_not_the_service() {
    let at = dir();
    let (mut guarded, _, daemon, service) = with_service(&at);
    assert_eq!(guarded.ask("detach 0"), "detached");
    signal(guarded.guardian.id(), Signal::TERM);
    assert_eq!(guarded.code(), Some(128 + 15));
    assert!(lives(service) && !lives(daemon));
    let next = Guarded::start(&at, "plain");
    assert_eq!(next.ready().predecessor, "Leftovers");
    assert!(lives(service));
    drop(next);
    await_end(service);
}

macro_rules! tests {
    ($($name:ident),* $(,)?) => { &[$((stringify!($name), $name as fn())),*] };
}

const TESTS: &[(&str, fn())] = tests![
    exit_codes_pass_through,
    a_child_that_dies_too_often_is_given_up_with_its_code,
    one_sigterm_is_one_orderly_stop,
    one_ctrl_c_is_one_orderly_stop,
    a_killed_child_is_finished_and_started_again,
    a_frozen_child_is_finished_and_started_again,
    a_child_that_asks_is_finished_and_started_again,
    a_guardian_that_was_frozen_with_its_child_blames_only_itself,
    a_group_whose_effect_stays_is_not_released,
    an_undo_step_is_in_the_file_before_it_is_acknowledged,
    a_child_whose_guardian_is_killed_is_born_again_as_a_guardian,
    a_new_guardian_finishes_what_a_dead_one_and_its_dead_child_left,
    a_new_guardian_finishes_the_living_child_of_a_dead_one,
    an_unknown_undo_kind_refuses_the_start_until_it_is_registered,
    a_second_guardian_in_the_same_directory_is_refused,
    enter_inside_a_runtime_is_refused,
    nothing_leaks_into_grandchildren,
    a_leaked_marker_makes_no_child,
    the_service_manager_hears_the_child_through_its_guardian,
    what_a_child_left_running_is_neither_killed_nor_undone_before_the_next_one_ends,
    a_new_guardian_leaves_alone_what_was_left_running,
    a_stop_after_a_detachment_ends_the_guardian_and_not_the_service,
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.first().map(String::as_str) {
        Some("node") => guardian_node::main(&arguments[1..]),
        Some("grandchild") => {
            guardian_node::grandchild();
            ExitCode::SUCCESS
        }
        _ => run(&arguments),
    }
}

/// A small harness: names to filter by, `--list`, `--exact` and `--ignored` as the usual one understands them.
fn run(arguments: &[String]) -> ExitCode {
    let has = |flag: &str| arguments.iter().any(|a| a == flag);
    let filters: Vec<&String> = arguments.iter().filter(|a| !a.starts_with('-')).collect();
    let matches = |name: &str| {
        filters.is_empty()
            || filters.iter().any(|f| if has("--exact") { name == *f } else { name.contains(f.as_str()) })
    };
    let mut failed = Vec::new();
    for (name, test) in TESTS.iter().filter(|(name, _)| matches(name) && !has("--ignored")) {
        if has("--list") {
            println!("{name}: test");
        } else if catch_unwind(AssertUnwindSafe(test)).is_ok() {
            println!("test {name} ... ok");
        } else {
            println!("test {name} ... FAILED");
            failed.push(*name);
        }
    }
    if !failed.is_empty() {
        println!("failed: {failed:?}");
    }
    ExitCode::from(u8::from(!failed.is_empty()))
}
