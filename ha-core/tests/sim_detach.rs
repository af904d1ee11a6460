//! The engine is exchanged while its services run on: orderly, with a crash at every step, and with what the peer,
//! its disk and the power do meanwhile.
#![allow(clippy::unwrap_used, reason = "tests")]

use ha_core::config::{
    ACCEPT_SPLIT_BRAIN, Config, FenceConfig, GroupConfig, LinkConfig, ResourceConfig, TimingConfig,
};
use ha_core::engine::{Command, Question, RoleName, Sabotage};
use ha_core::sim::invariant::Invariant;
use ha_core::sim::{Cluster, Fault, Options, Report, ResourceFault, Scenario, run_scenario};
use ha_core::{GroupId, NodeId, PolicyScope};
use std::time::Duration;

const MAIL: GroupId = GroupId(0);
const AWAY: Duration = Duration::from_millis(800);

const fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

const fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

fn group() -> GroupConfig {
    let resource = |name: &str| ResourceConfig::new(name).with_monitor_interval(ms(500)).outliving_engine();
    GroupConfig::new("mail").then(resource("address")).then(resource("service"))
}

fn config() -> Config {
    let timing = TimingConfig::default()
        .with_token_validity(ms(120))
        .with_feed_limit(ms(700))
        .with_ask_deadline(ms(400))
        .with_confirm_deadline(ms(400));
    Config::pair("detach", "a", "b")
        .link(LinkConfig::datagram("net0", ms(50), ms(300)))
        .link(LinkConfig::serial("tty", ms(100), ms(500), 115_200))
        .fence(FenceConfig::new(ms(200)))
        .timing(timing)
        .group(group())
}

/// Node 0 serves, in maintenance that both nodes know durably.
fn maintained(seed: u64, config: Config, scope: PolicyScope, sabotage: Option<Sabotage>) -> Cluster {
    config.clone().check().unwrap();
    let options = Options { sabotage, ..Options::default() };
    let mut cluster = Cluster::new(Scenario::quiet(seed, config), options);
    cluster.run_for(seconds(4));
    assert_eq!(cluster.actor(MAIL), Some(0), "{}", cluster.timeline());
    cluster.command(0, Command::Maintenance { scope, on: true });
    cluster.run_for(ms(500));
    cluster
}

const NODE_A: PolicyScope = PolicyScope::Node(NodeId(0));

/// The same, with node 0's engine away for `away` from now on.
fn detached(seed: u64, config: Config, away: Duration, sabotage: Option<Sabotage>) -> Cluster {
    let mut cluster = maintained(seed, config, NODE_A, sabotage);
    cluster.stay_away(0, away);
    cluster.command(0, Command::Detach);
    let mut waited = 0;
    while cluster.status(0).is_some() {
        cluster.run_for(ms(5));
        waited += 5;
        assert!(waited < 500, "{}", cluster.timeline());
    }
    cluster
}

#[track_caller]
fn sound(cluster: &Cluster) {
    assert!(cluster.broken().is_none(), "{:?}\n{}", cluster.broken(), cluster.timeline());
}

#[track_caller]
fn serves(cluster: &Cluster, node: usize) {
    sound(cluster);
    let role = cluster.status(node).map(|s| s.groups[0].role);
    assert_eq!((role, cluster.actor(MAIL)), (Some(RoleName::Active), Some(node)), "{}", cluster.timeline());
    assert!(cluster.runs(node, MAIL), "{}", cluster.timeline());
}

fn end_maintenance(cluster: &mut Cluster, by: usize) {
    cluster.command(by, Command::Maintenance { scope: NODE_A, on: false });
}

fn question(cluster: &Cluster, node: usize) -> Option<Question> {
    cluster.status(node).and_then(|s| s.groups[0].question)
}

