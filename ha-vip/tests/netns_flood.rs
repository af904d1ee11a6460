//! A flood of hostile frames over a real cable. Alone in its process, as it looks at the memory of that.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed step of a test is a failed test")]

mod announce_lab;

use announce_lab::{Lab, VIRTUAL, VIRTUAL_6, until};
use ha_vip::MacAddress;
use ha_vip::announce::{Announcer, Schedule};
use ha_vip::conflict::{Conflict, DefendWith, Policy, Watcher, WatcherState};
use ha_vip::frame::{Advertisement, Arp};
use ha_vip::packet::PacketSender;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::Instant;

fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// A small generator of numbers (xorshift), so that the flood is the same in each run.
fn scramble(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state
}

/// A frame with `n` mistakes somewhere, or with a claimant of its own.
fn hostile(state: &mut u64) -> Vec<u8> {
    let mac = MacAddress([2, 9, (scramble(state) >> 8) as u8, 1, (scramble(state) >> 16) as u8, 1]);
    let mut frame = Arp::gratuitous_reply(VIRTUAL, mac).broadcast();
    match scramble(state) % 5 {
        0 => frame.truncate(14 + (scramble(state) % 29) as usize),
        1 => {
            let at = 14 + (scramble(state) % 28) as usize;
            frame[at] = scramble(state) as u8;
        }
        2 => frame[6..12].copy_from_slice(&[0x02, 0x77, 0, 0, 0, 11]), // as if the winner had sent it
        3 => {
            frame = Advertisement::unsolicited(VIRTUAL_6, mac, false).multicast(mac);
            frame[54 + (scramble(state) % 32) as usize] ^= 1 + (scramble(state) % 255) as u8; // the sum is wrong now
        }
        _ => {}
    }
    frame
}

#[test]
#[ignore = "needs network namespaces"]
fn a_flood_of_hostile_frames_costs_a_bounded_amount_and_a_real_claim_is_heard_afterwards() {
    let lab = Lab::new();
    let once = Schedule::default().with_burst(&[]).with_repeat(None);
    let winner = Arc::new(Announcer::builder().namespace(lab.a.space()).schedule(once).start().unwrap());
    let told: Arc<Mutex<Vec<Conflict>>> = Arc::default();
    let theirs = Arc::clone(&told);
    let tell = move |conflict: &Conflict| theirs.lock().unwrap().push(conflict.clone());
    let sink = Arc::new(DefendWith { announcer: Arc::clone(&winner), tell });
    let watcher = Watcher::start(&*lab.a.space(), &lab.a.nic(), Policy::Defend, &[], sink).unwrap();
    watcher.hold(VIRTUAL.into());
    watcher.hold(VIRTUAL_6.into());
    winner.announce_now(&lab.a.nic(), VIRTUAL.into()).unwrap();
    winner.announce_now(&lab.a.nic(), VIRTUAL_6.into()).unwrap();
    let (before, started, mut state, mut sent) = (resident_kib(), Instant::now(), 42, 0_u32);
    let flooder = PacketSender::open(&*lab.b.space(), &lab.b.nic()).unwrap();
    while sent < 100_000 {
        sent += u32::from(flooder.send(&hostile(&mut state)).is_ok());
    }
    let (frames, _) = watcher.load();
    let windows = started.elapsed().as_millis() as u64 / 100 + 2;
    assert!(frames > 0 && frames <= windows * 1000, "{frames} frames in {windows} windows");
    let answers = winner.progress(VIRTUAL.into()).unwrap().answers;
    assert!((1..=windows).contains(&answers), "{answers} answers in {windows} windows");
    assert!(resident_kib() < before + 8 * 1024, "{before} KiB grew to {} KiB", resident_kib());
    assert!(told.lock().unwrap().len() <= 8 + 1 + windows as usize / 100);
    println!("{sent} frames in {:?}: {frames} looked at, {answers} answers", started.elapsed());

    lab.b.add(VIRTUAL_6.into());
    assert!(told.lock().unwrap().iter().all(|conflict| conflict.address == IpAddr::from(VIRTUAL)));
    let loser = Announcer::builder().namespace(lab.b.space()).start().unwrap();
    loser.announce_now(&lab.b.nic(), VIRTUAL_6.into()).unwrap();
    until("the real claim is heard", || {
        told.lock().unwrap().iter().any(|conflict| conflict.address == IpAddr::from(VIRTUAL_6))
    });
    assert_eq!(watcher.state(), WatcherState::Watching);
}
