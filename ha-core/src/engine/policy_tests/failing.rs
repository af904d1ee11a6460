//! Restarts, moves, quarantine, memory; and what monitors' findings lead to.

use super::duo::*;
use crate::config::{Failback, GroupPolicy, HealthPolicy, Reaction};
use crate::engine::*;
use crate::*;
use proptest::prelude::*;

const GROUP: GroupId = GroupId(0);

fn one_group(policy: GroupPolicy, health: HealthPolicy) -> Duo {
    let mut group = group("mail", 0, policy);
    group.resources[0].health = health;
    Duo::settled(pair([group]))
}

fn restarts(duo: &Duo) -> usize {
    duo.done.iter().filter(|(n, _, kind)| (*n, *kind) == (A, OpKind::Start)).count()
}

#[test]
fn a_resource_is_restarted_then_moved_then_quarantined_and_that_fades() {
    let policy = GroupPolicy::default().with_failure_memory(seconds(5)).with_failback(Failback::Automatic);
    let mut duo = one_group(policy, HealthPolicy::default());
    duo.health.insert((A, 0), Some(Health::Failed));
    duo.run(ms(500));
    assert_eq!(duo.serving(0), Some(B), "{:#?}", duo.log);
    assert_eq!(restarts(&duo), 1, "one restart in place is the limit");
    assert!(duo.said(A, &EventKind::Quarantined { group: GROUP }));
    assert!(duo.status(A, 0).policy.quarantine.is_some());
    duo.health.clear();
    duo.run(seconds(4));
    assert_eq!(duo.serving(0), Some(B), "its node is no target yet");
    assert_eq!(duo.placement(B, 0), Placement::NoTarget);
    duo.run(seconds(2));
    assert!(duo.said(A, &EventKind::FailuresFaded { group: GROUP }));
    assert_eq!(duo.serving(0), Some(A), "failback to the node that forgot: {:#?}", duo.log);
}

#[test]
fn clearing_the_failures_does_not_wait_for_the_memory() {
    let mut duo =
        one_group(GroupPolicy::default().with_failback(Failback::Automatic), HealthPolicy::default());
    duo.start_fails.insert((A, 0));
    duo.health.insert((A, 0), Some(Health::Failed));
    duo.run(seconds(2));
    assert_eq!(duo.serving(0), Some(B));
    duo.start_fails.clear();
    duo.health.clear();
    duo.command(A, Command::ClearFailures(GROUP));
    duo.run(ms(300));
    assert_eq!(duo.serving(0), Some(A), "{:#?}", duo.log);
}

#[test]
fn restarts_that_are_long_ago_do_not_count() {
    let mut duo = one_group(GroupPolicy::default().with_restart_window(seconds(1)), HealthPolicy::default());
    for _ in 0..6 {
        duo.health.insert((A, 0), Some(Health::Failed));
        duo.run(ms(110));
        duo.health.clear();
        duo.run(ms(1200));
    }
    assert_eq!(duo.serving(0), Some(A), "{:#?}", duo.log);
    assert_eq!(restarts(&duo), 6);
}

/// How often the group moved within any span of the failure memory.
fn most_moves(duo: &Duo, memory: std::time::Duration) -> usize {
    let grants = duo.grants(0);
    let within =
        |at: Instant| grants.iter().filter(|(other, _)| *other >= at && other.since(at) < memory).count();
    grants.iter().map(|(at, _)| within(*at)).max().unwrap_or(0)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(20))]

    /// However a resource fails, on whichever node, its group moves at most once to each node within the memory.
    #[test]
    fn a_failing_resource_never_ping_pongs(
        troubles in prop::collection::vec((0usize..2, 0u8..6, 50u64..900), 30),
        failback in any::<bool>(),
        limit in 0u8..3,
        moves_at_once in any::<bool>(),
    ) {
        let memory = seconds(4);
        let failback = if failback { Failback::Automatic } else { Failback::Never };
        let on_failed = if moves_at_once { Reaction::Move } else { Reaction::Restart };
        let policy = GroupPolicy::default().with_failure_memory(memory).with_failback(failback);
        let health = HealthPolicy::default().with_on_failed(on_failed).with_on_unknown(Reaction::Move).with_unknown_limit(2);
        let mut group = group("mail", 0, policy);
        group.resources[0].health = health;
        group.resources[0].restart_limit = limit;
        let mut duo = Duo::settled(pair([group]));
        for (node, what, span) in troubles {
            duo.start_fails.remove(&(node, 0));
            duo.health.remove(&(node, 0));
            match what {
                0 => { duo.start_fails.insert((node, 0)); }
                1 => { duo.health.insert((node, 0), Some(Health::Failed)); }
                2 => { duo.health.insert((node, 0), Some(Health::Stopped)); }
                3 => { duo.health.insert((node, 0), Some(Health::Unknown)); }
                _ => {}
            }
            duo.run(ms(span));
        }
        // There, back once (rule 12) or home again when the memory faded.
        prop_assert!(most_moves(&duo, memory) <= 2, "{:#?}", duo.log);
        duo.start_fails.clear();
        duo.health.clear();
        duo.run(seconds(9));
        prop_assert!(duo.serving(0).is_some(), "{:#?}", duo.log);
    }
}