#[test]
fn an_engine_is_exchanged_and_no_resource_sees_a_start_or_a_stop() {
    for seed in 0..10 {
        for scope in [NODE_A, PolicyScope::Cluster, PolicyScope::Group(MAIL)] {
            let mut cluster = maintained(seed, config(), scope, None);
            let before = (cluster.touched(0, MAIL), cluster.status(0).unwrap());
            cluster.stay_away(0, AWAY);
            cluster.command(0, Command::Detach);
            cluster.run_for(ms(500));
            assert!(cluster.status(0).is_none() && cluster.runs(0, MAIL), "{}", cluster.timeline());
            assert_eq!(cluster.actor(MAIL), Some(0), "services without an engine act");
            cluster.run_for(seconds(3));
            serves(&cluster, 0);
            let after = (cluster.touched(0, MAIL), cluster.status(0).unwrap());
            assert_eq!(before.0, after.0, "{}", cluster.timeline());
            assert!(before.1.incarnation != after.1.incarnation);
            assert!(before.1.groups[0].epoch < after.1.groups[0].epoch, "a grant of its own");
            assert_eq!(cluster.probes().count("detach", "Adopted"), 1);
            for node in [0, 1] {
                let record = cluster.record(node).unwrap().group(MAIL);
                assert_eq!((record.detached, record.spares), (None, None), "{}", cluster.timeline());
            }
            // What was taken over is an ordinary owner's: it moves, and it comes back.
            cluster.command(1, Command::Maintenance { scope, on: false });
            cluster.run_for(seconds(1));
            cluster.command(0, Command::Switchover(MAIL));
            cluster.run_for(seconds(2));
            serves(&cluster, 1);
            assert_eq!(cluster.probes().count("event", "Shoot"), 0);
        }
    }
}

#[test]
fn an_exchanged_engine_is_exchanged_again_and_then_lost() {
    for seed in 0..5 {
        let mut cluster = detached(seed, config(), AWAY, None);
        cluster.run_for(seconds(3));
        cluster.command(0, Command::Detach);
        cluster.run_for(seconds(4));
        serves(&cluster, 0);
        assert_eq!(cluster.probes().count("detach", "Adopted"), 2, "{}", cluster.timeline());
        end_maintenance(&mut cluster, 0);
        cluster.run_for(seconds(1));
        cluster.inject(Fault::PowerLoss(0, seconds(30)));
        cluster.run_for(seconds(3));
        serves(&cluster, 1);
    }
}

#[test]
fn without_its_conditions_it_is_refused_with_the_reason_and_nothing_ends() {
    let reason = |cluster: &Cluster, why: &str| {
        assert_eq!(cluster.probes().count("refusal", why), 1, "{why}\n{}", cluster.timeline());
    };
    let mut cluster = maintained(1, config(), NODE_A, None);
    cluster.command(1, Command::Detach);
    cluster.run_for(seconds(1));
    reason(&cluster, "NotOwner");
    end_maintenance(&mut cluster, 0);
    cluster.run_for(ms(100));
    cluster.command(0, Command::Detach);
    cluster.run_for(seconds(1));
    reason(&cluster, "NotMaintained");
    serves(&cluster, 0);

    let ends = GroupConfig::new("web").then(ResourceConfig::new("address"));
    let mut cluster = maintained(2, config().group(ends.clone()), NODE_A, None);
    cluster.command(0, Command::Detach);
    cluster.run_for(seconds(1));
    reason(&cluster, "NotDetachable");
    serves(&cluster, 0);
    let mut cluster = maintained(3, config().group(ends.preferring(NodeId(1)).mirrored()), NODE_A, None);
    cluster.command(0, Command::Detach);
    cluster.run_for(seconds(1));
    reason(&cluster, "NotDetachable");

    // The peer hears the question and cannot answer: its record does not become durable.
    let mut cluster = maintained(4, config(), NODE_A, None);
    cluster.inject(Fault::DiskStalls(1, seconds(1)));
    cluster.command(0, Command::Detach);
    cluster.run_for(seconds(1));
    reason(&cluster, "NotPromised");
    cluster.run_for(seconds(3));
    serves(&cluster, 0);
    // The promise that came too late is taken back.
    assert_eq!(cluster.record(1).unwrap().group(MAIL).spares, None, "{}", cluster.timeline());
}

