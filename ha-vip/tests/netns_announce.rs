//! Announcements between real network namespaces: what arrives at the other end of a cable, and what a client's kernel
//! makes of it.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed step of a test is a failed test")]

mod announce_lab;

use announce_lab::capture::Capture;
use announce_lab::{BOTH, CLIENT, CLIENT_6, Host, Lab, VIRTUAL, VIRTUAL_6, until};
use ha_vip::announce::{Announce, AnnounceError, Announcer, AnnouncerBuilder, Schedule};
use ha_vip::{MacAddress, Nic};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// One round and no more.
fn once() -> Schedule {
    Schedule::default().with_burst(&[]).with_repeat(None)
}

fn announcer(host: &Host) -> AnnouncerBuilder {
    Announcer::builder().namespace(host.space())
}

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex.bytes().filter(u8::is_ascii_hexdigit).collect();
    digits.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

#[test]
#[ignore = "needs network namespaces"]
fn ipv4_frames_arrive_byte_for_byte_in_both_forms() {
    let lab = Lab::new();
    let mut capture = Capture::at(&lab.client);
    let announcer = announcer(&lab.a).schedule(once()).start().unwrap();
    announcer.announce_now(&lab.a.nic(), VIRTUAL.into()).unwrap();
    let request = bytes(
        "ffffffffffff 02770000000b 0806  0001 0800 06 04 0001
         02770000000b 0a4d0064  000000000000 0a4d0064",
    );
    let reply = bytes(
        "ffffffffffff 02770000000b 0806  0001 0800 06 04 0002
         02770000000b 0a4d0064  02770000000b 0a4d0064",
    );
    assert_eq!(capture.wait_for(2, VIRTUAL.into(), lab.a.mac), [request, reply]);
}

#[test]
#[ignore = "needs network namespaces"]
fn ipv6_frames_arrive_byte_for_byte_with_the_router_flag_as_the_host_forwards() {
    let lab = Lab::new();
    let mut capture = Capture::at(&lab.client);
    let (announcer, nic) = (announcer(&lab.a).schedule(once()).start().unwrap(), lab.a.nic());
    let told = |flags: &str, sum: &str| {
        bytes(&format!(
            "333300000001 02770000000b 86dd  60000000 0020 3a ff
             fd770000000000000000000000000100 ff020000000000000000000000000001
             88 00 {sum} {flags} 000000 fd770000000000000000000000000100  02 01 02770000000b"
        ))
    };
    announcer.announce_now(&nic, VIRTUAL_6.into()).unwrap();
    assert_eq!(capture.wait_for(1, VIRTUAL_6.into(), lab.a.mac), [told("20", "572e")]);
    lab.a.set("lan0/forwarding", "1");
    capture.forget();
    announcer.prepare(&nic, VIRTUAL_6.into()).unwrap();
    announcer.announce_now(&nic, VIRTUAL_6.into()).unwrap();
    assert_eq!(capture.wait_for(1, VIRTUAL_6.into(), lab.a.mac), [told("a0", "d72d")]);
}

#[test]
#[ignore = "needs network namespaces"]
fn forwarding_that_is_switched_on_later_is_told_within_the_burst() {
    let lab = Lab::new();
    let mut capture = Capture::at(&lab.client);
    let burst = [50, 100, 150, 200, 2000, 4000].map(Duration::from_millis);
    let schedule = Schedule::default().with_burst(&burst).with_repeat(None);
    let announcer = announcer(&lab.a).schedule(schedule).start().unwrap();
    announcer.announce_now(&lab.a.nic(), VIRTUAL_6.into()).unwrap();
    capture.wait_for(1, VIRTUAL_6.into(), lab.a.mac);
    lab.a.set("lan0/forwarding", "1");
    until("the router flag is set", || {
        capture.claims(VIRTUAL_6.into(), lab.a.mac).last().is_some_and(|frame| frame[58] == 0xa0)
    });
}

#[test]
#[ignore = "needs network namespaces"]
fn the_first_frames_are_sent_before_the_call_returns() {
    let lab = Lab::new();
    let announcer = announcer(&lab.a).schedule(once()).start().unwrap();
    let nic = lab.a.nic();
    for (address, frames) in BOTH.into_iter().zip([2, 1]) {
        announcer.prepare(&nic, address).unwrap();
        let mut took: Vec<Duration> = (0..1000)
            .map(|_| {
                let began = Instant::now();
                announcer.announce_now(&nic, address).unwrap();
                let took = began.elapsed();
                assert_eq!(announcer.progress(address).unwrap().frames, frames);
                took
            })
            .collect();
        took.sort_unstable();
        println!("{address}: median {:?}, 99 % {:?}, longest {:?}", took[500], took[990], took[999]);
    }
}

