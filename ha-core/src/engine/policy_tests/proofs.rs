//! Rules of policy that no other test would have missed: each fails if its rule is left out (docs/PROOFS.md).

use super::duo::*;
use crate::config::{Failback, GroupPolicy, HealthPolicy, OutsidePolicy, Reaction};
use crate::engine::boot_table::{Candidate, Verdict, judge};
use crate::engine::*;
use crate::*;

const GROUP: GroupId = GroupId(0);

fn policy() -> GroupPolicy {
    GroupPolicy::default()
}

/// Words about the outside are under way for longer than the hold-off, so that each node finds the other one better,
/// and finds it again. Whenever the second one loses what the first one lost, one group moves at most.
#[test]
fn on_a_slow_link_both_wish_to_move_and_never_do_both() {
    let following = || policy().with_outside(Some(OutsidePolicy::new(1, ms(20))));
    for lag in (0..60).step_by(4) {
        let mut duo = Duo::settled(pair([group("mail", 0, following()), group("web", 1, following())]));
        duo.latency = ms(60);
        duo.run(seconds(1));
        duo.log.clear();
        duo.reach(A, 1);
        duo.run(ms(lag));
        duo.reach(B, 1);
        duo.run(seconds(2));
        let wished =
            |n, g| duo.said(n, &EventKind::Moving { group: GroupId(g), reason: MoveReason::Outside });
        assert!(lag > 20 || wished(A, 0) && wished(B, 1), "both wish to: {:#?}", duo.log);
        let moved = [duo.serving(0) == Some(B), duo.serving(1) == Some(A)];
        assert_ne!(moved, [true, true], "after {lag} ms: {:#?}", duo.log);
    }
}

/// A copy whose node could not run the group leaves it to an equal one that did not try.
#[test]
fn of_equal_copies_the_one_whose_node_failed_makes_way() {
    let candidate = |node: u8, unwilling| Candidate {
        node: NodeId(node),
        granted: Epoch(3),
        set: SetRecord::Both { generation: Generation(2) },
        lsn: Lsn(10),
        never_started: false,
        amnesiac: false,
        unwilling,
        held: false,
    };
    for mirrored in [true, false] {
        for preferred in [0, 1] {
            let (failed, well) = (candidate(0, true), candidate(1, false));
            assert_eq!(judge(mirrored, NodeId(preferred), &failed, &well), Verdict::Lose);
            assert_eq!(judge(mirrored, NodeId(preferred), &well, &failed), Verdict::Win);
        }
    }
}

fn with_health(health: HealthPolicy) -> Duo {
    let mut group = group("mail", 0, policy());
    group.resources[0].health = health;
    Duo::settled(pair([group]))
}

/// The memory is for ever where the policy says so, and not a moment.
#[test]
fn a_memory_of_zero_lasts_until_somebody_clears_it() {
    let forever = policy().with_failure_memory(ms(0)).with_failback(Failback::Automatic);
    let mut duo = Duo::settled(pair([group("mail", 0, forever)]));
    duo.health.insert((A, 0), Some(Health::Failed));
    duo.run(seconds(2));
    duo.health.clear();
    duo.run(seconds(30));
    assert_eq!(duo.serving(0), Some(B), "{:#?}", duo.log);
    duo.command(A, Command::ClearFailures(GROUP));
    duo.run(seconds(1));
    assert_eq!(duo.serving(0), Some(A), "{:#?}", duo.log);
}

/// Where nobody can take it, it is tried again, a little later each time, and asked about.
#[test]
fn what_fails_everywhere_is_retried_with_back_off_and_asked_about() {
    let mut duo = with_health(HealthPolicy::default());
    duo.kill(B);
    duo.run(seconds(1));
    duo.start_fails.insert((A, 0));
    duo.health.insert((A, 0), Some(Health::Failed));
    duo.run(seconds(10));
    assert_eq!(duo.status(A, 0).question, Some(Question::FailedEverywhere), "{:#?}", duo.log);
    let starts = duo.done.iter().filter(|(n, _, kind)| (*n, *kind) == (A, OpKind::Start)).count();
    assert!((4..=8).contains(&starts), "{starts} starts in 10 s: {:#?}", duo.done);
}

/// A move that its target does not get ready for is given up, and tried again after a while.
#[test]
fn a_target_that_does_not_get_ready_keeps_the_service_and_is_not_asked_all_the_time() {
    let mut duo = Duo::settled(pair([group("mail", 0, policy())]));
    duo.never_ready = Some(B);
    duo.command(A, Command::Switchover(GROUP));
    duo.run(seconds(3));
    assert_eq!((duo.serving(0), duo.done.len()), (Some(A), 0), "{:#?}", duo.log);
    assert!(duo.said(A, &EventKind::Refused { why: Refusal::TargetNotReady }), "{:#?}", duo.log);
    assert!(duo.said(A, &EventKind::Timeout { edge: TimeoutEdge::PrepareNone }));
    duo.command(A, Command::Standby { node: NodeId(0), on: true });
    duo.run(seconds(20));
    let tries = duo
        .log
        .iter()
        .filter(|(_, n, k)| *n == A && *k == EventKind::Moving { group: GROUP, reason: MoveReason::Standby });
    let tries = tries.count();
    assert!((3..=8).contains(&tries), "{tries} tries in 20 s");
    assert_eq!(duo.serving(0), Some(A));
}

