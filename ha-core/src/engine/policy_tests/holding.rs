//! Standby and maintenance: what they hold back, what they do not, and that they are remembered.

use super::duo::*;
use crate::config::{Failback, GroupPolicy};
use crate::engine::*;
use crate::*;

const GROUP: GroupId = GroupId(0);

fn two_groups() -> Duo {
    let plain = GroupPolicy::default;
    Duo::settled(pair([group("mail", 0, plain()), group("web", 1, plain())]))
}

fn standby(node: u8, on: bool) -> Command {
    Command::Standby { node: NodeId(node), on }
}

fn maintenance(scope: PolicyScope, on: bool) -> Command {
    Command::Maintenance { scope, on }
}

#[test]
fn a_node_that_stands_by_gives_everything_to_the_other_and_takes_nothing() {
    let mut duo = two_groups();
    // Either node takes the order for either node.
    duo.command(B, standby(0, true));
    duo.run(ms(200));
    assert_eq!((duo.serving(0), duo.serving(1)), (Some(B), Some(B)), "{:#?}", duo.log);
    assert!(duo.said(A, &EventKind::Moving { group: GROUP, reason: MoveReason::Standby }));
    assert_eq!(duo.status(A, 0).policy.hold, Some(Hold::Standby));
    duo.command(B, Command::Switchover(GROUP));
    duo.run(ms(800));
    assert_eq!(duo.serving(0), Some(B));
    assert!(duo.said(B, &EventKind::Refused { why: Refusal::TargetNotViable }));
    duo.command(A, standby(0, false));
    duo.run(ms(50));
    duo.command(B, Command::Switchover(GROUP));
    duo.run(ms(200));
    assert_eq!(duo.serving(0), Some(A), "{:#?}", duo.log);
}

#[test]
fn a_node_that_stands_by_keeps_what_nobody_can_take() {
    let mut duo = two_groups();
    duo.kill(B);
    duo.run(ms(600));
    assert_eq!((duo.serving(0), duo.serving(1)), (Some(A), Some(A)));
    duo.command(A, standby(0, true));
    duo.run(seconds(3));
    assert_eq!((duo.serving(0), duo.serving(1)), (Some(A), Some(A)), "rule 12: {:#?}", duo.log);
    assert_eq!(duo.placement(A, 0), Placement::NoTarget);
    duo.boot(B);
    duo.run(seconds(1));
    assert_eq!((duo.serving(0), duo.serving(1)), (Some(B), Some(B)), "{:#?}", duo.log);
}

#[test]
fn both_standing_by_stop_nothing() {
    let mut duo = two_groups();
    duo.command(A, standby(0, true));
    duo.command(B, standby(1, true));
    duo.run(seconds(3));
    assert_eq!((duo.serving(0), duo.serving(1)), (Some(A), Some(B)), "{:#?}", duo.log);
}

#[test]
fn a_node_that_stands_by_asks_before_it_serves_alone() {
    let mut duo = two_groups();
    duo.command(A, standby(1, true));
    duo.run(ms(200));
    duo.kill(A);
    duo.run(seconds(2));
    assert_eq!((duo.serving(0), duo.serving(1)), (None, None), "{:#?}", duo.log);
    assert_eq!(duo.status(B, 0).question, Some(Question::HeldByPolicy));
    assert!(!duo.said(B, &EventKind::Shoot), "in vain");
    duo.command(B, standby(1, false));
    duo.run(ms(300));
    assert_eq!((duo.serving(0), duo.serving(1)), (Some(B), Some(B)), "{:#?}", duo.log);
    assert_eq!(duo.status(B, 0).question, None);
}

#[test]
fn what_the_other_node_cannot_run_comes_back_to_the_one_that_stands_by() {
    let mut duo = two_groups();
    duo.start_fails.insert((B, 0));
    duo.command(A, standby(0, true));
    duo.run(seconds(4));
    assert_eq!(duo.serving(0), Some(A), "{:#?}", duo.log);
    assert_eq!(duo.grants(0).len(), 2, "there and back, once: {:#?}", duo.log);
}

