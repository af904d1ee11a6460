//! The explorer by hand: `HA_MODEL_PATH` replays one path of `HA_MODEL_FAMILY` and prints its timeline; without it
//! the family (or `every` one) is explored for `HA_MODEL_MINUTES`, within `HA_MODEL_BUDGET=<faults>,<repairs>,<commands>`.

#![allow(clippy::disallowed_types, reason = "how long a search took is told, and decides nothing")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use ha_core::engine::Sabotage;
use ha_core::sim::explore::{Budget, Family, Limits, Path, explore, replay};
use std::time::{Duration, Instant};

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

fn families() -> Vec<Family> {
    let name = variable("HA_MODEL_FAMILY").unwrap_or_else(|| "every".into());
    let mut families: Vec<_> =
        Family::all().into_iter().filter(|f| f.name == name || name == "every").collect();
    assert!(
        !families.is_empty(),
        "no family {name}: {:?}",
        Family::all().iter().map(|f| f.name).collect::<Vec<_>>()
    );
    if let Some(text) = variable("HA_MODEL_BUDGET") {
        let numbers: Vec<u8> = text.split(',').map(|n| n.parse().unwrap()).collect();
        families.iter_mut().for_each(|f| f.budget = Budget::new(numbers[0], numbers[1], numbers[2]));
    }
    if let Some(wanted) = variable("HA_MODEL_SABOTAGE") {
        let switch = Sabotage::ALL.into_iter().find(|s| wanted == format!("{s:?}"));
        families.iter_mut().for_each(|f| f.sabotage = switch);
    }
    families
}

#[test]
#[ignore = "needs HA_MODEL_FAMILY=<name> or every, with HA_MODEL_PATH='<choices>' or HA_MODEL_MINUTES=<n>"]
fn families_from_the_environment_hold_every_invariant() {
    let families = families();
    if let Some(text) = variable("HA_MODEL_PATH") {
        let path: Path = text.parse().unwrap();
        match replay(&families[0], &path) {
            Ok(timeline) => timeline.iter().for_each(|entry| println!("{entry}")),
            Err(counterexample) => panic!("{counterexample}"),
        }
        return;
    }
    let minutes: f64 = variable("HA_MODEL_MINUTES").map_or(1.0, |n| n.parse().unwrap());
    let states = variable("HA_MODEL_STATES").map_or(u64::MAX, |n| n.parse().unwrap());
    let mend = variable("HA_MODEL_MEND").map_or(0, |n| n.parse().unwrap());
    let time = Duration::from_secs_f64(minutes * 60.0 / families.len() as f64);
    let (mut total, mut broken) = (0, Vec::new());
    for family in &families {
        let began = Instant::now();
        let found = explore(family, Limits { states, time, mend });
        total += found.states;
        println!(
            "{:<12} {:?}: {} states, {} transitions, {} paths, {} mended, {} choices, {}, {:.1} s",
            family.name,
            family.budget,
            found.states,
            found.transitions,
            found.paths,
            found.mended,
            found.choices,
            if found.complete { "complete" } else { "cut short" },
            began.elapsed().as_secs_f64()
        );
        broken.extend(found.counterexample);
    }
    println!("{total} states");
    broken.iter().for_each(|counterexample| println!("{counterexample}"));
    assert!(broken.is_empty(), "{} families broke an invariant", broken.len());
}
