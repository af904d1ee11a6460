//! Several VRRP speakers on one link, in virtual time: which of them takes over.

#![allow(clippy::unwrap_used, reason = "a failed step of a test is a failed test")]

use ha_core::Instant;
use ha_vip::vrrp::{
    Action, AdvertInterval, Heard, Input, Ipv4Checksum, Machine, MachineConfig, Preempt, Priority, VrrpEvent,
    VrrpState,
};
use proptest::prelude::*;
use std::net::IpAddr;
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);
const AT_ONCE: Preempt = Preempt::After(Duration::ZERO);
const START: Instant = Instant::from_nanos(1_000_000_000_000);

fn node(last: u8) -> IpAddr {
    IpAddr::from([10, 77, 0, last])
}

fn heard(last: u8, priority: u8, interval: AdvertInterval) -> Heard {
    Heard { source: node(last), priority: Priority(priority), interval, checksum: Ipv4Checksum::PseudoHeader }
}

/// Several speakers on one link that delivers at once; the earliest deadline is next. Who was active, in order.
fn play(machines: &mut [Machine], until: Instant, interval: AdvertInterval) -> Vec<usize> {
    let mut order = Vec::new();
    let mut now;
    loop {
        let next = machines.iter().enumerate().filter_map(|(at, m)| Some((m.deadline()?, at))).min();
        let Some((due, at)) = next.filter(|(due, _)| *due <= until) else { return order };
        now = due;
        // All whose time has come fire before anybody hears of it.
        let firing: Vec<usize> =
            (0..machines.len()).filter(|i| machines[*i].deadline() == Some(due)).collect();
        assert!(firing.contains(&at));
        let said: Vec<(usize, Vec<Action>)> =
            firing.into_iter().map(|i| (i, machines[i].handle(now, Input::Tick))).collect();
        for (speaker, actions) in said {
            for action in actions {
                match action {
                    Action::Advertise(priority) => tell(machines, speaker, now, priority, interval),
                    Action::Report(VrrpEvent::Entered { state: VrrpState::Active, .. }) => {
                        order.push(speaker)
                    }
                    Action::Report(_) => {}
                }
            }
        }
    }
}

fn tell(
    machines: &mut [Machine],
    speaker: usize,
    now: Instant,
    priority: Priority,
    interval: AdvertInterval,
) {
    let from = heard(u8::try_from(speaker).unwrap() + 1, priority.0, interval);
    for (at, machine) in machines.iter_mut().enumerate() {
        if at != speaker {
            let _ = machine.handle(now, Input::Heard(from));
        }
    }
}

/// One machine for each priority, all permitted, all following an active one that falls silent at `START`.
fn followers(priorities: &[u8], interval: AdvertInterval) -> Vec<Machine> {
    let follower = |(at, priority): (usize, &u8)| {
        let source = node(u8::try_from(at).unwrap() + 1);
        let mut machine =
            Machine::new(MachineConfig { source, priority: Priority(*priority), interval, preempt: AT_ONCE });
        let _ = machine.handle(START, Input::Start);
        let _ = machine.handle(START, Input::Permit(true));
        let _ = machine.handle(START, Input::Heard(heard(200, 255, interval)));
        machine
    };
    priorities.iter().enumerate().map(follower).collect()
}

#[test]
fn of_three_backups_whose_active_one_falls_silent_exactly_one_takes_over() {
    for centiseconds in [1, 10, 100, 4095] {
        let interval = AdvertInterval::from_centiseconds(centiseconds).unwrap();
        // Neighbouring priorities: their skews differ by 1/256 of the interval, 39 µs at the shortest.
        let mut machines = followers(&[100, 102, 101], interval);
        let deadlines: std::collections::BTreeSet<_> = machines.iter().map(Machine::deadline).collect();
        assert_eq!(deadlines.len(), 3, "{interval}: {deadlines:?}");
        let order = play(&mut machines, START + interval.duration() * 20, interval);
        assert_eq!(order, [1], "{interval}: the highest, and nobody else");
    }
}

proptest! {
    #[test]
    fn of_any_backups_the_highest_alone_takes_over(
        priorities in proptest::collection::btree_set(1u8..=254, 1..8), centiseconds in 1u16..=4095
    ) {
        let priorities: Vec<u8> = priorities.into_iter().collect();
        let interval = AdvertInterval::from_centiseconds(centiseconds).unwrap();
        let mut machines = followers(&priorities, interval);
        let order = play(&mut machines, START + interval.duration() * 12, interval);
        prop_assert_eq!(order, [priorities.len() - 1]);
    }

    #[test]
    fn equals_that_start_together_end_with_one_active(count in 2usize..6, priority in 1u8..=254) {
        let mut machines = followers(&vec![priority; count], AdvertInterval::DEFAULT);
        let _ = play(&mut machines, START + SECOND * 10, AdvertInterval::DEFAULT);
        let active: Vec<usize> = (0..count).filter(|i| machines[*i].state() == VrrpState::Active).collect();
        prop_assert_eq!(active, [count - 1], "the one with the largest address");
    }
}
