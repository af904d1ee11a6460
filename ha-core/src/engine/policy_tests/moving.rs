//! Preferred nodes, failback, stickiness, the outside, drains.

use super::duo::*;
use crate::config::{Failback, GroupPolicy, OutsidePolicy};
use crate::engine::*;
use crate::*;
use proptest::prelude::*;

const GROUP: GroupId = GroupId(0);

fn policy() -> GroupPolicy {
    GroupPolicy::default()
}

/// One group that prefers A and serves on B, A having failed and come back.
fn away(policy: GroupPolicy) -> Duo {
    let mut duo = Duo::settled(pair([group("mail", 0, policy)]));
    duo.kill(A);
    duo.run(ms(600));
    assert_eq!(duo.serving(0), Some(B), "{:#?}", duo.log);
    duo.boot(A);
    duo.run(ms(100));
    duo
}

#[test]
fn a_group_stays_where_it_went_unless_a_policy_brings_it_back() {
    let mut duo = away(policy());
    duo.run(seconds(5));
    assert_eq!(duo.serving(0), Some(B));
    assert_eq!(duo.placement(B, 0), Placement::Stays);
    assert_eq!(duo.placement(A, 0), Placement::StandsBy);
    duo.command(B, Command::Switchover(GROUP));
    duo.run(ms(200));
    assert_eq!(duo.placement(A, 0), Placement::Preferred);
}

#[test]
fn automatic_failback_returns_as_soon_as_the_preferred_node_is_viable() {
    let mut duo = away(policy().with_failback(Failback::Automatic));
    duo.run(ms(200));
    assert_eq!(duo.serving(0), Some(A), "{:#?}", duo.log);
    assert!(duo.said(B, &EventKind::Moving { group: GROUP, reason: MoveReason::Failback }));
    duo.run(seconds(5));
    assert_eq!(duo.grants(0).len(), 2, "there and back, no more: {:#?}", duo.log);
}

#[test]
fn failback_waits_for_its_hold_off_without_a_break() {
    let mut duo = away(policy().with_failback(Failback::After(seconds(2))));
    duo.run(ms(1000));
    assert!(matches!(duo.placement(B, 0), Placement::MovesAt(MoveReason::Failback, _)));
    // The preferred node is away for a moment: its time begins anew.
    duo.kill(A);
    duo.run(ms(400));
    duo.boot(A);
    duo.run(ms(1800));
    assert_eq!(duo.serving(0), Some(B), "{:#?}", duo.log);
    duo.run(ms(700));
    assert_eq!(duo.serving(0), Some(A), "{:#?}", duo.log);
}

#[test]
fn stickiness_holds_a_group_where_it_became_active() {
    let mut duo = away(policy().with_failback(Failback::Automatic).with_stickiness(seconds(3)));
    duo.run(seconds(2));
    assert_eq!(duo.serving(0), Some(B));
    duo.run(ms(1200));
    assert_eq!(duo.serving(0), Some(A), "{:#?}", duo.log);
}

#[test]
fn failback_waits_until_the_mirror_is_whole_again() {
    use crate::engine::pair_tests::{Pair, config};
    let mut cfg = config(true);
    cfg.groups[0].policy.failback = Failback::Automatic;
    let mut pair = Pair::settled(cfg);
    pair.kill(A);
    pair.run(ms(400));
    assert_eq!(pair.status(B).role, RoleName::Active, "{:#?}", pair.log);
    pair.mirror_cut = true;
    pair.boot(A);
    pair.run(seconds(2));
    assert_eq!(pair.status(B).role, RoleName::Active, "the preferred copy lacks data: {:#?}", pair.log);
    pair.mirror_cut = false;
    pair.run(seconds(1));
    assert_eq!(pair.status(A).role, RoleName::Active, "{:#?}", pair.log);
    assert_eq!(pair.status(A).protection, Protection::Full);
}

#[test]
fn mutual_backup_each_serves_its_own_and_the_others_when_it_fails() {
    let mail = group("mail", 0, policy().with_failback(Failback::Automatic));
    let web = group("web", 1, policy().with_failback(Failback::Automatic));
    let mut duo = Duo::settled(pair([mail, web]));
    duo.kill(B);
    duo.run(ms(600));
    assert_eq!((duo.serving(0), duo.serving(1)), (Some(A), Some(A)), "{:#?}", duo.log);
    duo.boot(B);
    duo.run(ms(600));
    assert_eq!((duo.serving(0), duo.serving(1)), (Some(A), Some(B)), "{:#?}", duo.log);
}

fn follows_outside(difference: u8, hold_off: std::time::Duration) -> GroupPolicy {
    policy().with_outside(Some(OutsidePolicy::new(difference, hold_off)))
}

#[test]
fn the_node_that_reaches_fewer_targets_hands_over_after_the_hold_off() {
    let mut duo = Duo::settled(pair([group("mail", 0, follows_outside(1, ms(500)))]));
    duo.reach(A, 1);
    duo.run(ms(450));
    assert_eq!(duo.serving(0), Some(A));
    duo.run(ms(200));
    assert_eq!(duo.serving(0), Some(B), "{:#?}", duo.log);
    assert!(duo.said(A, &EventKind::Moving { group: GROUP, reason: MoveReason::Outside }));
}

#[test]
fn too_small_or_too_short_a_difference_moves_nothing() {
    let mut duo = Duo::settled(pair([group("mail", 0, follows_outside(2, ms(500)))]));
    duo.reach(A, 1);
    duo.run(seconds(2));
    assert_eq!(duo.grants(0), [], "one target is less than two");
    for _ in 0..10 {
        duo.reach(A, 0);
        duo.run(ms(400));
        duo.reach(A, 2);
        duo.run(ms(50));
    }
    assert_eq!(duo.grants(0), [], "no difference lasted");
}

