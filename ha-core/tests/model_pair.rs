//! Every family within bounds that fit a gate: no path of so few choices breaks an invariant.
//! `model_replay` explores further.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

use ha_core::sim::explore::{Budget, Family, Limits, explore};

/// Fewer distinct states mean that the exploration shrank, and proves less than before.
fn sound(name: &str, budget: Budget, at_least: u64) {
    let family = Family::named(name).unwrap().within(budget);
    let found = explore(&family, Limits::default());
    println!("{name}: {} states, {} transitions, {} mended", found.states, found.transitions, found.mended);
    if let Some(counterexample) = found.counterexample {
        panic!("{counterexample}");
    }
    assert!(found.complete && found.states >= at_least, "only {} states", found.states);
}

macro_rules! families {
    ($($test:ident: $name:literal, $budget:expr, $states:literal;)*) => {
        $(#[test] fn $test() { sound($name, Budget::new($budget.0, $budget.1, $budget.2), $states); })*

        #[test]
        fn every_family_is_explored() {
            let explored = [$($name),*];
            assert!(Family::all().iter().all(|f| explored.contains(&f.name)));
        }
    };
}

families! {
    a_crash_at_any_point_and_the_way_back: "crash", (2, 0, 0), 20_000;
    a_stream_cut_at_any_point: "stream", (2, 1, 0), 100_000;
    links_cut_in_any_direction: "links", (1, 1, 0), 9_000;
    everything_cut_with_devices_in_any_mood: "fencing", (1, 1, 0), 18_000;
    commands_with_one_fault_at_any_point: "commands", (1, 0, 1), 120_000;
    the_first_boot_in_any_order: "first-boot", (1, 2, 0), 300_000;
    the_return_from_a_total_power_loss_in_any_order: "return", (1, 2, 0), 300_000;
    a_lost_store: "amnesia", (1, 1, 0), 10_000;
    a_machine_that_stops_and_goes_on: "freeze", (1, 1, 0), 4_500;
    two_groups_that_back_each_other_up: "mutual", (1, 1, 0), 22_000;
    a_group_with_a_mirror_and_one_without: "mixed", (1, 1, 0), 45_000;
    a_group_that_must_be_with_another: "tied", (2, 0, 0), 80_000;
    a_third_party_that_decides_of_both_kinds: "two-third", (1, 1, 0), 48_000;
    a_group_without_data: "plain", (1, 1, 0), 9_000;
    a_device_that_cuts_only_the_access: "access", (1, 1, 0), 6_500;
    a_third_party_that_decides: "third", (1, 1, 0), 10_000;
    a_third_party_whose_leases_prove: "lease", (1, 1, 0), 35_000;
    a_third_party_that_loses_its_memory: "forgetful", (1, 0, 1), 120_000;
    every_choice_there_is: "all", (1, 1, 0), 30_000;
}
