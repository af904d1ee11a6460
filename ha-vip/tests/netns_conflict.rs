//! Conflicts between real network namespaces: two owners for a moment, duplicate hosts, floods.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed step of a test is a failed test")]

mod announce_lab;

use announce_lab::capture::Capture;
use announce_lab::{BOTH, Host, Lab, VIRTUAL, VIRTUAL_6, until};
use ha_vip::MacAddress;
use ha_vip::announce::{Announcer, Schedule};
use ha_vip::conflict::{
    Conflict, ConflictSink, DefendWith, Policy, ProbeAnswer, ProbePlan, Verdict, Watcher, WatcherState, probe,
};
use ha_vip::frame::{Advertisement, Arp};
use ha_vip::packet::PacketSender;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

type Told = Arc<Mutex<Vec<Conflict>>>;

fn once() -> Schedule {
    Schedule::default().with_burst(&[]).with_repeat(None)
}

fn announcer(host: &Host, schedule: Schedule) -> Arc<Announcer> {
    Arc::new(Announcer::builder().namespace(host.space()).schedule(schedule).start().unwrap())
}

fn watcher(host: &Host, policy: Policy, announcer: &Arc<Announcer>) -> (Watcher, Told) {
    let told = Told::default();
    let theirs = Arc::clone(&told);
    let tell = move |conflict: &Conflict| theirs.lock().unwrap().push(conflict.clone());
    let sink: Arc<dyn ConflictSink> = Arc::new(DefendWith { announcer: Arc::clone(announcer), tell });
    (Watcher::start(&*host.space(), &host.nic(), policy, &[], sink).unwrap(), told)
}

/// What keepalived's users report for years: both owned it for a moment, and the loser's burst came last.
fn after_the_losers_burst(lab: &Lab, address: IpAddr, defended: bool) -> (Option<MacAddress>, Vec<Conflict>) {
    let winner = announcer(&lab.a, once());
    let (watcher, told) = watcher(&lab.a, if defended { Policy::Defend } else { Policy::Report }, &winner);
    lab.a.add(address);
    watcher.hold(address);
    winner.announce_now(&lab.a.nic(), address).unwrap();
    lab.client_learns(address, &lab.a);
    let mut capture = Capture::at(&lab.client);
    let loser = announcer(&lab.b, Schedule::default().with_repeat(None));
    loser.announce_now(&lab.b.nic(), address).unwrap();
    until("the loser's burst is over", || loser.progress(address).is_some_and(|done| done.rounds == 6));
    let frames = if address.is_ipv4() { 12 } else { 6 };
    capture.wait_for(frames, address, lab.b.mac);
    drop(loser);
    if defended {
        until("the winner has the last word", || capture.last_word(address) == Some(lab.a.mac));
        until("it has said it twice more", || winner.progress(address).is_some_and(|done| done.answers >= 4));
    }
    let believed = lab.client_believes(address);
    lab.a.remove(address);
    let told = told.lock().unwrap().clone();
    (believed, told)
}

#[test]
#[ignore = "needs network namespaces"]
fn the_losers_last_word_is_answered_and_the_client_stays_with_the_winner() {
    let lab = Lab::new();
    for address in BOTH {
        let (believed, told) = after_the_losers_burst(&lab, address, true);
        assert_eq!(believed, Some(lab.a.mac), "{address}");
        let first = told.first().unwrap();
        assert_eq!((first.address, first.mac, first.verdict), (address, lab.b.mac, Verdict::Defended));
        assert_eq!(told.len(), 1, "one event, not one for each frame: {told:?}");
    }
}

#[test]
#[ignore = "needs network namespaces"]
fn a_winner_that_stays_silent_loses_its_clients() {
    let lab = Lab::new();
    for address in BOTH {
        let (believed, told) = after_the_losers_burst(&lab, address, false);
        assert_eq!(believed, Some(lab.b.mac), "the test of the answer proves nothing: {address}");
        assert_eq!(told.first().map(|conflict| conflict.verdict), Some(Verdict::Reported));
    }
}