#[test]
fn a_node_whose_peer_was_fenced_leaves_and_comes_back_by_itself() {
    for seed in 0..5 {
        let mut cluster = Cluster::new(Scenario::quiet(seed, config()), Options::default());
        cluster.run_for(seconds(4));
        // The power of the standby fails: without a mirror nobody asks for its end, an operator says it.
        cluster.inject(Fault::PowerLoss(1, seconds(3600)));
        cluster.run_for(seconds(1));
        cluster.command(0, Command::Maintenance { scope: NODE_A, on: true });
        cluster.run_for(ms(300));
        cluster.command(0, Command::Detach);
        cluster.run_for(seconds(1));
        serves(&cluster, 0);
        assert_eq!(cluster.probes().count("refusal", "NotPromised"), 1, "dead, and nothing proves it");
    }
}

#[test]
fn the_peer_is_lost_meanwhile_and_what_runs_proves_that_nobody_took_over() {
    for seed in 0..10 {
        let mut cluster = detached(seed, config(), AWAY, None);
        let before = cluster.touched(0, MAIL);
        cluster.inject(Fault::PowerLoss(1, seconds(6)));
        cluster.run_for(seconds(4));
        serves(&cluster, 0);
        assert_eq!(cluster.touched(0, MAIL), before);
        cluster.run_for(seconds(6));
        serves(&cluster, 0);
        assert_eq!(cluster.record(1).unwrap().group(MAIL).spares, None, "{}", cluster.timeline());
    }
}

#[test]
fn a_promise_outlives_the_peers_restart() {
    for seed in 0..10 {
        for fault in [Fault::KillEngine(1), Fault::PowerLoss(1, ms(500)), Fault::KillTree(1, ms(500))] {
            let mut cluster = detached(seed, config(), seconds(5), None);
            let before = cluster.touched(0, MAIL);
            cluster.inject(fault);
            cluster.run_for(seconds(4));
            assert!(cluster.status(1).is_some() && cluster.status(0).is_none());
            assert!(cluster.record(1).unwrap().group(MAIL).spares.is_some());
            cluster.run_for(seconds(4));
            serves(&cluster, 0);
            assert_eq!(cluster.touched(0, MAIL), before, "{}", cluster.timeline());
        }
    }
}

#[test]
fn a_peer_whose_disk_was_replaced_claims_nothing_and_promises_anew() {
    for seed in 0..10 {
        let mut cluster = detached(seed, config(), seconds(5), None);
        let before = cluster.touched(0, MAIL);
        cluster.inject(Fault::ReplaceDisk(1, ms(500)));
        cluster.run_for(seconds(9));
        serves(&cluster, 0);
        assert_eq!(cluster.touched(0, MAIL), before, "{}", cluster.timeline());
    }
}

#[test]
fn a_detached_node_that_loses_its_power_is_followed_and_boots_as_ever() {
    for seed in 0..10 {
        let mut cluster = detached(seed, config(), seconds(60), None);
        cluster.inject(Fault::PowerLoss(0, seconds(5)));
        cluster.run_for(seconds(3));
        serves(&cluster, 1);
        cluster.run_for(seconds(6));
        serves(&cluster, 1);
        assert_eq!(cluster.record(0).unwrap().group(MAIL).detached, None, "another boot: void");
        assert_eq!(cluster.probes().count("detach", "Found"), 0);
    }
}

#[test]
fn a_detached_node_is_not_shot_until_an_operator_ends_the_maintenance() {
    for seed in 0..10 {
        let mut cluster = detached(seed, config(), seconds(60), None);
        cluster.run_for(seconds(5));
        assert_eq!((question(&cluster, 1), cluster.actor(MAIL)), (None, Some(0)));
        cluster.run_for(seconds(10));
        assert_eq!(question(&cluster, 1), Some(Question::NoStopProof), "{}", cluster.timeline());
        assert_eq!(cluster.probes().count("event", "Shoot"), 0);
        end_maintenance(&mut cluster, 1);
        cluster.run_for(seconds(8));
        assert!(cluster.probes().count("event", "Shoot") >= 1, "{}", cluster.timeline());
        serves(&cluster, 1);
    }
}

