//! 11 to 24: crashes, hangs, clocks. 14 is in `sweeps.rs`, 16 in `steps.rs`.

use crate::support::*;
use ha_core::engine::{Protection, RoleName};
use ha_core::sim::{Fault, ResourceFault};

#[test]
fn s011_a_killed_engine_is_released_by_its_guardian_and_the_standby_serves_without_a_shot() {
    for seed in 0..10 {
        let mut cluster = served_with(seed, pair());
        after(&mut cluster, &[Fault::KillEngine(0)], seconds(1));
        owns(&cluster, 1, MAIL);
        proven_by(&cluster, 1, MAIL, "Released{forced}");
        nobody_shot(&cluster);
        cluster.run_for(seconds(8));
        whole(&cluster, 1, MAIL);
        nothing_is_lost(&mut cluster);
    }
}

#[test]
fn s011_a_killed_guardian_and_engine_without_a_word_are_fenced_before_anybody_serves() {
    let mut cluster = served(pair());
    after(&mut cluster, &[Fault::KillTree(0, seconds(6))], seconds(4));
    owns(&cluster, 1, MAIL);
    proven_by(&cluster, 1, MAIL, "Fenced");
    assert_eq!(shots(&cluster)[0], 0);
    cluster.run_for(seconds(12));
    whole(&cluster, 1, MAIL);
}

#[test]
fn s012_a_killed_service_is_restarted_in_place_in_the_same_epoch() {
    let mut cluster = served(pair());
    let epoch = status(&cluster, 0, MAIL).map(|g| g.epoch);
    after(&mut cluster, &[Fault::Resource(0, 0, 1, ResourceFault::Dies)], seconds(4));
    whole(&cluster, 0, MAIL);
    assert_eq!(status(&cluster, 0, MAIL).map(|g| g.epoch), epoch);
    assert_eq!(grants(&cluster), 1);
    nobody_shot(&cluster);
}

#[test]
fn s013_an_application_that_stands_still_suspends_and_nobody_is_fenced_for_it() {
    let mut cluster = served(pair());
    after(&mut cluster, &[Fault::StallApplication(0, seconds(5))], seconds(3));
    assert_eq!(role(&cluster, 0, MAIL), Some(RoleName::Suspended), "{}", cluster.timeline());
    nobody(&cluster, MAIL);
    let before = cluster.acknowledged(MAIL);
    cluster.run_for(seconds(1));
    assert_eq!(cluster.acknowledged(MAIL), before, "a suspended owner acknowledges nothing");
    cluster.run_for(seconds(4));
    owns(&cluster, 0, MAIL);
    nobody_shot(&cluster);
}

#[test]
fn s015_a_frozen_service_is_unknown_and_not_failed_and_keeps_its_node() {
    let mut cluster = served(pair());
    let hang = Fault::Resource(0, 0, 1, ResourceFault::MonitorHangs);
    after(&mut cluster, &[hang, hang], seconds(6));
    whole(&cluster, 0, MAIL);
    assert_eq!(cluster.probes().count("health", "Unknown"), 2);
    assert_eq!(cluster.probes().count("health", "Failed"), 0);
    assert_eq!(grants(&cluster), 1);
}

/// A kernel panic reboots by itself soon; the standby is faster, or waits for the proof that the reboot is.
#[test]
fn s017_a_kernel_panic_of_the_owner_is_proven_by_the_device_or_by_the_new_boot() {
    for back in [200, 600, 1000, 2000, 5000] {
        let mut cluster = served(pair());
        after(&mut cluster, &[Fault::PowerLoss(0, ms(back))], seconds(12));
        whole(&cluster, 1, MAIL);
        let name = proof(&cluster, 1, MAIL).map(|p| p.name());
        assert!(matches!(name, Some("Fenced" | "Rebooted")), "{name:?}");
        nothing_is_lost(&mut cluster);
    }
}

