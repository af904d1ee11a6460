//! Faults that belong together: what no single one of them would reach.

use super::fault::{Cut, DeviceFault, Fault, ResourceFault};
use super::rng::Rng;
use super::scenario::Scenario;
use std::time::Duration;

const fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// One combination: faults with their milliseconds after its begin.
pub fn random(rng: &mut Rng, scenario: &Scenario) -> Vec<(u64, Fault)> {
    let node = rng.node();
    let group = u8::try_from(rng.index(scenario.configs[0].groups.len())).unwrap_or(0);
    if scenario.lying && rng.chance(600) {
        return frozen_and_lied_about(rng, node);
    }
    match rng.range(0, 9) {
        0 | 1 => mute(rng, node),
        2 => broken_everywhere(rng, group),
        3 => unready_target(rng, node, group),
        4 => slow_data(rng, node, group),
        5 => lone_then_dead(rng, node),
        6 => lost_device(rng, node),
        7 => orphaned_release(rng, node, group),
        _ => frozen_without_network(rng, node),
    }
}

/// The owner is frozen, its device says that it is off, and it wakes among its peer's beats.
fn frozen_and_lied_about(rng: &mut Rng, node: usize) -> Vec<(u64, Fault)> {
    let frozen = rng.range(1500, 4000);
    vec![
        (0, Fault::Device(node, DeviceFault::Lies, ms(frozen + 200))),
        (50, Fault::PauseTree(node, ms(frozen))),
    ]
}

/// The mirror's path is cut, and the standby cannot write its consent.
fn mute(rng: &mut Rng, node: usize) -> Vec<(u64, Fault)> {
    vec![
        (0, Fault::SlowDisk(node, ms(rng.range(1200, 3000)), ms(4000))),
        (rng.range(0, 100), Fault::CutMirror(Cut::Both, ms(4000))),
    ]
}

/// The service starts nowhere for a while.
fn broken_everywhere(rng: &mut Rng, group: u8) -> Vec<(u64, Fault)> {
    let mut faults = Vec::new();
    for node in 0..2 {
        for _ in 0..rng.range(3, 6) {
            faults.push((0, Fault::Resource(node, group, 1, ResourceFault::StartFails)));
        }
        faults.push((10, Fault::Resource(node, group, 1, ResourceFault::Dies)));
    }
    faults
}

/// The target of a switchover cannot write its intent.
fn unready_target(rng: &mut Rng, node: usize, group: u8) -> Vec<(u64, Fault)> {
    vec![
        (0, Fault::SlowDisk(node, ms(rng.range(1200, 2400)), ms(1500))),
        (rng.range(1, 50), Fault::Switchover(group)),
    ]
}

/// The data takes too long to be promoted.
fn slow_data(rng: &mut Rng, node: usize, group: u8) -> Vec<(u64, Fault)> {
    vec![
        (0, Fault::Resource(node, group, 0, ResourceFault::PromoteHangs)),
        (rng.range(1, 50), Fault::Switchover(group)),
        (rng.range(500, 2000), Fault::PowerLoss(1 - node, ms(rng.range(2000, 5000)))),
    ]
}

/// A node goes on alone, then it dies and the excluded one is asked to serve.
fn lone_then_dead(rng: &mut Rng, node: usize) -> Vec<(u64, Fault)> {
    vec![
        (0, Fault::CutMirror(Cut::Both, ms(3000))),
        (rng.range(1000, 2500), Fault::PowerLoss(node, ms(rng.range(3000, 6000)))),
    ]
}

/// The owner may be dead and nobody can tell: both devices are out of order while everything is cut.
fn lost_device(rng: &mut Rng, node: usize) -> Vec<(u64, Fault)> {
    vec![
        (0, Fault::Device(node, DeviceFault::Fails, ms(6000))),
        (0, Fault::Device(1 - node, DeviceFault::Hangs, ms(6000))),
        (rng.range(0, 200), Fault::Isolate(ms(rng.range(2000, 6000)))),
    ]
}

/// A group is released, and whoever was to take it over dies.
fn orphaned_release(rng: &mut Rng, node: usize, group: u8) -> Vec<(u64, Fault)> {
    vec![
        (0, Fault::Switchover(group)),
        (rng.range(10, 250), Fault::PowerLoss(node, ms(rng.range(3000, 6000)))),
    ]
}

/// A frozen owner wakes while it can reach nobody.
fn frozen_without_network(rng: &mut Rng, node: usize) -> Vec<(u64, Fault)> {
    vec![
        (0, Fault::PauseTree(node, ms(rng.range(200, 900)))),
        (10, Fault::Isolate(ms(rng.range(1000, 3000)))),
    ]
}
