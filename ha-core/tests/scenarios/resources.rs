//! 62 to 73: resources.

use crate::support::*;
use ha_core::config::ResourceConfig;
use ha_core::engine::{Command, EventKind, Health, Question};
use ha_core::sim::{Cluster, Fault, ResourceFault};

/// A node in failure memory is no standby until somebody says that its service was mended.
fn mended(cluster: &mut Cluster) {
    for node in 0..2 {
        cluster.command(node, Command::ClearFailures(MAIL));
    }
    cluster.run_for(seconds(3));
}

fn quirk(node: usize, place: u8, what: ResourceFault) -> Fault {
    Fault::Resource(node, 0, place, what)
}

#[test]
fn s062_a_start_that_fails_twice_moves_the_group_back_and_the_failing_node_is_no_target() {
    let mut cluster = served(pair());
    let fails = quirk(1, 1, ResourceFault::StartFails);
    cluster.inject(fails);
    cluster.inject(fails);
    cluster.inject(fails);
    after(&mut cluster, &[Fault::Switchover(0)], seconds(6));
    owns(&cluster, 0, MAIL);
    assert_eq!(status(&cluster, 1, MAIL).map(|g| g.viable), Some(false), "{}", cluster.timeline());
    after(&mut cluster, &[Fault::Switchover(0)], seconds(2));
    owns(&cluster, 0, MAIL);
    mended(&mut cluster);
    whole(&cluster, 0, MAIL);
    nobody_shot(&cluster);
}

#[test]
fn s062_a_start_that_fails_everywhere_asks_and_serves_as_soon_as_it_can() {
    let mut cluster = served(pair());
    for node in 0..2 {
        for _ in 0..5 {
            cluster.inject(quirk(node, 1, ResourceFault::StartFails));
        }
    }
    cluster.inject(quirk(0, 1, ResourceFault::Dies));
    let asked = cluster.run_until(seconds(20), |c| {
        (0..2).any(|n| status(c, n, MAIL).and_then(|g| g.question) == Some(Question::FailedEverywhere))
    });
    assert!(asked, "{}", cluster.timeline());
    cluster.run_for(seconds(60));
    mended(&mut cluster);
    let owner = cluster.actor(MAIL).expect("retried with back-off until it worked");
    whole(&cluster, owner, MAIL);
    nobody_shot(&cluster);
}

#[test]
fn s062_a_start_that_succeeds_after_its_timeout_is_undone_and_never_runs_twice() {
    for (place, seed) in (0..2).flat_map(|p| (0..10).map(move |s| (p, s))) {
        let mut cluster = served_with(seed, pair());
        cluster.inject(quirk(1, place, ResourceFault::StartHangs));
        // I4 and I8 are asserted at each release and each start.
        after(&mut cluster, &[Fault::Switchover(0)], seconds(12));
        let owner = cluster.actor(MAIL).expect("served");
        whole(&cluster, owner, MAIL);
        assert!(cluster.probes().count("timeout", "Start") > 0);
        nothing_is_lost(&mut cluster);
    }
}

#[test]
fn s063_a_stop_that_fails_or_hangs_is_finished_by_the_guardian_before_the_other_node_serves() {
    for what in [ResourceFault::StopFails, ResourceFault::StopHangs] {
        for place in 0..2 {
            let mut cluster = served(pair());
            cluster.inject(quirk(0, place, what));
            after(&mut cluster, &[Fault::Switchover(0)], seconds(2));
            owns(&cluster, 1, MAIL);
            proven_by(&cluster, 1, MAIL, "Released{forced}");
            nobody_shot(&cluster);
            cluster.run_for(seconds(8));
            whole(&cluster, 1, MAIL);
        }
    }
}

#[test]
fn s063_a_demotion_of_the_data_that_hangs_is_finished_by_the_guardian() {
    let mut cluster = served(pair());
    cluster.inject(quirk(0, 0, ResourceFault::DemoteHangs));
    after(&mut cluster, &[Fault::Switchover(0)], seconds(3));
    owns(&cluster, 1, MAIL);
    proven_by(&cluster, 1, MAIL, "Released{forced}");
    cluster.run_for(seconds(8));
    whole(&cluster, 1, MAIL);
    nothing_is_lost(&mut cluster);
}

#[test]
fn s063_a_stop_that_cannot_be_undone_is_never_reported_as_done() {
    let mut cluster = served(pair());
    cluster.inject(Fault::UndoFails(0));
    cluster.inject(quirk(0, 0, ResourceFault::StopFails));
    after(&mut cluster, &[Fault::Switchover(0)], seconds(12));
    // The node with the leftovers takes the group again, or is fenced.
    let owner = cluster.actor(MAIL).expect("served");
    owns(&cluster, owner, MAIL);
    assert_eq!(cluster.probes().count("proof", "Released{forced}"), 0, "{}", cluster.timeline());
}

