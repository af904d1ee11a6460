//! The record of simulated lives, read back and decided again; and explanations whose every "else" is replayed.
#![cfg(all(feature = "sim", feature = "runtime"))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use ha_core::replay::{LogReader, replay};
use ha_core::sim::{Cluster, Options, Scenario};
use std::sync::atomic::{AtomicU64, Ordering};

const SEEDS: u64 = 100;

fn cluster(seed: u64) -> Cluster {
    let mut cluster = Cluster::new(Scenario::from_seed(seed), Options { replay: true, ..Options::default() });
    cluster.run_to_end();
    assert!(cluster.broken().is_none(), "seed {seed}: {:?}", cluster.broken());
    cluster
}

#[test]
fn the_logs_of_a_hundred_seeds_replay_to_the_same_decisions() {
    let next = AtomicU64::new(5000);
    let work = || {
        let (mut lives, mut steps, mut bytes) = (0, 0, 0);
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= 5000 + SEEDS {
                return (lives, steps, bytes);
            }
            for log in cluster(seed).logs() {
                let reader = LogReader::from_frames("a simulated life", &log.frames);
                let verdict = replay(&reader, |_, _| {}).unwrap();
                assert!(verdict.is_whole(), "seed {seed} node {}: {verdict:#?}", log.node);
                lives += verdict.lives.len();
                steps += verdict.lives.iter().map(|l| l.steps).sum::<u64>();
                bytes += log.frames.len() as u64;
            }
        }
    };
    let sums = std::thread::scope(|scope| [(); 2].map(|()| scope.spawn(work)).map(|w| w.join().unwrap()));
    let (lives, steps, bytes) = (sums[0].0 + sums[1].0, sums[0].1 + sums[1].1, sums[0].2 + sums[1].2);
    println!("{lives} lives, {steps} steps, {} bytes a step", bytes / steps);
    assert!(lives > 300 && steps > 500_000, "{lives} lives, {steps} steps");
}