#[test]
fn a_configured_bound_lets_the_peer_shoot_although_everything_is_maintained() {
    for scope in [NODE_A, PolicyScope::Cluster, PolicyScope::Group(MAIL)] {
        let mut config = config();
        config.timing = config.timing.with_detached_limit(seconds(3));
        let mut cluster = maintained(1, config, scope, None);
        cluster.stay_away(0, seconds(60));
        cluster.command(0, Command::Detach);
        cluster.run_for(ms(2800));
        assert_eq!((cluster.actor(MAIL), cluster.probes().count("event", "Shoot")), (Some(0), 0));
        cluster.run_for(seconds(4));
        assert_eq!(cluster.probes().count("event", "Shoot"), 1, "{}", cluster.timeline());
        serves(&cluster, 1);
    }
}

/// A departed peer promises nothing, boots without knowing anything, and starts nothing.
#[test]
fn a_node_whose_peer_departed_leaves_and_returns_with_a_peer_that_knows_nothing() {
    for seed in 0..10 {
        let mut cluster = maintained(seed, config(), NODE_A, None);
        let before = cluster.touched(0, MAIL);
        cluster.inject(Fault::Shutdown(1, seconds(0)));
        cluster.run_for(ms(900));
        assert!(cluster.status(1).is_none());
        cluster.stay_away(0, seconds(8));
        cluster.command(0, Command::Detach);
        cluster.run_for(seconds(1));
        assert!(cluster.status(0).is_none() && cluster.runs(0, MAIL), "{}", cluster.timeline());
        cluster.run_for(seconds(6));
        assert_eq!(question(&cluster, 1), Some(Question::PeerAbsent), "{}", cluster.timeline());
        cluster.run_for(seconds(5));
        serves(&cluster, 0);
        assert_eq!(cluster.touched(0, MAIL), before, "{}", cluster.timeline());
    }
}

#[test]
fn who_is_told_to_leave_while_it_takes_over_leaves_nothing_running() {
    for after in [0, 20, 60, 120, 200, 300, 500, 900] {
        let mut cluster = detached(1, config(), ms(50), None);
        cluster.run_for(ms(50 + after));
        if cluster.status(0).is_none() {
            cluster.run_for(ms(100));
        }
        cluster.command(0, Command::Shutdown);
        cluster.run_for(ms(1400));
        sound(&cluster);
        assert!(!cluster.runs(0, MAIL), "{}", cluster.timeline());
    }
}

#[test]
fn what_is_found_stopped_is_stopped_and_started_under_the_new_grant() {
    for seed in 0..10 {
        let mut cluster = detached(seed, config(), AWAY, None);
        let before = cluster.touched(0, MAIL);
        cluster.inject(Fault::Resource(0, 0, 1, ResourceFault::Dies));
        cluster.run_for(seconds(4));
        serves(&cluster, 0);
        let after = cluster.touched(0, MAIL);
        assert_eq!(after, (before.0 + 2, before.1 + 2), "both, once: {}", cluster.timeline());
    }
}

#[test]
fn what_is_found_stopped_while_nobody_can_say_who_owns_it_is_not_started() {
    for seed in 0..5 {
        let mut cluster = detached(seed, config(), AWAY, None);
        cluster.inject(Fault::PowerLoss(1, seconds(8)));
        cluster.inject(Fault::Resource(0, 0, 1, ResourceFault::Dies));
        cluster.run_for(seconds(5));
        sound(&cluster);
        assert!(question(&cluster, 0).is_some() && !cluster.runs(0, MAIL), "{}", cluster.timeline());
        cluster.run_for(seconds(6));
        end_maintenance(&mut cluster, 0);
        cluster.run_for(seconds(4));
        sound(&cluster);
        assert!(cluster.actor(MAIL).is_some(), "{}", cluster.timeline());
    }
}

