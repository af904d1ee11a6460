//! An engine looks only at groups of which something changed. A witness that looks at all of them in every step
//! comes to the same state and the same actions; and it notices each way to forget a group.

#![allow(clippy::panic, reason = "tests")]

use ha_core::engine::Forgotten;
use ha_core::sim::{Options, Scenario, run_scenario};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// So many seeds may pass before something forgotten shows; most show in the first.
const SEEDS: u64 = 200;

fn outcome(scenario: Scenario, options: &Options) -> Result<(), String> {
    let run = catch_unwind(AssertUnwindSafe(|| run_scenario(scenario, options)));
    let failure = match run {
        Ok(report) => return report.failure.map_or(Ok(()), |f| Err(f.to_string())),
        Err(panic) => panic,
    };
    Err(failure.downcast::<String>().map_or_else(|_| "a panic without words".into(), |text| *text))
}

#[test]
fn a_witness_that_looks_at_every_group_decides_alike() {
    let options = Options { witness: true, ..Options::default() };
    for seed in 0..40 {
        assert_eq!(outcome(Scenario::from_seed(seed), &options), Ok(()), "seed {seed}");
        assert_eq!(outcome(Scenario::arbitrated(seed), &options), Ok(()), "seed {seed} with a third party");
    }
}

#[test]
fn each_way_to_forget_a_group_is_noticed_and_the_group_is_named() {
    for forgets in Forgotten::ALL {
        let options = Options { witness: true, forgets: Some(forgets), ..Options::default() };
        let noticed = (0..SEEDS).find_map(|seed| {
            let failure = outcome(Scenario::from_seed(seed), &options).err()?;
            failure.contains("a look").then_some((seed, failure))
        });
        let Some((seed, failure)) = noticed else { panic!("{forgets:?} was not noticed in {SEEDS} seeds") };
        let start: String = failure.chars().take(160).collect();
        println!("{forgets:?}: seed {seed}: {start}");
    }
}
