//! Network namespaces for tests: made with `ip`, gone with the test.

#![allow(dead_code, clippy::unwrap_used, clippy::panic, reason = "a failed step of a test is a failed test")]

pub mod process;
pub mod serving;

use ha_vip::kernel::{NetNamespace, Rtnetlink};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

static COUNT: AtomicU32 = AtomicU32::new(0);

/// A namespace with the interface `lan0` (10.77.0.N/24, fd00::N/64), joined to other ones by [`Space::joined`].
pub struct Space {
    pub name: String,
}

/// Runs a program; its standard output.
pub fn run(program: &str, arguments: &[&str]) -> String {
    let out = Command::new(program).args(arguments).output().unwrap();
    let (said, wrong) = (String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    assert!(out.status.success(), "{program} {arguments:?}: {wrong}");
    said.into_owned()
}

impl Space {
    /// An empty namespace, its loopback up.
    pub fn empty() -> Self {
        let name = format!("vipk-{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        run("ip", &["netns", "add", &name]);
        let this = Self { name };
        this.ip("link set lo up");
        this
    }

    /// Two namespaces with a cable between them: `lan0` in each, 10.77.0.1 and .2, fd00::1 and ::2.
    pub fn pair() -> (Self, Self) {
        let (one, two) = (Self::empty(), Self::empty());
        one.ip(&format!("link add lan0 type veth peer name lan0 netns {}", two.name));
        for (space, n) in [(&one, 1), (&two, 2)] {
            space.ip("link set lan0 up");
            space.ip(&format!("addr add 10.77.0.{n}/24 dev lan0"));
            space.ip(&format!("addr add fd00::{n}/64 dev lan0 nodad"));
        }
        // A new cable has carrier a moment later; IPv6 sends nothing before.
        until("carrier", || one.ip("-o link show lan0").contains("LOWER_UP"));
        (one, two)
    }

    /// Runs `ip` inside; its standard output.
    pub fn ip(&self, arguments: &str) -> String {
        let mut all = vec!["-n", &self.name];
        all.extend(arguments.split(' '));
        run("ip", &all)
    }

    /// A command that runs inside.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name, program]);
        command
    }

    pub fn namespace(&self) -> NetNamespace {
        NetNamespace::named(&self.name)
    }

    pub fn kernel(&self) -> Rtnetlink {
        Rtnetlink::open(&self.namespace()).unwrap()
    }

    /// Whether the text is among the addresses that `ip` shows.
    pub fn has(&self, address: &str) -> bool {
        self.ip("-o addr show").contains(address)
    }
}

impl Drop for Space {
    fn drop(&mut self) {
        let _best_effort = Command::new("ip").args(["netns", "del", &self.name]).status();
    }
}

/// Waits for a condition, at most ten seconds.
pub fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !holds() {
        assert!(Instant::now() < deadline, "not within ten seconds: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Whether a TCP connection from `space` to the address comes about within a moment.
pub fn answers(space: &Space, address: &str) -> bool {
    let at = std::net::SocketAddr::new(address.parse().unwrap(), process::PORT);
    let connected =
        space.namespace().inside(|| std::net::TcpStream::connect_timeout(&at, Duration::from_millis(400)));
    connected.unwrap().is_ok()
}
