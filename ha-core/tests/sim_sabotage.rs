//! For each rule that can be broken by a switch: the simulator catches it, by an invariant that the rule
//! protects, and the same seed is clean when the rule holds.

use ha_core::engine::Sabotage;
use ha_core::sim::invariant::Invariant::{self, *};
use ha_core::sim::{Options, Report, Scenario, run_scenario};

/// So many seeds may pass before a broken rule shows; most show within fifty.
const SEEDS: u64 = 3000;

fn caught(switch: Sabotage, protects: &[Invariant]) {
    caught_in(switch, protects, Scenario::from_seed);
}

/// The same in pairs with a third party.
fn caught_with_arbiter(switch: Sabotage, protects: &[Invariant]) {
    caught_in(switch, protects, Scenario::arbitrated);
}

/// The same in pairs whose engines are exchanged.
fn caught_detaching(switch: Sabotage, protects: &[Invariant]) {
    caught_in(switch, protects, Scenario::detaching);
}

fn caught_in(switch: Sabotage, protects: &[Invariant], scenario: fn(u64) -> Scenario) {
    let run = |seed, options: &Options| -> Report { run_scenario(scenario(seed), options) };
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
    ($($name:ident: $switch:ident, $protects:expr, $caught:ident;)*) => {
        $(#[test] fn $name() { $caught(Sabotage::$switch, &$protects); })*

        #[test]
        fn every_switch_has_its_test() {
            let tested = [$(Sabotage::$switch),*];
            assert!(Sabotage::ALL.iter().all(|s| tested.contains(s)));
        }
    };
}

sabotage! {
    takeover_without_proof_is_caught: TakeoverWithoutProof, [I1], caught;
    acknowledging_alone_without_proof_is_caught: AloneWithoutProof, [I3], caught;
    shooting_the_living_is_caught: ShootTheLiving, [I12], caught;
    a_stale_standby_that_takes_over_is_caught: StaleStandbyTakesOver, [I3], caught;
    a_reused_epoch_is_caught: ReuseEpoch, [I2], caught;
    renewing_without_confirmation_is_caught: RenewWithoutConfirmation, [I1], caught;
    ignoring_joint_timing_is_caught: IgnoreJointTiming, [I9, I11], caught;
    believing_oneself_current_at_boot_is_caught: CurrentAtBoot, [I1, I3], caught;
    an_overrun_stop_reported_as_done_is_caught: StopOverrunIsDone, [I4, I8], caught;
    blaming_the_peer_for_own_lateness_is_caught: BlameThePeer, [I12], caught;
    taking_half_open_for_up_is_caught: HalfOpenIsUp, [I12], caught;
    shooting_outside_the_slot_is_caught: ShootAtOnce, [I11], caught;
    a_grant_without_its_swap_is_caught: SkipSwap, [I1, I2], caught_with_arbiter;
    going_alone_without_the_swap_is_caught: AloneWithoutSwap, [I3], caught_with_arbiter;
    an_unlisted_copy_that_takes_over_is_caught: UnlistedTakesOver, [I3], caught_with_arbiter;
    taking_silence_for_an_expired_lease_is_caught: SilenceIsExpiry, [I1, I2], caught_with_arbiter;
    calling_a_lease_expired_early_is_caught: EarlyLease, [I1], caught_with_arbiter;
    a_broken_promise_is_caught: BreakPromise, [I1], caught_with_arbiter;
    extending_a_lease_without_a_promise_is_caught: ExtendAlone, [I1], caught_with_arbiter;
    a_forgotten_promise_to_a_detached_node_is_caught: ForgetPromise, [I1], caught_detaching;
    an_undo_of_what_was_left_running_is_caught: UndoDetached, [Detached], caught_detaching;
    moving_to_anyone_is_caught: MoveAnywhere, [I5], caught;
}
