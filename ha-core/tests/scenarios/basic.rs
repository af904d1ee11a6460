//! 1 to 10: basic cycles.

use crate::support::*;
use ha_core::PolicyScope;
use ha_core::engine::{Command, Protection, Question, RoleName};
use ha_core::sim::Fault;

#[test]
fn s001_node_a_then_node_b_ends_with_a_serving_and_both_copies_whole() {
    for first in [0, 1] {
        let mut cluster = fresh(1, pair());
        cluster.inject(Fault::PowerLoss(1 - first, seconds(6)));
        cluster.run_for(seconds(6));
        // Initialised together, but nobody knows whether the other one ever served: it is asked, not guessed.
        nobody(&cluster, MAIL);
        asks(&cluster, first, MAIL, Question::PeerAbsent);
        cluster.run_for(seconds(4));
        whole(&cluster, 0, MAIL);
        proven_by(&cluster, 0, MAIL, "NeverStarted");
        nobody_shot(&cluster);
    }
}

#[test]
fn s002_both_at_once_ends_with_the_preferred_node_serving_after_one_grant() {
    for seed in 0..20 {
        let cluster = served_with(seed, pair());
        assert_eq!(grants(&cluster), 1, "{}", cluster.timeline());
        proven_by(&cluster, 0, MAIL, "NeverStarted");
        nobody_shot(&cluster);
    }
}

#[test]
fn s003_a_alone_with_b_never_seen_asks_and_serves_when_its_operator_says_so() {
    let mut cluster = fresh(1, pair());
    cluster.inject(Fault::PowerLoss(1, seconds(0)));
    cluster.run_for(seconds(10));
    nobody(&cluster, MAIL);
    asks(&cluster, 0, MAIL, Question::PeerAbsent);
    use_this_copy(&mut cluster, 0);
    cluster.run_for(seconds(3));
    owns(&cluster, 0, MAIL);
    nobody_shot(&cluster);
}

#[test]
fn s003_a_group_without_data_and_a_peer_that_the_device_says_is_off_needs_no_operator() {
    let mut cluster = fresh(1, plain());
    cluster.inject(Fault::PowerLoss(1, seconds(0)));
    cluster.run_for(seconds(5));
    owns(&cluster, 0, MAIL);
    proven_by(&cluster, 0, MAIL, "Fenced");
    assert_eq!(cluster.probes().count("device", "shot hit"), 0, "the device was asked, nobody was shot");
}

#[test]
fn s004_a_clean_stop_of_the_owner_hands_over_by_its_word_and_nobody_is_fenced() {
    let mut cluster = served(pair());
    after(&mut cluster, &[Fault::Shutdown(0, seconds(5))], seconds(1));
    owns(&cluster, 1, MAIL);
    proven_by(&cluster, 1, MAIL, "Released");
    nobody_shot(&cluster);
    cluster.run_for(seconds(9));
    whole(&cluster, 1, MAIL);
    nothing_is_lost(&mut cluster);
}

#[test]
fn s004_a_clean_stop_of_the_standby_lets_the_owner_go_alone_at_once() {
    let mut cluster = served(pair());
    after(&mut cluster, &[Fault::Shutdown(1, seconds(5))], seconds(1));
    owns(&cluster, 0, MAIL);
    protected(&cluster, 0, MAIL, Protection::Standalone);
    assert_eq!(exclusion(&cluster, 0, MAIL).map(|p| p.name()), Some("Departed"));
    mail_flows(&mut cluster, seconds(1), 5);
    nobody_shot(&cluster);
}

#[test]
fn s005_both_stopped_and_started_again_serve_with_nothing_lost() {
    for seed in 0..10 {
        let mut cluster = served_with(seed, pair());
        let both = [Fault::Shutdown(0, seconds(2)), Fault::Shutdown(1, seconds(2))];
        after(&mut cluster, &both, seconds(15));
        let owner = cluster.actor(MAIL).expect("served again");
        whole(&cluster, owner, MAIL);
        nobody_shot(&cluster);
        nothing_is_lost(&mut cluster);
    }
}

