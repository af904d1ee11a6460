//! Every invariant is asked for where it can break: a sound world is spoiled by hand, and the check at that place fires.
//!
//! That each function fires is shown beside it (`invariant/`); here, that it is called and that what it says is kept.

use super::invariant::{Acknowledged, Invariant};
use super::mirror::Rec;
use super::*;
use crate::config::{
    ArbiterConfig, ArbiterKind, Config, FenceConfig, GroupConfig, LinkConfig, ResourceConfig,
};
use crate::engine::{Permission, RoleName};
use crate::{Epoch, GroupId, Instant, NodeId};

const GROUP: GroupId = GroupId(0);

fn config() -> Config {
    let group = GroupConfig::new("mail")
        .preferring(NodeId(0))
        .then(ResourceConfig::new("address"))
        .then(ResourceConfig::new("service"))
        .mirrored();
    Config::pair("wiring", "a", "b")
        .link(LinkConfig::datagram("net0", Duration::from_millis(50), Duration::from_millis(300)))
        .fence(FenceConfig::new(Duration::from_millis(200)))
        .group(group)
}

/// Node 0 serves, fully protected, in epoch 1.
fn served(scenario: Scenario, options: Options) -> Cluster {
    let mut cluster = Cluster::new(scenario, options);
    cluster.run_for(Duration::from_secs(6));
    assert_eq!((cluster.broken(), cluster.actor(GROUP)), (None, Some(0)), "{}", cluster.timeline());
    cluster
}

fn world() -> Cluster {
    served(Scenario::quiet(1, config()), Options::default())
}

#[track_caller]
fn fires(cluster: &Cluster, invariant: Invariant) {
    let found = cluster.broken().map(|b| b.invariant);
    assert_eq!(found, Some(invariant), "{:?}", cluster.broken());
}

fn valid(epoch: u64) -> Permission {
    Permission::Valid { epoch: Epoch(epoch), until: Instant::FAR }
}

fn process(cluster: &mut Cluster, node: usize) -> &mut node::Process {
    cluster.nodes[node].process.as_mut().unwrap()
}

#[test]
fn i1_at_every_permission() {
    let mut cluster = world();
    cluster.set_token(1, 0, valid(2));
    fires(&cluster, Invariant::I1);
}

#[test]
fn i2_at_every_grant_and_every_write() {
    let mut cluster = world();
    cluster.granted(1, GROUP, Epoch(1));
    fires(&cluster, Invariant::I2);
    let mut cluster = world();
    cluster.check_write(0, 0, Epoch(0));
    fires(&cluster, Invariant::I2);
}

/// A message that its client was told of and that no copy has.
fn told(cluster: &mut Cluster) {
    let lost = Acknowledged { index: 9999, epoch: Epoch(1), message: 123_456, forgiven: false };
    cluster.mirrors[0].as_mut().unwrap().acknowledged.push(lost);
}

#[test]
fn i3_where_a_copy_serves_where_a_tail_is_given_up_and_in_both_stores_together() {
    let mut cluster = world();
    told(&mut cluster);
    cluster.check_data(0, 0);
    fires(&cluster, Invariant::I3);
    let mut cluster = world();
    told(&mut cluster);
    cluster.check_tail(0, 1, &[Rec { epoch: Epoch(1), message: 123_456, alone: false }]);
    fires(&cluster, Invariant::I3);
    let mut cluster = world();
    told(&mut cluster);
    cluster.finish();
    fires(&cluster, Invariant::I3);
}

/// The same as the world finds it by itself: the promotion of a copy without it.
#[test]
fn i3_at_a_promotion() {
    let mut cluster = world();
    told(&mut cluster);
    cluster.inject(Fault::Switchover(0));
    cluster.run_for(Duration::from_secs(3));
    fires(&cluster, Invariant::I3);
}

#[test]
fn i4_where_a_group_is_given_up() {
    let mut cluster = world();
    cluster.check_nothing_left(0, 0, "says that it released");
    fires(&cluster, Invariant::I4);
    // Only the data is left.
    let mut cluster = world();
    cluster.nodes[0].running[0].iter_mut().for_each(|r| r.there = false);
    cluster.check_nothing_left(0, 0, "says that it released");
    fires(&cluster, Invariant::I4);
}

#[test]
fn i4_at_a_release_as_the_world_sees_it() {
    let mut cluster = world();
    cluster.inject(Fault::Switchover(0));
    let released =
        cluster.run_until(Duration::from_secs(3), |c| c.nodes[0].running[0].iter().all(|r| !r.there));
    assert!(released);
    cluster.nodes[0].running[0][1].there = true;
    cluster.run_for(Duration::from_secs(1));
    fires(&cluster, Invariant::I4);
}

