//! 42 to 50, 58: a pair without fence devices, whose witness (a third party, or a disk) decides.
//!
//! The lease is one second, an answer counts within a tenth of it. The cut of a path to the witness is one node's alone.

use crate::support::*;
use ha_core::config::{ArbiterConfig, ArbiterKind, Config, WatchdogConfig};
use ha_core::engine::{Command, Protection, Question, RoleName};
use ha_core::sim::{Cluster, Cut, Fault};

const LEASE_MS: u64 = 1000;

fn witnessed(config: Config) -> Config {
    config.arbiter(ArbiterConfig::new(ArbiterKind::ThirdParty, ms(LEASE_MS)).with_trusts_host_pauses(true))
}

/// A mirrored group, and one without data: the witness is asked in other places for the two.
fn both() -> [Config; 2] {
    let bare = {
        let mut config = unfenced();
        config.groups[0].mirrored = false;
        config
    };
    [witnessed(unfenced()), witnessed(bare)]
}

/// The same node acts at every instant of `span`.
#[track_caller]
fn serves_on(cluster: &mut Cluster, node: usize, span: std::time::Duration) {
    let end = cluster.elapsed() + span;
    while cluster.elapsed() < end {
        cluster.run_for(ms(5));
        sound(cluster);
        assert_eq!(cluster.actor(MAIL), Some(node), "{:?}\n{}", cluster.elapsed(), cluster.timeline());
    }
}

/// Served by `node`, and by both copies where there are two.
#[track_caller]
fn well(cluster: &mut Cluster, node: usize) {
    owns(cluster, node, MAIL);
    if cluster.status(node).is_some_and(|s| s.groups[0].protection != Protection::None) {
        protected(cluster, node, MAIL, Protection::Full);
        nothing_is_lost(cluster);
    }
    nobody_shot(cluster);
}

#[test]
fn s042_a_witness_down_from_the_start_grants_nothing_and_its_return_one_service() {
    for config in both() {
        let mut cluster = fresh(1, config);
        after(&mut cluster, &[Fault::ArbiterDown(seconds(12))], seconds(10));
        nobody(&cluster, MAIL);
        let asked = (0..2)
            .any(|n| status(&cluster, n, MAIL).and_then(|g| g.question) == Some(Question::ArbiterSilent));
        assert!(asked, "{}", cluster.timeline());
        assert_eq!(grants(&cluster), 0);
        after(&mut cluster, &[], seconds(8));
        proven_by(&cluster, 0, MAIL, "NeverStarted");
        assert_eq!(grants(&cluster), 1);
        well(&mut cluster, 0);
    }
}

/// A healthy pair goes on without its witness; then a node is lost too, and nothing proves anything: it waits.
#[test]
fn s043_the_witness_lost_and_then_the_standby_suspends_the_owner_until_the_witness_is_back() {
    for config in both() {
        let mut cluster = served(config);
        after(&mut cluster, &[Fault::ArbiterDown(seconds(20))], ms(1));
        serves_on(&mut cluster, 0, seconds(8));
        after(&mut cluster, &[Fault::PowerLoss(1, seconds(30))], seconds(6));
        nobody(&cluster, MAIL);
        assert_eq!(role(&cluster, 0, MAIL), Some(RoleName::Suspended), "{}", cluster.timeline());
        after(&mut cluster, &[], seconds(9));
        owns(&cluster, 0, MAIL);
        assert_eq!(grants(&cluster), 1, "confirmed by the witness, not granted anew");
        after(&mut cluster, &[], seconds(20));
        well(&mut cluster, 0);
    }
}

#[test]
fn s043_the_witness_lost_and_then_the_owner_leaves_a_question_until_the_witness_is_back() {
    for config in both() {
        let mut cluster = served(config);
        after(&mut cluster, &[Fault::ArbiterDown(seconds(20))], seconds(8));
        after(&mut cluster, &[Fault::PowerLoss(0, seconds(30))], seconds(10));
        nobody(&cluster, MAIL);
        asks(&cluster, 1, MAIL, Question::ArbiterSilent);
        after(&mut cluster, &[], seconds(5));
        owns(&cluster, 1, MAIL);
        proven_by(&cluster, 1, MAIL, "LeaseExpired");
        after(&mut cluster, &[], seconds(25));
        well(&mut cluster, 1);
    }
}