#[test]
fn s006_restarts_one_by_one_under_load_lose_nothing_and_fence_nobody() {
    let mut cluster = served(pair());
    for node in [0, 1, 0, 1] {
        after(&mut cluster, &[Fault::Shutdown(node, seconds(2))], seconds(12));
        let owner = cluster.actor(MAIL).expect("served");
        whole(&cluster, owner, MAIL);
        mail_flows(&mut cluster, seconds(1), 5);
    }
    nobody_shot(&cluster);
    nothing_is_lost(&mut cluster);
}

#[test]
fn s007_a_stop_during_the_start_leaves_nothing_behind_and_a_current_copy_serves() {
    for late in (0..300).step_by(10) {
        let mut cluster = fresh(1, pair());
        assert!(cluster.run_until(seconds(5), |c| role(c, 0, MAIL) == Some(RoleName::Starting)));
        cluster.run_for(ms(late));
        // I4 is asserted at the release: nothing of the group is left on the node.
        after(&mut cluster, &[Fault::Shutdown(0, seconds(2))], seconds(1));
        cluster.run_for(seconds(12));
        // A copy that was not admitted yet is not current: then the first node serves again.
        let owner = cluster.actor(MAIL).expect("served");
        whole(&cluster, owner, MAIL);
        nobody_shot(&cluster);
        nothing_is_lost(&mut cluster);
    }
}

#[test]
fn s008_a_thousand_switchovers_are_a_thousand_and_one_grants_and_lose_nothing() {
    let mut config = pair();
    config.links.truncate(2);
    let mut cluster = served(config);
    for round in 0..1000 {
        let to = 1 - round % 2;
        // The next owner hears that its peer stands by again.
        cluster.run_for(ms(150));
        cluster.inject(Fault::Switchover(0));
        let moved = cluster.run_until(seconds(5), |c| {
            role(c, to, MAIL) == Some(RoleName::Active)
                && status(c, to, MAIL).is_some_and(|g| g.protection == Protection::Full)
                && status(c, 1 - to, MAIL).is_some_and(|g| g.viable)
        });
        assert!(moved, "switchover {round}\n{}", cluster.timeline());
    }
    sound(&cluster);
    assert_eq!(cluster.probes().count("proof", "Released"), 1000);
    let epoch = status(&cluster, 0, MAIL).map(|g| g.epoch.0);
    assert!((1001..1010).contains(&epoch.unwrap_or(0)), "an epoch for each grant: {epoch:?}");
    nobody_shot(&cluster);
}

#[test]
fn s009_the_standby_away_and_back_is_a_member_again_and_ownership_stays() {
    let mut cluster = served(pair());
    for _ in 0..3 {
        after(&mut cluster, &[Fault::Shutdown(1, seconds(2))], seconds(10));
        whole(&cluster, 0, MAIL);
    }
    assert_eq!(grants(&cluster), 1);
    nobody_shot(&cluster);
}

#[test]
fn s010_an_engine_is_exchanged_in_maintenance_and_the_service_is_not_touched() {
    let mut config = plain();
    config.groups[0].resources.iter_mut().for_each(|r| r.outlives_engine = true);
    let mut cluster = served(config);
    cluster.command(0, Command::Maintenance { scope: PolicyScope::Cluster, on: true });
    cluster.run_for(ms(500));
    let touched = cluster.touched(0, MAIL);
    cluster.stay_away(0, seconds(2));
    cluster.command(0, Command::Detach);
    cluster.run_for(seconds(1));
    assert!(cluster.status(0).is_none() && cluster.runs(0, MAIL), "{}", cluster.timeline());
    cluster.run_for(seconds(4));
    owns(&cluster, 0, MAIL);
    assert_eq!(cluster.touched(0, MAIL), touched, "{}", cluster.timeline());
    assert_eq!(grants(&cluster), 2);
    nobody_shot(&cluster);
}
