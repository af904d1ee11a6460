//! An address of the Linux backend as its neighbours see it: announced, defended, verified, and not taken from a living owner.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed step of a test is a failed test")]

mod announce_lab;
mod netns_space;

use announce_lab::{CLIENT, Host, Lab, VIRTUAL, until};
use ha_core::engine::Health;
use ha_core::{Epoch, StopProof};
use ha_vip::announce::Announcer;
use ha_vip::conflict::{Conflict, Policy};
use ha_vip::kernel::NetNamespace;
use ha_vip::linux::LinuxBuilder;
use ha_vip::{MacAddress, Nic, VirtualIp};
use netns_space::serving::{Serving, specs};
use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

const RELEASED: StopProof = StopProof::Released { epoch: Epoch(1), final_lsn: None, forced: false };

fn on(host: &Host) -> LinuxBuilder {
    VirtualIp::linux("address", specs(&["10.77.0.100/24@lan0"])).namespace(NetNamespace::named(&host.name))
}

fn served(builder: LinuxBuilder) -> Serving {
    Serving::new(|| builder.build().unwrap())
}

/// What a foreign host says that has the address, too.
fn claim(host: &Host) {
    let announcer = Announcer::builder().namespace(host.space()).start().unwrap();
    announcer.announce_now(&host.nic(), VIRTUAL.into()).unwrap();
}

#[test]
#[ignore = "needs network namespaces"]
fn a_client_that_knew_the_former_owner_finds_the_new_one_without_asking() {
    let lab = Lab::new();
    let (a, b) = (served(on(&lab.a)), served(on(&lab.b)));
    a.start().unwrap();
    lab.client_learns(VIRTUAL.into(), &lab.a);
    a.stop().unwrap();
    b.start_on(RELEASED).unwrap();
    // The first announcement left before the start ended; the client sent nothing meanwhile.
    until("the client believes the new owner", || lab.client_believes(VIRTUAL.into()) == Some(lab.b.mac));
}

#[test]
#[ignore = "needs network namespaces"]
fn without_a_proof_an_address_is_not_taken_from_who_answers_for_it() {
    let lab = Lab::new();
    let (a, b) = (served(on(&lab.a)), served(on(&lab.b)));
    a.start().unwrap();
    let refused = b.start().unwrap_err();
    assert!(refused.reason.contains(&format!("{VIRTUAL} is in use by {}", lab.a.mac)), "{refused}");
    b.must_be(Health::Stopped);
    a.must_be(Health::Running);
    // With a proof nobody is asked: the former owner may go on answering for a moment, and does not matter.
    b.start_on(RELEASED).unwrap();
    b.must_be(Health::Running);
}

#[test]
#[ignore = "needs network namespaces"]
fn the_owner_has_the_last_word_after_a_foreign_claim() {
    let lab = Lab::new();
    let heard: Arc<Mutex<Vec<Conflict>>> = Arc::default();
    let told = Arc::clone(&heard);
    let a = served(on(&lab.a).conflicts(Arc::new(move |c: &Conflict| told.lock().unwrap().push(c.clone()))));
    a.start().unwrap();
    lab.client_learns(VIRTUAL.into(), &lab.a);
    claim(&lab.b);
    until("the conflict is named", || heard.lock().unwrap().iter().any(|c| c.mac == lab.b.mac));
    until("the client believes the owner", || lab.client_believes(VIRTUAL.into()) == Some(lab.a.mac));
    a.must_be(Health::Running);
}

/// The kernel answers and asks for an address on each interface that it has on the segment.
#[test]
#[ignore = "needs network namespaces"]
fn what_another_interface_of_the_same_node_says_is_no_foreign_claim() {
    let lab = Lab::new();
    let mac = MacAddress([2, 0x77, 0, 0, 0, 0x99]);
    lab.a.ip(&format!("link add lan1 address {mac} type veth peer name pa2 netns {}", lab.bridge.name));
    lab.bridge.ip("link set pa2 master br0 up");
    lab.a.ip("link set lan1 up");
    let index = lab.a.ip("-o link show dev lan1").split(':').next().unwrap().parse().unwrap();
    let other = Nic { index, name: "lan1".into(), mac, mtu: 1500 };
    let heard: Arc<Mutex<Vec<Conflict>>> = Arc::default();
    let told = Arc::clone(&heard);
    let a = served(on(&lab.a).conflicts(Arc::new(move |c: &Conflict| told.lock().unwrap().push(c.clone()))));
    a.start().unwrap();
    let announcer = Announcer::builder().namespace(lab.a.space()).start().unwrap();
    announcer.announce_now(&other, VIRTUAL.into()).unwrap();
    // On one bridge: when the later claim is heard, the earlier one was.
    claim(&lab.b);
    until("the foreign claim is named", || heard.lock().unwrap().iter().any(|c| c.mac == lab.b.mac));
    assert!(heard.lock().unwrap().iter().all(|c| c.mac != mac), "{:?}", heard.lock().unwrap());
}

#[test]
#[ignore = "needs network namespaces"]
fn an_address_that_the_policy_gives_up_is_failed() {
    let lab = Lab::new();
    let policy = Policy::GiveUp { after: 2, within: Duration::from_secs(30) };
    let a = served(on(&lab.a).on_conflict(policy));
    a.start().unwrap();
    until("the address is given up", || {
        claim(&lab.b);
        a.health() == Health::Failed
    });
}

#[test]
#[ignore = "needs network namespaces"]
fn a_witness_that_believes_another_one_degrades_the_health() {
    let lab = Lab::new();
    lab.b.add(VIRTUAL.into());
    let a = served(on(&lab.a).witness(IpAddr::V4(CLIENT)));
    a.start_on(RELEASED).unwrap();
    until("somebody contradicts", || a.health() == Health::Degraded);
    lab.b.remove(VIRTUAL.into());
    // The next take is looked at anew.
    a.stop().unwrap();
    a.start_on(RELEASED).unwrap();
    a.must_be(Health::Running);
}