#[test]
fn unknown_is_not_failed() {
    let mut duo = one_group(GroupPolicy::default(), HealthPolicy::default());
    duo.health.insert((A, 0), Some(Health::Unknown));
    duo.run(seconds(2));
    duo.health.insert((A, 0), None);
    duo.run(seconds(2));
    assert_eq!(duo.done, [], "{:#?}", duo.log);
    let finding = duo.status(A, 0).policy.findings[0].unwrap();
    assert_eq!((finding.health, finding.cause), (Health::Unknown, Cause::TimedOut));
    assert!(finding.timeouts > 10 && finding.in_a_row > finding.timeouts, "{finding:?}");
    let said = |cause| EventKind::Found { group: GROUP, resource: 0, health: Health::Unknown, cause };
    assert!(duo.said(A, &said(Cause::Reported)) && duo.said(A, &said(Cause::TimedOut)));
    assert!(duo.most_ops < 8, "monitors that hang do not pile up: {}", duo.most_ops);
    duo.health.clear();
    duo.run(ms(300));
    assert_eq!(duo.status(A, 0).policy.findings[0].unwrap().health, Health::Unknown, "none came back yet");
}

#[test]
fn each_finding_has_a_reaction_of_its_own() {
    let policy = HealthPolicy::default()
        .with_on_unknown(Reaction::Restart)
        .with_unknown_limit(3)
        .with_on_degraded(Reaction::Move)
        .with_degraded_limit(2)
        .with_on_stopped(Reaction::Report)
        .with_on_failed(Reaction::Ignore);
    let mut duo = one_group(GroupPolicy::default(), policy);
    duo.health.insert((A, 0), Some(Health::Stopped));
    duo.run(seconds(1));
    duo.health.insert((A, 0), Some(Health::Failed));
    duo.log.clear();
    duo.run(seconds(1));
    assert_eq!(duo.done, []);
    let failed = EventKind::Resource { group: GROUP, resource: 0, health: Health::Failed };
    assert!(!duo.said(A, &failed), "ignored");
    duo.health.insert((A, 0), Some(Health::Unknown));
    duo.run(ms(250));
    assert_eq!(duo.done, [], "two in a row are not three");
    duo.run(ms(150));
    assert_eq!(duo.done, [(A, 0, OpKind::Stop), (A, 0, OpKind::Start)], "{:#?}", duo.log);
    duo.health.insert((A, 0), Some(Health::Degraded));
    duo.run(ms(400));
    assert_eq!(duo.serving(0), Some(B), "{:#?}", duo.log);
}

#[test]
fn a_degraded_service_is_kept_while_nobody_can_take_it() {
    let policy = HealthPolicy::default().with_on_degraded(Reaction::Move).with_degraded_limit(1);
    let mut duo = one_group(GroupPolicy::default(), policy);
    duo.kill(B);
    duo.run(ms(300));
    duo.health.insert((A, 0), Some(Health::Degraded));
    duo.run(seconds(2));
    assert_eq!((duo.serving(0), duo.done.len()), (Some(A), 0), "{:#?}", duo.log);
}