#[test]
fn s018_a_power_cut_of_the_owner_is_proven_by_asking_its_device_and_nothing_is_lost() {
    for seed in 0..20 {
        let mut cluster = served_with(seed, pair());
        after(&mut cluster, &[Fault::PowerLoss(0, seconds(8))], seconds(3));
        owns(&cluster, 1, MAIL);
        proven_by(&cluster, 1, MAIL, "Fenced");
        protected(&cluster, 1, MAIL, Protection::Standalone);
        cluster.run_for(seconds(12));
        whole(&cluster, 1, MAIL);
        nothing_is_lost(&mut cluster);
    }
}

#[test]
fn s018_a_power_cut_of_both_ends_in_service_with_nothing_lost_whoever_returns_first() {
    for (a, b) in [(1, 1), (1, 6), (6, 1), (3, 4)] {
        for seed in 0..5 {
            let mut cluster = served_with(seed, pair());
            after(&mut cluster, &[Fault::TotalPowerLoss(seconds(a), seconds(b))], seconds(18));
            let owner = cluster.actor(MAIL).expect("served again");
            whole(&cluster, owner, MAIL);
            nothing_is_lost(&mut cluster);
        }
    }
}

/// A processor that gives the node every third slice only, for a minute.
#[test]
fn s019_s021_a_machine_that_hardly_runs_keeps_one_owner_and_loses_nothing() {
    for slice in [30, 90, 200, 400] {
        for node in [0, 1] {
            let mut cluster = served(pair());
            for _ in 0..(20_000 / (slice * 3)) {
                cluster.inject(Fault::PauseTree(node, ms(slice * 2)));
                cluster.run_for(ms(slice * 3));
                sound(&cluster);
            }
            cluster.run_for(seconds(15));
            let owner = cluster.actor(MAIL).expect("served");
            whole(&cluster, owner, MAIL);
            nothing_is_lost(&mut cluster);
        }
    }
}

#[test]
fn s020_an_engine_killed_for_memory_again_and_again_never_leaves_two_owners() {
    let mut cluster = served(pair());
    for _ in 0..12 {
        let Some(owner) = cluster.actor(MAIL) else {
            cluster.run_for(ms(300));
            continue;
        };
        after(&mut cluster, &[Fault::KillEngine(owner)], ms(700));
    }
    cluster.run_for(seconds(12));
    let owner = cluster.actor(MAIL).expect("served");
    whole(&cluster, owner, MAIL);
    nothing_is_lost(&mut cluster);
}

/// A machine that stands still for long: a virtual machine that is moved, a laptop that is closed. The boot clock
/// counts through it, so the permission has run out when it wakes.
#[test]
fn s022_s023_an_owner_that_slept_wakes_suspended_and_serves_no_more() {
    for span in [2, 10, 60] {
        for seed in 0..5 {
            let mut cluster = served_with(seed, pair());
            after(&mut cluster, &[Fault::PauseTree(0, seconds(span))], ms(1900));
            owns(&cluster, 1, MAIL);
            cluster.run_for(seconds(span + 12));
            whole(&cluster, 1, MAIL);
            nothing_is_lost(&mut cluster);
        }
    }
}

#[test]
fn s024_clocks_that_drift_apart_by_a_thousandth_change_nothing_for_ten_minutes() {
    let mut cluster = served(pair());
    after(&mut cluster, &[Fault::Drift(0, 500), Fault::Drift(1, -500)], seconds(600));
    whole(&cluster, 0, MAIL);
    assert_eq!(grants(&cluster), 1);
    nobody_shot(&cluster);
    // And the takeover after it is as safe as without.
    after(&mut cluster, &[Fault::PauseTree(0, seconds(2))], seconds(12));
    whole(&cluster, 1, MAIL);
}

/// Ten per cent off is a broken clock; the permission is still never held by two.
#[test]
fn s024_a_clock_at_nine_tenths_of_its_rate_never_makes_two_owners() {
    for (node, ppm) in [(0, -100_000), (1, -100_000), (0, 100_000), (1, 100_000)] {
        for pause in [90, 110, 200, 260, 500, 560, 1500] {
            let mut cluster = served(pair());
            after(&mut cluster, &[Fault::Drift(node, ppm)], seconds(5));
            after(&mut cluster, &[Fault::PauseTree(0, ms(pause))], seconds(15));
            let owner = cluster.actor(MAIL).expect("served");
            whole(&cluster, owner, MAIL);
        }
    }
}
