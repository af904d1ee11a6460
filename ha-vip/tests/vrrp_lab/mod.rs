//! A link between network namespaces, a real keepalived on it, and speakers of ours.

#![allow(dead_code, reason = "each test binary uses its part")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed step of a test is a failed test")]

pub mod keepalived;

use ha_vip::vrrp::{VrrpBuilder, VrrpEvent, VrrpEvents, VrrpSpeaker, VrrpState, VrrpStatus};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use std::fs::File;
use std::net::IpAddr;
use std::os::fd::AsFd;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// The virtual router of all tests.
pub const VRID: u8 = 7;
/// A takeover then takes 1.5 s of silence, longer than what a busy machine makes of it by itself.
pub const INTERVAL: Duration = Duration::from_millis(500);
/// A condition that does not come within this time never comes.
pub const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Family {
    V4,
    V6,
}

impl Family {
    pub fn virtual_address(self) -> IpAddr {
        match self {
            Self::V4 => "10.77.0.100".parse().unwrap(),
            Self::V6 => "fe80::100".parse().unwrap(),
        }
    }

    /// The address of node `number` on the link.
    pub fn of_node(self, number: u8) -> IpAddr {
        match self {
            Self::V4 => IpAddr::from([10, 77, 0, number]),
            Self::V6 => format!("fe80::{number:x}").parse().unwrap(),
        }
    }
}

/// Nodes 1.. with one interface `lan0` each, on one switch. Gone when dropped.
pub struct Lab {
    name: String,
    nodes: u8,
}

pub fn run(program: &str, arguments: &[&str]) {
    let output = Command::new(program).args(arguments).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{program} {arguments:?}: {said}");
}

pub fn ip(arguments: &str) {
    run("ip", &arguments.split(' ').collect::<Vec<_>>());
}

impl Lab {
    pub fn new(nodes: u8) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let name = format!("vrrp{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let lab = Self { name, nodes };
        let switch = lab.namespace(0);
        ip(&format!("netns add {switch}"));
        // Snooping would wait for membership reports before it forwards the IPv6 group.
        ip(&format!("-n {switch} link add br0 type bridge mcast_snooping 0 forward_delay 0"));
        ip(&format!("-n {switch} link set br0 up"));
        for number in 1..=nodes {
            ip(&format!("netns add {}", lab.namespace(number)));
            lab.plug(number);
        }
        lab
    }

    /// Gives node `number` its interface.
    pub fn plug(&self, number: u8) {
        let (switch, node) = (self.namespace(0), self.namespace(number));
        ip(&format!("-n {switch} link add p{number} type veth peer name lan0 netns {node}"));
        ip(&format!("-n {switch} link set p{number} master br0 up"));
        ip(&format!("-n {node} link set lan0 addrgenmode none"));
        ip(&format!("-n {node} addr add {}/24 dev lan0", Family::V4.of_node(number)));
        ip(&format!("-n {node} link set lan0 up"));
        ip(&format!("-n {node} addr add {}/64 dev lan0 nodad", Family::V6.of_node(number)));
    }

    /// The network namespace of node `number`; 0 is the switch.
    pub fn namespace(&self, number: u8) -> String {
        format!("{}-{number}", self.name)
    }

    pub fn open(&self, number: u8) -> File {
        File::open(format!("/run/netns/{}", self.namespace(number))).unwrap()
    }

    /// A speaker on node `number`, to be spawned.
    pub fn speaker(&self, number: u8, family: Family, priority: u8) -> VrrpBuilder {
        let builder = VrrpSpeaker::builder(VRID, "lan0").addresses([family.virtual_address()]);
        builder.priority(priority).interval(INTERVAL).namespace(self.open(number).into())
    }

    /// Does `work` on a thread in the network namespace of node `number`.
    pub fn inside<T: Send>(&self, number: u8, work: impl FnOnce() -> T + Send) -> T {
        let namespace = self.open(number);
        std::thread::scope(|scope| {
            let inside = scope.spawn(|| {
                move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
                work()
            });
            inside.join().unwrap()
        })
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        for number in 0..=self.nodes {
            let _gone = Command::new("ip").args(["netns", "del", &self.namespace(number)]).output();
        }
    }
}

pub async fn until(speaker: &VrrpSpeaker, what: &str, wanted: impl FnMut(&VrrpStatus) -> bool) -> VrrpStatus {
    let reached = tokio::time::timeout(PATIENCE, speaker.until(wanted)).await;
    let reached = reached.unwrap_or_else(|_| panic!("not {what} in time: {:?}", speaker.status()));
    reached.unwrap_or_else(|| panic!("ended before it was {what}"))
}

pub async fn is(speaker: &VrrpSpeaker, state: VrrpState) -> VrrpStatus {
    until(speaker, &state.to_string(), |status| status.state == state).await
}

/// The next event for which `wanted` gives something.
pub async fn event<T>(events: &mut VrrpEvents, what: &str, wanted: impl Fn(VrrpEvent) -> Option<T>) -> T {
    let find = async {
        loop {
            let event = events.next().await.unwrap_or_else(|| panic!("ended before {what}"));
            if let Some(found) = wanted(event) {
                return found;
            }
        }
    };
    tokio::time::timeout(PATIENCE, find).await.unwrap_or_else(|_| panic!("no {what} in time"))
}
