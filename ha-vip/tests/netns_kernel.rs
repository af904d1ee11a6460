//! The netlink edge against a real kernel, in namespaces of its own.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed step of a test is a failed test")]

mod netns_space;

use ha_vip::kernel::{Address, AddressFlags, Event, KernelError, Lifetime, MacvlanMode, Route, Rule, Watch};
use ha_vip::{MacAddress, Nic};
use netns_space::{Space, until};
use std::net::IpAddr;
use std::sync::mpsc::channel;

const MAIL: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 77, 0, 100));

#[test]
#[ignore = "needs network namespaces"]
fn an_address_is_put_changed_listed_and_deleted() {
    let (one, _two) = Space::pair();
    let mut kernel = one.kernel();
    let lan = kernel.link_named("lan0").unwrap();
    assert!(lan.is_up && lan.is_running && lan.has_carrier && !lan.is_loopback, "{lan:?}");
    assert_eq!(kernel.link(lan.nic.index).unwrap(), lan);
    let mut v4 = Address::new(lan.nic.index, MAIL, 24);
    v4.label = Some("lan0:mail".into());
    v4.origin = 72;
    v4.lifetime = Lifetime::Seconds(30);
    let mut v6 = Address::new(lan.nic.index, "fd00::64".parse().unwrap(), 128);
    v6.flags = AddressFlags::NODAD;
    v6.origin = 72;
    let both = [v4.clone(), v6.clone()];
    for _ in 0..2 {
        for outcome in kernel.put_addresses(&both) {
            outcome.unwrap();
        }
        let found = kernel.addresses().unwrap();
        let found4 = found.iter().find(|a| a.address == MAIL).unwrap();
        assert_eq!((found4.prefix, found4.origin, found4.label.as_deref()), (24, 72, Some("lan0:mail")));
        assert!(matches!(found4.lifetime, Lifetime::Seconds(29..=30)), "{found4:?}");
        let found6 = found.iter().find(|a| a.address == v6.address).unwrap();
        assert_eq!((found6.prefix, found6.origin, found6.lifetime), (128, 72, Lifetime::Forever));
        assert!(
            found6.flags.has(AddressFlags::NODAD) && !found6.flags.has(AddressFlags::TENTATIVE),
            "{found6:?}"
        );
    }
    assert!(one.has("10.77.0.100/24") && one.has("fd00::64/128"));
    for outcome in kernel.delete_addresses(&both) {
        outcome.unwrap();
    }
    assert!(!one.has("10.77.0.100/24") && !one.has("fd00::64/128"));
    for outcome in kernel.delete_addresses(&both) {
        assert!(outcome.unwrap_err().is_absent());
    }
}

#[test]
#[ignore = "needs network namespaces"]
fn routes_rules_and_neighbours_are_put_listed_and_deleted() {
    let (one, two) = Space::pair();
    let mut kernel = one.kernel();
    let lan = kernel.link_named("lan0").unwrap().nic;
    let mut route = Route::new([10, 99, 0, 0].into(), 16);
    route.gateway = Some([10, 77, 0, 2].into());
    route.index = Some(lan.index);
    route.table = 1000;
    route.origin = 72;
    let mut direct = Route::new("fd99::".parse().unwrap(), 64);
    direct.index = Some(lan.index);
    direct.origin = 72;
    let rule = Rule { is_v6: false, from: Some((MAIL, 32)), to: None, priority: 100, table: 1000 };
    for _ in 0..2 {
        kernel.put_route(&route).unwrap();
        kernel.put_route(&direct).unwrap();
        kernel.put_rule(&rule, 72).unwrap();
        let routes = kernel.routes().unwrap();
        assert_eq!(routes.iter().filter(|r| r.is_same(&route)).count(), 1, "{routes:?}");
        assert_eq!(routes.iter().filter(|r| r.is_same(&direct)).count(), 1, "{routes:?}");
        assert_eq!(kernel.rules().unwrap().iter().filter(|r| **r == (rule.clone(), 72)).count(), 1);
    }
    kernel.delete_route(&route).unwrap();
    kernel.delete_route(&direct).unwrap();
    kernel.delete_rule(&rule, 72).unwrap();
    assert!(kernel.delete_route(&route).unwrap_err().is_absent());
    assert!(kernel.delete_rule(&rule, 72).unwrap_err().is_absent());
    one.ip("neigh add 10.77.0.9 lladdr 02:00:00:00:00:09 dev lan0");
    let known = kernel.neighbours().unwrap();
    let nine = known.iter().find(|n| n.address == IpAddr::from([10, 77, 0, 9])).unwrap();
    assert_eq!(
        (nine.mac, nine.index, nine.is_permanent),
        (Some(MacAddress([2, 0, 0, 0, 0, 9])), lan.index, true)
    );
    let towards = kernel.links_towards(MAIL).unwrap();
    assert_eq!(towards.iter().map(|link| link.nic.index).collect::<Vec<_>>(), [lan.index]);
    assert_eq!(kernel.links_towards([192, 0, 2, 1].into()).unwrap(), []);
    drop(two);
}

