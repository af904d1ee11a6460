//! Lays the cables: bridges, pairs of virtual interfaces, addresses, routes. With `ip` and `nft`, while nothing runs yet.

use super::TestbedError;
use super::netns::NetNs;
use super::plan::{HostPlan, Interface, Network, Role};
use rustix::process::Pid;
use std::fmt::Write as _;
use std::io::Write as _;
use std::process::{Command, Stdio};

/// Table and sets that the faults fill. `cut`: ports which nothing enters or leaves; `severed`: from one to another.
const FILTER: &str = "
table bridge faults {
  set cut { type ifname; }
  set severed { type ifname . ifname; }
  chain entering { type filter hook prerouting priority -300; policy accept; iifname @cut counter drop; }
  chain crossing {
    type filter hook forward priority -300; policy accept;
    oifname @cut counter drop
    iifname . oifname @severed counter drop
  }
}";

/// One bridge for each network, and the filter for faults.
pub(super) fn wire_switch(switch: &NetNs, networks: &[Network]) -> Result<(), TestbedError> {
    let mut batch = String::from("link set lo up\n");
    for Network { name, .. } in networks {
        // Multicast is flooded at once, and a port forwards from its first moment.
        let _ = writeln!(batch, "link add {name} type bridge stp_state 0 forward_delay 0 mcast_snooping 0");
        let _ = writeln!(batch, "link set {name} up");
    }
    set(switch, "the switch", "net/ipv6/conf/default/disable_ipv6", "1")?;
    run(switch, "the switch", &["ip", "-batch", "-"], &batch)?;
    run(switch, "the switch", &["nft", "-f", "-"], FILTER)
}

/// Plugs a host in: its interfaces, addresses and routes.
pub(super) fn wire_host(
    switch: &NetNs,
    inside: &NetNs,
    init: Pid,
    plan: &HostPlan,
) -> Result<(), TestbedError> {
    let host = plan.name.as_str();
    let (mut cables, mut settings) = (String::new(), String::from("link set lo up\n"));
    for interface in &plan.interfaces {
        let Interface { name, port, v4, v4_prefix, v6_prefix, .. } = interface;
        let (mac, init) = (mac_text(interface.mac), init.as_raw_nonzero());
        let _ = writeln!(cables, "link add {port} type veth peer name {name} address {mac} netns {init}");
        let _ = writeln!(cables, "link set {port} master {name} up");
        let _ = writeln!(settings, "addr add {v4}/{v4_prefix} dev {name}");
        if let Some(v6) = interface.v6 {
            let _ = writeln!(settings, "addr add {v6}/{v6_prefix} dev {name} nodad");
        }
        let _ = writeln!(settings, "link set {name} up");
    }
    for gateway in &plan.gateways {
        let _ = writeln!(settings, "route add default via {gateway}");
    }
    set(inside, host, "net/ipv6/conf/default/accept_ra", "0")?;
    if plan.role == Role::Router {
        set(inside, host, "net/ipv4/ip_forward", "1")?;
        set(inside, host, "net/ipv6/conf/all/forwarding", "1")?;
        // It forwards nothing before its link-local addresses have been defended, which takes seconds.
        set(inside, host, "net/ipv6/conf/default/accept_dad", "0")?;
    }
    run(switch, host, &["ip", "-batch", "-"], &cables)?;
    run(inside, host, &["ip", "-batch", "-"], &settings)
}

/// Runs a program inside `netns`, feeds it `input`, and expects it to succeed.
pub(super) fn run(netns: &NetNs, host: &str, words: &[&str], input: &str) -> Result<(), TestbedError> {
    let failed =
        |said: String| TestbedError::Program { program: words.join(" "), host: host.to_owned(), said };
    let (program, arguments) = words.split_first().ok_or_else(|| failed("no program".to_owned()))?;
    let ran = netns.enter(|| {
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn()?;
        if let Some(mut stdin) = child.stdin.take() {
            stdin.write_all(input.as_bytes())?;
        }
        child.wait_with_output()
    });
    let output = ran.and_then(|ran| ran).map_err(|error| failed(error.to_string()))?;
    if output.status.success() {
        return Ok(());
    }
    Err(failed(format!("{}, {}\n{input}", output.status, String::from_utf8_lossy(&output.stderr))))
}

fn set(netns: &NetNs, host: &str, setting: &str, value: &str) -> Result<(), TestbedError> {
    let written = netns.enter(|| std::fs::write(format!("/proc/sys/{setting}"), value));
    written.and_then(|written| written).map_err(TestbedError::system("change a kernel setting", host))
}

fn mac_text(mac: [u8; 6]) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}
