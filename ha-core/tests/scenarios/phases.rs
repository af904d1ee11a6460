//! A run is a phase of faults, in which safety is asserted, and a phase without any, in which liveness is.

use crate::support::*;
use ha_core::sim::invariant::Invariant;
use ha_core::sim::{Cluster, Fault, Options, Phase, Scenario, recovery_bound};

#[test]
fn after_the_last_fault_all_is_well_within_the_predicted_bound() {
    for config in [pair(), plain(), mutual()] {
        let bound = recovery_bound(&config);
        let found = Cluster::from_config(config).run(0..80).unwrap();
        assert!(found.is_sound(), "{found}");
        assert!(found.slowest_recovery <= bound, "bound {bound:?}: {found}");
        assert!(found.faults > 80 * 10);
        println!("bound {bound:?}: {found}");
    }
}

#[test]
fn a_pair_that_is_broken_after_its_healing_is_reported_as_not_alive() {
    let mut scenario = Scenario::quiet(1, pair());
    scenario.recover_after(seconds(6));
    let mut cluster = Cluster::new(scenario, Options::default());
    cluster.run_for(seconds(5));
    assert_eq!(cluster.phase(), Phase::Faults);
    cluster.run_for(seconds(2));
    assert_eq!(cluster.phase(), Phase::Healing);
    cluster.inject(Fault::PowerLoss(0, seconds(0)));
    cluster.inject(Fault::PowerLoss(1, seconds(0)));
    cluster.run_to_end();
    assert_eq!(cluster.broken().map(|b| b.invariant), Some(Invariant::I5));
}

#[test]
fn what_is_asked_of_a_run_before_its_healing_is_safety_alone() {
    let mut scenario = Scenario::quiet(1, pair());
    scenario.recover_after(seconds(40));
    let mut cluster = Cluster::new(scenario, Options::default());
    cluster.run_for(seconds(4));
    // Nobody serves for half a minute, and that breaks nothing.
    after(&mut cluster, &[Fault::TotalPowerLoss(seconds(30), seconds(30))], seconds(30));
    assert_eq!(cluster.phase(), Phase::Faults);
    cluster.run_to_end();
    sound(&cluster);
    assert!(cluster.recovered_after() <= Some(recovery_bound(&pair())));
}