#[test]
fn s044_the_peer_lost_and_the_witness_a_moment_later_is_the_same_whatever_the_moment() {
    for (victim, late) in [0, 1].into_iter().flat_map(|v| [0, 1, 2, 5, 50, 300, 900].map(|ms| (v, ms))) {
        for config in both() {
            let mut cluster = served_with(late, config);
            after(&mut cluster, &[Fault::PowerLoss(victim, seconds(40))], ms(late));
            after(&mut cluster, &[Fault::ArbiterDown(seconds(15))], seconds(10));
            // The standby's loss may have been written down by then: only so does its owner go on.
            let alone = exclusion(&cluster, 0, MAIL).is_some();
            if victim == 0 || !alone {
                nobody(&cluster, MAIL);
            }
            after(&mut cluster, &[], seconds(10));
            owns(&cluster, 1 - victim, MAIL);
            if victim == 0 {
                proven_by(&cluster, 1, MAIL, "LeaseExpired");
            }
            after(&mut cluster, &[], seconds(30));
            well(&mut cluster, 1 - victim);
        }
    }
}

#[test]
fn s045_the_witness_lost_to_the_owner_alone_changes_nothing_until_the_nodes_lose_each_other() {
    for config in both() {
        let mut cluster = served(config);
        after(&mut cluster, &[Fault::CutArbiter(0, seconds(40))], ms(1));
        serves_on(&mut cluster, 0, seconds(10));
        after(&mut cluster, &[Fault::Isolate(seconds(12))], seconds(8));
        owns(&cluster, 1, MAIL);
        proven_by(&cluster, 1, MAIL, "LeaseExpired");
        after(&mut cluster, &[], seconds(30));
        well(&mut cluster, 1);
    }
}

#[test]
fn s045_the_witness_lost_to_the_standby_alone_leaves_the_owner_where_it_is() {
    for config in both() {
        let mut cluster = served(config);
        after(&mut cluster, &[Fault::CutArbiter(1, seconds(30))], ms(1));
        serves_on(&mut cluster, 0, seconds(5));
        after(&mut cluster, &[Fault::Isolate(seconds(12))], seconds(8));
        owns(&cluster, 0, MAIL);
        asks(&cluster, 1, MAIL, Question::ArbiterSilent);
        assert_eq!(grants(&cluster), 1);
        after(&mut cluster, &[], seconds(35));
        well(&mut cluster, 0);
    }
}

/// Half a lease late to twice its length: no answer counts then, and a healthy pair does not care.
#[test]
fn s046_a_witness_that_answers_late_stops_no_healthy_pair_and_lets_nobody_act_twice() {
    for percent in [5, 9, 11, 50, 99, 101, 200] {
        for (seed, config) in (0..4).flat_map(|seed| both().map(|config| (seed, config))) {
            let mut cluster = served_with(seed, config);
            let by = ms(LEASE_MS * percent / 100);
            after(&mut cluster, &[Fault::ArbiterSlow(by, seconds(40))], ms(1));
            serves_on(&mut cluster, 0, seconds(10));
            // I1 is asserted while the owner dies, is followed or not, and returns.
            after(&mut cluster, &[Fault::PowerLoss(0, seconds(6))], seconds(40));
            let owner = cluster.actor(MAIL).expect("served");
            well(&mut cluster, owner);
        }
    }
}

#[test]
fn s047_a_witness_that_restarts_empty_is_a_question_and_stops_nobody() {
    for config in both() {
        let mut cluster = served(config);
        after(&mut cluster, &[Fault::ArbiterForgets(200)], ms(1));
        serves_on(&mut cluster, 0, seconds(10));
        asks(&cluster, 0, MAIL, Question::ArbiterForgot);
        // Nobody takes over on what the forgetful one says.
        after(&mut cluster, &[Fault::PowerLoss(0, seconds(8))], seconds(6));
        nobody(&cluster, MAIL);
        after(&mut cluster, &[], seconds(8));
        for node in 0..2 {
            if status(&cluster, node, MAIL).and_then(|g| g.question) == Some(Question::ArbiterForgot) {
                cluster.command(node, Command::TrustArbiter(MAIL));
            }
        }
        after(&mut cluster, &[], seconds(15));
        let owner = cluster.actor(MAIL).expect("served once an operator let it be written anew");
        well(&mut cluster, owner);
    }
}

/// No decision rests on the witness's clock: a witness that ends leases by a clock of its own (in every second seed) and
/// one that never does lead to the same owner on the same proof.
#[test]
fn s048_what_the_witness_says_of_its_own_clock_changes_no_outcome() {
    for config in both() {
        for seed in 0..10 {
            let mut cluster = served_with(seed, config.clone());
            after(&mut cluster, &[Fault::PowerLoss(0, seconds(5))], seconds(4));
            owns(&cluster, 1, MAIL);
            proven_by(&cluster, 1, MAIL, "LeaseExpired");
            after(&mut cluster, &[], seconds(15));
            well(&mut cluster, 1);
        }
    }
}

