//! What the tests of the data centre look at, and processes to be killed in it.

use ha_vip::testbed::{DataCentre, Host};
use std::net::{SocketAddr, UdpSocket};
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

/// Long enough for anything that is not instant by promise.
const SOON: Duration = Duration::from_secs(10);

/// Whether `holds` becomes true within a limit that only a failure reaches.
pub fn soon(mut holds: impl FnMut() -> bool) -> bool {
    let end = Instant::now() + SOON;
    while Instant::now() < end {
        if holds() {
            return true;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    holds()
}

/// Waits until a watch has looked ten times more.
pub fn looks_more(looks: impl Fn() -> u64) {
    let wanted = looks() + 10;
    assert!(soon(|| looks() >= wanted));
}

/// Whether one of two echo requests from the host is answered.
pub fn pings(host: &Host, address: &str) -> bool {
    host.output("ping", &["-n", "-c2", "-i0.2", "-W1", "-w2", address]).unwrap().status.success()
}

pub fn has_carrier(host: &Host, interface: &str) -> bool {
    let shown = host.output("ip", &["link", "show", interface]).unwrap();
    String::from_utf8(shown.stdout).unwrap().contains("LOWER_UP")
}

/// Longer than any test.
pub fn sleep() -> Command {
    let mut command = Command::new("sleep");
    command.arg("600");
    command
}

/// A process, its child and its grandchild, which left both of them; as the test counts.
pub fn family_of_three(host: &Host) -> Vec<u32> {
    let mut parent = Command::new("sh");
    parent.args(["-c", "sh -c 'setsid sleep 600 & exec sleep 600' & exec sleep 600"]);
    host.spawn(parent).unwrap();
    assert!(soon(|| host
        .processes()
        .unwrap()
        .iter()
        .filter(|pid| name(**pid).as_deref() == Some("sleep"))
        .count()
        == 3));
    host.processes().unwrap()
}

fn name(pid: u32) -> Option<String> {
    Some(std::fs::read_to_string(format!("/proc/{pid}/comm")).ok()?.trim().to_owned())
}

/// The letter that stands for what a process does.
pub fn state(pid: u32) -> Option<char> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(") ")?.1.chars().next()
}

pub fn is_alive(pid: u32) -> bool {
    state(pid).is_some_and(|state| state != 'Z' && state != 'X')
}

/// The identities of all hosts' networks.
pub fn network_spaces(centre: &DataCentre) -> Vec<String> {
    let hosts = centre.all_hosts();
    hosts.iter().map(|host| link(&host.netns_path().unwrap()).unwrap()).collect()
}

fn link(path: &std::path::Path) -> Option<String> {
    Some(std::fs::read_link(path).ok()?.to_str()?.to_owned())
}

fn all_processes() -> impl Iterator<Item = u32> {
    std::fs::read_dir("/proc").unwrap().flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// How many processes of the whole machine are in a network.
pub fn processes_in(space: &str) -> usize {
    all_processes()
        .filter(|pid| link(format!("/proc/{pid}/ns/net").as_ref()).as_deref() == Some(space))
        .count()
}

/// The networks that this process holds open.
pub fn open_spaces() -> Vec<String> {
    std::fs::read_dir("/proc/self/fd").unwrap().flatten().filter_map(|entry| link(&entry.path())).collect()
}

pub fn is_in_a_user_namespace() -> bool {
    let map = std::fs::read_to_string("/proc/self/uid_map").unwrap();
    !map.split_whitespace().eq(["0", "0", "4294967295"])
}

/// A directory in which another user may run a program and write.
pub fn tempfile_for_everybody() -> PathBuf {
    use std::os::unix::fs::PermissionsExt;
    let place = std::env::temp_dir().join(format!("ha-testbed-{}", std::process::id()));
    std::fs::create_dir(&place).unwrap();
    std::fs::set_permissions(&place, std::fs::Permissions::from_mode(0o777)).unwrap();
    place
}

/// A UDP socket in a host.
pub struct Datagrams {
    socket: UdpSocket,
    at: SocketAddr,
}

impl Datagrams {
    pub fn bind(host: &Host, at: &str) -> Self {
        let socket = host.run_in(|| UdpSocket::bind(at)).unwrap().unwrap();
        socket.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
        Self { at: socket.local_addr().unwrap(), socket }
    }

    /// Whether one of three datagrams arrives.
    pub fn reaches(&self, other: &Self) -> bool {
        self.of_a_burst_of(3, other) > 0
    }

    /// How many of some datagrams of 1000 bytes arrive before a pause of 300 ms.
    pub fn of_a_burst_of(&self, count: usize, other: &Self) -> usize {
        for _ in 0..count {
            let _ = self.socket.send_to(&[7; 1000], other.at);
        }
        std::iter::from_fn(|| other.socket.recv(&mut [0; 2000]).ok()).count()
    }
}
