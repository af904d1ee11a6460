//! The view from outside between real network namespaces, and what is said when frames cannot be sent at all.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed step of a test is a failed test")]

mod announce_lab;

use announce_lab::{BOTH, CLIENT, CLIENT_6, Lab, VIRTUAL, until};
use ha_core::engine::Health;
use ha_vip::announce::{AnnounceError, Announcer};
use ha_vip::conflict::{ProbeAnswer, ProbePlan, probe};
use ha_vip::packet::{Here, Listener, PacketError, PacketSender, Wanted};
use ha_vip::verify::{Evidence, OutsideCheck, Seen};
use ha_vip::{MacAddress, Nic};
use rustix::thread::{CapabilitySet, capabilities, set_capabilities};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

fn check(lab: &Lab, address: IpAddr, mac: Option<MacAddress>) -> OutsideCheck {
    let witness = if address.is_ipv4() { CLIENT.into() } else { CLIENT_6.into() };
    let check = OutsideCheck::default().namespace(lab.a.space()).witness(witness, mac);
    check.attempts(3, Duration::from_millis(300))
}

#[test]
#[ignore = "needs network namespaces"]
fn a_witness_that_sends_to_us_confirms() {
    let lab = Lab::new();
    for address in BOTH {
        lab.a.add(address);
        for mac in [None, Some(lab.client.mac)] {
            let view = check(&lab, address, mac).run(&lab.a.nic(), address);
            assert_eq!(
                view.confirmed.first().map(|(_, evidence)| *evidence),
                Some(Evidence::Sends),
                "{view:?}"
            );
            assert_eq!((view.contradicted.len(), view.unknown.len()), (0, 0), "{view:?}");
            assert_eq!(view.health(), Health::Running);
        }
    }
}

#[test]
#[ignore = "needs network namespaces"]
fn a_witness_that_keeps_to_the_old_owner_does_not_count_as_sending_to_us() {
    let lab = Lab::new();
    lab.a.add(VIRTUAL.into());
    lab.client.ip(&format!("neighbour replace {VIRTUAL} lladdr {} dev lan0 nud permanent", lab.b.mac));
    let view = check(&lab, VIRTUAL.into(), Some(lab.client.mac)).run(&lab.a.nic(), VIRTUAL.into());
    assert_eq!(view.confirmed, [(CLIENT.to_string(), Evidence::Learnt)]);
}

#[test]
#[ignore = "needs network namespaces"]
fn another_owner_contradicts() {
    let lab = Lab::new();
    for address in BOTH {
        lab.a.add(address);
        lab.b.add(address);
        let view = check(&lab, address, Some(lab.client.mac)).run(&lab.a.nic(), address);
        assert!(view.contradicted.iter().any(|(_, mac)| *mac == lab.b.mac), "{view:?}");
        assert_eq!(view.health(), Health::Degraded);
    }
}

#[test]
#[ignore = "needs network namespaces"]
fn the_other_node_asks_from_its_place() {
    let lab = Lab::new();
    let (space, nic) = (lab.b.space(), lab.b.nic());
    let peer = move |address| match probe(&*space, &nic, address, ProbePlan::default().count(5), &[]) {
        ProbeAnswer::TakenBy(mac) => Seen::At(mac),
        other => Seen::Unknown(format!("{other:?}")),
    };
    let check = OutsideCheck::default().namespace(lab.a.space()).probe("n2", Arc::new(peer));
    let nic = lab.a.nic();
    assert_eq!(check.run(&nic, VIRTUAL.into()).health(), Health::Unknown);
    lab.a.add(VIRTUAL.into());
    assert_eq!(check.run(&nic, VIRTUAL.into()).confirmed, [("n2".into(), Evidence::Saw)]);
    lab.a.remove(VIRTUAL.into());
    lab.client.add(VIRTUAL.into());
    let view = check.run(&nic, VIRTUAL.into());
    assert!(view.contradicted.contains(&("n2".into(), lab.client.mac)), "{view:?}");
}

