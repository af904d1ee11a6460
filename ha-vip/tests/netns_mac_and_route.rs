//! The virtual MAC seen from a neighbour, and host routes for a routing daemon.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed step of a test is a failed test")]

mod netns_space;

use ha_core::api::Resource;
use ha_core::engine::Health;
use ha_core::testkit::resource::ResourceTest;
use ha_vip::VirtualIp;
use ha_vip::linux::VirtualMac;
use netns_space::serving::{Serving, specs};
use netns_space::{Space, until};
use std::sync::Arc;
use std::time::Duration;

fn mac_of(space: &Space, address: &str) -> String {
    let _asked = space.command("ping").args(["-c1", "-W1", address]).output().unwrap();
    let shown = space.ip(&format!("neigh show {address} dev lan0"));
    shown.split_whitespace().skip_while(|word| *word != "lladdr").nth(1).unwrap_or("nobody").to_owned()
}

#[test]
#[ignore = "needs network namespaces"]
fn neighbours_see_the_virtual_mac_and_the_settings_are_put_back() {
    let (one, two) = Space::pair();
    let setting = |name: &str| {
        let out = one.command("cat").arg(format!("/proc/sys/net/ipv4/conf/{name}")).output().unwrap();
        String::from_utf8_lossy(&out.stdout).trim().to_owned()
    };
    let before = setting("lan0/arp_ignore");
    let serving = Serving::new(|| {
        VirtualIp::linux("address", specs(&["10.77.0.100/24@lan0", "fd00::64/64@lan0"]))
            .namespace(one.namespace())
            .virtual_mac(VirtualMac::vrrp(51))
            .build()
            .unwrap()
    });
    assert!(one.ip("link show vmac.51").contains("state DOWN"), "prepared, and silent");
    assert_eq!((setting("lan0/arp_ignore"), setting("vmac.51/rp_filter")), ("1".into(), "0".into()));
    for _ in 0..2 {
        serving.start().unwrap();
        until("carrier", || serving.health() == Health::Running);
        until("the virtual MAC", || mac_of(&two, "10.77.0.100") == "00:00:5e:00:01:33");
        until("for IPv6 too", || mac_of(&two, "fd00::64") == "00:00:5e:00:01:33");
        assert_ne!(mac_of(&two, "10.77.0.1"), "00:00:5e:00:01:33", "the host keeps its own");
        serving.stop().unwrap();
        assert!(one.ip("link show vmac.51").contains("state DOWN"));
        two.ip("neigh flush dev lan0");
    }
    drop(serving);
    assert!(!one.ip("link show").contains("vmac.51"));
    assert_eq!(setting("lan0/arp_ignore"), before);
}

#[test]
#[ignore = "needs network namespaces"]
fn an_interface_that_only_has_the_name_is_refused() {
    let (one, _two) = Space::pair();
    one.ip("link add vmac.51 type veth peer name other");
    let built = VirtualIp::linux("address", specs(&["10.77.0.100/24@lan0"]))
        .namespace(one.namespace())
        .virtual_mac(VirtualMac::vrrp(51))
        .build();
    let text = built.unwrap_err().to_string();
    assert!(text.contains("the interface vmac.51 exists and is veth"), "{text}");
}

#[test]
#[ignore = "needs network namespaces"]
fn host_routes_come_with_the_addresses_and_go_with_them() {
    let (one, _two) = Space::pair();
    let serving = Serving::new(|| {
        let addresses = ["192.0.2.25".parse().unwrap(), "2001:db8::25".parse().unwrap()];
        VirtualIp::route("address", &addresses).namespace(one.namespace()).table(179).build().unwrap()
    });
    let both = || (one.ip("route show table 179"), one.ip("-6 route show table 179"));
    for _ in 0..2 {
        serving.start().unwrap();
        serving.must_be(Health::Running);
        let (v4, v6) = both();
        assert!(v4.contains("192.0.2.25 dev lo proto 72") && v4.contains("src 192.0.2.25"), "{v4}");
        assert!(v6.contains("2001:db8::25 dev lo proto 72"), "{v6}");
        // A daemon or a person that removes one: put back by the next renewal.
        one.ip("route del 192.0.2.25 table 179");
        assert_eq!(serving.health(), Health::Degraded);
        until("put back", || serving.health() == Health::Running);
        serving.stop().unwrap();
        assert_eq!(both(), (String::new(), String::new()));
        assert!(!one.has("192.0.2.25") && !one.has("2001:db8::25"));
    }
}

#[test]
#[ignore = "needs network namespaces"]
fn addresses_on_an_interface_pass_the_kit() {
    let (one, _two) = Space::pair();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let make = || -> Arc<dyn Resource> {
        let builder = VirtualIp::linux("address", specs(&["10.77.0.100/24@lan0", "fd00::64/64@lan0"]));
        Arc::new(builder.namespace(one.namespace()).gate(Duration::from_millis(500)).build().unwrap())
    };
    let left = || one.has("10.77.0.100").then(|| "10.77.0.100 is on lan0".into()).into_iter().collect();
    let handler =
        ha_vip::undo_handlers().into_iter().find(|handler| handler.kind == "ha-vip/address").unwrap();
    let test = ResourceTest::new(make)
        .left_behind(left)
        .taken_back_by(move |undo| (handler.undo)(undo.version, &undo.bytes))
        .broken_by(|| drop(one.ip("link set lan0 down")));
    let report = runtime.block_on(test.run());
    report.map_err(|failed| failed.to_string()).unwrap();
}
