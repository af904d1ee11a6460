//! Policies in a simulated pair: what an operator expects of them, with faults around.

use ha_core::config::{
    Config, Failback, FenceConfig, GroupConfig, GroupPolicy, HealthPolicy, LinkConfig, OutsidePolicy,
    Reaction, ResourceConfig, TimingConfig,
};
use ha_core::engine::{Command, Placement, Protection, Question, RoleName};
use ha_core::sim::{Cluster, Fault, Options, ResourceFault, Scenario};
use ha_core::{GroupId, NodeId, PolicyScope};
use std::time::Duration;

const MAIL: GroupId = GroupId(0);
const WEB: GroupId = GroupId(1);

const fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

const fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

fn group(name: &str, preferred: u8, policy: GroupPolicy) -> GroupConfig {
    let resource = |name: &str| ResourceConfig::new(name).with_monitor_interval(ms(500));
    GroupConfig::new(name)
        .preferring(NodeId(preferred))
        .then(resource("address"))
        .then(resource("service"))
        .with_policy(policy)
}

fn config(groups: impl IntoIterator<Item = GroupConfig>) -> Config {
    let timing = TimingConfig::default()
        .with_token_validity(ms(120))
        .with_feed_limit(ms(700))
        .with_ask_deadline(ms(400))
        .with_confirm_deadline(ms(400));
    let config = Config::pair("policy", "a", "b")
        .link(LinkConfig::datagram("net0", ms(50), ms(300)))
        .link(LinkConfig::serial("tty", ms(100), ms(500), 115_200))
        .fence(FenceConfig::new(ms(200)))
        .timing(timing);
    groups.into_iter().fold(config, Config::group)
}

fn served(seed: u64, groups: impl IntoIterator<Item = GroupConfig>) -> Cluster {
    let mut cluster = Cluster::new(Scenario::quiet(seed, config(groups)), Options::default());
    cluster.run_for(seconds(5));
    cluster
}

#[track_caller]
fn actors(cluster: &Cluster, mail: usize, web: usize) {
    assert!(cluster.broken().is_none(), "{:?}\n{}", cluster.broken(), cluster.timeline());
    let found = (cluster.actor(MAIL), cluster.actor(WEB));
    assert_eq!(found, (Some(mail), Some(web)), "{}", cluster.timeline());
}

fn role(cluster: &Cluster, node: usize, group: GroupId) -> Option<RoleName> {
    cluster.status(node).map(|s| s.groups[usize::from(group.0)].role)
}

fn automatic() -> GroupPolicy {
    GroupPolicy::default().with_failback(Failback::Automatic)
}

#[test]
fn mutual_backup_survives_the_loss_of_each_node_and_returns() {
    for seed in 0..5 {
        let mut cluster =
            served(seed, [group("mail", 0, automatic()).mirrored(), group("web", 1, automatic()).mirrored()]);
        actors(&cluster, 0, 1);
        for lost in [0, 1] {
            cluster.inject(Fault::PowerLoss(lost, seconds(4)));
            cluster.run_for(seconds(3));
            actors(&cluster, 1 - lost, 1 - lost);
            cluster.run_for(seconds(8));
            actors(&cluster, 0, 1);
        }
        let protection = cluster.status(0).map(|s| s.groups[0].protection);
        assert_eq!(protection, Some(Protection::Full), "{}", cluster.timeline());
    }
}

#[test]
fn a_node_is_emptied_rebooted_and_filled_again_without_a_shot() {
    let policy = || automatic().with_drain(ms(500));
    for seed in 0..5 {
        let mut cluster =
            served(seed, [group("mail", 0, policy()).mirrored(), group("web", 0, policy()).mirrored()]);
        cluster.command(1, Command::Standby { node: NodeId(0), on: true });
        cluster.run_for(seconds(3));
        actors(&cluster, 1, 1);
        cluster.inject(Fault::PowerLoss(0, seconds(3)));
        cluster.run_for(seconds(8));
        actors(&cluster, 1, 1);
        let held = cluster.record(0).map(|r| r.policy.get(PolicyScope::Node(NodeId(0))).standby);
        assert_eq!(held, Some(true), "the order outlives the power loss");
        cluster.command(1, Command::Standby { node: NodeId(0), on: false });
        cluster.run_for(seconds(4));
        actors(&cluster, 0, 0);
        let shots = cluster.probes().count("event", "Shoot");
        assert_eq!(shots, 0, "{}", cluster.timeline());
    }
}

