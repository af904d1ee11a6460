//! Every order of a renewing owner and a waiting taker on a small clock: the taker never acts while the owner may.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use ha_core::api::{Lease, OwnerRecord};
use ha_core::{Epoch, Incarnation, InitId, Instant, NodeId};
use ha_storage_shared::protocol::{Base, Liveness, lease_of};
use std::collections::HashSet;
use std::time::Duration;

const LEASE_NS: u64 = 3;
const END: u64 = 13;
const LIFE: Incarnation = Incarnation(7);

/// What is left out.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sabotage {
    None,
    /// A renewal counts however late it arrived.
    LateRenewalsCount,
    /// A renewal counts from its arrival.
    CountsFromArrival,
    /// The taker waits only almost a lease.
    WaitsTooShort,
}

#[derive(Clone, PartialEq, Eq, Hash)]
struct World {
    now: u64,
    disk: Liveness,
    taken: bool,
    owner: Owner,
    taker: Taker,
}

#[derive(Clone, PartialEq, Eq, Hash)]
struct Owner {
    /// By the test's own book: until when the owner may act.
    until: u64,
    since: u64,
    doing: Doing,
}

#[derive(Clone, PartialEq, Eq, Hash)]
enum Doing {
    Idle,
    /// Asked at that time; the write is under way.
    Writing(u64),
    /// The write is durable; the answer is not here yet.
    Written(u64),
    Gone,
}

#[derive(Clone, PartialEq, Eq, Hash)]
struct Taker {
    /// What was read, and when the reading had ended.
    seen: Option<(u64, u64)>,
    sure: bool,
}

fn record() -> OwnerRecord {
    let mut record = OwnerRecord::new(InitId(1), LIFE);
    record.epoch = Epoch(1);
    record.owner = Some(NodeId(0));
    record
}

fn renewal(disk: &Liveness) -> u64 {
    match lease_of(1, Some(&record()), &[Ok(*disk), Ok(Liveness::blank(2))]) {
        Lease::Held { renewal, .. } => renewal,
        other => panic!("{other:?}"),
    }
}

/// The base as the owner's history makes it.
fn base(since: u64) -> Base {
    let mut base = Base::default();
    base.swapped(Instant::from_nanos(since), 1, &record());
    base
}

fn owner_steps(world: &World, sabotage: Sabotage) -> Vec<World> {
    let lease = Duration::from_nanos(LEASE_NS);
    let mut next = world.clone();
    match world.owner.doing {
        Doing::Idle => next.owner.doing = Doing::Writing(world.now),
        Doing::Writing(asked) => {
            next.disk = world.disk.renewed(LIFE, Epoch(1));
            next.owner.doing = Doing::Written(asked);
        }
        Doing::Written(asked) => {
            let mut base = base(world.owner.since);
            let counts = base.renewed(Instant::from_nanos(asked), Instant::from_nanos(world.now), lease);
            let from = if sabotage == Sabotage::CountsFromArrival { world.now } else { asked };
            // The record is read after the write: a taken group is never renewed.
            let counts = (counts || sabotage == Sabotage::LateRenewalsCount) && !world.taken;
            next.owner.doing = if counts { Doing::Idle } else { Doing::Gone };
            if counts {
                next.owner.since = from;
                next.owner.until = from + LEASE_NS;
            }
        }
        Doing::Gone => return Vec::new(),
    }
    vec![next]
}

fn taker_steps(world: &World, sabotage: Sabotage) -> Vec<World> {
    if world.taken {
        return Vec::new();
    }
    let mut next = world.clone();
    if world.taker.sure {
        next.taken = true;
        return vec![next];
    }
    let wait = if sabotage == Sabotage::WaitsTooShort { LEASE_NS - 1 } else { LEASE_NS };
    let read = renewal(&world.disk);
    match world.taker.seen {
        Some((seen, at)) if seen == read => next.taker.sure = world.now >= at + wait,
        _ => next.taker.seen = Some((read, world.now)),
    }
    vec![next]
}

/// The number of states, or a moment at which both may act.
fn walk(sabotage: Sabotage) -> Result<usize, String> {
    let start = World {
        now: 0,
        disk: Liveness::blank(1),
        taken: false,
        owner: Owner { until: LEASE_NS, since: 0, doing: Doing::Idle },
        taker: Taker { seen: None, sure: false },
    };
    let mut seen = HashSet::from([start.clone()]);
    let mut open = vec![start];
    while let Some(world) = open.pop() {
        if world.taken && world.now < world.owner.until {
            return Err(format!("at {} both may act, the owner until {}", world.now, world.owner.until));
        }
        let mut next = [owner_steps(&world, sabotage), taker_steps(&world, sabotage)].concat();
        if world.now < END {
            next.push(World { now: world.now + 1, ..world });
        }
        for world in next {
            // Renewing all the time within an instant shows nothing new.
            if world.disk.renewals <= world.now + 2 && seen.insert(world.clone()) {
                open.push(world);
            }
        }
    }
    Ok(seen.len())
}

#[test]
fn nobody_takes_a_group_while_its_owner_may_act() {
    let states = walk(Sabotage::None).unwrap();
    println!("{states} states");
    assert!(states > 10_000, "{states}");
}

#[test]
fn late_renewals_that_count_let_two_act() {
    assert!(walk(Sabotage::LateRenewalsCount).is_err());
}

#[test]
fn renewals_that_count_from_their_arrival_let_two_act() {
    assert!(walk(Sabotage::CountsFromArrival).is_err());
}

#[test]
fn a_wait_shorter_than_the_lease_lets_two_act() {
    assert!(walk(Sabotage::WaitsTooShort).is_err());
}
