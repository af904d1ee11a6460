//! A pair to break, and what is asked of it afterwards.

use ha_core::config::{Config, FenceConfig, GroupConfig, LinkConfig, ResourceConfig, TimingConfig};
use ha_core::engine::{Command, EventKind, GroupStatus, Protection, Question, RoleName};
use ha_core::sim::{Cluster, Fault, Options, Scenario, What};
use ha_core::{ExclusionProof, GroupId, NodeId, StopProof};
use std::time::Duration;

pub const MAIL: GroupId = GroupId(0);
pub const WEB: GroupId = GroupId(1);

pub const fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

pub const fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// An operator looks at the question of the mail group and answers "use this copy".
pub fn use_this_copy(cluster: &mut Cluster, node: usize) {
    let incarnation = cluster.status(node).and_then(|s| s.peer.incarnation);
    cluster.command(node, Command::ForceCurrent { group: MAIL, incarnation });
}

/// An address and a service.
pub fn group(name: &str, node: u8) -> GroupConfig {
    let mut group = GroupConfig::new(name)
        .preferring(NodeId(node))
        .then(ResourceConfig::new("address"))
        .then(ResourceConfig::new("service"));
    for resource in &mut group.resources {
        resource.start_timeout = ms(800);
        resource.stop_timeout = ms(300);
    }
    group
}

/// Two networks and a serial line, without groups.
fn links() -> Config {
    Config::pair("list", "a", "b")
        .link(LinkConfig::datagram("net0", ms(50), ms(250)))
        .link(LinkConfig::datagram("net1", ms(50), ms(250)))
        .link(LinkConfig::serial("tty", ms(100), ms(500), 115_200))
}

fn timed(mut config: Config) -> Config {
    config.timing = TimingConfig::for_links(&config.links, config.fence.as_ref());
    config.timing.question_interval = seconds(2);
    config
}

/// The pair of most scenarios: a mirrored mail group, two networks, a serial line, a fence device.
pub fn pair() -> Config {
    timed(links().fence(FenceConfig::new(ms(200))).group(group("mail", 0).mirrored()))
}

/// The same without data of its own.
pub fn plain() -> Config {
    timed(links().fence(FenceConfig::new(ms(200))).group(group("mail", 0)))
}

/// The same as [`pair`] without a fence device.
pub fn unfenced() -> Config {
    timed(links().group(group("mail", 0).mirrored()))
}

/// Two groups that back each other up, each with a mirror.
pub fn mutual() -> Config {
    let groups = links().group(group("mail", 0).mirrored()).group(group("web", 1).mirrored());
    timed(groups.fence(FenceConfig::new(ms(200))))
}

/// A world that has just begun.
pub fn fresh(seed: u64, config: Config) -> Cluster {
    Cluster::new(Scenario::quiet(seed, config), Options::default())
}

/// A world four seconds later: node 0 serves mail, fully protected where it is mirrored.
pub fn served(config: Config) -> Cluster {
    served_with(1, config)
}

pub fn served_with(seed: u64, config: Config) -> Cluster {
    let mirrored = config.groups[0].mirrored;
    let mut cluster = fresh(seed, config);
    cluster.run_for(seconds(4));
    owns(&cluster, 0, MAIL);
    if mirrored {
        protected(&cluster, 0, MAIL, Protection::Full);
    }
    cluster
}

/// Injects and lets `span` pass.
pub fn after(cluster: &mut Cluster, faults: &[Fault], span: Duration) {
    faults.iter().for_each(|f| cluster.inject(*f));
    cluster.run_for(span);
    sound(cluster);
}

pub fn sound(cluster: &Cluster) {
    assert!(cluster.broken().is_none(), "{:?}\n{}", cluster.broken(), cluster.timeline());
}

pub fn status(cluster: &Cluster, node: usize, group: GroupId) -> Option<GroupStatus> {
    cluster.status(node).and_then(|s| s.groups.into_iter().find(|g| g.group == group))
}

pub fn role(cluster: &Cluster, node: usize, group: GroupId) -> Option<RoleName> {
    status(cluster, node, group).map(|g| g.role)
}