/// The burst was lost on the client; nothing but the check tells it again.
#[test]
#[ignore = "needs network namespaces"]
fn a_neighbour_that_still_has_the_old_owner_is_told_again_by_the_check() {
    let lab = Lab::new();
    for address in BOTH {
        lab.b.add(address);
        lab.client_learns(address, &lab.b);
        lab.b.remove(address);
        lab.a.add(address);
    }
    lab.client.nft("add table netdev deaf");
    lab.client
        .nft("add chain netdev deaf in { type filter hook ingress device lan0 priority 0; policy drop; }");
    for address in BOTH {
        let check = check(&lab, address, Some(lab.client.mac)).attempts(2, Duration::from_millis(50));
        let view = check.run(&lab.a.nic(), address);
        assert_eq!((view.unknown.len(), view.health()), (1, Health::Unknown), "{view:?}");
        assert_eq!(lab.client_believes(address), Some(lab.b.mac));
    }
    lab.client.nft("delete table netdev deaf");
    for address in BOTH {
        let view = check(&lab, address, Some(lab.client.mac)).run(&lab.a.nic(), address);
        assert_eq!(view.health(), Health::Running, "{view:?}");
        until("the client was told", || lab.client_believes(address) == Some(lab.a.mac));
    }
}

#[test]
#[ignore = "needs network namespaces"]
fn without_a_cable_nobody_was_asked() {
    let lab = Lab::new();
    lab.a.add(VIRTUAL.into());
    lab.bridge.ip("link set pa down");
    let view = check(&lab, VIRTUAL.into(), None).run(&lab.a.nic(), VIRTUAL.into());
    assert_eq!(view.health(), Health::Unknown);
    assert!(view.unknown.iter().all(|(_, why)| why.contains("NoCarrier")), "{view:?}");
}

#[test]
#[ignore = "needs network namespaces"]
fn an_interface_that_is_not_the_one_that_was_meant_is_named() {
    let lab = Lab::new();
    let (space, nic) = (lab.a.space(), lab.a.nic());
    let open = |nic: &Nic| PacketSender::open(&*space, nic);
    let other = Nic { mac: MacAddress([2, 0, 0, 0, 0, 1]), ..nic.clone() };
    assert!(
        matches!(open(&other), Err(PacketError::OtherMac { found: Some(found), .. }) if found == nic.mac)
    );
    let missing = Nic { index: 4711, ..nic.clone() };
    assert!(matches!(open(&missing), Err(PacketError::Gone { index: 4711, .. })));
    let loopback = Nic { index: 1, name: "lo".into(), ..nic.clone() };
    assert!(matches!(open(&loopback), Err(PacketError::NotEthernet { found: 772, .. })));
    let sender = open(&nic).unwrap();
    lab.a.ip("link del lan0");
    assert!(matches!(sender.check(), Err(PacketError::Gone { .. })));
    assert!(matches!(sender.send(&[0; 60]), Err(PacketError::Gone { .. } | PacketError::Down { .. })));
    assert!(matches!(sender.state(), Err(PacketError::Gone { .. })));
}

#[test]
#[ignore = "needs network namespaces"]
fn a_missing_capability_is_named() {
    // Capabilities belong to a thread; nobody else loses it.
    let without = std::thread::spawn(|| {
        let mut sets = capabilities(None).unwrap();
        sets.effective.remove(CapabilitySet::NET_RAW);
        set_capabilities(None, sets).unwrap();
        let nic = Nic { index: 1, name: "lan0".into(), mac: MacAddress([2, 0, 0, 0, 0, 1]), mtu: 1500 };
        let announced = Announcer::builder().start().unwrap().announce_now(&nic, VIRTUAL.into());
        let heard = Listener::open(&Here, &nic, &[Wanted::Arp]).map(drop);
        (announced, heard, probe(&Here, &nic, VIRTUAL.into(), ProbePlan::default(), &[]))
    });
    let (announced, heard, asked) = without.join().unwrap();
    let named = |error: &PacketError| {
        matches!(error, PacketError::MissingCapability { .. }) && error.to_string().contains("CAP_NET_RAW")
    };
    assert!(matches!(&announced, Err(AnnounceError::Packet(error)) if named(error)), "{announced:?}");
    assert!(matches!(&heard, Err(error) if named(error)), "{heard:?}");
    assert!(matches!(&asked, ProbeAnswer::Unknown(why) if why.contains("CAP_NET_RAW")), "{asked:?}");
}
