//! For each rule that can be broken by a switch: the simulator catches it, by an invariant that the rule
//! protects, and the same seed is clean when the rule holds.

use ha_core::engine::Sabotage;
use ha_core::sim::invariant::Invariant::{self, *};
use ha_core::sim::{Options, run};

/// So many seeds may pass before a broken rule shows; most show within fifty.
const SEEDS: u64 = 3000;

fn caught(switch: Sabotage, protects: &[Invariant]) {
    let broken = Options { sabotage: Some(switch), ..Options::default() };
    let catch = (0..SEEDS)
        .find_map(|seed| run(seed, &broken).failure.filter(|f| protects.contains(&f.broken.invariant)));
    let seed = catch.as_ref().map(|f| f.seed);
    assert!(seed.is_some(), "{switch:?} was not caught in {SEEDS} seeds");
    if let Some(failure) = catch {
        println!("{switch:?} caught by seed {}: {}\n{}", failure.seed, failure.broken, failure.command());
    }
    let sound = seed.and_then(|seed| run(seed, &Options::default()).failure);
    assert!(sound.is_none(), "the rule holds, yet: {sound:?}");
}

macro_rules! sabotage {
    ($($name:ident: $switch:ident, $protects:expr;)*) => {
        $(#[test] fn $name() { caught(Sabotage::$switch, &$protects); })*

        #[test]
        fn every_switch_has_its_test() {
            let tested = [$(Sabotage::$switch),*];
            assert!(Sabotage::ALL.iter().all(|s| tested.contains(s)));
        }
    };
}

sabotage! {
    takeover_without_proof_is_caught: TakeoverWithoutProof, [I1];
    acknowledging_alone_without_proof_is_caught: AloneWithoutProof, [I3];
    shooting_the_living_is_caught: ShootTheLiving, [I12];
    a_stale_standby_that_takes_over_is_caught: StaleStandbyTakesOver, [I3];
    a_reused_epoch_is_caught: ReuseEpoch, [I2];
    renewing_without_confirmation_is_caught: RenewWithoutConfirmation, [I1];
    ignoring_joint_timing_is_caught: IgnoreJointTiming, [I9, I11];
    believing_oneself_current_at_boot_is_caught: CurrentAtBoot, [I1, I3];
    an_overrun_stop_reported_as_done_is_caught: StopOverrunIsDone, [I4, I8];
    blaming_the_peer_for_own_lateness_is_caught: BlameThePeer, [I12];
    taking_half_open_for_up_is_caught: HalfOpenIsUp, [I12];
    shooting_outside_the_slot_is_caught: ShootAtOnce, [I11];
    moving_to_anyone_is_caught: MoveAnywhere, [I5];
}