#[test]
fn in_maintenance_services_die_and_nodes_vanish_and_nothing_is_done() {
    for seed in 0..5 {
        let mut cluster = served(seed, [group("mail", 0, automatic()), group("web", 1, automatic())]);
        cluster.command(0, Command::Maintenance { scope: PolicyScope::Cluster, on: true });
        cluster.run_for(seconds(1));
        cluster.inject(Fault::Resource(0, 0, 1, ResourceFault::Dies));
        cluster.run_for(seconds(3));
        actors(&cluster, 0, 1);
        cluster.inject(Fault::PowerLoss(1, seconds(5)));
        cluster.run_for(seconds(9));
        assert!(cluster.broken().is_none(), "{}", cluster.timeline());
        assert_eq!(cluster.actor(WEB), None, "{}", cluster.timeline());
        assert_eq!(cluster.probes().count("event", "Shoot"), 0);
        assert_eq!(cluster.status(0).unwrap().groups[1].question, Some(Question::HeldByPolicy));
        cluster.command(1, Command::Maintenance { scope: PolicyScope::Cluster, on: false });
        cluster.run_for(seconds(6));
        actors(&cluster, 0, 1);
    }
}

#[test]
fn the_outside_is_followed_there_and_the_preferred_node_back() {
    let follow = || automatic().with_outside(Some(OutsidePolicy::new(1, seconds(1))));
    for seed in 0..5 {
        let mut cluster = served(seed, [group("mail", 0, follow()).mirrored(), group("web", 1, follow())]);
        cluster.inject(Fault::NoOutside(0, ms(800)));
        cluster.run_for(seconds(3));
        actors(&cluster, 0, 1);
        cluster.inject(Fault::NoOutside(0, seconds(5)));
        cluster.run_for(seconds(4));
        actors(&cluster, 1, 1);
        cluster.run_for(seconds(5));
        actors(&cluster, 0, 1);
        // Both lose it: nobody gives up anything.
        let before = cluster.probes().count("move", "Outside");
        cluster.inject(Fault::NoOutside(0, seconds(4)));
        cluster.inject(Fault::NoOutside(1, seconds(4)));
        cluster.run_for(seconds(7));
        actors(&cluster, 0, 1);
        assert_eq!(cluster.probes().count("move", "Outside"), before, "{}", cluster.timeline());
    }
}

#[test]
fn a_service_that_fails_everywhere_does_not_wander() {
    let policy = GroupPolicy::default().with_failure_memory(seconds(30)).with_failback(Failback::Automatic);
    for seed in 0..5 {
        let mut cluster = served(seed, [group("mail", 0, policy.clone()), group("web", 1, automatic())]);
        for _ in 0..12 {
            for node in 0..2 {
                cluster.inject(Fault::Resource(node, 0, 1, ResourceFault::StartFails));
            }
        }
        cluster.inject(Fault::Resource(0, 0, 1, ResourceFault::Dies));
        cluster.run_for(seconds(25));
        assert!(cluster.broken().is_none(), "{}", cluster.timeline());
        let grants = cluster.probes().count("proof", "Released");
        assert!(grants <= 2, "{grants} moves\n{}", cluster.timeline());
        assert_eq!(cluster.actor(WEB), Some(1), "the other group is not concerned");
    }
}

#[test]
fn a_follower_is_where_its_lead_is_whatever_happens() {
    let follower = || GroupPolicy::default().with_lead(Some(MAIL));
    for seed in 0..8 {
        let mut cluster =
            served(seed, [group("mail", 0, automatic()).mirrored(), group("web", 1, follower())]);
        actors(&cluster, 0, 0);
        cluster.command(0, Command::Switchover(WEB));
        cluster.run_for(seconds(2));
        cluster.inject(Fault::PowerLoss(1, seconds(3)));
        cluster.run_for(seconds(8));
        actors(&cluster, 0, 0);
        cluster.inject(Fault::KillEngine(0));
        cluster.run_for(seconds(10));
        actors(&cluster, 0, 0);
        for _ in 0..3 {
            cluster.inject(Fault::Resource(0, 1, 1, ResourceFault::StartFails));
        }
        cluster.inject(Fault::Resource(0, 1, 1, ResourceFault::Dies));
        cluster.run_for(seconds(10));
        actors(&cluster, 1, 1);
        assert_eq!(cluster.status(1).unwrap().groups[1].policy.placement, Placement::WithLead);
    }
}