/// A release for want of a better node is another thing: the owner could run the group, and leaves.
#[test]
fn a_node_that_stands_by_takes_nothing_from_a_peer_that_leaves_in_good_order() {
    let mut duo = two_groups();
    duo.command(A, standby(0, true));
    duo.run(seconds(2));
    assert_eq!(duo.serving(0), Some(B), "{:#?}", duo.log);
    duo.command(B, Command::Shutdown);
    duo.run(seconds(4));
    assert_eq!([duo.serving(0), duo.serving(1)], [None; 2], "{:#?}", duo.log);
    assert_eq!(duo.status(A, 0).question, Some(Question::HeldByPolicy), "{:#?}", duo.log);
    duo.command(A, standby(0, false));
    duo.run(seconds(1));
    assert_eq!([duo.serving(0), duo.serving(1)], [Some(A); 2], "{:#?}", duo.log);
}

#[test]
fn orders_outlive_both_nodes() {
    let mut duo = two_groups();
    duo.command(A, standby(1, true));
    duo.command(A, maintenance(PolicyScope::Group(GROUP), true));
    duo.run(ms(300));
    for n in [A, B] {
        assert!(duo.records[n].policy.get(PolicyScope::Node(NodeId(1))).standby, "kept on node {n}");
    }
    duo.kill(A);
    duo.kill(B);
    duo.boot(A);
    duo.boot(B);
    duo.run(seconds(2));
    assert_eq!(duo.serving(0), None, "maintained: {:#?}", duo.log);
    assert_eq!(duo.status(A, 0).question, Some(Question::HeldByPolicy));
    assert_eq!(duo.serving(1), Some(A), "its preferred node stands by: {:#?}", duo.log);
}

#[test]
fn a_node_that_was_away_learns_the_newest_order() {
    let mut duo = two_groups();
    duo.command(B, standby(1, true));
    duo.run(ms(200));
    duo.kill(B);
    duo.command(A, standby(1, false));
    duo.run(ms(200));
    duo.boot(B);
    duo.run(ms(500));
    assert!(!duo.nodes[B].as_ref().unwrap().status().policy.get(PolicyScope::Node(NodeId(1))).standby);
    // Two that did not hear each other: both words count.
    duo.cut = true;
    duo.command(A, maintenance(PolicyScope::Cluster, true));
    duo.command(B, maintenance(PolicyScope::Cluster, true));
    duo.command(B, maintenance(PolicyScope::Cluster, false));
    duo.run(ms(50));
    duo.cut = false;
    duo.run(ms(200));
    for n in [A, B] {
        let flags = duo.nodes[n].as_ref().unwrap().status().policy.cluster;
        assert_eq!((flags.stamp, flags.maintenance), (2, false), "the higher stamp is newer");
    }
}

#[test]
fn in_maintenance_a_broken_resource_is_reported_and_nothing_more() {
    for scope in [PolicyScope::Cluster, PolicyScope::Node(NodeId(0)), PolicyScope::Group(GROUP)] {
        let mut duo = two_groups();
        duo.command(B, maintenance(scope, true));
        duo.run(ms(50));
        duo.health.insert((A, 0), Some(Health::Failed));
        duo.run(seconds(2));
        assert_eq!(duo.done, [], "{scope:?}: {:#?}", duo.log);
        assert_eq!(duo.serving(0), Some(A));
        let failed = EventKind::Resource { group: GROUP, resource: 0, health: Health::Failed };
        assert!(duo.said(A, &failed), "the monitors go on");
        assert_eq!(duo.placement(A, 0), Placement::Maintained);
        duo.command(A, Command::Switchover(GROUP));
        duo.run(ms(50));
        assert!(duo.said(A, &EventKind::Refused { why: Refusal::Maintenance }));
        duo.command(A, maintenance(scope, false));
        duo.run(ms(200));
        assert_eq!(duo.done[..2], [(A, 0, OpKind::Stop), (A, 0, OpKind::Start)]);
    }
}

#[test]
fn in_maintenance_a_dead_node_is_neither_shot_nor_replaced() {
    let mut duo = two_groups();
    duo.command(A, maintenance(PolicyScope::Cluster, true));
    duo.run(ms(100));
    duo.kill(A);
    duo.run(seconds(3));
    assert!(!duo.said(B, &EventKind::Shoot), "{:#?}", duo.log);
    assert_eq!(duo.serving(0), None);
    assert_eq!(duo.serving(1), Some(B), "what runs runs on");
    assert_eq!(duo.status(B, 0).question, Some(Question::HeldByPolicy));
    duo.command(B, maintenance(PolicyScope::Cluster, false));
    duo.run(ms(500));
    assert_eq!(duo.serving(0), Some(B), "{:#?}", duo.log);
}