/// Two nodes that did not hear each other were each told something else: both count.
#[test]
fn of_two_orders_of_one_stamp_both_count() {
    let mut duo = Duo::settled(pair([group("mail", 0, policy())]));
    let node = PolicyScope::Node(NodeId(1));
    duo.cut = true;
    duo.command(A, Command::Standby { node: NodeId(1), on: true });
    duo.command(B, Command::Maintenance { scope: node, on: true });
    duo.run(ms(50));
    duo.cut = false;
    duo.run(ms(300));
    for n in [A, B] {
        let flags = duo.nodes[n].as_ref().unwrap().status().policy.get(node);
        assert!(flags.standby && flags.maintenance, "node {n}: {flags:?}");
    }
}

/// A monitor that itself fails knows nothing.
#[test]
fn a_monitor_that_fails_is_unknown_and_not_failed() {
    let mut duo = with_health(HealthPolicy::default());
    duo.monitor_fails = true;
    duo.run(seconds(3));
    assert_eq!((duo.serving(0), duo.done.len()), (Some(A), 0), "{:#?}", duo.log);
    let finding = duo.status(A, 0).policy.findings[0].unwrap();
    assert_eq!((finding.health, finding.cause), (Health::Unknown, Cause::CallFailed));
}

/// A row of findings begins anew when another one comes between, and with each start.
#[test]
fn findings_count_only_in_a_row() {
    let third = HealthPolicy::default().with_on_unknown(Reaction::Restart).with_unknown_limit(3);
    let mut duo = with_health(third);
    for _ in 0..6 {
        duo.health.insert((A, 0), Some(Health::Unknown));
        duo.run(ms(150));
        duo.health.clear();
        duo.run(ms(210));
    }
    assert_eq!(duo.done, [], "two in a row at most, six times: {:#?}", duo.log);
    // Three make one restart; its first finding is the first of a new row.
    duo.health.insert((A, 0), Some(Health::Unknown));
    duo.run(ms(330));
    assert_eq!(duo.done, [(A, 0, OpKind::Stop), (A, 0, OpKind::Start)], "{:#?}", duo.log);
    duo.run(ms(100));
    assert_eq!(duo.done.len(), 2, "{:#?}", duo.log);
}

/// Degraded has a policy of its own: by default it is reported.
#[test]
fn a_degraded_service_is_reported_and_left_alone() {
    let mut duo = with_health(HealthPolicy::default());
    duo.health.insert((A, 0), Some(Health::Degraded));
    duo.run(seconds(2));
    assert_eq!((duo.serving(0), duo.done.len()), (Some(A), 0), "{:#?}", duo.log);
    assert!(duo.said(A, &EventKind::Resource { group: GROUP, resource: 0, health: Health::Degraded }));
}

/// Standby is an order: no stickiness holds it up.
#[test]
fn stickiness_does_not_hold_up_a_standby() {
    let mut duo = Duo::settled(pair([group("mail", 0, policy().with_stickiness(seconds(60)))]));
    duo.command(A, Command::Standby { node: NodeId(0), on: true });
    duo.run(ms(500));
    assert_eq!(duo.serving(0), Some(B), "{:#?}", duo.log);
}

/// What serves alone is not moved to where its follower is not welcome, though nothing of that one runs here.
#[test]
fn a_lead_does_not_fail_back_to_where_its_follower_failed() {
    let lead = policy().with_failback(Failback::Automatic);
    let groups = [group("data", 0, lead), group("web", 1, policy().with_lead(Some(GROUP)))];
    let mut duo = Duo::new(pair(groups));
    duo.run(seconds(1));
    duo.health.insert((A, 1), Some(Health::Failed));
    duo.run(seconds(2));
    duo.health.clear();
    assert_eq!((duo.serving(0), duo.serving(1)), (Some(B), Some(B)), "{:#?}", duo.log);
    // Its node restarts while the follower is in maintenance: the lead comes back alone.
    duo.command(A, Command::Standby { node: NodeId(0), on: true });
    duo.command(A, Command::Maintenance { scope: PolicyScope::Group(GroupId(1)), on: true });
    duo.run(ms(200));
    duo.kill(B);
    duo.boot(B);
    duo.run(seconds(2));
    assert_eq!((duo.serving(0), duo.serving(1)), (Some(B), None), "{:#?}", duo.log);
    duo.command(A, Command::Standby { node: NodeId(0), on: false });
    duo.run(seconds(3));
    assert_eq!(duo.serving(0), Some(B), "its follower could not come along: {:#?}", duo.log);
    duo.command(A, Command::ClearFailures(GroupId(1)));
    duo.command(A, Command::Maintenance { scope: PolicyScope::Group(GroupId(1)), on: false });
    duo.run(seconds(2));
    assert_eq!((duo.serving(0), duo.serving(1)), (Some(A), Some(A)), "{:#?}", duo.log);
}

