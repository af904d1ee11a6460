//! Real nodes keep a record: it replays to the same decisions, explains them, and harms nobody when its disk does.
#![cfg(all(feature = "runtime", feature = "sim"))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod runtime_support;

use ha_core::explain::{Decision, Explanation};
use ha_core::replay::{LogReader, replay};
use ha_core::runtime::{Node, NodeError, RecordOptions};
use ha_core::store::medium::{Medium, RecordingMedium};
use runtime_support::*;
use std::path::Path;
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Waits until the node explained a decision that `wanted` accepts.
async fn explained(node: &Node, what: &str, wanted: impl Fn(&Explanation) -> bool) -> Arc<Explanation> {
    let look = async {
        loop {
            if let Some(found) = node.explain().into_iter().find(|e| wanted(e)) {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    match tokio::time::timeout(Duration::from_secs(30), look).await {
        Ok(found) => found,
        Err(_) => panic!("{what} was not explained: {:#?}", node.explain()),
    }
}

#[tokio::test]
async fn both_nodes_logs_of_a_pair_that_failed_over_replay_to_the_same_decisions() {
    let pair = Pair::fenced();
    let [left, right] = pair.both_on().await;
    until_role(&left, "active").await;
    until_viable(&right).await;
    switch_over(&left).await;
    until_role(&right, "active").await;
    until_viable(&left).await;
    pair.machines[1].power_off().await;
    until_role(&left, "active").await;
    let claim = |e: &Explanation| matches!(e.decision, Decision::Claim { proof } if proof.name() == "Fenced");
    let why = explained(&left, "the takeover", claim).await;
    let right_again = pair.power_on(1).await;
    until_viable(&right_again).await;
    left.shutdown().await;
    until_role(&right_again, "active").await;
    right_again.halt().await;

    // What the takeover rested on, and what would have changed it.
    assert_eq!((why.rule.number, why.group_name.as_deref()), (1, Some("mail")));
    assert_eq!(why.evidence.links.len(), 2);
    assert!(why.evidence.links.iter().all(|l| l.two_way_ms_ago.is_some()), "{why}");
    let said: Vec<_> = why.counterfactuals.iter().map(|c| c.text.as_str()).collect();
    let wait =
        |link: &str| said.iter().any(|s| s.contains(&format!("waited if link {link} had delivered a beat")));
    assert!(wait("lan") && wait("cross"), "{why}");
    assert!(said.iter().any(|s| s.contains("if the fence device had not answered")), "{why}");

    for (me, lives) in [(0, 1), (1, 2)] {
        let mut claims = 0;
        let log = LogReader::open(&pair.record(me)).unwrap();
        let verdict = replay(&log, |_, step| {
            claims += step.actions.iter().filter(|a| format!("{a:?}").contains("Granted")).count();
        })
        .unwrap();
        assert!(verdict.is_whole() && verdict.damage.is_empty(), "{verdict:#?}");
        assert_eq!(verdict.lives.len(), lives, "{verdict:#?}");
        assert!(verdict.lives.iter().all(|l| l.steps > 5 && l.lost == 0), "{verdict:#?}");
        assert_eq!(verdict.check_config(&pair.config), Ok(()));
        assert!(claims >= 2, "node {me} was granted {claims} times");
    }
}

#[tokio::test]
async fn explanations_are_kept_across_restarts() {
    let pair = Pair::fenced();
    let [left, right] = pair.both_on().await;
    until_role(&left, "active").await;
    until_viable(&right).await;
    let first = explained(&left, "the first grant", |e| matches!(e.decision, Decision::Grant { .. })).await;
    left.halt().await;
    drop(left);
    *pair.machines[0].node.lock().unwrap() = None;
    let left = pair.power_on(0).await;
    let kept = explained(&left, "the grant of the life before", |e| {
        e.incarnation == first.incarnation && e.at == first.at
    })
    .await;
    assert_eq!(*kept, *first);
    let json = serde_json::to_string(&*kept).unwrap();
    assert_eq!(serde_json::from_str::<Explanation>(&json).unwrap(), *first);
}

#[tokio::test]
async fn a_full_disk_costs_the_record_and_nothing_else() {
    let pair = Pair::fenced();
    let full = RecordingMedium::new();
    full.fill_after(Some(0));
    let right = pair.power_on(1).await;
    let builder = pair.parts(0).store(Box::new(pair.store(0))).record(RecordOptions::new(Arc::new(full)));
    let left = builder.spawn().await.unwrap();
    until_role(&left, "active").await;
    explained(&left, "the grant", |e| matches!(e.decision, Decision::Grant { .. })).await;
    until_viable(&right).await;
    assert!(story(&left).contains("engine.log cannot be written"), "{}", story(&left));
    left.halt().await;
}

#[tokio::test]
async fn a_disk_that_hangs_holds_nobody_up() {
    let pair = Pair::fenced();
    let (stalled, (release, hang)) = (RecordingMedium::new(), channel::<()>());
    let hang = Mutex::new(hang);
    stalled.set_hook(move |call| {
        if call.what == "write" {
            let _ = hang.lock().unwrap().recv();
        }
    });
    let right = pair.power_on(1).await;
    let builder =
        pair.parts(0).store(Box::new(pair.store(0))).record(RecordOptions::new(Arc::new(stalled.clone())));
    let left = builder.spawn().await.unwrap();
    until_role(&left, "active").await;
    until_viable(&right).await;
    switch_over(&left).await;
    until_role(&right, "active").await;
    until_role(&left, "standby").await;
    // The disk comes back: what was handed over meanwhile is written, or its loss is.
    drop(release);
    explained(&left, "the switchover", |e| matches!(e.decision, Decision::Release { .. })).await;
    left.halt().await;
    let bytes = stalled.read(Path::new("engine.log")).unwrap();
    let part = ha_core::replay::LogPart { place: "engine.log".into(), bytes };
    let verdict = replay(&LogReader::from_parts(vec![part]).unwrap(), |_, _| {}).unwrap();
    assert!(verdict.is_whole(), "{verdict:#?}");
}

#[tokio::test]
async fn a_question_says_what_is_missing_and_is_answered_by_name() {
    let pair = Pair::new(config());
    let [left, right] = pair.both_on().await;
    until_role(&left, "active").await;
    until_viable(&right).await;
    pair.machines[0].power_off().await;
    let blocked = until(&right, "a question", |g| g.question.is_some()).await;
    let question = blocked.question.unwrap();
    assert_eq!(question.kind, "no-stop-proof");
    assert!(question.missing.iter().any(|m| m.contains("no fence device is configured")), "{question:?}");
    let answer = question.answers.iter().find(|a| a.name == "confirm-peer-off").unwrap();
    assert!(answer.risks.contains("both serve"), "{answer:?}");
    let refused = right.answer("mail", "force-current").unwrap_err();
    assert!(
        matches!(&refused, NodeError::NoSuchAnswer { expected, .. } if expected == "confirm-peer-off"),
        "{refused}"
    );
    right.answer("mail", "confirm-peer-off").unwrap();
    let active = until_role(&right, "active").await;
    assert_eq!(active.proof.as_deref(), Some("OperatorConfirmed"));
    assert!(matches!(right.answer("mail", "confirm-peer-off"), Err(NodeError::NoSuchAnswer { .. })));
    explained(&right, "the question", |e| matches!(e.decision, Decision::Ask { .. })).await;
}
