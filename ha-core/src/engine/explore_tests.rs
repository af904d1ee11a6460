//! A bounded exhaustive exploration of a pair: a smoke test of the canonical form.

use super::pair_tests::{Pair, config};
use super::*;
use crate::*;
use std::collections::{BTreeMap, VecDeque, hash_map::DefaultHasher};
use std::hash::{Hash, Hasher};
use std::time::Duration;

/// Distinct states that the exploration must reach.
const STATES: usize = 1_000;

/// Time that passes with every choice: longer than a beat, shorter than any deadline.
const STEP: Duration = Duration::from_millis(60);

#[derive(Clone, Copy, Debug)]
enum Choice {
    Wait,
    CutMirror,
    CutLinks,
    Heal,
    Kill(usize),
    Boot(usize),
    Switchover(usize),
}

const CHOICES: [Choice; 10] = [
    Choice::Wait,
    Choice::CutMirror,
    Choice::CutLinks,
    Choice::Heal,
    Choice::Kill(0),
    Choice::Kill(1),
    Choice::Boot(0),
    Choice::Boot(1),
    Choice::Switchover(0),
    Choice::Switchover(1),
];

/// Without monitors, whose rhythm drifts by the time that each takes.
fn settled() -> Pair {
    let mut cfg = config(true);
    cfg.groups[0].resources[0].monitor_interval = Duration::from_secs(100_000);
    Pair::settled(cfg)
}

fn apply(pair: &mut Pair, choice: Choice) -> bool {
    match choice {
        Choice::Wait => {}
        Choice::CutMirror => pair.mirror_cut = true,
        Choice::CutLinks => pair.cut = [(0, 0), (0, 1), (1, 0), (1, 1)].into(),
        Choice::Heal => {
            pair.cut.clear();
            pair.mirror_cut = false;
        }
        Choice::Kill(n) if pair.nodes[n].is_some() => pair.kill(n),
        Choice::Boot(n) if pair.nodes[n].is_none() => pair.boot(n),
        Choice::Switchover(n) => pair.feed(n, Input::Command(Command::Switchover(GroupId(0)))),
        Choice::Kill(_) | Choice::Boot(_) => return false,
    }
    pair.run(STEP);
    true
}

fn key(pair: &Pair) -> u64 {
    let mut h = DefaultHasher::new();
    for n in &pair.nodes {
        n.as_ref().map(|e| e.canonical(pair.now)).hash(&mut h);
    }
    (&pair.cut, pair.mirror_cut, &pair.promoted).hash(&mut h);
    for (at, n, _) in &pair.in_flight {
        (at.since(pair.now), n).hash(&mut h);
    }
    h.finish()
}

#[test]
fn a_thousand_states_of_a_pair_hold_one_permission_at_a_time() {
    let start = Pair::settled(config(true));
    let mut seen = BTreeMap::from([(key(&start), ())]);
    let mut queue = VecDeque::from([start]);
    while let Some(pair) = queue.pop_front() {
        if seen.len() >= STATES {
            break;
        }
        for choice in CHOICES {
            let mut next = pair.clone();
            next.log.clear();
            // `run` asserts that at most one permission is valid at any instant.
            if apply(&mut next, choice) && seen.insert(key(&next), ()).is_none() {
                queue.push_back(next);
            }
        }
    }
    assert!(seen.len() >= STATES, "only {} states", seen.len());
}

#[test]
fn an_idle_pair_returns_to_the_same_canonical_states() {
    let mut pair = settled();
    pair.run(Duration::from_secs(40));
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..240 {
        // 500 ms: a common multiple of the beat intervals.
        pair.run(Duration::from_millis(500));
        seen.insert(key(&pair));
    }
    assert!(seen.len() <= 120, "an idle pair went through {} states at one phase", seen.len());
}

#[test]
fn equal_canonical_states_have_equal_successors() {
    let mut a = settled();
    a.run(Duration::from_secs(40));
    let mut states: BTreeMap<u64, Pair> = BTreeMap::new();
    let mut compared = 0;
    for _ in 0..240 {
        a.run(Duration::from_millis(500));
        let Some(b) = states.insert(key(&a), a.clone()) else { continue };
        let (mut x, mut y) = (a.clone(), b);
        for choice in [Choice::CutMirror, Choice::Kill(1), Choice::Wait, Choice::Wait] {
            apply(&mut x, choice);
            apply(&mut y, choice);
            assert_eq!(key(&x), key(&y), "after {choice:?}");
        }
        compared += 1;
    }
    assert!(compared > 10, "only {compared} pairs of equal states");
}