#[test]
fn monitors_that_hang_move_a_service_only_where_that_was_asked() {
    let asks = HealthPolicy::default().with_on_unknown(Reaction::Move).with_unknown_limit(3);
    for (health, actor) in [(HealthPolicy::default(), 0), (asks, 1)] {
        let mut mail = group("mail", 0, GroupPolicy::default());
        mail.resources[1].health = health;
        let mut cluster = served(3, [mail, group("web", 1, automatic())]);
        for _ in 0..6 {
            cluster.inject(Fault::Resource(0, 0, 1, ResourceFault::MonitorHangs));
        }
        cluster.run_for(seconds(8));
        actors(&cluster, actor, 1);
        assert!(cluster.probes().count("cause", "TimedOut") > 0);
    }
}

#[test]
fn a_target_lost_while_the_owner_drains_keeps_the_service_where_it_is() {
    let policy = || GroupPolicy::default().with_drain(seconds(3));
    for seed in 0..5 {
        let mut cluster = served(seed, [group("mail", 0, policy()), group("web", 1, policy())]);
        cluster.inject(Fault::Resource(0, 0, 1, ResourceFault::DrainHangs));
        cluster.command(0, Command::Switchover(MAIL));
        cluster.run_for(seconds(1));
        assert_eq!(role(&cluster, 0, MAIL), Some(RoleName::Active), "{}", cluster.timeline());
        cluster.inject(Fault::PowerLoss(1, seconds(3)));
        cluster.run_for(seconds(2));
        actors(&cluster, 0, 0);
    }
}

#[test]
fn a_switchover_with_drain_ends_in_time_even_if_the_drain_does_not() {
    let policy = || GroupPolicy::default().with_drain(seconds(1));
    let mut cluster = served(1, [group("mail", 0, policy()).mirrored(), group("web", 1, policy())]);
    cluster.inject(Fault::Resource(0, 0, 1, ResourceFault::DrainHangs));
    cluster.command(0, Command::Switchover(MAIL));
    cluster.run_for(seconds(3));
    actors(&cluster, 1, 1);
    assert_eq!(cluster.probes().count("timeout", "Drain"), 1);
}

/// The owner of a mirror has reason to shoot a standby that fell silent, but not in maintenance: it waits for an operator.
#[test]
fn in_a_maintained_cluster_nobody_is_shot_for_a_mirror() {
    for maintained in [true, false] {
        let mut cluster = served(1, [group("mail", 0, automatic()).mirrored(), group("web", 0, automatic())]);
        cluster.command(0, Command::Maintenance { scope: PolicyScope::Cluster, on: maintained });
        cluster.run_for(seconds(1));
        cluster.inject(Fault::Isolate(seconds(30)));
        cluster.run_for(seconds(10));
        assert!(cluster.broken().is_none(), "{}", cluster.timeline());
        assert_eq!(cluster.probes().count("event", "Shoot") == 0, maintained, "{}", cluster.timeline());
        let question = cluster.status(0).map(|s| s.groups[0].question);
        assert_eq!(question == Some(Some(Question::NoExclusionProof)), maintained, "{question:?}");
    }
}

/// How often the group was granted so far.
fn granted(cluster: &Cluster) -> u64 {
    ["Released", "Released{forced}", "NeverStarted"].map(|p| cluster.probes().count("proof", p)).iter().sum()
}

fn fails_to_start(cluster: &mut Cluster, node: usize, times: usize) {
    (0..times).for_each(|_| cluster.inject(Fault::Resource(node, 0, 1, ResourceFault::StartFails)));
}

