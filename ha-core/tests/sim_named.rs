//! What the simulator once showed, as directed scenarios named after it.

use ha_core::config::{Config, FenceConfig, GroupConfig, LinkConfig, ResourceConfig, TimingConfig};
use ha_core::engine::{Protection, RoleName};
use ha_core::sim::{Cluster, Cut, DeviceFault, Fault, Options, Scenario};
use ha_core::{GroupId, NodeId};
use std::time::Duration;

const GROUP: GroupId = GroupId(0);

const fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

const fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

fn config(mirrored: bool) -> Config {
    let group = GroupConfig::new("mail")
        .preferring(NodeId(0))
        .then(ResourceConfig::new("address"))
        .then(ResourceConfig::new("service"));
    let mut timing = TimingConfig::default();
    timing.token_validity = ms(120);
    timing.feed_limit = ms(700);
    timing.ask_deadline = ms(400);
    timing.persist_deadline = ms(1500);
    timing.confirm_deadline = ms(400);
    Config::pair("named", "a", "b")
        .link(LinkConfig::datagram("net0", ms(50), ms(300)))
        .link(LinkConfig::serial("tty", ms(100), ms(500), 115_200))
        .fence(FenceConfig::new(ms(200)))
        .group(if mirrored { group.mirrored() } else { group })
        .timing(timing)
}

fn served(mirrored: bool) -> Cluster {
    let mut cluster = Cluster::new(Scenario::quiet(1, config(mirrored)), Options::default());
    cluster.run_for(seconds(4));
    assert_eq!(role(&cluster, 0), Some(RoleName::Active), "{}", cluster.timeline());
    cluster
}

fn role(cluster: &Cluster, node: usize) -> Option<RoleName> {
    cluster.status(node).map(|s| s.groups[0].role)
}

fn sound(cluster: &Cluster) {
    assert!(cluster.broken().is_none(), "{:?}\n{}", cluster.broken(), cluster.timeline());
}

fn protection(cluster: &Cluster, node: usize) -> Option<Protection> {
    cluster.status(node).map(|s| s.groups[0].protection)
}

#[test]
fn a_standby_that_was_frozen_for_long_does_not_fence_the_owner_when_it_wakes() {
    for mirrored in [true, false] {
        let mut cluster = served(mirrored);
        cluster.inject(Fault::PauseTree(1, seconds(3)));
        // The owner may fence a frozen standby to go alone; here its device is out of order.
        cluster.inject(Fault::Device(1, DeviceFault::Fails, seconds(4)));
        cluster.run_for(seconds(8));
        sound(&cluster);
        assert_eq!(role(&cluster, 0), Some(RoleName::Active), "{}", cluster.timeline());
    }
}

#[test]
fn two_nodes_that_wait_for_a_group_do_not_fence_each_other() {
    let mut cluster = served(false);
    cluster.inject(Fault::TotalPowerLoss(seconds(1), seconds(1)));
    cluster.run_for(ms(2200));
    cluster.inject(Fault::Isolate(seconds(6)));
    cluster.run_for(seconds(20));
    sound(&cluster);
    assert!(cluster.actor(GROUP).is_some(), "{}", cluster.timeline());
}

#[test]
fn a_mirror_cut_for_a_moment_ends_in_full_protection_again() {
    for cut in [150, 200, 250, 300, 400, 600] {
        let mut cluster = served(true);
        cluster.inject(Fault::SlowDisk(1, ms(500), seconds(3)));
        cluster.inject(Fault::CutMirror(Cut::Both, ms(cut)));
        cluster.run_for(seconds(12));
        sound(&cluster);
        assert_eq!(protection(&cluster, 0), Some(Protection::Full), "{cut} ms\n{}", cluster.timeline());
    }
}