#[test]
#[ignore = "needs network namespaces"]
fn a_macvlan_is_made_raised_and_removed() {
    let (one, _two) = Space::pair();
    let mut kernel = one.kernel();
    let lan = kernel.link_named("lan0").unwrap().nic;
    let mac = MacAddress([0, 0, 0x5e, 0, 1, 51]);
    let made = kernel.create_macvlan("vmac.51", &lan, mac, MacvlanMode::Private).unwrap();
    assert_eq!((made.nic.mac, made.is_up, made.lower), (mac, false, Some(lan.index)));
    assert_eq!(made.kind.as_deref(), Some("macvlan"));
    let again = kernel.create_macvlan("vmac.51", &lan, mac, MacvlanMode::Private);
    assert!(matches!(again, Err(KernelError::Exists { .. })), "{again:?}");
    kernel.set_up(&made.nic, true).unwrap();
    assert!(kernel.link(made.nic.index).unwrap().is_up);
    kernel.delete_link(&made.nic).unwrap();
    assert!(kernel.delete_link(&made.nic).unwrap_err().is_absent());
}

#[test]
#[ignore = "needs network namespaces"]
fn what_is_not_there_or_cannot_be_is_named() {
    let (one, _two) = Space::pair();
    let mut kernel = one.kernel();
    let text = kernel.link_named("wan0").unwrap_err().to_string();
    assert!(text.contains("there is no interface wan0"), "{text}");
    let lan = kernel.link_named("lan0").unwrap().nic;
    let refused = |kernel: &mut ha_vip::kernel::Rtnetlink, address: Address| {
        kernel.put_addresses(&[address]).remove(0).unwrap_err().to_string()
    };
    let text = refused(&mut kernel, Address::new(lan.index, MAIL, 33));
    assert!(text.contains("add 10.77.0.100/33") && text.contains("Invalid prefix"), "{text}");
    let text = refused(&mut kernel, Address::new(9999, MAIL, 24));
    assert!(text.contains("there is no interface"), "{text}");
    let gone = Nic { index: 9999, name: "gone0".into(), ..lan };
    let text = kernel.set_up(&gone, true).unwrap_err().to_string();
    assert!(text.contains("there is no interface gone0"), "{text}");
}

#[test]
#[ignore = "needs network namespaces"]
fn a_watch_tells_of_links_and_addresses_as_they_change() {
    let (one, two) = Space::pair();
    let (tell, told) = channel();
    let watch = Watch::start(&one.namespace(), move |event| drop(tell.send(event))).unwrap();
    assert!(matches!(told.recv().unwrap(), Event::Resync { .. }));
    one.ip("addr add 10.77.0.100/24 dev lan0");
    one.ip("addr del 10.77.0.100/24 dev lan0");
    two.ip("link set lan0 down");
    let mut seen = (false, false, false);
    until("all three events", || {
        for event in told.try_iter() {
            match event {
                Event::Address(a) if a.address == MAIL => seen.0 = true,
                Event::AddressGone(a) if a.address == MAIL => seen.1 = true,
                Event::Link(link) if link.nic.name == "lan0" && !link.has_carrier => seen.2 = true,
                _ => {}
            }
        }
        seen == (true, true, true)
    });
    drop(watch);
}

#[test]
#[ignore = "needs network namespaces"]
fn a_subscriber_that_was_overrun_looks_at_everything_again() {
    let (one, _two) = Space::pair();
    let mut events = ha_vip::kernel::Events::open(&one.namespace()).unwrap();
    let mut kernel = one.kernel();
    let lan = kernel.link_named("lan0").unwrap().nic;
    // Nobody reads: some ten thousand messages overrun any buffer that is granted.
    let mail = Address { lifetime: Lifetime::Seconds(60), ..Address::new(lan.index, MAIL, 24) };
    for _ in 0..200 {
        for outcome in kernel.put_addresses(&vec![mail.clone(); 64]) {
            outcome.unwrap();
        }
    }
    let mut resynced = false;
    while !resynced {
        for event in events.read().unwrap() {
            if let Event::Resync { links, addresses } = event {
                assert!(links.iter().any(|link| link.nic.name == "lan0"));
                assert!(addresses.iter().any(|address| address.address == MAIL));
                resynced = true;
            }
        }
    }
}
