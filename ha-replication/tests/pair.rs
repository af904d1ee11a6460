//! Two mirrors and real sockets: what both hold, through commits, takeovers, cuts and copies.
#![allow(missing_docs)]

mod support;

use ha_core::Epoch;
use ha_core::engine::AckRule;
use ha_core::{Generation, Instant, Lsn};
use ha_replication::{CommitOutcome, Outcome, Protection, RejectReason, TxId, UnknownReason};
use std::time::Duration;
use support::{ALONE, BOTH, Pair, Side, limits, lsn, same_trees};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_hold_what_was_committed() {
    let pair = Pair::new().await;
    let (a, b) = (pair.open(0), pair.open(1));
    a.promote(1, BOTH).await;
    let committed = a.mirror.begin().put("new/1", "mail").put("cur/x/2", "more").commit().await;
    let at = lsn(committed);
    assert_eq!(a.read("new/1").as_deref(), Some("mail"), "read your writes");
    b.until("applied there", |s| s.applied.0 >= at).await;
    assert_eq!(b.read("cur/x/2").as_deref(), Some("more"));
    lsn(a.mirror.begin().append("new/1", 4, "!!").rename("cur/x/2", "cur/2").commit().await);
    lsn(a.mirror.begin().remove("cur/2").put_new("new/3", "").commit().await);
    assert_eq!(a.read("new/1").as_deref(), Some("mail!!"));
    same_trees(&a, &b).await;
    a.caught_up().await;
    let status = a.mirror.status();
    assert_eq!(status.report.rule, Some(BOTH));
    assert!(status.report.connected && !status.report.stalled);
    assert!(matches!(*a.mirror.protection().borrow(), Protection::Full { generation: Generation(1) }));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn preconditions_refuse_without_a_trace() {
    let pair = Pair::new().await;
    let (a, _b) = (pair.open(0), pair.open(1));
    let refused = a.put("x", "1").await;
    assert_eq!(refused, CommitOutcome::Rejected { why: RejectReason::NotPrimary });
    a.promote(1, BOTH).await;
    lsn(a.put("dir/x", "12").await);
    let before = a.mirror.status().sequenced;
    let begin = || a.mirror.begin();
    let path = || "dir/x".to_owned();
    for (tx, why) in [
        (begin(), RejectReason::Empty),
        (begin().put_new("dir/x", ""), RejectReason::Exists { path: path() }),
        (begin().append("dir/x", 1, ""), RejectReason::Offset { path: path(), found: 2, expected: 1 }),
        (begin().remove("none"), RejectReason::Missing { path: "none".into() }),
        (begin().rename("none", "x"), RejectReason::Missing { path: "none".into() }),
        (begin().put("dir", ""), RejectReason::NotAFile { path: "dir".into() }),
        (begin().put("dir/x/y", ""), RejectReason::NotAFile { path: "dir/x/y".into() }),
        (begin().put("a", "").idempotency_key(b""), RejectReason::BadKey),
        (begin().remove("dir/x").put("b", "").remove("dir/x"), RejectReason::Missing { path: path() }),
    ] {
        assert_eq!(tx.commit().await, CommitOutcome::Rejected { why });
    }
    for bad in ["../x", "/x", "a//b", ""] {
        assert!(matches!(
            a.put(bad, "").await,
            CommitOutcome::Rejected { why: RejectReason::BadPath { .. } }
        ));
    }
    let large = a.mirror.begin().put("x", vec![0; 300 << 10]).commit().await;
    assert!(matches!(large, CommitOutcome::Rejected { why: RejectReason::TooLarge { .. } }));
    assert_eq!(a.mirror.status().sequenced, before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_standby_takes_over_with_everything_acknowledged() {
    let pair = Pair::new().await;
    let (a, b) = (pair.open(0), pair.open(1));
    a.promote(1, BOTH).await;
    let mut ids = Vec::new();
    for i in 0..20 {
        let tx = a.mirror.begin().put(&format!("m/{i}"), format!("mail {i}"));
        let at = lsn(tx.idempotency_key(format!("key {i}").as_bytes()).commit().await);
        ids.push(TxId { epoch: Epoch(1), lsn: Lsn(at) });
    }
    drop(a);
    b.until("the session ended", |s| !s.session).await;
    b.promote(2, ALONE).await;
    for (i, id) in ids.iter().enumerate() {
        assert_eq!(b.read(&format!("m/{i}")), Some(format!("mail {i}")));
        assert_eq!(b.mirror.outcome(*id), Outcome::Committed { lsn: id.lsn });
    }
    let retried = b.mirror.begin().put_new("m/3", "another").idempotency_key(b"key 3").commit().await;
    assert!(
        matches!(retried, CommitOutcome::Committed { repeated: true, lsn, .. } if lsn == ids[3].lsn),
        "{retried:?}"
    );
    assert_eq!(b.read("m/3").as_deref(), Some("mail 3"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn switchover_keeps_the_session() {
    let pair = Pair::new().await;
    let (a, b) = (pair.open(0), pair.open(1));
    a.promote(1, BOTH).await;
    lsn(a.put("1", "one").await);
    let mut sides = [&a, &b];
    for epoch in 2..8 {
        let last = sides[0].data.demote(&sides[0].ctx(epoch - 1)).await.unwrap();
        assert!(last.is_some());
        sides.swap(0, 1);
        let last = last.unwrap();
        sides[0].until("everything", |s| s.durable >= last).await;
        sides[0].promote(epoch, BOTH).await;
        lsn(sides[0].put(&format!("{epoch}"), "x").await);
        let refused = sides[1].put("no", "").await;
        assert_eq!(refused, CommitOutcome::Rejected { why: RejectReason::NotPrimary });
    }
    same_trees(sides[0], sides[1]).await;
    assert_eq!((a.mirror.status().sessions, b.mirror.status().sessions), (1, 1));
    assert!(a.mirror.status().last_quarantine.is_none() && b.mirror.status().last_quarantine.is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn waiting_commits_complete_when_the_rule_becomes_alone() {
    let pair = Pair::new().await;
    let (a, b) = (pair.open(0), pair.open(1));
    a.promote(1, BOTH).await;
    lsn(a.put("1", "one").await);
    a.caught_up().await;
    pair.relay.cut();
    let mirror = a.mirror.clone();
    let waiting = tokio::spawn(async move { mirror.begin().put("2", "two").commit().await });
    a.until("stalled", |s| s.report.stalled && s.report.caught_up.is_none()).await;
    assert!(a.read("2").is_none(), "nothing is visible before both hold it");
    a.data.acknowledge(Epoch(1), ALONE);
    lsn(waiting.await.unwrap());
    lsn(a.put("3", "three").await);
    assert!(matches!(*a.mirror.protection().borrow(), Protection::Standalone { .. }));
    // The line comes back: catch-up, then the engine admits the copy again.
    pair.relay.heal();
    a.caught_up().await;
    b.until("went alone there", |s| !s.current).await;
    let refused = b.data.promote(&b.ctx(2), BOTH).await.unwrap_err();
    assert!(refused.reason.contains("not current"), "{refused}");
    let again = AckRule::Both(Generation(3));
    a.caught_up().await;
    a.data.acknowledge(Epoch(1), again);
    a.until("admitted", |s| s.report.rule == Some(again) && s.report.caught_up.is_some()).await;
    lsn(a.put("4", "four").await);
    same_trees(&a, &b).await;
    b.until("current", |s| s.current).await;
    // At no report was a copy named equal while the other acknowledged alone without it.
    let reports = a.reports.lock().unwrap();
    assert!(reports.iter().any(|r| r.stalled) && reports.iter().any(|r| r.rule == Some(ALONE)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_given_up_commit_stays_absent() {
    let short = Duration::from_millis(100);
    let pair = Pair::with(ha_replication::Limits { commit_timeout: short, ..limits() }).await;
    let (a, b) = (pair.open(0), pair.open(1));
    a.promote(1, BOTH).await;
    lsn(a.put("1", "one").await);
    pair.relay.cut();
    a.until("cut", |s| !s.session).await;
    let given_up = a.mirror.begin().put("2", "two").idempotency_key(b"k").commit().await;
    let CommitOutcome::Unknown { tx_id, why: UnknownReason::GaveUp } = given_up else {
        panic!("expected Unknown, found {given_up:?}");
    };
    assert_eq!(a.mirror.outcome(tx_id), Outcome::Pending);
    a.data.acknowledge(Epoch(1), ALONE);
    a.until("the abort counts", |s| s.commit == s.sequenced).await;
    assert_eq!(a.mirror.outcome(tx_id), Outcome::Absent);
    let second = lsn(a.mirror.begin().put("2", "again").idempotency_key(b"k").commit().await);
    assert!(second > tx_id.lsn.0, "the key of an aborted transaction is free");
    pair.relay.heal();
    a.caught_up().await;
    same_trees(&a, &b).await;
    assert_eq!(b.mirror.outcome(tx_id), Outcome::Absent);
    assert_eq!(b.read("2").as_deref(), Some("again"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dropping_the_future_does_not_cancel() {
    let pair = Pair::new().await;
    let (a, b) = (pair.open(0), pair.open(1));
    a.promote(1, BOTH).await;
    let mut commit = Box::pin(a.mirror.begin().put("kept", "yes").commit());
    let polled = futures::poll!(commit.as_mut());
    assert!(polled.is_pending());
    drop(commit);
    a.until("committed all the same", |s| s.applied.0 >= 2).await;
    assert_eq!(a.read("kept").as_deref(), Some("yes"));
    same_trees(&a, &b).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn expired_token_is_unknown() {
    let pair = Pair::new().await;
    let (a, b) = (pair.open(0), pair.open(1));
    a.promote(1, BOTH).await;
    lsn(a.put("0", "zero").await);
    pair.relay.cut();
    let mirror = a.mirror.clone();
    let waiting = tokio::spawn(async move { mirror.begin().put("1", "one").commit().await });
    a.until("sequenced", |s| s.sequenced.0 >= 3).await;
    a.token.set(Epoch(1), Instant::ZERO);
    let refused = a.put("2", "two").await;
    assert!(matches!(refused, CommitOutcome::Rejected { why: RejectReason::Token(_) }), "{refused:?}");
    pair.relay.heal();
    let outcome = waiting.await.unwrap();
    assert!(
        matches!(outcome, CommitOutcome::Unknown { why: UnknownReason::TokenExpired, .. }),
        "{outcome:?}"
    );
    same_trees(&a, &b).await;
}

/// It may have lost, with its disk, a grant that came after the leader's.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_blank_copy_is_sent_nothing_before_the_permission_is_confirmed() {
    let pair = Pair::new().await;
    let a = pair.open(0);
    a.promote(1, ALONE).await;
    lsn(a.put("0", "zero").await);
    a.token.set(Epoch(1), Instant::ZERO);
    let b = pair.open(1);
    for side in [&a, &b] {
        side.until("a session", |s| s.session).await;
    }
    // The silence that ends a session is longer than ten of its looks at the plan: it lives on signs of life alone.
    let sessions = a.mirror.status().sessions;
    tokio::time::sleep(pair.limits.silence * 2).await;
    assert_eq!((b.mirror.status().sequenced, b.read("0")), (Lsn(0), None));
    assert_eq!(a.mirror.status().sessions, sessions);
    a.token.set(Epoch(1), Instant::FAR);
    a.caught_up().await;
    same_trees(&a, &b).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unacknowledged_tail_goes_to_quarantine() {
    let pair = Pair::new().await;
    let (a, b) = (pair.open(0), pair.open(1));
    a.promote(1, BOTH).await;
    lsn(a.put("1", "one").await);
    a.caught_up().await;
    pair.relay.cut();
    a.until("cut", |s| !s.session).await;
    let mirror = a.mirror.clone();
    let waiting = tokio::spawn(async move { mirror.begin().put("lost", "x").commit().await });
    a.until("durable here", |s| s.durable.0 >= 3).await;
    b.promote(2, ALONE).await;
    lsn(b.put("2", "two").await);
    a.data.demote(&a.ctx(1)).await.unwrap();
    let outcome = waiting.await.unwrap();
    let CommitOutcome::Unknown { tx_id, why: UnknownReason::Demoted } = outcome else {
        panic!("expected Unknown, found {outcome:?}");
    };
    pair.relay.heal();
    b.caught_up().await;
    let report = a.mirror.status().last_quarantine.unwrap();
    assert_eq!((report.fork, report.epoch), (Lsn(2), Epoch(1)));
    assert!(pair.dirs[0].path().join(&report.file).is_file());
    same_trees(&b, &a).await;
    assert!(a.read("lost").is_none());
    assert_eq!(a.mirror.outcome(tx_id), Outcome::Absent);
    assert_eq!(b.mirror.outcome(tx_id), Outcome::Absent);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_lone_histories_are_a_divergence() {
    let pair = Pair::new().await;
    let (a, b) = (pair.open(0), pair.open(1));
    a.promote(1, BOTH).await;
    lsn(a.put("1", "one").await);
    a.caught_up().await;
    pair.relay.cut();
    a.until("cut", |s| !s.session).await;
    a.data.acknowledge(Epoch(1), ALONE);
    lsn(a.put("mine", "a").await);
    a.data.demote(&a.ctx(1)).await.unwrap();
    b.promote(2, AckRule::Alone(Generation(9))).await;
    lsn(b.put("mine", "b").await);
    pair.relay.heal();
    b.until("diverged", |s| s.diverged.is_some()).await;
    a.until("diverged", |s| s.diverged.is_some()).await;
    assert!(a.mirror.status().report.diverged && b.mirror.status().report.diverged);
    assert_eq!(a.read("mine").as_deref(), Some("a"), "nothing moves");
    assert!(a.mirror.status().last_quarantine.is_none());
    // An operator gives one tail up: that node takes the other's copy, and its own is kept.
    a.data.surrender();
    b.caught_up().await;
    same_trees(&b, &a).await;
    assert_eq!(a.read("mine").as_deref(), Some("b"));
    let kept = pair.dirs[0].path().join("quarantine/gen-1/tree/mine");
    assert_eq!(std::fs::read_to_string(kept).unwrap(), "a");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_was_away_catches_up_from_the_journal() {
    let pair = Pair::new().await;
    let (a, b) = (pair.open(0), pair.open(1));
    a.promote(1, BOTH).await;
    lsn(a.put("1", "one").await);
    drop(b);
    a.until("gone", |s| !s.session).await;
    a.data.acknowledge(Epoch(1), ALONE);
    for i in 0..50 {
        lsn(a.put(&format!("m/{i}"), "while away").await);
    }
    let b = Side::open(pair.config(1, 77));
    a.caught_up().await;
    assert_eq!(a.mirror.status().report.caught_up.unwrap().incarnation.0, 77);
    same_trees(&a, &b).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn blank_node_gets_a_whole_copy_while_commits_go_on() {
    let small = ha_replication::Limits {
        retain_bytes: 1,
        segment_bytes: 512 << 10,
        checkpoint_bytes: 256 << 10,
        ..limits()
    };
    let pair = Pair::with(small).await;
    let a = pair.open(0);
    a.promote(1, ALONE).await;
    let body = "x".repeat(32 << 10);
    let mut n = 0;
    while a.mirror.status().checkpoint.0 < 40 {
        lsn(a.put(&format!("m/{n}"), &body).await);
        n += 1;
        assert!(n < 2000, "no checkpoint: {:?}", a.mirror.status());
    }
    a.until("trimmed", |s| s.oldest.0 > 1).await;
    let b = pair.open(1);
    let mirror = a.mirror.clone();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let writing = tokio::spawn(async move {
        let mut stopped = stopped;
        for i in 0.. {
            if stopped.try_recv() != Err(tokio::sync::oneshot::error::TryRecvError::Empty) {
                return;
            }
            lsn(mirror.begin().put(&format!("w/{i}"), "on").commit().await);
            if i % 3 == 0 {
                lsn(mirror.begin().rename(&format!("w/{i}"), &format!("v/{i}")).commit().await);
            }
        }
    });
    a.caught_up().await;
    stop.send(()).unwrap();
    writing.await.unwrap();
    lsn(a.put("last", "one").await);
    same_trees(&a, &b).await;
    // The copy is a whole mirror: it survives a restart.
    drop(b);
    let b = Side::open(pair.config(1, 9));
    a.caught_up().await;
    same_trees(&a, &b).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_key_is_named_on_both_sides() {
    let pair = Pair::new().await;
    let a = pair.open(0);
    let other = ha_core::wire::PairKey::from_bytes(&[6; 32]).unwrap();
    let b = Side::open(pair.config(1, 2).with_key(other));
    let named =
        |s: &ha_replication::MirrorStatus| s.last_refusal.as_ref().is_some_and(|r| r.contains("another key"));
    a.until("the key named", named).await;
    b.until("the key named", named).await;
    assert!(!a.mirror.status().session && !b.mirror.status().session);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_mirror_and_the_same_node_are_named_on_both_sides() {
    let pair = Pair::new().await;
    let a = pair.open(0);
    let mut config = pair.config(1, 2);
    config.mirror = ha_replication::MirrorId::from_name("lists");
    let b = Side::open(config);
    let named = |s: &ha_replication::MirrorStatus| {
        s.last_refusal.as_ref().is_some_and(|r| r.contains("another mirror"))
    };
    a.until("the mirror named", named).await;
    b.until("the mirror named", named).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_opened_says_why() {
    use ha_replication::{Limits, Mirror, OpenError};
    let pair = Pair::new().await;
    let a = pair.open(0);
    let busy = Mirror::open(pair.config_in(pair.dirs[1].path(), 0, 3)).unwrap_err();
    assert!(matches!(busy, OpenError::Listen { addr, .. } if addr == pair.addr), "{busy}");
    let mut open = pair.config(1, 3);
    open.key = None;
    open.peer = "192.0.2.1:9".parse().unwrap();
    assert!(matches!(Mirror::open(open).unwrap_err(), OpenError::KeyNeeded { .. }));
    let bad = Limits { spare_segments: 0, ..limits() };
    let bad = Mirror::open(pair.config(1, 3).with_limits(bad)).unwrap_err();
    assert!(matches!(bad, OpenError::Limit { field: "spare_segments", .. }), "{bad}");
    let third = Mirror::open(pair.config_in(pair.dirs[0].path(), 1, 3)).unwrap_err();
    assert!(matches!(third, OpenError::Locked { .. } | OpenError::OtherNode { .. }), "{third}");
    drop(a);
    let other = Mirror::open(pair.config_in(pair.dirs[0].path(), 1, 3)).unwrap_err();
    assert!(matches!(other, OpenError::OtherNode { .. }), "{other}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lower_epoch_is_refused() {
    let pair = Pair::new().await;
    let (a, b) = (pair.open(0), pair.open(1));
    a.promote(5, BOTH).await;
    a.promote(5, BOTH).await;
    lsn(a.put("1", "one").await);
    let refused = b.data.promote(&b.ctx(5), BOTH).await.unwrap_err();
    assert!(refused.reason.contains("not above 5"), "{refused}");
    // A newer leader takes the place of one that does not know yet.
    b.promote(6, BOTH).await;
    a.until("stepped down", |s| s.role != "leader").await;
    lsn(b.put("2", "two").await);
    same_trees(&b, &a).await;
}

/// A node that lost its disk was made to serve below an epoch that the other copy knows: the engine is told which.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_below_what_the_other_copy_knows_reports_that_epoch() {
    let pair = Pair::new().await;
    let (a, b) = (pair.open(0), pair.open(1));
    a.promote(9, BOTH).await;
    a.caught_up().await;
    lsn(a.put("1", "one").await);
    drop(a);
    pair.relay.cut();
    let blank = tempfile::tempdir().unwrap();
    let a = Side::open(pair.config_in(blank.path(), 0, 7));
    a.promote(5, ALONE).await;
    pair.relay.heal();
    a.until("overtaken", |s| s.report.overtaken == Some(Epoch(9))).await;
    assert_ne!(a.mirror.status().role, "leader");
    a.data.demote(&a.ctx(5)).await.unwrap();
    a.promote(10, ALONE).await;
    assert_eq!(a.mirror.status().report.overtaken, None);
    drop(b);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn evidence_frames_pass() {
    let pair = Pair::new().await;
    let (a, b) = (pair.open(0), pair.open(1));
    a.until("a session", |s| s.session).await;
    b.until("a session", |s| s.session).await;
    let (x, y) = (
        a.mirror.evidence_link("e").open().await.unwrap(),
        b.mirror.evidence_link("e").open().await.unwrap(),
    );
    assert_eq!(x.describe().kind, "evidence");
    let mut buf = [0; 1400];
    for i in 0..20_u8 {
        x.send(&[i; 900]).await.unwrap();
        let n = tokio::time::timeout(Duration::from_secs(10), y.recv(&mut buf)).await.unwrap().unwrap();
        assert_eq!((n, buf[0]), (900, i));
    }
    assert!(x.send(&[0; 1401]).await.is_err());
    let newer = b.mirror.evidence_link("e").open().await.unwrap();
    y.recv(&mut buf).await.unwrap_err();
    x.send(b"beat").await.unwrap();
    assert_eq!(newer.recv(&mut buf).await.unwrap(), 4);
    assert!(a.mirror.evidence_link("e").open_sender().is_err());
}

/// The old primary follows the new one for a few milliseconds and is gone: what it did in between must not keep
/// the new one waiting for it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_primary_that_leaves_keeps_nobody_waiting() {
    let pair = Pair::new().await;
    let mut life = 10;
    let mut open = |node: u8| {
        life += 1;
        Side::open(pair.config(node, life))
    };
    let (a, mut b) = (open(0), open(1));
    b.promote(1, BOTH).await;
    b.caught_up().await;
    for round in 1..60_u64 {
        let mails = (0..20).map(|n| {
            let (mirror, path) = (b.mirror.clone(), format!("r{round}/{n}"));
            tokio::spawn(async move { mirror.begin().put(&path, "mail").commit().await })
        });
        let mails: Vec<_> = mails.collect();
        tokio::task::yield_now().await;
        b.token.revoke();
        b.data.demote(&b.ctx(2 * round - 1)).await.unwrap();
        let gone = async {
            tokio::time::sleep(Duration::from_micros(round % 20 * 300)).await;
            drop(b);
        };
        let (promoted, ()) =
            tokio::join!(tokio::time::timeout(Duration::from_secs(5), a.promote(2 * round, ALONE)), gone);
        assert!(promoted.is_ok(), "round {round}: {:#?}", a.mirror.status());
        for mail in mails {
            mail.await.unwrap();
        }
        b = open(1);
        a.caught_up().await;
        let admitted = AckRule::Both(Generation(3));
        a.data.acknowledge(Epoch(2 * round), admitted);
        a.until("the admission", |s| s.report.rule == Some(admitted) && s.report.caught_up.is_some()).await;
        a.data.demote(&a.ctx(2 * round)).await.unwrap();
        b.promote(2 * round + 1, BOTH).await;
        b.caught_up().await;
    }
}
