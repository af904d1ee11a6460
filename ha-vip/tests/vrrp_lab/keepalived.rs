//! Debian's keepalived in a namespace of the lab, its log read, ended by its own process ids.

use super::{Family, INTERVAL, Lab, PATIENCE, VRID};
use rustix::process::{Pid, Signal, kill_process};
use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Instant;
use tempfile::TempDir;

pub struct Keepalived {
    parent: Child,
    directory: TempDir,
}

/// What its instance is like.
pub struct Instance {
    pub family: Family,
    pub priority: u8,
    pub version: u8,
    /// Further lines of its block.
    pub more: String,
}

impl Instance {
    pub fn new(family: Family, priority: u8) -> Self {
        Self { family, priority, version: 3, more: String::new() }
    }

    fn text(&self) -> String {
        let Self { priority, version, more, family } = self;
        let interval = if *version == 2 { 1.0 } else { INTERVAL.as_secs_f64() };
        let address = family.virtual_address();
        format!(
            "global_defs {{\n vrrp_garp_master_repeat 1\n}}\nvrrp_instance T {{\n version {version}\n state BACKUP\n \
             interface lan0\n virtual_router_id {VRID}\n priority {priority}\n advert_int {interval}\n {more}\n \
             virtual_ipaddress {{\n {address}\n }}\n}}\n"
        )
    }
}

impl Keepalived {
    /// Started on node `number`, and listening.
    pub fn start(lab: &Lab, number: u8, instance: &Instance) -> Self {
        let directory = TempDir::new().unwrap();
        let at = |name: &str| directory.path().join(name);
        fs::write(at("conf"), instance.text()).unwrap();
        let log = File::create(at("log")).unwrap();
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &lab.namespace(number), "keepalived", "-n", "-l", "-D", "-P"]);
        command.arg("-f").arg(at("conf")).arg("-p").arg(at("pid")).arg("-r").arg(at("vrrp.pid"));
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        let this = Self { parent: command.spawn().unwrap(), directory };
        this.says("VRRP sockpool");
        this
    }

    fn at(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.at("log")).unwrap()
    }

    /// How often it has said `words`.
    pub fn count(&self, words: &str) -> usize {
        self.log().matches(words).count()
    }

    /// Waits until it has said `words`.
    pub fn says(&self, words: &str) {
        self.says_again(words, 0);
    }

    /// Waits until it has said `words` more often than `before`.
    pub fn says_again(&self, words: &str, before: usize) {
        let began = Instant::now();
        while self.count(words) <= before {
            assert!(began.elapsed() < PATIENCE, "never said {words:?} again:\n{}", self.log());
            std::thread::sleep(INTERVAL / 20);
        }
    }

    pub fn is_master(&self) {
        self.says("Entering MASTER STATE");
    }

    /// Waits until backup is the last state that it entered.
    pub fn is_backup(&self) {
        let began = Instant::now();
        let last = |state: &str| self.log().rfind(&format!("Entering {state} STATE"));
        while last("BACKUP") <= last("MASTER") {
            assert!(began.elapsed() < PATIENCE, "never a backup again:\n{}", self.log());
            std::thread::sleep(INTERVAL / 20);
        }
    }

    fn child(&self) -> Option<Pid> {
        fs::read_to_string(self.at("vrrp.pid")).ok()?.trim().parse().ok().and_then(Pid::from_raw)
    }

    fn parent(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.parent.id()).unwrap()).unwrap()
    }

    /// Dead at one instant, without a word: the parent can neither start another child nor end this one in good order.
    pub fn kill(mut self) -> String {
        self.end();
        self.log()
    }

    fn end(&mut self) {
        if self.parent.try_wait().is_ok_and(|ended| ended.is_some()) {
            return;
        }
        let _ = kill_process(self.parent(), Signal::STOP);
        if let Some(child) = self.child() {
            let _ = kill_process(child, Signal::KILL);
        }
        let _ = self.parent.kill();
        let _ = self.parent.wait();
    }

    /// Ends it in good order: it says that it leaves.
    pub fn stop(mut self) -> String {
        kill_process(self.parent(), Signal::TERM).unwrap();
        self.parent.wait().unwrap();
        self.log()
    }
}

impl Drop for Keepalived {
    fn drop(&mut self) {
        self.end();
    }
}