#[test]
fn s064_s065_monitors_that_time_out_many_times_and_recover_never_move_a_healthy_service() {
    let mut cluster = served(pair());
    for _ in 0..10 {
        cluster.inject(quirk(0, 0, ResourceFault::MonitorHangs));
        cluster.inject(quirk(0, 1, ResourceFault::MonitorHangs));
    }
    cluster.run_for(seconds(30));
    whole(&cluster, 0, MAIL);
    assert_eq!(cluster.probes().count("health", "Unknown"), 20);
    assert_eq!(grants(&cluster), 1);
    nobody_shot(&cluster);
}

#[test]
fn s066_a_failure_at_each_millisecond_of_a_promotion_ends_in_service() {
    for late in (0..400).step_by(4) {
        let mut cluster = served(pair());
        after(&mut cluster, &[Fault::Switchover(0)], ms(late));
        after(
            &mut cluster,
            &[quirk(1, 1, ResourceFault::Dies), quirk(1, 0, ResourceFault::Dies)],
            seconds(8),
        );
        let owner = cluster.actor(MAIL).expect("served");
        whole(&cluster, owner, MAIL);
    }
}

#[test]
fn s066_a_promotion_of_the_data_that_fails_or_overruns_goes_back_to_the_other_copy() {
    for what in [ResourceFault::PromoteFails, ResourceFault::PromoteHangs] {
        let mut cluster = served(pair());
        (0..2).for_each(|_| cluster.inject(quirk(1, 0, what)));
        after(&mut cluster, &[Fault::Switchover(0)], seconds(25));
        mended(&mut cluster);
        let owner = cluster.actor(MAIL).expect("served");
        whole(&cluster, owner, MAIL);
        nothing_is_lost(&mut cluster);
    }
}

#[test]
fn s067_a_failure_at_each_place_of_a_chain_restarts_from_there_and_stops_in_reverse() {
    let mut config = pair();
    for name in ["queue", "imap", "web"] {
        config.groups[0].resources.push(ResourceConfig::new(name));
    }
    for place in 0..5u8 {
        let mut cluster = served(config.clone());
        after(&mut cluster, &[quirk(0, place, ResourceFault::Dies)], seconds(5));
        whole(&cluster, 0, MAIL);
        assert_eq!(grants(&cluster), 1, "restarted in place");
        let found = reports(&cluster).into_iter().find_map(|(_, kind)| match kind {
            EventKind::Resource { resource, health: Health::Failed, .. } => Some(resource),
            _ => None,
        });
        assert_eq!(found, Some(place), "{}", cluster.timeline());
        for _ in 0..4 {
            cluster.inject(quirk(1, place, ResourceFault::StartFails));
        }
        after(&mut cluster, &[Fault::Switchover(0)], seconds(8));
        mended(&mut cluster);
        whole(&cluster, 0, MAIL);
    }
}

#[test]
fn s068_a_full_disk_blocks_neither_a_takeover_nor_the_next_one() {
    let mut cluster = served(pair());
    cluster.inject(Fault::DiskFull(0, seconds(60)));
    cluster.inject(Fault::DiskFull(1, seconds(60)));
    after(&mut cluster, &[Fault::PowerLoss(0, seconds(3))], seconds(2));
    owns(&cluster, 1, MAIL);
    cluster.run_for(seconds(9));
    whole(&cluster, 1, MAIL);
    after(&mut cluster, &[Fault::PowerLoss(1, seconds(3))], seconds(11));
    whole(&cluster, 0, MAIL);
    nothing_is_lost(&mut cluster);
}

#[test]
fn s068_a_record_that_cannot_be_written_ends_its_node_by_its_guardian_and_the_other_serves() {
    let mut cluster = served(pair());
    // The next write of the owner's record is its going alone.
    cluster.inject(Fault::DiskError(0));
    after(&mut cluster, &[Fault::PowerLoss(1, seconds(5))], seconds(4));
    assert!(cluster.probes().count("end", "RecordNotDurable") > 0, "{}", cluster.timeline());
    cluster.run_for(seconds(14));
    let owner = cluster.actor(MAIL).expect("served");
    whole(&cluster, owner, MAIL);
    nothing_is_lost(&mut cluster);
}

#[test]
fn s072_an_address_removed_behind_our_back_is_put_up_again_in_place() {
    let mut cluster = served(pair());
    after(&mut cluster, &[quirk(0, 0, ResourceFault::Dies)], seconds(4));
    whole(&cluster, 0, MAIL);
    assert_eq!(grants(&cluster), 1);
}