#[test]
#[ignore = "needs network namespaces"]
fn a_hundred_addresses_are_announced_at_once() {
    let lab = Lab::new();
    let mut capture = Capture::at(&lab.client);
    let burst = Schedule::default().with_burst(&[Duration::from_millis(50)]).with_repeat(None);
    let announcer = announcer(&lab.a).schedule(burst).start().unwrap();
    let nic = lab.a.nic();
    let addresses: Vec<IpAddr> = (100..200).map(|last| IpAddr::from([10, 77, 0, last])).collect();
    addresses.iter().for_each(|address| announcer.prepare(&nic, *address).unwrap());
    let began = Instant::now();
    addresses.iter().for_each(|address| announcer.announce_now(&nic, *address).unwrap());
    println!("a hundred first announcements: {:?}", began.elapsed());
    for address in addresses {
        capture.wait_for(4, address, lab.a.mac);
        assert_eq!(announcer.progress(address).unwrap().failed, 0);
    }
}

#[test]
#[ignore = "needs network namespaces"]
fn a_list_of_neighbours_that_panics_is_told_at_the_next_take() {
    let lab = Lab::new();
    let broken = |_: &_| panic!("a test of a closure that panics");
    let burst = Schedule::default().with_burst(&[Duration::from_millis(1)]);
    let announcer = announcer(&lab.a).schedule(burst).neighbours(Arc::new(broken)).start().unwrap();
    until("it is told", || {
        matches!(announcer.announce_now(&lab.a.nic(), VIRTUAL.into()), Err(AnnounceError::ThreadEnded))
    });
}

#[test]
#[ignore = "needs network namespaces"]
fn an_interface_with_a_new_mac_is_announced_after_it_was_prepared_anew() {
    let lab = Lab::new();
    let mut capture = Capture::at(&lab.client);
    let announcer = announcer(&lab.a).schedule(once()).start().unwrap();
    announcer.prepare(&lab.a.nic(), VIRTUAL.into()).unwrap();
    lab.a.ip("link set lan0 address 02:77:00:00:00:99");
    let nic = Nic { mac: MacAddress([2, 0x77, 0, 0, 0, 0x99]), ..lab.a.nic() };
    announcer.announce_now(&nic, VIRTUAL.into()).unwrap();
    capture.wait_for(2, VIRTUAL.into(), nic.mac);
    assert!(capture.claims(VIRTUAL.into(), lab.a.mac).is_empty());
    assert!(announcer.announce_now(&lab.a.nic(), VIRTUAL.into()).is_err(), "it has that MAC no more");
}

#[test]
#[ignore = "needs network namespaces"]
fn the_first_round_alone_moves_a_client_to_the_new_owner() {
    let lab = Lab::new();
    let announcer = announcer(&lab.a).schedule(once()).start().unwrap();
    for address in BOTH {
        lab.b.add(address);
        lab.client_learns(address, &lab.b);
        lab.b.remove(address);
        announcer.prepare(&lab.a.nic(), address).unwrap();
        assert_eq!(lab.client_believes(address), Some(lab.b.mac), "preparing says nothing");
        lab.a.add(address);
        announcer.announce_now(&lab.a.nic(), address).unwrap();
        until("the client goes to the new owner", || lab.client_believes(address) == Some(lab.a.mac));
    }
}

#[test]
#[ignore = "needs network namespaces"]
fn a_neighbour_that_hears_no_broadcast_is_told_alone() {
    let lab = Lab::new();
    for address in BOTH {
        lab.b.add(address);
        lab.client_learns(address, &lab.b);
        lab.b.remove(address);
        lab.a.add(address);
    }
    lab.client.nft("add table arp deaf");
    lab.client.nft("add chain arp deaf input { type filter hook input priority 0; }");
    lab.client.nft("add rule arp deaf input meta pkttype broadcast drop");
    lab.client.nft("add table ip6 deaf");
    lab.client.nft("add chain ip6 deaf input { type filter hook input priority 0; }");
    lab.client.nft("add rule ip6 deaf input ip6 daddr ff02::/16 drop");
    let burst = Schedule::default().with_burst(&[Duration::from_millis(20)]).with_repeat(None);
    let broadcasting = announcer(&lab.a).schedule(burst.clone()).start().unwrap();
    for address in BOTH {
        broadcasting.announce_now(&lab.a.nic(), address).unwrap();
        until("both rounds went out", || broadcasting.progress(address).is_some_and(|done| done.rounds == 2));
        assert_eq!(lab.client_believes(address), Some(lab.b.mac), "the client hears broadcasts");
    }
    drop(broadcasting);
    let (mac, strange) = (lab.client.mac, MacAddress([0xff; 6]));
    let known = move |_: &_| vec![(CLIENT.into(), mac), (CLIENT_6.into(), mac), (CLIENT.into(), strange)];
    let directing = announcer(&lab.a).schedule(burst).neighbours(Arc::new(known)).start().unwrap();
    for address in BOTH {
        directing.announce_now(&lab.a.nic(), address).unwrap();
        until("the client was told", || lab.client_believes(address) == Some(lab.a.mac));
    }
}