#[test]
fn a_node_in_maintenance_is_not_shot_but_replaced_on_a_proof() {
    let mut duo = two_groups();
    duo.command(A, maintenance(PolicyScope::Node(NodeId(0)), true));
    duo.run(ms(100));
    duo.cut = true;
    duo.run(seconds(3));
    assert!(!duo.said(B, &EventKind::Shoot) && !duo.said(A, &EventKind::Shoot), "{:#?}", duo.log);
    assert_eq!(duo.status(B, 0).question, Some(Question::NoStopProof));
    duo.kill(A);
    duo.run(ms(500));
    assert_eq!(duo.serving(0), Some(B), "it is off: {:#?}", duo.log);
}

#[test]
fn a_permission_expires_in_maintenance_as_ever() {
    let mut duo = two_groups();
    duo.command(A, maintenance(PolicyScope::Cluster, true));
    duo.run(ms(100));
    duo.log.clear();
    duo.now += ms(150);
    duo.run(ms(50));
    let suspended =
        duo.log.iter().any(|(_, _, k)| matches!(k, EventKind::Role { role: RoleName::Suspended, .. }));
    assert!(suspended, "{:#?}", duo.log);
    assert_eq!(duo.serving(0), Some(A), "and is confirmed as ever");
}

#[test]
fn a_mirror_whose_standby_stands_by_is_still_whole() {
    use crate::engine::pair_tests::{Pair, config};
    let mut pair = Pair::settled(config(true));
    pair.feed(1, Input::Command(standby(1, true)));
    pair.run(ms(200));
    assert_eq!(pair.status(0).protection, Protection::Full);
    assert!(!pair.status(1).viable);
    pair.kill(0);
    pair.run(seconds(2));
    assert_eq!(pair.status(1).question, Some(Question::HeldByPolicy), "{:#?}", pair.log);
    pair.boot(0);
    pair.run(seconds(2));
    assert_eq!(
        pair.status(0).role,
        RoleName::Active,
        "equal copies: the willing one serves: {:#?}",
        pair.log
    );
    assert_eq!(pair.status(0).protection, Protection::Full);
    pair.feed(0, Input::Command(standby(1, false)));
    pair.run(ms(300));
    assert!(pair.status(1).viable);
}

#[test]
fn a_commanded_move_that_crosses_a_maintenance_is_given_up() {
    let mut duo = two_groups();
    duo.command(A, Command::Switchover(GROUP));
    duo.command(A, maintenance(PolicyScope::Group(GROUP), true));
    duo.run(seconds(1));
    assert_eq!(duo.serving(0), Some(A), "{:#?}", duo.log);
    assert_eq!(duo.done, []);
}

#[test]
fn an_unknown_node_or_group_is_refused() {
    let mut duo = two_groups();
    duo.command(A, standby(2, true));
    duo.command(A, maintenance(PolicyScope::Group(GroupId(9)), true));
    let refused = duo.log.iter().filter(|(_, _, k)| *k == EventKind::Refused { why: Refusal::UnknownScope });
    assert_eq!(refused.count(), 2);
    assert!(duo.nodes[A].as_ref().unwrap().status().policy.is_silent());
}

#[test]
fn parallel_each_node_serves_its_address_and_both_after_a_drain() {
    let own = || GroupPolicy::default().with_failback(Failback::After(ms(300)));
    let mut duo = Duo::settled(pair([group("address-a", 0, own()), group("address-b", 1, own())]));
    duo.command(A, standby(1, true));
    duo.run(ms(500));
    assert_eq!((duo.serving(0), duo.serving(1)), (Some(A), Some(A)), "{:#?}", duo.log);
    duo.command(A, standby(1, false));
    duo.run(ms(800));
    assert_eq!((duo.serving(0), duo.serving(1)), (Some(A), Some(B)), "{:#?}", duo.log);
}