#[test]
fn s049_of_two_that_ask_at_once_one_is_granted_the_group() {
    // Both of an owner and its standby that lost each other ask at once: the owner wants the standby out, the
    // standby wants the group. Both that boot at once ask, too.
    let split = [Fault::Isolate(seconds(12))];
    let boot = [Fault::TotalPowerLoss(seconds(2), seconds(2)), Fault::Isolate(seconds(14))];
    for (seed, config) in (0..20).flat_map(|seed| both().map(|config| (seed, config))) {
        for faults in [&split[..], &boot[..]] {
            let mut cluster = served_with(seed, config.clone());
            after(&mut cluster, faults, seconds(11));
            let owner = cluster.actor(MAIL).expect("one of them serves");
            owns(&cluster, owner, MAIL);
            after(&mut cluster, &[], seconds(15));
            well(&mut cluster, owner);
        }
    }
}

#[test]
fn s050_a_witness_that_returns_during_the_split_gives_the_group_to_one_side() {
    for (seed, config) in (0..20).flat_map(|seed| both().map(|config| (seed, config))) {
        let mut cluster = served_with(seed, config);
        after(&mut cluster, &[Fault::ArbiterDown(seconds(8))], seconds(4));
        after(
            &mut cluster,
            &[Fault::Isolate(seconds(14)), Fault::CutMirror(Cut::Both, seconds(14))],
            seconds(3),
        );
        nobody(&cluster, MAIL);
        after(&mut cluster, &[], seconds(7));
        let owner = cluster.actor(MAIL).expect("one side serves");
        owns(&cluster, owner, MAIL);
        after(&mut cluster, &[], seconds(20));
        well(&mut cluster, owner);
    }
}

/// One store that both reach, and the disk that it lies on decides; each node has a watchdog.
fn on_a_disk() -> Config {
    let mut config = unfenced().watchdog(WatchdogConfig::new(seconds(2)));
    (config.groups[0].mirrored, config.groups[0].shared) = (false, true);
    config.arbiter(ArbiterConfig::new(ArbiterKind::Disk, ms(LEASE_MS)).with_trusts_host_pauses(true))
}

#[test]
fn s058_an_arbiter_disk_that_is_slow_lost_or_read_only_on_one_side_stops_no_healthy_pair() {
    let troubles = |node| {
        let span = seconds(30);
        [
            Fault::ArbiterSlow(ms(2 * LEASE_MS), span),
            Fault::CutArbiter(node, span),
            Fault::ArbiterReadOnly(node, span),
        ]
    };
    for (node, nth) in (0..2).flat_map(|node| (0..3).map(move |nth| (node, nth))) {
        let mut cluster = served(on_a_disk());
        after(&mut cluster, &[troubles(node)[nth]], ms(1));
        serves_on(&mut cluster, 0, seconds(15));
        assert_eq!(grants(&cluster), 1, "{}", cluster.timeline());
        after(&mut cluster, &[], seconds(20));
        well(&mut cluster, 0);
    }
}

/// An owner that can no longer write its lease and then loses its peer ends by itself; who can write takes over.
#[test]
fn s058_an_owner_whose_arbiter_disk_became_read_only_is_followed_when_its_lease_is_over() {
    for trouble in [Fault::ArbiterReadOnly(0, seconds(40)), Fault::CutArbiter(0, seconds(40))] {
        let mut cluster = served(on_a_disk());
        after(&mut cluster, &[trouble], seconds(3));
        after(&mut cluster, &[Fault::Isolate(seconds(15))], seconds(12));
        owns(&cluster, 1, MAIL);
        proven_by(&cluster, 1, MAIL, "LeaseExpired");
        after(&mut cluster, &[], seconds(20));
        well(&mut cluster, 1);
    }
}

/// The other way round nobody takes over: a lease that a node cannot take is no grant.
#[test]
fn s058_a_standby_whose_arbiter_disk_is_read_only_takes_nothing_over() {
    let mut cluster = served(on_a_disk());
    after(&mut cluster, &[Fault::ArbiterReadOnly(1, seconds(20))], seconds(3));
    after(&mut cluster, &[Fault::PowerLoss(0, seconds(40))], seconds(12));
    nobody(&cluster, MAIL);
    after(&mut cluster, &[], seconds(12));
    owns(&cluster, 1, MAIL);
    proven_by(&cluster, 1, MAIL, "LeaseExpired");
    nobody_shot(&cluster);
}