#[test]
fn a_standby_that_reboots_is_no_member_by_an_old_admission() {
    for delay in [100, 150, 200, 300] {
        let mut cluster = served(true);
        cluster.inject(Fault::Device(1, DeviceFault::Fails, seconds(6)));
        cluster.inject(Fault::PowerLoss(1, ms(400)));
        cluster.inject(Fault::CutNetwork(seconds(5)));
        cluster.run_for(ms(1100 + delay));
        cluster.inject(Fault::PowerLoss(0, seconds(3)));
        cluster.run_for(seconds(15));
        sound(&cluster);
    }
}

#[test]
fn the_first_minute_without_a_mirror_still_asks_a_copy_that_was_never_admitted() {
    let mut cluster = Cluster::new(Scenario::quiet(3, config(true)), Options::default());
    cluster.inject(Fault::CutMirror(Cut::Both, seconds(10)));
    cluster.run_for(seconds(8));
    sound(&cluster);
    assert_eq!(protection(&cluster, 0), Some(Protection::Standalone), "{}", cluster.timeline());
    assert!(cluster.acknowledged(GROUP) > 10);
}

#[test]
fn a_frozen_owner_that_a_device_lied_about_suspends_when_it_wakes() {
    for span in [1500, 2500, 3500] {
        let mut scenario = Scenario::quiet(5, config(true));
        scenario.lying = true;
        let mut cluster = Cluster::new(scenario, Options::default());
        cluster.run_for(seconds(4));
        cluster.inject(Fault::Device(0, DeviceFault::Lies, ms(span + 100)));
        cluster.inject(Fault::PauseTree(0, ms(span)));
        cluster.run_for(seconds(6));
        sound(&cluster);
        assert_eq!(cluster.actor(GROUP), Some(1), "{}", cluster.timeline());
    }
}

#[test]
fn an_operators_copy_begins_above_every_epoch_of_the_absent_one() {
    let mut scenario = Scenario::quiet(2, config(true));
    scenario.operator = true;
    let mut cluster = Cluster::new(scenario, Options::default());
    cluster.run_for(seconds(4));
    // Node 1 is left behind, then the only current copy is lost with its disk.
    cluster.inject(Fault::CutMirror(Cut::Both, seconds(2)));
    cluster.run_for(seconds(2));
    cluster.inject(Fault::ReplaceDisk(0, seconds(3)));
    cluster.run_for(seconds(50));
    sound(&cluster);
    assert!(cluster.actor(GROUP).is_some(), "{}", cluster.timeline());
}

/// The owner asks to go alone, and hands over before the answer arrives: the consent and the release cross.
#[test]
fn an_owner_that_loses_the_outside_while_it_asks_leaves_one_copy_current() {
    for late in 0..700 {
        let mut cluster = served(true);
        // The question waits on this line, the answer for this disk.
        cluster.inject(Fault::Slow(1, ms(250), seconds(6)));
        cluster.inject(Fault::SlowDisk(1, ms(300), seconds(6)));
        cluster.inject(Fault::CutNetwork(seconds(6)));
        cluster.run_for(ms(late));
        cluster.inject(Fault::NoOutside(0, seconds(6) - ms(late)));
        cluster.run_for(seconds(5) - ms(late));
        sound(&cluster);
        assert!(cluster.actor(GROUP).is_some(), "lost {late} ms later: nobody\n{}", cluster.timeline());
        cluster.run_for(seconds(14));
        sound(&cluster);
        let whole = (0..2).any(|n| protection(&cluster, n) == Some(Protection::Full));
        assert!(whole, "lost {late} ms later\n{}", cluster.timeline());
    }
}

/// What the owner cannot reach because its network is gone is handed over, not served where nobody is.
#[test]
fn an_owner_whose_network_fails_waits_for_the_outside_view_before_it_asks() {
    for late in (0..250).step_by(10) {
        let mut cluster = served(true);
        cluster.inject(Fault::CutNetwork(seconds(6)));
        cluster.run_for(ms(late));
        cluster.inject(Fault::NoOutside(0, seconds(6) - ms(late)));
        cluster.run_for(seconds(4) - ms(late));
        sound(&cluster);
        assert_eq!(cluster.actor(GROUP), Some(1), "lost {late} ms later\n{}", cluster.timeline());
    }
}