#[test]
fn i5_and_i10_at_the_end_of_the_recovery() {
    for (total, invariant) in [(false, Invariant::I5), (true, Invariant::I10)] {
        let mut scenario = Scenario::quiet(1, config());
        scenario.heal_at = Some(Duration::from_secs(7));
        scenario.recovery = Duration::from_secs(1);
        let mut cluster = served(scenario, Options::default());
        cluster.total_loss = total;
        cluster.run_for(Duration::from_millis(1500));
        // Nobody serves at the instant of the check, and nobody asks.
        for node in 0..2 {
            cluster.nodes[node].process = None;
        }
        cluster.run_for(Duration::from_secs(1));
        cluster.finish();
        fires(&cluster, invariant);
    }
}

#[test]
fn i5_at_a_release_towards_nobody() {
    let mut cluster = world();
    cluster.nodes[1].process = None;
    cluster.check_successor(0, GROUP);
    fires(&cluster, Invariant::I5);
}

#[test]
fn i6_at_the_end_of_every_life_and_of_the_run() {
    let replayed = Options { replay: true, ..Options::default() };
    for ends in [false, true] {
        let mut cluster = served(Scenario::quiet(1, config()), replayed.clone());
        let now = cluster.local(0);
        let recording = process(&mut cluster, 0).recording.as_mut().unwrap();
        recording.input(now, &crate::engine::Input::Tick);
        recording.action(&crate::engine::Action::Cancel { op: crate::OpId(999) });
        recording.finish();
        if ends {
            cluster.finish();
        } else {
            cluster.inject(Fault::KillEngine(0));
        }
        fires(&cluster, Invariant::I6);
    }
}

#[test]
fn i7_at_every_step() {
    let mut cluster = world();
    let now = cluster.now;
    process(&mut cluster, 0).rate.add(0, now, 3000).unwrap();
    cluster.run_for(Duration::from_millis(200));
    fires(&cluster, Invariant::I7);
}

#[test]
fn i8_at_every_permission() {
    let mut cluster = world();
    // What an earlier life of node 1 left behind answers.
    cluster.nodes[1].running[0][0].there = true;
    cluster.nodes[1].running[0][0].serves = true;
    cluster.nodes[1].process = None;
    cluster.set_token(0, 0, valid(1));
    fires(&cluster, Invariant::I8);
}

#[test]
fn i9_and_i12_at_every_shot() {
    let mut scenario = Scenario::quiet(1, config());
    scenario.mismatched = true;
    let mut cluster = served(scenario, Options::default());
    // Of a peer that does not run only the timing speaks against the shot.
    cluster.nodes[1].process = None;
    process(&mut cluster, 0).knows_timing = true;
    cluster.check_shot(0);
    fires(&cluster, Invariant::I9);
    let mut cluster = world();
    cluster.check_shot(0);
    fires(&cluster, Invariant::I12);
    // Not heard for long, but within reach.
    let mut cluster = world();
    let long_ago = cluster.now - 5 * cluster::SECOND;
    process(&mut cluster, 0).echoed.iter_mut().for_each(|at| *at = long_ago);
    cluster.check_shot(0);
    fires(&cluster, Invariant::I12);
}

#[test]
fn i11_where_a_shot_has_its_effect() {
    let mut cluster = world();
    let ordered = cluster.now;
    cluster.shot_hits(0, ordered, None);
    assert_eq!(cluster.broken(), None);
    cluster.shot_hits(1, ordered, None);
    fires(&cluster, Invariant::I11);
}

#[test]
fn i12_at_every_link_that_is_called_up() {
    let mut cluster = world();
    process(&mut cluster, 0).ever_echoed[0] = false;
    cluster.check_link(0, 0);
    fires(&cluster, Invariant::I12);
}

#[test]
fn detached_at_every_undo() {
    let mut cluster = world();
    cluster.nodes[0].kept[0] = Some(Epoch(1));
    cluster.check_left_alone(0);
    fires(&cluster, Invariant::Detached);
}

#[test]
fn rule_13_at_every_suspension() {
    let lease =
        ArbiterConfig::new(ArbiterKind::ThirdParty, Duration::from_secs(1)).with_trusts_host_pauses(true);
    let mut cluster = served(Scenario::quiet(1, config().arbiter(lease)), Options::default());
    assert_eq!(process(&mut cluster, 1).roles[0], RoleName::Standby);
    cluster.check_absence(0, GROUP);
    fires(&cluster, Invariant::Rule13);
}

/// An excused world is not judged, and the first that broke is kept.
#[test]
fn what_rests_on_a_lie_is_excused_and_the_first_break_is_kept() {
    let mut cluster = world();
    cluster.tainted[0] = true;
    cluster.set_token(1, 0, valid(2));
    assert_eq!(cluster.broken(), None);
    cluster.tainted[0] = false;
    cluster.check_write(0, 0, Epoch(0));
    cluster.granted(1, GROUP, Epoch(0));
    cluster.set_token(1, 0, valid(2));
    fires(&cluster, Invariant::I2);
}
