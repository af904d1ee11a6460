//! A network of real namespaces for the tests of announcements: two nodes and a client on one bridge.
#![allow(dead_code, reason = "each test binary uses what it needs")]

pub mod capture;
mod host;

pub use host::Host;

use ha_vip::MacAddress;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

pub const VIRTUAL: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 100);
pub const VIRTUAL_6: Ipv6Addr = Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, 0x100);
pub const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 50);
pub const CLIENT_6: Ipv6Addr = Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, 0x50);
const PATIENCE: Duration = Duration::from_secs(20);

/// Both families of the virtual address.
pub const BOTH: [IpAddr; 2] = [IpAddr::V4(VIRTUAL), IpAddr::V6(VIRTUAL_6)];

/// Two nodes, a client, and a bridge between them, each in a namespace of its own. Gone when dropped.
pub struct Lab {
    pub a: Host,
    pub b: Host,
    pub client: Host,
    pub bridge: Host,
}

impl Lab {
    pub fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let prefix = format!("hava{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        let bridge = Host::new(&format!("{prefix}-s"), "br0", MacAddress([2, 0x77, 0, 0, 0, 0xff]));
        bridge.ip("link add br0 type bridge mcast_snooping 0 forward_delay 0");
        bridge.ip("link set br0 up");
        let host = |letter: &str, number: u8| {
            let host =
                Host::new(&format!("{prefix}-{letter}"), "lan0", MacAddress([2, 0x77, 0, 0, 0, number]));
            host.plug_into(&bridge, letter, number);
            host
        };
        let (a, b, client) = (host("a", 11), host("b", 12), host("c", 50));
        Self { a, b, client, bridge }
    }

    /// The client talks to the address, so that it knows who has it.
    pub fn client_learns(&self, address: IpAddr, from: &Host) {
        until("the client knows the owner", || {
            self.client.send_datagram(address);
            self.client.neighbour(address) == Some(from.mac)
        });
    }

    pub fn client_believes(&self, address: IpAddr) -> Option<MacAddress> {
        self.client.neighbour(address)
    }
}

/// Waits for a condition, and fails if it never comes.
#[track_caller]
pub fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "waited {PATIENCE:?} in vain until {what}");
        std::thread::sleep(Duration::from_millis(2)); // between two looks at the condition
    }
}

/// Runs a program and gives its output.
#[track_caller]
pub fn run(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output().unwrap_or_else(|e| panic!("{program}: {e}"));
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{program} {}: {said}", arguments.join(" "));
    String::from_utf8_lossy(&output.stdout).into_owned()
}