/// The memory of a failure is that of one life of the engine: the next one tries again, which costs one move more.
#[test]
fn an_engine_that_restarts_has_forgotten_the_failure_and_tries_once_more() {
    let policy = GroupPolicy::default().with_failure_memory(Duration::from_hours(1));
    for seed in 0..5 {
        let mut cluster = served(seed, [group("mail", 0, policy.clone()), group("web", 1, automatic())]);
        let quarantined =
            |c: &Cluster, node: usize| c.status(node).unwrap().groups[0].policy.quarantine.is_some();
        fails_to_start(&mut cluster, 0, 6);
        cluster.inject(Fault::Resource(0, 0, 1, ResourceFault::Dies));
        cluster.run_for(seconds(8));
        actors(&cluster, 1, 1);
        assert!(quarantined(&cluster, 0), "{}", cluster.timeline());
        cluster.run_for(seconds(60));
        assert!(quarantined(&cluster, 0), "an hour is not over");
        cluster.inject(Fault::KillEngine(0));
        cluster.run_for(seconds(8));
        assert!(!quarantined(&cluster, 0), "{}", cluster.timeline());
        assert!(cluster.status(0).unwrap().groups[0].viable, "it is a target again");
        let before = granted(&cluster);
        // It fails on both from now on: there once, and then it is asked about and wanders no more.
        for node in [0, 1] {
            fails_to_start(&mut cluster, node, 30);
        }
        cluster.inject(Fault::Resource(1, 0, 1, ResourceFault::Dies));
        cluster.run_for(seconds(40));
        assert!(cluster.broken().is_none(), "{}", cluster.timeline());
        let moves = granted(&cluster) - before;
        assert!((1..=2).contains(&moves), "{moves} moves\n{}", cluster.timeline());
        let asked =
            (0..2).any(|n| cluster.status(n).unwrap().groups[0].question == Some(Question::FailedEverywhere));
        assert!(asked, "{}", cluster.timeline());
    }
}

/// What ends its engine with each try is outside of that memory: no life learns of the one before. It is tried on one node
/// and the other in turn, each time after a release by the guardian, and serves as soon as it can.
#[test]
fn a_service_that_ends_its_engine_at_each_start_is_tried_in_turn_until_it_works() {
    let mut cluster = served(1, [group("mail", 0, GroupPolicy::default()), group("web", 1, automatic())]);
    for node in [0, 1] {
        fails_to_start(&mut cluster, node, 4);
        (0..4).for_each(|_| cluster.inject(Fault::Resource(node, 0, 1, ResourceFault::StopHangs)));
    }
    cluster.inject(Fault::Resource(0, 0, 1, ResourceFault::Dies));
    cluster.run_for(seconds(60));
    let ends = cluster.probes().count("end", "StopOverrun");
    assert!(ends >= 2, "{ends}\n{}", cluster.timeline());
    assert_eq!(cluster.probes().count("event", "Shoot"), 0, "the guardian releases: {}", cluster.timeline());
    assert!(cluster.broken().is_none() && cluster.actor(MAIL).is_some(), "{}", cluster.timeline());
    assert_eq!(cluster.probes().count("question", "FailedEverywhere"), 0, "nobody is asked");
}

/// Seeds whose groups have policies, with operators who use them: every invariant, as in the batch.
#[test]
fn a_hundred_seeds_with_policies_hold_every_invariant() {
    let number = |name: &str, or: u64| std::env::var(name).ok().and_then(|n| n.parse().ok()).unwrap_or(or);
    let (from, wanted) = (number("HA_SIM_FROM", 5_000_000), number("HA_SIM_POLICIES", 100));
    let seasoned = |seed: &u64| {
        let scenario = Scenario::from_seed(*seed);
        scenario.configs[0].groups.iter().any(|g| g.policy != GroupPolicy::default())
    };
    let mut moves = 0;
    for seed in (from..).filter(seasoned).take(usize::try_from(wanted).unwrap()) {
        let options = Options { replay: seed.is_multiple_of(8), ..Options::default() };
        let report = ha_core::sim::run(seed, &options);
        let failure = report.failure.map(|f| f.to_string());
        assert!(failure.is_none(), "{}", failure.unwrap_or_default());
        moves += ["Standby", "Outside", "Failback", "Together"]
            .map(|m| report.probes.count("move", m))
            .iter()
            .sum::<u64>();
    }
    assert!(moves > wanted, "only {moves} moves by policy");
}