/// A node that leaves waits for its successor, but not for ever.
#[test]
fn a_leaving_node_does_not_wait_for_a_successor_for_ever() {
    let mut duo = Duo::settled(pair([group("mail", 0, policy())]));
    duo.command(A, Command::Maintenance { scope: PolicyScope::Group(GROUP), on: true });
    duo.run(ms(100));
    duo.command(A, Command::Shutdown);
    duo.run(seconds(5));
    assert_eq!(duo.serving(0), None, "{:#?}", duo.log);
    assert!(duo.said(A, &EventKind::Timeout { edge: TimeoutEdge::Leave }), "{:#?}", duo.log);
}

/// A move that is under way when its node comes into maintenance is given up, and its work goes on.
#[test]
fn maintenance_of_a_node_ends_the_move_away_from_it() {
    let mut duo = Duo::settled(pair([group("mail", 0, policy().with_drain(seconds(2)))]));
    duo.drain = seconds(1);
    duo.command(A, Command::Switchover(GROUP));
    duo.run(ms(200));
    duo.command(A, Command::Maintenance { scope: PolicyScope::Node(NodeId(0)), on: true });
    duo.run(seconds(3));
    assert_eq!(duo.serving(0), Some(A), "{:#?}", duo.log);
    assert!(duo.said(A, &EventKind::Refused { why: Refusal::Maintenance }));
    assert_eq!(duo.done, [(A, 0, OpKind::Drain), (A, 0, OpKind::Resume)]);
}

/// In maintenance nothing is even begun.
#[test]
fn in_maintenance_no_move_is_begun() {
    let mut duo = Duo::settled(pair([group("mail", 0, policy())]));
    duo.command(A, Command::Maintenance { scope: PolicyScope::Node(NodeId(0)), on: true });
    duo.run(ms(100));
    duo.command(A, Command::Standby { node: NodeId(0), on: true });
    duo.run(seconds(3));
    let moving = EventKind::Moving { group: GROUP, reason: MoveReason::Standby };
    assert!(!duo.said(A, &moving), "{:#?}", duo.log);
    duo.command(A, Command::Maintenance { scope: PolicyScope::Node(NodeId(0)), on: false });
    duo.run(ms(500));
    assert!(duo.said(A, &moving) && duo.serving(0) == Some(B), "{:#?}", duo.log);
}

/// A resume that does not come back is one that failed.
#[test]
fn what_hangs_while_it_resumes_is_restarted() {
    let mut duo = Duo::settled(pair([group("mail", 0, policy().with_drain(seconds(5)))]));
    (duo.drain, duo.resume_hangs) = (seconds(4), true);
    duo.command(A, Command::Switchover(GROUP));
    duo.run(ms(100));
    duo.kill(B);
    duo.run(seconds(60));
    let ended = [OpKind::Drain, OpKind::Resume, OpKind::Stop, OpKind::Start];
    assert_eq!(duo.done, ended.map(|kind| (A, 0, kind)), "{:#?}", duo.log);
    assert_eq!(duo.serving(0), Some(A));
}

/// A question that nobody answers is asked again.
#[test]
fn a_question_is_repeated() {
    let mut duo = Duo::settled(pair([group("mail", 0, policy())]));
    duo.command(A, Command::Maintenance { scope: PolicyScope::Cluster, on: true });
    duo.run(ms(100));
    duo.kill(A);
    duo.run(duo.cfg.timing.question_interval * 4);
    let asked = EventKind::Asked { group: GROUP, question: Question::HeldByPolicy };
    let times = duo.log.iter().filter(|(_, n, kind)| *n == B && *kind == asked).count();
    assert!((3..=5).contains(&times), "asked {times} times");
}

/// Stopped has a policy of its own.
#[test]
fn what_is_stopped_may_be_left_alone_though_what_failed_is_restarted() {
    let mut duo = with_health(HealthPolicy::default().with_on_stopped(Reaction::Report));
    duo.health.insert((A, 0), Some(Health::Stopped));
    duo.run(seconds(1));
    assert_eq!(duo.done, [], "{:#?}", duo.log);
    duo.health.insert((A, 0), Some(Health::Failed));
    duo.run(ms(150));
    assert_eq!(duo.done[..2], [(A, 0, OpKind::Stop), (A, 0, OpKind::Start)]);
}