#[test]
#[ignore = "needs network namespaces"]
fn a_client_that_asks_at_the_old_place_is_told_again() {
    let lab = Lab::new();
    // A bridge that forgets at once floods, as a hub does: the watcher sees what goes to the old owner.
    lab.bridge.ip("link set br0 type bridge ageing_time 0");
    lab.a.add(VIRTUAL.into());
    let winner = announcer(&lab.a, once());
    let (watcher, _) = watcher(&lab.a, Policy::Defend, &winner);
    watcher.hold(VIRTUAL.into());
    winner.announce_now(&lab.a.nic(), VIRTUAL.into()).unwrap();
    until("it was announced", || winner.progress(VIRTUAL.into()).is_some_and(|done| done.rounds == 1));
    let stale = format!("neighbour replace {VIRTUAL} lladdr {} dev lan0 nud delay", lab.b.mac);
    lab.client.ip(&stale);
    until("it was announced again", || winner.progress(VIRTUAL.into()).is_some_and(|done| done.answers > 0));
    until("the client was told", || lab.client_believes(VIRTUAL.into()) == Some(lab.a.mac));
}

#[test]
#[ignore = "needs network namespaces"]
fn a_watcher_whose_interface_got_another_mac_is_lost() {
    let lab = Lab::new();
    let (watcher, _) = watcher(&lab.a, Policy::Defend, &announcer(&lab.a, once()));
    lab.a.ip("link set lan0 address 02:77:00:00:00:99");
    let lost = "has the link-layer address";
    until("it is lost", || matches!(watcher.state(), WatcherState::Lost { reason } if reason.contains(lost)));
}

#[test]
#[ignore = "needs network namespaces"]
fn giving_up_is_told_once_and_nothing_is_announced_any_more() {
    let lab = Lab::new();
    let winner = announcer(&lab.a, once());
    let within = Duration::from_secs(60);
    let (watcher, told) = watcher(&lab.a, Policy::GiveUp { after: 3, within }, &winner);
    watcher.hold(VIRTUAL.into());
    winner.announce_now(&lab.a.nic(), VIRTUAL.into()).unwrap();
    let loser = announcer(&lab.b, Schedule::default().with_repeat(None));
    loser.announce_now(&lab.b.nic(), VIRTUAL.into()).unwrap();
    let given_up = |conflict: &Conflict| conflict.verdict == Verdict::GivenUp;
    until("it is given up", || told.lock().unwrap().iter().any(given_up));
    until("the burst is over", || loser.progress(VIRTUAL.into()).is_some_and(|done| done.rounds == 6));
    assert_eq!(told.lock().unwrap().iter().filter(|conflict| given_up(conflict)).count(), 1);
}

#[test]
#[ignore = "needs network namespaces"]
fn a_probe_finds_the_host_that_has_the_address() {
    let lab = Lab::new();
    let patient = ProbePlan::default().patience(Duration::from_millis(500));
    let ask = |address| probe(&*lab.a.space(), &lab.a.nic(), address, patient, &[]);
    for address in BOTH {
        assert_eq!(ask(address), ProbeAnswer::Free, "{address}");
        lab.b.add(address);
        assert_eq!(ask(address), ProbeAnswer::TakenBy(lab.b.mac), "{address}");
        assert_eq!(lab.client_believes(address), None, "a probe changes no cache");
        lab.b.remove(address);
    }
}

#[test]
#[ignore = "needs network namespaces"]
fn a_probe_without_a_cable_knows_nothing() {
    let lab = Lab::new();
    let ask = || probe(&*lab.a.space(), &lab.a.nic(), VIRTUAL.into(), ProbePlan::default(), &[]);
    lab.bridge.ip("link set pa down");
    assert!(matches!(ask(), ProbeAnswer::Unknown(why) if why.contains("no carrier")), "{:?}", ask());
    lab.a.ip("link set lan0 down");
    assert!(matches!(ask(), ProbeAnswer::Unknown(why) if why.contains("down")), "{:?}", ask());
    let nic = lab.a.nic();
    lab.a.ip("link del lan0");
    let gone = probe(&*lab.a.space(), &nic, VIRTUAL.into(), ProbePlan::default(), &[]);
    assert!(matches!(&gone, ProbeAnswer::Unknown(why) if why.contains("is gone")), "{gone:?}");
}

