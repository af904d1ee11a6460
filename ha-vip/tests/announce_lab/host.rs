//! One network namespace with one interface.

use super::{run, until};
use ha_vip::packet::{Namespace, forwards_ipv6, packet_socket};
use ha_vip::{MacAddress, Nic};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use std::fs::File;
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

/// A network namespace, made by `ip netns add` and deleted when dropped.
pub struct Host {
    pub name: String,
    pub interface: &'static str,
    pub mac: MacAddress,
    space: Arc<Space>,
}

/// Opens sockets in the namespace of a host.
pub struct Space(File);

impl Space {
    pub fn inside<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        std::thread::scope(|scope| {
            let entered = scope.spawn(|| {
                move_into_link_name_space(self.0.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
                work()
            });
            entered.join().unwrap()
        })
    }
}

impl Namespace for Space {
    fn packet_socket(&self) -> io::Result<OwnedFd> {
        self.inside(packet_socket)
    }

    fn forwards_ipv6(&self, interface: &str) -> io::Result<bool> {
        self.inside(|| forwards_ipv6(interface))
    }
}

impl Host {
    pub(super) fn new(name: &str, interface: &'static str, mac: MacAddress) -> Self {
        run("ip", &["netns", "add", name]);
        let space = Arc::new(Space(File::open(format!("/run/netns/{name}")).unwrap()));
        let host = Self { name: name.into(), interface, mac, space };
        // Addresses are usable at once, and nothing is sent that the test did not cause.
        for (key, value) in [
            ("default/accept_dad", "0"),
            ("default/router_solicitations", "0"),
            ("default/addr_gen_mode", "1"),
        ] {
            host.set(key, value);
        }
        host.ip("link set lo up");
        host
    }

    pub(super) fn plug_into(&self, bridge: &Self, port: &str, number: u8) {
        self.ip(&format!(
            "link add lan0 address {} type veth peer name p{port} netns {}",
            self.mac, bridge.name
        ));
        bridge.ip(&format!("link set p{port} master br0 up"));
        self.ip("link set lan0 up");
        self.add(IpAddr::from([10, 77, 0, number]));
        let number = u16::from_str_radix(&number.to_string(), 16).unwrap(); // 50 is ::50
        self.add(IpAddr::from(Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, number)));
    }

    pub fn space(&self) -> Arc<Space> {
        Arc::clone(&self.space)
    }

    /// Runs `ip` inside.
    #[track_caller]
    pub fn ip(&self, arguments: &str) -> String {
        let arguments: Vec<_> = ["-n", &self.name].into_iter().chain(arguments.split_whitespace()).collect();
        run("ip", &arguments)
    }

    /// Runs `nft` inside.
    #[track_caller]
    pub fn nft(&self, rule: &str) {
        run("ip", &["netns", "exec", &self.name, "nft", rule]);
    }

    /// Writes `/proc/sys/net/ipv6/conf/...`.
    pub fn set(&self, key: &str, value: &str) {
        let path = format!("/proc/sys/net/ipv6/conf/{key}");
        self.space.inside(|| std::fs::write(&path, value)).unwrap();
    }

    pub fn add(&self, address: IpAddr) {
        let (prefix, nodad) = if address.is_ipv4() { (24, "") } else { (64, "nodad") };
        self.ip(&format!("address replace {address}/{prefix} dev lan0 {nodad}"));
        // Even without duplicate address detection the kernel answers for it only after a work queue has run.
        until("the address is usable", || !self.ip("address show dev lan0").contains("tentative"));
    }

    pub fn remove(&self, address: IpAddr) {
        let prefix = if address.is_ipv4() { 24 } else { 64 };
        self.ip(&format!("address del {address}/{prefix} dev lan0"));
    }

    pub fn nic(&self) -> Nic {
        let line = self.ip(&format!("-o link show dev {}", self.interface));
        let index = line.split(':').next().unwrap().parse().unwrap();
        Nic { index, name: self.interface.into(), mac: self.mac, mtu: 1500 }
    }

    /// Where the kernel believes `address` to be.
    pub fn neighbour(&self, address: IpAddr) -> Option<MacAddress> {
        let entry = self.ip(&format!("neighbour show {address} dev lan0"));
        let mac = entry.split_whitespace().skip_while(|word| *word != "lladdr").nth(1)?;
        Some(mac.parse().unwrap())
    }

    /// Makes the kernel find out where `address` is.
    pub fn send_datagram(&self, address: IpAddr) {
        self.space.inside(|| {
            let any: IpAddr = if address.is_ipv4() { [0; 4].into() } else { [0_u16; 8].into() };
            let socket = UdpSocket::bind(SocketAddr::new(any, 0)).unwrap();
            let _unreachable_is_fine = socket.send_to(b"?", SocketAddr::new(address, 9));
        });
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let deleted = std::process::Command::new("ip").args(["netns", "del", &self.name]).status();
        if !deleted.is_ok_and(|status| status.success()) {
            eprintln!("namespace {} was left behind", self.name);
        }
    }
}
