//! Any seed again, or any number of seeds: `HA_SIM_SEED=<seed>` replays one and prints its timeline,
//! `HA_SIM_SEEDS=<n>` runs so many (from `HA_SIM_FROM` on), `HA_SIM_SABOTAGE=<switch>` breaks a rule,
//! `HA_SIM_ARBITER=1` adds a third party.

use ha_core::engine::Sabotage;
use ha_core::sim::{Cluster, Options, Probes, Scenario, run_scenario};
use std::collections::BTreeMap;
use std::str::FromStr;

fn number<T: FromStr>(name: &str) -> Option<T> {
    std::env::var(name).ok()?.parse().ok()
}

fn options() -> Options {
    let wanted = std::env::var("HA_SIM_SABOTAGE").ok();
    let sabotage = Sabotage::ALL.into_iter().find(|s| wanted == Some(format!("{s:?}")));
    assert_eq!(wanted, sabotage.map(|s| format!("{s:?}")), "HA_SIM_SABOTAGE must name a switch");
    Options { replay: true, sabotage, ..Options::default() }
}

fn scenario(seed: u64) -> Scenario {
    let arbitrated = std::env::var("HA_SIM_ARBITER").is_ok();
    if arbitrated { Scenario::arbitrated(seed) } else { Scenario::from_seed(seed) }
}

#[test]
#[ignore = "needs HA_SIM_SEEDS=<n> or HA_SIM_SEED=<seed>"]
fn seeds_from_the_environment_hold_every_invariant() {
    if let Some(seed) = number::<u64>("HA_SIM_SEED") {
        let scenario = scenario(seed);
        let mut cluster = Cluster::new(scenario.clone(), options());
        cluster.run_to_end();
        if std::env::var("HA_SIM_CONFIG").is_ok() {
            println!("{scenario:#?}");
        }
        println!("{}", cluster.timeline());
        for node in 0..2 {
            println!("node {node} at the end: {:#?}\n{:#?}", cluster.status(node), cluster.record(node));
        }
        let report = cluster.into_report();
        assert!(report.failure.is_none(), "{}", report.failure.unwrap().broken);
        return;
    }
    let count = number::<u64>("HA_SIM_SEEDS").expect("HA_SIM_SEED or HA_SIM_SEEDS must be set");
    let from = number::<u64>("HA_SIM_FROM").unwrap_or(1_000_000);
    let mut failed: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    let mut probes = Probes::default();
    let mut first = None;
    for seed in from..from + count {
        let report = run_scenario(scenario(seed), &options());
        probes.absorb(&report.probes);
        if let Some(failure) = report.failure {
            // A sweep that is cut short has still told what it found.
            println!("seed {seed}: {}", failure.broken);
            let key = failure.broken.detail.replace(|c: char| c.is_ascii_digit(), "#");
            failed.entry(format!("{:?} {key}", failure.broken.invariant)).or_default().push(seed);
            first.get_or_insert(failure);
        }
    }
    println!("{probes}");
    for (what, seeds) in &failed {
        println!("{:5} × {what}\n        seeds {:?}", seeds.len(), &seeds[..seeds.len().min(8)]);
    }
    assert!(failed.is_empty(), "{}", first.unwrap());
}