#[test]
#[ignore = "needs network namespaces"]
fn a_claim_in_another_vlan_is_none_of_ours() {
    let lab = Lab::new();
    let (watcher, told) = watcher(&lab.a, Policy::Defend, &announcer(&lab.a, once()));
    BOTH.into_iter().for_each(|address| watcher.hold(address));
    let sender = PacketSender::open(&*lab.b.space(), &lab.b.nic()).unwrap();
    let claims = [
        Arp::gratuitous_request(VIRTUAL, lab.b.mac).broadcast(),
        Advertisement::unsolicited(VIRTUAL_6, lab.b.mac, false).multicast(lab.b.mac),
    ];
    let mut capture = Capture::at(&lab.a);
    for (address, claim) in BOTH.into_iter().zip(claims) {
        let tagged = [&claim[..12], &[0x81, 0, 0, 5], &claim[12..]].concat();
        sender.send(&tagged).unwrap();
        capture.wait_for(1, address, lab.b.mac); // the kernel has taken the tag off
    }
    // What is sent afterwards without a tag is heard afterwards.
    let untagged = announcer(&lab.b, once());
    untagged.announce_now(&lab.b.nic(), BOTH[1]).unwrap();
    until("the claim without a tag is heard", || !told.lock().unwrap().is_empty());
    let told = told.lock().unwrap();
    assert_eq!((told.len(), told[0].address, told[0].count), (1, BOTH[1], 1), "{told:?}");
}

#[test]
#[ignore = "needs network namespaces"]
fn a_watcher_may_be_dropped_by_its_own_sink_and_one_whose_sink_panics_says_so() {
    let lab = Lab::new();
    let kept: Arc<Mutex<Option<Watcher>>> = Arc::default();
    let theirs = Arc::clone(&kept);
    let defender = announcer(&lab.a, once());
    let dropping = DefendWith {
        announcer: Arc::clone(&defender),
        tell: move |_: &Conflict| drop(theirs.lock().unwrap().take()),
    };
    let panicking =
        DefendWith { announcer: defender, tell: |_: &Conflict| panic!("a test of a sink that panics") };
    let start = |sink: Arc<dyn ConflictSink>| {
        let watcher = Watcher::start(&*lab.a.space(), &lab.a.nic(), Policy::Defend, &[], sink).unwrap();
        watcher.hold(VIRTUAL.into());
        watcher
    };
    *kept.lock().unwrap() = Some(start(Arc::new(dropping)));
    let broken = start(Arc::new(panicking));
    announcer(&lab.b, once()).announce_now(&lab.b.nic(), VIRTUAL.into()).unwrap();
    until("it was dropped", || kept.lock().unwrap().is_none());
    until(
        "it says so",
        || matches!(broken.state(), WatcherState::Lost { reason } if reason.contains("panicked")),
    );
}

#[test]
#[ignore = "needs network namespaces"]
fn a_watcher_says_when_it_is_deaf() {
    let lab = Lab::new();
    let (watcher, _) = watcher(&lab.a, Policy::Defend, &announcer(&lab.a, once()));
    assert_eq!(watcher.state(), WatcherState::Watching);
    lab.a.ip("link set lan0 down");
    until("it knows that the link is down", || watcher.state() == WatcherState::LinkDown);
    lab.a.ip("link set lan0 up");
    until("it watches again", || watcher.state() == WatcherState::Watching);
    lab.a.ip("link del lan0");
    until(
        "it is lost",
        || matches!(watcher.state(), WatcherState::Lost { reason } if reason.contains("gone")),
    );
}