/// A crash at each 5 ms from the order to the end of the return, of every kind.
#[test]
fn a_crash_at_every_step_leaves_one_owner_or_a_question() {
    let faults: [fn() -> Vec<Fault>; 9] = [
        || vec![Fault::KillEngine(0)],
        || vec![Fault::KillGuardian(0)],
        || vec![Fault::KillTree(0, ms(400))],
        || vec![Fault::PowerLoss(0, ms(900))],
        || vec![Fault::KillEngine(1)],
        || vec![Fault::PowerLoss(1, ms(900))],
        || vec![Fault::Isolate(ms(700))],
        || vec![Fault::UndoFails(0), Fault::KillEngine(0)],
        || vec![Fault::TotalPowerLoss(ms(700), ms(1100))],
    ];
    for (k, fault) in faults.iter().enumerate() {
        for step in 0..80u64 {
            let mut cluster = maintained(100 + step % 7, config(), NODE_A, None);
            cluster.stay_away(0, ms(120));
            cluster.command(0, Command::Detach);
            cluster.run_for(ms(step * 5));
            for fault in fault() {
                cluster.inject(fault);
            }
            cluster.run_for(seconds(6));
            sound(&cluster);
            end_maintenance(&mut cluster, 0);
            end_maintenance(&mut cluster, 1);
            cluster.run_for(seconds(8));
            sound(&cluster);
            let asked = (0..2).any(|n| question(&cluster, n).is_some());
            let served = cluster.actor(MAIL).is_some();
            assert!(served || asked, "fault {k} after {} ms\n{}", step * 5, cluster.timeline());
            // An undo that fails leaves something that nobody may ignore; everything else heals by itself.
            assert!(served || k == 7, "fault {k} after {} ms\n{}", step * 5, cluster.timeline());
        }
    }
}

fn unguarded() -> Config {
    let mut config = config();
    config.fence = None;
    config.unguarded = Some(ACCEPT_SPLIT_BRAIN.into());
    config
}

#[test]
fn a_peer_that_may_assume_a_death_keeps_its_promise_and_one_that_forgets_it_is_caught() {
    let mut cluster = detached(1, unguarded(), seconds(4), None);
    let before = cluster.touched(0, MAIL);
    cluster.run_for(seconds(8));
    serves(&cluster, 0);
    assert_eq!(cluster.touched(0, MAIL), before);
    let mut cluster = detached(1, unguarded(), seconds(4), Some(Sabotage::ForgetPromise));
    cluster.run_for(seconds(8));
    assert_eq!(cluster.broken().map(|b| b.invariant), Some(Invariant::I1), "{}", cluster.timeline());
}

#[test]
fn an_undo_of_what_was_left_running_is_caught() {
    let mut cluster = maintained(1, config(), NODE_A, Some(Sabotage::UndoDetached));
    cluster.command(0, Command::Detach);
    cluster.run_for(seconds(3));
    assert_eq!(cluster.broken().map(|b| b.invariant), Some(Invariant::Detached), "{}", cluster.timeline());
}

fn batch(seeds: std::ops::Range<u64>) -> Vec<Report> {
    let options = Options { replay: true, ..Options::default() };
    seeds.map(|seed| run_scenario(Scenario::detaching(seed), &options)).collect()
}

#[test]
fn engines_are_exchanged_among_all_other_faults() {
    let mut total = ha_core::sim::Probes::default();
    for report in batch(0..150) {
        assert!(report.failure.is_none(), "seed {}: {}", report.seed, report.failure.unwrap());
        total.absorb(&report.probes);
    }
    for step in ["Left", "Adopted", "Restarted", "Found", "Broken", "Withdrawn", "Promised"] {
        assert!(total.count("detach", step) >= 3, "{step} was hardly reached\n{total}");
    }
}

/// `HA_SIM_SEEDS=100000 cargo test --release -p ha-core --test sim_detach long -- --ignored`
#[test]
#[ignore = "needs minutes"]
fn long_batch_of_exchanged_engines() {
    let seeds = std::env::var("HA_SIM_SEEDS").ok().and_then(|s| s.parse().ok()).unwrap_or(3000);
    for report in batch(1000..1000 + seeds) {
        assert!(report.failure.is_none(), "seed {}: {}", report.seed, report.failure.unwrap());
    }
}