#[test]
fn an_old_word_about_the_outside_moves_nothing() {
    let mut duo = Duo::settled(pair([group("mail", 0, follows_outside(1, ms(100)))]));
    // Its beats come, and it could take over; but of the outside nothing new is heard.
    duo.mute_about_health = Some(B);
    duo.reach(A, 1);
    duo.run(seconds(2));
    assert_eq!(duo.serving(0), Some(A), "{:#?}", duo.log);
    assert!(!duo.said(A, &EventKind::Moving { group: GROUP, reason: MoveReason::Outside }), "{:#?}", duo.log);
    duo.mute_about_health = None;
    duo.run(ms(300));
    assert_eq!(duo.serving(0), Some(B), "{:#?}", duo.log);
}

#[test]
fn a_group_does_not_fail_back_to_a_node_that_reaches_less() {
    let both = follows_outside(1, ms(300)).with_failback(Failback::Automatic);
    let mut duo = Duo::settled(pair([group("mail", 0, both)]));
    duo.reach(A, 1);
    duo.run(seconds(3));
    assert_eq!(duo.serving(0), Some(B));
    assert_eq!(duo.grants(0).len(), 1, "{:#?}", duo.log);
    duo.reach(A, 2);
    duo.run(ms(300));
    assert_eq!(duo.serving(0), Some(A));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Whatever the two nodes see when, they never both give something up at once.
    #[test]
    fn both_nodes_never_give_up_at_once(
        seen in prop::collection::vec((0usize..2, 0u8..3, 1u64..160), 40),
        hold_off in 1u64..60,
        cut in 0usize..40,
    ) {
        let following = || follows_outside(1, ms(hold_off)).with_failback(Failback::Automatic);
        let mut duo = Duo::settled(pair([group("mail", 0, following()), group("web", 1, following())]));
        let gives_up = |duo: &Duo, n: usize| {
            (0..2).any(|g| duo.role(n, g) == Some(RoleName::Stopping))
        };
        for (step, (node, reachable, span)) in seen.into_iter().enumerate() {
            duo.reach(node, reachable);
            duo.cut = step == cut;
            duo.watch(ms(span), |duo| {
                assert!(!(gives_up(duo, A) && gives_up(duo, B)), "{:#?}", duo.log);
            });
        }
        duo.cut = false;
        duo.reach(A, 2);
        duo.reach(B, 2);
        duo.run(seconds(4));
        assert_eq!((duo.serving(0), duo.serving(1)), (Some(A), Some(B)), "{:#?}", duo.log);
    }
}

#[test]
fn two_wishes_that_cross_end_in_one_move() {
    let following = || follows_outside(1, ms(100));
    let mut duo = Duo::settled(pair([group("mail", 0, following()), group("web", 1, following())]));
    // Each believes that the other reaches more: the words cross in flight for so long.
    duo.reach(A, 1);
    duo.run(ms(99));
    duo.reach(A, 2);
    duo.reach(B, 1);
    duo.run(seconds(1));
    assert_eq!(duo.serving(0), Some(A), "{:#?}", duo.log);
    assert_eq!(duo.serving(1), Some(A), "{:#?}", duo.log);
}

fn drains(span: std::time::Duration) -> GroupPolicy {
    policy().with_drain(span)
}

#[test]
fn a_planned_move_lets_resources_finish_their_work_first() {
    let mut duo = Duo::settled(pair([group("mail", 0, drains(seconds(5)))]));
    duo.drain = seconds(1);
    duo.command(A, Command::Switchover(GROUP));
    duo.run(ms(900));
    assert_eq!(duo.serving(0), Some(A));
    assert_eq!(duo.placement(A, 0), Placement::Moving(MoveReason::Operator));
    duo.run(ms(200));
    assert_eq!(duo.serving(0), Some(B), "{:#?}", duo.log);
    assert_eq!(duo.done, [(A, 0, OpKind::Drain), (A, 0, OpKind::Stop), (B, 0, OpKind::Start)]);
}

#[test]
fn a_drain_that_takes_too_long_is_cut_short() {
    let mut duo = Duo::settled(pair([group("mail", 0, drains(ms(300)))]));
    duo.drain = seconds(60);
    duo.command(A, Command::Switchover(GROUP));
    duo.run(ms(400));
    assert_eq!(duo.serving(0), Some(B), "{:#?}", duo.log);
    assert!(duo.said(A, &EventKind::Timeout { edge: TimeoutEdge::Drain }));
}

#[test]
fn a_drain_is_taken_back_when_the_target_is_lost() {
    for resume_fails in [false, true] {
        let mut duo = Duo::settled(pair([group("mail", 0, drains(seconds(5)))]));
        (duo.drain, duo.resume_fails) = (seconds(4), resume_fails);
        duo.command(A, Command::Switchover(GROUP));
        duo.run(ms(100));
        duo.kill(B);
        duo.run(seconds(2));
        assert_eq!(duo.serving(0), Some(A), "{:#?}", duo.log);
        let again = [(A, 0, OpKind::Stop), (A, 0, OpKind::Start)];
        let mut expected = vec![(A, 0, OpKind::Drain), (A, 0, OpKind::Resume)];
        expected.extend(again.into_iter().filter(|_| resume_fails));
        assert_eq!(duo.done, expected, "what does not accept work again is restarted");
    }
}