/// The last word of the owner is older than its copy's admission: it says "alone", and the owner waits by now.
#[test]
fn a_copy_admitted_a_moment_before_everything_fails_waits_for_its_slot() {
    for seed in 0..40 {
        let mut cluster = Cluster::new(Scenario::quiet(seed, config(true)), Options::default());
        cluster.run_for(seconds(4));
        // Only the serial line speaks, a few statements at a time.
        cluster.inject(Fault::CutLink(0, Cut::Both, seconds(6)));
        cluster.inject(Fault::CutMirror(Cut::Both, seconds(2)));
        cluster.run_for(seconds(1));
        while !(0..2).any(|n| protection(&cluster, n) == Some(Protection::Full)) {
            cluster.run_for(Duration::from_micros(100));
        }
        cluster.inject(Fault::Isolate(seconds(5)));
        cluster.run_for(seconds(9));
        sound(&cluster);
        assert!(cluster.actor(GROUP).is_some(), "seed {seed}\n{}", cluster.timeline());
    }
}

/// The peer's promise of an epoch is no reason to want a higher one.
#[test]
fn the_first_grant_takes_one_of_the_first_epochs() {
    for seed in 0..150 {
        let mut cluster = Cluster::new(Scenario::from_seed(seed), Options::default());
        cluster.run_for(seconds(3));
        sound(&cluster);
        let epochs = (0..2).filter_map(|n| cluster.status(n)).flat_map(|s| s.groups);
        let highest = epochs.map(|g| g.epoch.0).max();
        assert!(highest < Some(10), "seed {seed}: {highest:?}\n{}", cluster.timeline());
    }
}

/// With one link, whose beats of one direction are lost for a while, and everything cut as the first of them gets
/// through: one node knows of that beat, the other does not. Their slots are apart all the same.
#[test]
fn a_last_beat_that_only_one_side_knows_of_does_not_let_both_shoot() {
    let mut pair = config(true);
    pair.links.truncate(1);
    for silent in 0..2 {
        for gap in (60..290).step_by(10) {
            for rest in (0..60).step_by(5) {
                let seed = gap * 60 + rest;
                let mut cluster = Cluster::new(Scenario::quiet(seed, pair.clone()), Options::default());
                cluster.run_for(seconds(3));
                cluster.inject(Fault::CutLink(0, Cut::From(silent), ms(gap)));
                cluster.run_for(ms(gap + rest));
                cluster.inject(Fault::Isolate(seconds(4)));
                cluster.run_for(seconds(3));
                sound(&cluster);
                assert!(cluster.actor(GROUP).is_some(), "{silent} {gap} {rest}\n{}", cluster.timeline());
            }
        }
    }
}

/// A device lied about a frozen owner, and everything is cut in the instant of its wake-up: it cannot find out, and rests
/// on what every proof needs, its end. Only a device that lies makes that wrong, so nothing is asserted of it.
#[test]
fn who_is_cut_off_as_it_wakes_after_a_lie_is_excused_and_nobody_else() {
    let report = ha_core::sim::run(7_004_176, &Options::default());
    assert!(report.failure.is_none(), "{}", report.failure.unwrap());
}

/// The owner knows of a death one beat and its echo after its slot begins: it shoots then, not a turn later.
#[test]
fn an_owner_does_not_miss_its_own_first_slot() {
    let mut pair = config(true);
    pair.links.truncate(1);
    for seed in 0..100 {
        let mut cluster = Cluster::new(Scenario::quiet(seed, pair.clone()), Options::default());
        cluster.run_for(seconds(3));
        cluster.inject(Fault::PauseTree(1, seconds(4)));
        cluster.run_for(ms(300 + 60 + 200));
        sound(&cluster);
        assert_eq!(
            protection(&cluster, 0),
            Some(Protection::Standalone),
            "seed {seed}\n{}",
            cluster.timeline()
        );
    }
}
