//! A chassis of its own: a process that powers another one on and off.

use crate::testkit_processes::{living, until};
use ha_examples::chassis::ChassisFence;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::UnixStream;
use std::process::{Child, Command, Stdio};
use tempfile::TempDir;

pub struct Chassis {
    child: Child,
    bmc: SocketAddr,
    dir: TempDir,
}

impl Chassis {
    pub const NODE: &str = "n1";

    pub fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let bmc = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let place = dir.path().to_str().unwrap();
        let config = serde_json::json!({
            "node": Self::NODE, "command": ["__idle", place], "log": format!("{place}/log"), "bmc": bmc,
            "control": format!("{place}/control"), "mode": "ok", "slow_ms": 0,
        });
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.arg("__chassis").arg(config.to_string()).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut ready = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut ready).unwrap();
        assert_eq!(ready, "ready\n");
        Self { child, bmc, dir }
    }

    pub fn fence(&self) -> ChassisFence {
        ChassisFence::new(self.bmc)
    }

    /// One order on the driver's own socket, and its answer.
    fn order(&self, order: &str) -> String {
        let mut stream = UnixStream::connect(self.dir.path().join("control")).unwrap();
        writeln!(stream, "{order}").unwrap();
        let mut answer = String::new();
        BufReader::new(stream).read_line(&mut answer).unwrap();
        answer.trim_end().to_owned()
    }

    /// Seen in the kernel's list of processes, not asked of the chassis.
    pub fn is_on(&self) -> bool {
        !living(&["__idle", self.dir.path().to_str().unwrap()]).is_empty()
    }

    pub fn turn_on(&self) {
        until("power", || {
            if !self.is_on() {
                self.order("\"on\"");
            }
            self.is_on()
        });
    }

    pub fn be_deaf(&self, deaf: bool) {
        let order = if deaf { r#"{"mode":"dead"}"# } else { r#"{"mode":"ok"}"# };
        assert_eq!(self.order(order), "ok");
    }
}

impl Drop for Chassis {
    fn drop(&mut self) {
        // Its input ends: it switches off, and ends.
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}