#[test]
#[ignore = "needs network namespaces"]
fn nothing_goes_out_after_a_withdrawal_or_without_permission() {
    let lab = Lab::new();
    let mut capture = Capture::at(&lab.client);
    let every_ms: Vec<_> = (0..60).map(Duration::from_millis).collect();
    let permitted = Arc::new(AtomicBool::new(true));
    let asked = Arc::clone(&permitted);
    let announcer = announcer(&lab.a)
        .schedule(Schedule::default().with_burst(&every_ms))
        .permit(Arc::new(move |_| asked.load(Ordering::SeqCst)))
        .start()
        .unwrap();
    let (nic, address) = (lab.a.nic(), IpAddr::from(VIRTUAL));
    let sent = || announcer.progress(address).unwrap().frames;

    announcer.announce_now(&nic, address).unwrap();
    capture.wait_for(6, address, lab.a.mac);
    announcer.withdraw(&nic, address);
    let before = sent();
    std::thread::sleep(Duration::from_millis(100)); // longer than the burst
    assert_eq!(sent(), before);
    until("the last frame is captured", || capture.claims(address, lab.a.mac).len() as u64 == before);

    announcer.announce_now(&nic, address).unwrap();
    permitted.store(false, Ordering::SeqCst);
    until("rounds are refused", || announcer.progress(address).unwrap().refused > 3);
    let before = sent();
    until("more rounds are refused", || announcer.progress(address).unwrap().refused > 20);
    assert_eq!(sent(), before);
    capture.forget();
    let refused = announcer.announce_now(&nic, address);
    assert!(matches!(refused, Err(AnnounceError::NotPermitted { .. })), "{refused:?}");
    assert_eq!(capture.claims(address, lab.a.mac).len(), 0);
}

#[test]
#[ignore = "needs network namespaces"]
fn when_the_loser_has_released_the_winner_speaks_again() {
    let lab = Lab::new();
    let mut capture = Capture::at(&lab.client);
    let announcer = announcer(&lab.a).schedule(once()).start().unwrap();
    for address in BOTH {
        announcer.announce_now(&lab.a.nic(), address).unwrap();
        capture.wait_for(1, address, lab.a.mac);
    }
    announcer.withdraw(&lab.a.nic(), VIRTUAL_6.into());
    let spoken = capture.wait_for(2, VIRTUAL.into(), lab.a.mac).len();
    announcer.loser_released();
    capture.wait_for(spoken + 2, VIRTUAL.into(), lab.a.mac);
    assert_eq!(capture.claims(VIRTUAL_6.into(), lab.a.mac).len(), 1, "a withdrawn address was announced");
}

#[test]
#[ignore = "needs network namespaces"]
fn a_cable_that_comes_back_is_announced_on_by_the_next_round() {
    let lab = Lab::new();
    let mut capture = Capture::at(&lab.client);
    let burst: Vec<_> = (0..60).map(|step| Duration::from_millis(50 * step)).collect();
    let announcer = announcer(&lab.a).schedule(Schedule::default().with_burst(&burst)).start().unwrap();
    lab.a.ip("link set lan0 down");
    let down = announcer.announce_now(&lab.a.nic(), VIRTUAL.into());
    assert!(down.is_err_and(|error| error.to_string().contains("lan0 is down")));
    let progress = announcer.progress(VIRTUAL.into()).unwrap();
    assert!(progress.failed > 0 && progress.last_error.contains("down"), "{progress:?}");
    lab.a.ip("link set lan0 up");
    capture.wait_for(2, VIRTUAL.into(), lab.a.mac);
    until("it says so", || announcer.progress(VIRTUAL.into()).unwrap().last_error.is_empty());
}
