//! For each rule that can be broken by a switch and that a pair's families can show: the explorer finds a path on
//! which an invariant fails that the rule protects, and the same path is clean when the rule holds.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use ha_core::engine::Sabotage;
use ha_core::sim::explore::{Budget, Family, Limits, explore, replay};
use ha_core::sim::invariant::Invariant::{self, *};

fn found(switch: Sabotage, family: &str, budget: (u8, u8, u8), protects: &[Invariant]) {
    let sound = Family::named(family).unwrap().within(Budget::new(budget.0, budget.1, budget.2));
    let outcome = explore(&sound.clone().sabotaged(switch), Limits::default());
    let Some(counterexample) = outcome.counterexample else {
        panic!("{switch:?} shows in none of {} states", outcome.states);
    };
    println!("{switch:?}, after {} states:\n{counterexample}", outcome.states);
    assert!(protects.contains(&counterexample.broken.invariant), "{counterexample}");
    if let Err(broken) = replay(&sound, &counterexample.path) {
        panic!("the rule holds, yet {broken}");
    }
}

macro_rules! sabotage {
    ($($name:ident: $switch:ident, $family:literal, $budget:expr, $protects:expr;)*) => {
        $(#[test] fn $name() { found(Sabotage::$switch, $family, $budget, &$protects); })*
    };
}

sabotage! {
    takeover_without_proof_is_found: TakeoverWithoutProof, "links", (1, 0, 0), [I1, I2];
    acknowledging_alone_without_proof_is_found: AloneWithoutProof, "stream", (2, 0, 0), [I3];
    shooting_the_living_is_found: ShootTheLiving, "stream", (2, 0, 0), [I12];
    a_stale_standby_that_takes_over_is_found: StaleStandbyTakesOver, "stream", (2, 0, 0), [I3, I10];
    a_reused_epoch_is_found: ReuseEpoch, "crash", (1, 0, 0), [I2];
    believing_oneself_current_at_boot_is_found: CurrentAtBoot, "return", (1, 2, 0), [I1, I2, I3];
    an_overrun_stop_reported_as_done_is_found: StopOverrunIsDone, "commands", (1, 0, 1), [I4];
    blaming_the_peer_for_own_lateness_is_found: BlameThePeer, "freeze", (2, 1, 0), [I12];
    shooting_outside_the_slot_is_found: ShootAtOnce, "fencing", (1, 1, 0), [I11];
}