/// The node serves the group, acts with its permission, and the other one does not.
#[track_caller]
pub fn owns(cluster: &Cluster, node: usize, group: GroupId) {
    sound(cluster);
    assert_eq!(role(cluster, node, group), Some(RoleName::Active), "node {node}\n{}", cluster.timeline());
    assert_eq!(cluster.actor(group), Some(node), "{}", cluster.timeline());
    assert_ne!(role(cluster, 1 - node, group), Some(RoleName::Active), "{}", cluster.timeline());
}

#[track_caller]
pub fn protected(cluster: &Cluster, node: usize, group: GroupId, how: Protection) {
    let found = status(cluster, node, group).map(|g| g.protection);
    assert_eq!(found, Some(how), "{}", cluster.timeline());
}

/// Served by `node`, with both copies.
#[track_caller]
pub fn whole(cluster: &Cluster, node: usize, group: GroupId) {
    owns(cluster, node, group);
    protected(cluster, node, group, Protection::Full);
}

/// Nobody serves the group.
#[track_caller]
pub fn nobody(cluster: &Cluster, group: GroupId) {
    sound(cluster);
    assert_eq!(cluster.actor(group), None, "{}", cluster.timeline());
}

#[track_caller]
pub fn asks(cluster: &Cluster, node: usize, group: GroupId, question: Question) {
    sound(cluster);
    let found = status(cluster, node, group).and_then(|g| g.question);
    assert_eq!(found, Some(question), "node {node}\n{}", cluster.timeline());
}

/// What the engines reported, oldest first.
pub fn reports(cluster: &Cluster) -> Vec<(usize, EventKind)> {
    let kind = |e: &ha_core::sim::Entry| match (&e.what, e.node) {
        (What::Engine(kind), Some(node)) => Some((node, kind.clone())),
        _ => None,
    };
    cluster.timeline().last(usize::MAX).filter_map(kind).collect()
}

/// On which proof `node` was last granted the group.
pub fn proof(cluster: &Cluster, node: usize, group: GroupId) -> Option<StopProof> {
    reports(cluster).into_iter().rev().find_map(|(n, kind)| match kind {
        EventKind::Granted { group: g, proof, .. } if (n, g) == (node, group) => Some(proof),
        _ => None,
    })
}

#[track_caller]
pub fn proven_by(cluster: &Cluster, node: usize, group: GroupId, name: &str) {
    assert_eq!(proof(cluster, node, group).map(|p| p.name()), Some(name), "{}", cluster.timeline());
}

/// On which proof `node` last went alone.
pub fn exclusion(cluster: &Cluster, node: usize, group: GroupId) -> Option<ExclusionProof> {
    reports(cluster).into_iter().rev().find_map(|(n, kind)| match kind {
        EventKind::Alone { group: g, proof, .. } if (n, g) == (node, group) => Some(proof),
        _ => None,
    })
}

/// How many orders to fence each node gave.
pub fn shots(cluster: &Cluster) -> [usize; 2] {
    let by = |node| reports(cluster).iter().filter(|(n, k)| *n == node && *k == EventKind::Shoot).count();
    [by(0), by(1)]
}

/// Nobody ordered anything of a fence device.
#[track_caller]
pub fn nobody_shot(cluster: &Cluster) {
    assert_eq!(shots(cluster), [0, 0], "{}", cluster.timeline());
    assert_eq!(cluster.probes().count("device", "shot hit"), 0);
}

/// How often the group was granted.
pub fn grants(cluster: &Cluster) -> usize {
    reports(cluster).iter().filter(|(_, k)| matches!(k, EventKind::Granted { .. })).count()
}

/// Acknowledgements go on: at least `count` more within `span`.
#[track_caller]
pub fn mail_flows(cluster: &mut Cluster, span: Duration, count: usize) {
    let before = cluster.acknowledged(MAIL);
    cluster.run_for(span);
    sound(cluster);
    let now = cluster.acknowledged(MAIL);
    assert!(now >= before + count, "{} messages in {span:?}\n{}", now - before, cluster.timeline());
}

/// Both copies hold every acknowledged message: the other node takes over in good order and serves them all
/// (I3 is asserted at the promotion).
#[track_caller]
pub fn nothing_is_lost(cluster: &mut Cluster) {
    let owner = cluster.actor(MAIL).expect("somebody serves");
    cluster.inject(Fault::Switchover(0));
    cluster.run_for(seconds(2));
    whole(cluster, 1 - owner, MAIL);
}
