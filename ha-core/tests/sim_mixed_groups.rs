//! Pairs of a few groups, some of them with a mirror and some without, some tied to others, and pairs of more groups
//! than a beat tells of: a change is told until it is heard, the rest a few at a time.
//!
//! `HA_SIM_FROM=…` and `HA_SIM_SEEDS=…` run others than the gate's; `HA_SIM_SEED=… -- --ignored` tells the story of one.

use ha_core::config::{Config, FenceConfig, GroupConfig, GroupPolicy, LinkConfig, ResourceConfig};
use ha_core::sim::{Cluster, Options, Scenario, run_scenario};
use ha_core::{GroupId, NodeId};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

const SEEDS: u64 = 120;

const fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

fn number(name: &str, default: u64) -> u64 {
    let number = std::env::var(name).map_or(Ok(default), |n| n.parse());
    assert!(number.is_ok(), "{name} must be a number");
    number.unwrap_or(default)
}

/// Two to five, or 17 (of which a beat does not tell all) to 56.
fn groups(seed: u64) -> u64 {
    if seed.is_multiple_of(2) { 2 + seed / 2 % 4 } else { 17 + seed / 2 % 40 }
}

/// Of few groups half have a mirror, of many one in seven.
fn group(n: u16, seed: u64) -> GroupConfig {
    let service = ResourceConfig::new("service").with_monitor_interval(ms(2000));
    let mut policy = GroupPolicy::default();
    let (lead, mix) = (GroupId(n.saturating_sub(1)), u64::from(n) + seed / 8);
    match mix % 7 {
        1 if n > 0 => policy = policy.with_after(vec![lead]),
        3 if n > 0 => policy = policy.with_lead(Some(lead)),
        _ => {}
    }
    let preferred = if policy.with.is_some() { lead.0 } else { n };
    let mut group =
        GroupConfig::new(&format!("g{n}")).preferring(NodeId((preferred % 2) as u8)).then(service);
    group.mirrored = if seed.is_multiple_of(2) { mix.is_multiple_of(2) } else { mix % 7 == 6 };
    group.with_policy(policy)
}

/// Two networks, and every other time a serial line that carries about one claim a beat.
fn config(seed: u64) -> Config {
    let mut config = Config::pair("mixed", "a", "b")
        .link(LinkConfig::datagram("net0", ms(50), ms(250)))
        .link(LinkConfig::datagram("net1", ms(50), ms(250)))
        .fence(FenceConfig::new(ms(200)));
    if (seed / 2).is_multiple_of(2) {
        config = config.link(LinkConfig::serial("tty", ms(100), ms(600), 115_200));
    }
    (0..groups(seed) as u16).map(|n| group(n, seed)).fold(config, Config::group)
}

/// Each fourth pair has a third party.
fn scenario(seed: u64) -> Scenario {
    let scenario = Scenario::random(seed, config(seed));
    if seed / 4 % 4 == 3 { scenario.with_third_party() } else { scenario }
}

/// The failed ones of the seeds that `next` deals out, up to `end`.
fn run(next: &AtomicU64, end: u64) -> Vec<u64> {
    let mut failed = Vec::new();
    loop {
        let seed = next.fetch_add(1, Ordering::Relaxed);
        if seed >= end {
            return failed;
        }
        // The witness looks at all groups in every step: too dear for each seed.
        let options = Options { witness: seed % 8 == 7, replay: seed % 8 == 3, ..Options::default() };
        let report = run_scenario(scenario(seed), &options);
        assert!(report.faults > 0, "seed {seed} had no fault");
        if let Some(failure) = report.failure {
            println!("seed {seed}: {}", failure.broken);
            failed.push(seed);
        }
    }
}

#[test]
fn mixed_groups_hold_every_invariant_and_come_back() {
    let from = number("HA_SIM_FROM", 0);
    let end = from + number("HA_SIM_SEEDS", SEEDS);
    let next = AtomicU64::new(from);
    let failed: Vec<u64> = std::thread::scope(|scope| {
        let workers = [(); 2].map(|()| scope.spawn(|| run(&next, end)));
        workers.into_iter().flat_map(|w| w.join().unwrap_or_else(|e| std::panic::resume_unwind(e))).collect()
    });
    assert!(
        failed.is_empty(),
        "seeds {failed:?}; HA_SIM_SEED=… cargo test -p ha-core --test sim_mixed_groups -- --ignored --nocapture tells the story of one"
    );
}

#[test]
#[ignore = "needs HA_SIM_SEED=<seed>"]
fn the_story_of_a_seed() {
    let mut cluster = Cluster::new(scenario(number("HA_SIM_SEED", 0)), Options::default());
    cluster.run_to_end();
    println!("{}", cluster.timeline());
    let report = cluster.into_report();
    assert!(report.failure.is_none(), "{}", report.failure.unwrap().broken);
}
