//! The engine is exchanged under a real guardian, with the real runtime, and a real process as the service: it
//! keeps its pid.
//!
//! The test binary is also the node, so it has a `main` of its own: a guardian must be entered before there is a
//! second thread.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod detach_node;
mod runtime_support;

use std::io::{BufRead, BufReader, Write};
use std::net::UdpSocket;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitCode, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;
use tempfile::TempDir;

/// Nothing here takes so long; a test that waits longer has failed.
const PATIENCE: Duration = Duration::from_secs(60);

/// One node: a guardian, its children one after the other, and what they say.
struct Machine {
    guardian: Child,
    stdin: Option<ChildStdin>,
    lines: Receiver<String>,
    dir: PathBuf,
}

impl Machine {
    fn start(dir: &Path, me: u8, ports: [u16; 2]) -> Self {
        let mut guardian = Command::new(std::env::current_exe().unwrap())
            .args(["node", dir.to_str().unwrap(), &me.to_string()])
            .args(ports.map(|p| p.to_string()))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let stdin = guardian.stdin.take();
        let stdout = BufReader::new(guardian.stdout.take().unwrap());
        let (send, lines) = channel();
        std::thread::spawn(move || stdout.lines().map_while(Result::ok).try_for_each(|l| send.send(l)));
        Self { guardian, stdin, lines, dir: dir.into() }
    }

    fn tell(&mut self, command: &str) {
        writeln!(self.stdin.as_mut().unwrap(), "{command}").unwrap();
    }

    /// Waits for a line that begins so; the rest of it.
    fn until(&self, begin: &str) -> String {
        let mut said = Vec::new();
        loop {
            let line = self
                .lines
                .recv_timeout(PATIENCE)
                .unwrap_or_else(|e| panic!("{begin}: {e}; so far {said:#?}\n{}", self.file("reports")));
            if let Some(rest) = line.strip_prefix(begin) {
                return rest.trim().into();
            }
            said.push(line);
        }
    }

    fn active(&self) -> u64 {
        self.until("role active").parse().unwrap()
    }

    fn file(&self, name: &str) -> String {
        std::fs::read_to_string(self.dir.join(name)).unwrap_or_default()
    }

    fn service(&self) -> u32 {
        self.file("service.pid").trim().parse().unwrap()
    }
}

impl Drop for Machine {
    /// The end of its input is an orderly stop for the program.
    fn drop(&mut self) {
        self.stdin = None;
        let _ = self.guardian.wait();
    }
}

/// Both nodes, the first one serving, in maintenance.
fn pair(dir: &TempDir) -> [Machine; 2] {
    let sockets = [0, 1].map(|_| UdpSocket::bind("127.0.0.1:0").unwrap());
    let ports = [0, 1].map(|n: usize| sockets[n].local_addr().unwrap().port());
    drop(sockets);
    let mut nodes = [0, 1].map(|me| {
        let at = dir.path().join(format!("node{me}"));
        detach_node::initialise(&at, me);
        Machine::start(&at, me, ports)
    });
    nodes[0].until("ready");
    nodes[1].until("ready");
    nodes[0].active();
    nodes[0].tell("maintain");
    nodes
}

fn the_service_keeps_its_pid_while_the_engine_is_exchanged() {
    let dir = tempfile::tempdir().unwrap();
    let mut nodes = pair(&dir);
    let service = nodes[0].service();
    let mut epoch = 0;
    // Twice: what was taken over can be left running again.
    for _ in 0..2 {
        nodes[0].tell("detach");
        assert_eq!(nodes[0].until("ended"), "left on request, with the services running");
        assert!(detach_node::lives(service));
        nodes[0].until("ready");
        let next = nodes[0].active();
        assert!(next > epoch, "a new grant: {next} after {epoch}");
        epoch = next;
        assert!(detach_node::lives(service));
        assert_eq!((nodes[0].service(), nodes[0].file("calls").as_str()), (service, "start\n"));
    }
    assert_eq!(nodes[1].file("calls"), "", "the peer started nothing");
    // It is an ordinary owner's service again.
    nodes[0].tell("leave");
    nodes[0].until("ended");
    assert!(!detach_node::lives(service));
    assert_eq!(nodes[0].file("calls"), "start\nstop\n");
}

fn a_life_that_took_the_service_over_and_dies_takes_it_along() {
    let dir = tempfile::tempdir().unwrap();
    let mut nodes = pair(&dir);
    let service = nodes[0].service();
    nodes[0].tell("detach");
    nodes[0].until("ended");
    nodes[0].until("ready");
    nodes[0].active();
    // The undo step of the first life still stands.
    nodes[0].tell("abort");
    nodes[0].until("ready");
    assert!(!detach_node::lives(service), "{}", nodes[0].file("reports"));
}

const TESTS: [(&str, fn()); 2] = [
    (
        "the_service_keeps_its_pid_while_the_engine_is_exchanged",
        the_service_keeps_its_pid_while_the_engine_is_exchanged,
    ),
    (
        "a_life_that_took_the_service_over_and_dies_takes_it_along",
        a_life_that_took_the_service_over_and_dies_takes_it_along,
    ),
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.first().is_some_and(|a| a == "node") {
        detach_node::main(&arguments[1..]);
    }
    let has = |flag: &str| arguments.iter().any(|a| a == flag);
    let filters: Vec<&String> = arguments.iter().filter(|a| !a.starts_with('-')).collect();
    let mut failed = 0;
    for (name, test) in TESTS {
        if !filters.is_empty() && !filters.iter().any(|f| name.contains(f.as_str())) || has("--ignored") {
            continue;
        }
        if has("--list") {
            println!("{name}: test");
            continue;
        }
        let ok = catch_unwind(test).is_ok();
        println!("test {name} ... {}", if ok { "ok" } else { "FAILED" });
        failed += u8::from(!ok);
    }
    ExitCode::from(failed)
}
