//! For each rule that can be broken by a switch: the simulator catches it within so many seeds.

use ha_core::engine::Sabotage;
use ha_core::sim::{Options, run};

const SEEDS: u64 = 3000;

fn caught(switch: Sabotage) {
    let options = Options { replay: false, sabotage: Some(switch) };
    for seed in 0..SEEDS {
        if let Some(failure) = run(seed, &options).failure {
            println!("{switch:?} caught by seed {seed}: {}", failure.broken);
            println!("{}", failure.command());
            return;
        }
    }
    panic!("{switch:?} was not caught in {SEEDS} seeds");
}

macro_rules! sabotage {
    ($($name:ident: $switch:ident,)*) => {
        $(#[test] fn $name() { caught(Sabotage::$switch); })*

        #[test]
        fn every_switch_has_its_test() {
            let tested = [$(Sabotage::$switch),*];
            assert!(Sabotage::ALL.iter().all(|s| tested.contains(s)));
        }
    };
}

sabotage! {
    takeover_without_proof_is_caught: TakeoverWithoutProof,
    acknowledging_alone_without_proof_is_caught: AloneWithoutProof,
    shooting_the_living_is_caught: ShootTheLiving,
    a_stale_standby_that_takes_over_is_caught: StaleStandbyTakesOver,
    a_reused_epoch_is_caught: ReuseEpoch,
    renewing_without_confirmation_is_caught: RenewWithoutConfirmation,
    ignoring_joint_timing_is_caught: IgnoreJointTiming,
    believing_oneself_current_at_boot_is_caught: CurrentAtBoot,
    an_overrun_stop_reported_as_done_is_caught: StopOverrunIsDone,
    blaming_the_peer_for_own_lateness_is_caught: BlameThePeer,
    taking_half_open_for_up_is_caught: HalfOpenIsUp,
    shooting_outside_the_slot_is_caught: ShootAtOnce,
    moving_to_anyone_is_caught: MoveAnywhere,
}
