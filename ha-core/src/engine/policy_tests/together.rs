//! Groups that must be together, and groups that start after others.

use super::duo::*;
use crate::config::{Failback, GroupPolicy};
use crate::engine::*;
use crate::*;

const LEAD: GroupId = GroupId(0);
const FOLLOWER: GroupId = GroupId(1);

fn tied(lead: GroupPolicy) -> Duo {
    let follower = GroupPolicy::default().with_lead(Some(LEAD));
    // The follower prefers the other node: its lead decides.
    let config = pair([group("data", 0, lead), group("web", 1, follower)]);
    let mut duo = Duo::new(config);
    duo.run(seconds(1));
    assert_eq!((duo.serving(0), duo.serving(1)), (Some(A), Some(A)), "{:#?}", duo.log);
    duo.log.clear();
    duo.done.clear();
    duo
}

#[test]
fn a_follower_starts_after_its_lead_and_moves_with_it_in_order() {
    for asked in [LEAD, FOLLOWER] {
        let mut duo = tied(GroupPolicy::default());
        assert_eq!(duo.placement(A, 1), Placement::WithLead);
        duo.command(A, Command::Switchover(asked));
        duo.run(ms(200));
        let order =
            [(A, 1, OpKind::Stop), (A, 0, OpKind::Stop), (B, 0, OpKind::Start), (B, 1, OpKind::Start)];
        assert_eq!(duo.done, order, "{:#?}", duo.log);
        assert_eq!((duo.serving(0), duo.serving(1)), (Some(B), Some(B)));
    }
}

#[test]
fn lead_and_follower_are_taken_over_together_and_fail_back_together() {
    let mut duo = tied(GroupPolicy::default().with_failback(Failback::Automatic));
    duo.kill(A);
    duo.run(ms(600));
    assert_eq!((duo.serving(0), duo.serving(1)), (Some(B), Some(B)), "{:#?}", duo.log);
    duo.boot(A);
    duo.run(ms(600));
    assert_eq!((duo.serving(0), duo.serving(1)), (Some(A), Some(A)), "{:#?}", duo.log);
}

#[test]
fn a_follower_that_fails_takes_its_lead_along() {
    let mut duo = tied(GroupPolicy::default());
    duo.health.insert((A, 1), Some(Health::Failed));
    duo.run(seconds(2));
    assert_eq!((duo.serving(0), duo.serving(1)), (Some(B), Some(B)), "{:#?}", duo.log);
    assert!(duo.said(A, &EventKind::Moving { group: LEAD, reason: MoveReason::Together }));
}

#[test]
fn a_lead_that_fails_is_followed() {
    let mut duo = tied(GroupPolicy::default());
    duo.health.insert((A, 0), Some(Health::Failed));
    duo.run(seconds(2));
    assert_eq!((duo.serving(0), duo.serving(1)), (Some(B), Some(B)), "{:#?}", duo.log);
}

#[test]
fn a_follower_that_can_go_nowhere_keeps_its_lead() {
    let mut duo = tied(GroupPolicy::default());
    duo.start_fails.insert((B, 1));
    duo.command(A, Command::Switchover(LEAD));
    duo.run(seconds(8));
    // The follower failed there; both came home, or ask, but never serve apart.
    assert_eq!(duo.serving(0), duo.serving(1).or(duo.serving(0)), "{:#?}", duo.log);
    duo.start_fails.clear();
    duo.command(A, Command::ClearFailures(FOLLOWER));
    duo.command(B, Command::ClearFailures(FOLLOWER));
    duo.run(seconds(8));
    assert!(duo.serving(0).is_some() && duo.serving(0) == duo.serving(1), "{:#?}", duo.log);
}

#[test]
fn a_maintained_lead_holds_its_follower_too() {
    let mut duo = tied(GroupPolicy::default());
    duo.command(A, Command::Maintenance { scope: PolicyScope::Group(LEAD), on: true });
    duo.run(ms(100));
    duo.command(A, Command::Switchover(FOLLOWER));
    duo.run(seconds(1));
    assert_eq!((duo.serving(0), duo.serving(1)), (Some(A), Some(A)), "{:#?}", duo.log);
    duo.kill(A);
    duo.run(seconds(2));
    assert_eq!((duo.serving(0), duo.serving(1)), (None, None));
    duo.command(B, Command::Maintenance { scope: PolicyScope::Group(LEAD), on: false });
    duo.run(seconds(1));
    assert_eq!((duo.serving(0), duo.serving(1)), (Some(B), Some(B)), "{:#?}", duo.log);
}

#[test]
fn a_group_starts_after_the_ones_before_it_wherever_they_serve() {
    let after = GroupPolicy::default().with_after(vec![LEAD]).with_order_wait(seconds(20));
    let mut duo = Duo::new(pair([group("data", 0, GroupPolicy::default()), group("web", 1, after)]));
    duo.start_fails.extend([(A, 0), (B, 0)]);
    duo.run(seconds(2));
    assert_eq!((duo.serving(0), duo.serving(1)), (None, None), "{:#?}", duo.log);
    duo.start_fails.clear();
    for n in [A, B] {
        duo.command(n, Command::ClearFailures(LEAD));
    }
    duo.run(seconds(2));
    assert!(duo.serving(0).is_some() && duo.serving(1).is_some(), "{:#?}", duo.log);
}

#[test]
fn a_group_that_waited_long_enough_starts_without_the_ones_before_it() {
    let after = GroupPolicy::default().with_after(vec![LEAD]).with_order_wait(ms(800));
    let mut duo = Duo::new(pair([group("data", 0, GroupPolicy::default()), group("web", 0, after)]));
    duo.start_fails.extend([(A, 0), (B, 0)]);
    duo.run(seconds(4));
    assert_eq!(duo.serving(1), Some(A), "{:#?}", duo.log);
    assert!(duo.said(A, &EventKind::Timeout { edge: TimeoutEdge::Order }));
}

#[test]
fn a_leaving_node_stops_followers_and_later_groups_first() {
    let after = GroupPolicy::default().with_after(vec![LEAD]);
    let follower = GroupPolicy::default().with_lead(Some(LEAD));
    let groups =
        [group("data", 0, GroupPolicy::default()), group("web", 0, follower), group("cron", 0, after)];
    let mut duo = Duo::new(pair(groups));
    duo.run(seconds(1));
    duo.done.clear();
    duo.command(A, Command::Shutdown);
    duo.run(ms(300));
    let stopped: Vec<_> = duo.done.iter().filter(|(n, _, k)| (*n, *k) == (A, OpKind::Stop)).collect();
    assert_eq!(stopped.last().map(|(_, g, _)| *g), Some(0), "{stopped:?}");
    assert_eq!(stopped.len(), 3);
    duo.run(seconds(1));
    for g in 0..3 {
        assert_eq!(duo.role(B, g), Some(RoleName::Active), "{:#?}", duo.log);
    }
}
