//! The operator arbiter: the kit with an operator who always grants, and what an answer is bound to.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a failed step of a test is a failed test"
)]

mod arbiter_support;

use arbiter_support::{HandClock, life, owned};
use ha_core::Epoch;
use ha_core::api::{Arbiter, ArbiterError, Lease, OwnerRecord, Swap};
use ha_core::arbiter::{AnswerError, OperatorArbiter, OperatorDesk, OperatorQuestion, Verdict};
use ha_core::testkit::arbiter::{Check, check};
use std::sync::Arc;
use std::time::Duration;

const LEASE: Duration = Duration::from_secs(2);

/// A desk whose operator stays silent, and an arbiter that waits for its answers but a moment.
fn silent() -> (Arc<HandClock>, Arc<OperatorDesk>, OperatorArbiter) {
    let clock = Arc::new(HandClock::default());
    let desk = OperatorDesk::with_clock(LEASE, clock.clone(), |_, _| {});
    let arbiter = OperatorArbiter::new(Arc::clone(&desk), Duration::from_millis(20));
    (clock, desk, arbiter)
}

fn the_question(desk: &OperatorDesk) -> OperatorQuestion {
    let mut open = desk.questions();
    assert_eq!(open.len(), 1, "{open:?}");
    open.remove(0)
}

fn reason(error: ArbiterError) -> String {
    assert!(matches!(error, ArbiterError::Unavailable { .. }), "{error}");
    error.to_string()
}

async fn told(desk: &OperatorDesk, arbiter: &OperatorArbiter, record: Option<OwnerRecord>) {
    arbiter.read("g").await.unwrap_err();
    desk.answer(&the_question(desk).id, Verdict::Stands(record)).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn with_an_operator_who_always_grants_it_passes_the_kit() {
    let desk = OperatorDesk::new(Duration::from_millis(800), |desk, question| {
        let verdict = if question.wanted.is_some() { Verdict::Grant } else { Verdict::Stands(None) };
        // Another question may have been granted first: then this one is void, as it should be.
        let _ = desk.answer(&question.id, verdict);
    });
    let make = || OperatorArbiter::new(Arc::clone(&desk), Duration::from_secs(2));
    let report = check(make).await.unwrap_or_else(|failed| panic!("{failed}"));
    println!("{report}");
    assert_eq!(report.passed, Check::ALL);
}

#[tokio::test(start_paused = true)]
async fn a_question_shows_evidence_and_what_each_answer_means() {
    let (clock, desk, arbiter) = silent();
    told(&desk, &arbiter, Some(owned(0, 6))).await;
    desk.note("g", "heartbeat links net0 and serial0 are silent for 4 s");
    clock.advance(Duration::from_secs(1));
    let mut next = owned(1, 7);
    next.in_sync = 0b10;
    assert!(reason(arbiter.swap("g", 1, next).await.unwrap_err()).contains("did not end within"));
    let question = the_question(&desk);
    println!("{question}");
    let text = question.to_string();
    for says in [
        "question 2 on group \"g\" at revision 1 for life 00000000 at epoch 7",
        "node 0 (life 00000000) owns it at epoch 6",
        "hears nothing of whether it lives",
        "heartbeat links net0 and serial0 are silent for 4 s",
        "if node 0 (life 00000000) still runs, both serve",
        "the copies 0b1 fall out of the in-sync set",
        "refuse: everything stays as it is",
    ] {
        assert!(text.contains(says), "{text}\nexpected: {says}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_counts_once_and_finds_the_call_made_again() {
    let (_, desk, arbiter) = silent();
    told(&desk, &arbiter, None).await;
    arbiter.swap("g", 0, owned(0, 1)).await.unwrap_err();
    let question = the_question(&desk);
    desk.answer(&question.id, Verdict::Grant).unwrap();
    let again = desk.answer(&question.id, Verdict::Grant).unwrap_err();
    assert_eq!(again, AnswerError::NotOpen { number: question.id.number });
    let view = arbiter.read("g").await.unwrap();
    assert_eq!((view.record, view.revision), (Some(owned(0, 1)), 1));
    assert!(arbiter.renew("g", life(0), Epoch(1)).await.unwrap());
}

#[tokio::test(start_paused = true)]
async fn an_answer_for_another_group_epoch_or_life_is_refused() {
    let (_, desk, arbiter) = silent();
    told(&desk, &arbiter, None).await;
    arbiter.swap("g", 0, owned(0, 1)).await.unwrap_err();
    let right = the_question(&desk).id;
    let mut wrong = [right.clone(), right.clone(), right.clone(), right.clone()];
    wrong[0].group = "h".into();
    wrong[1].epoch = Some(Epoch(2));
    wrong[2].incarnation = Some(life(1));
    wrong[3].revision = 7;
    for id in wrong {
        let error = desk.answer(&id, Verdict::Grant).unwrap_err();
        assert!(matches!(error, AnswerError::OtherQuestion { .. }), "{error}");
    }
    let error = desk.answer(&right, Verdict::Stands(None)).unwrap_err();
    assert!(matches!(error, AnswerError::WrongKind { .. }), "{error}");
    assert_eq!(arbiter.read("g").await.unwrap().record, None);
    desk.answer(&right, Verdict::Grant).unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_stale_answer_is_refused() {
    let (clock, desk, arbiter) = silent();
    told(&desk, &arbiter, None).await;
    arbiter.swap("g", 0, owned(0, 1)).await.unwrap_err();
    let first = the_question(&desk);
    clock.advance(Duration::from_secs(45));
    arbiter.swap("g", 0, owned(0, 1)).await.unwrap_err();
    assert_eq!(the_question(&desk), first, "asked again, it is the same question");
    clock.advance(Duration::from_secs(61));
    let error = desk.answer(&first.id, Verdict::Grant).unwrap_err();
    assert!(matches!(error, AnswerError::Stale { .. }), "{error}");
    assert!(desk.questions().is_empty());
    assert_eq!(arbiter.read("g").await.unwrap().record, None);
}

#[tokio::test(start_paused = true)]
async fn of_two_who_ask_the_other_one_s_question_is_void_once_one_is_granted() {
    let (_, desk, arbiter) = silent();
    told(&desk, &arbiter, None).await;
    arbiter.swap("g", 0, owned(0, 1)).await.unwrap_err();
    arbiter.swap("g", 0, owned(1, 1)).await.unwrap_err();
    let [first, second] = &desk.questions()[..] else { panic!("two questions") };
    desk.answer(&second.id, Verdict::Grant).unwrap();
    let error = desk.answer(&first.id, Verdict::Grant).unwrap_err();
    assert_eq!(error, AnswerError::NotOpen { number: first.id.number });
    assert!(
        matches!(arbiter.swap("g", 0, owned(0, 1)).await.unwrap(), Swap::Lost(v) if v.record == Some(owned(1, 1)))
    );
}

#[tokio::test(start_paused = true)]
async fn a_sign_of_life_of_the_owner_voids_the_question() {
    let (_, desk, arbiter) = silent();
    told(&desk, &arbiter, Some(owned(0, 6))).await;
    let waiting = OperatorArbiter::new(Arc::clone(&desk), Duration::from_secs(30));
    let swap = tokio::spawn(async move { waiting.swap("g", 1, owned(1, 7)).await });
    while desk.questions().is_empty() {
        tokio::task::yield_now().await;
    }
    let question = the_question(&desk);
    desk.heard_of(life(0));
    assert!(reason(swap.await.unwrap().unwrap_err()).contains("withdrawn"));
    assert!(matches!(desk.answer(&question.id, Verdict::Grant), Err(AnswerError::NotOpen { .. })));
    assert_eq!(arbiter.read("g").await.unwrap().record, Some(owned(0, 6)));
}

#[tokio::test(start_paused = true)]
async fn one_life_asks_one_thing_at_a_time() {
    let (_, desk, arbiter) = silent();
    told(&desk, &arbiter, None).await;
    arbiter.swap("g", 0, owned(0, 1)).await.unwrap_err();
    let former = the_question(&desk);
    arbiter.swap("g", 0, owned(0, 2)).await.unwrap_err();
    assert_eq!(the_question(&desk).id.epoch, Some(Epoch(2)));
    assert!(matches!(desk.answer(&former.id, Verdict::Grant), Err(AnswerError::NotOpen { .. })));
}

#[tokio::test(start_paused = true)]
async fn a_refusal_holds_for_a_minute() {
    let (clock, desk, arbiter) = silent();
    told(&desk, &arbiter, None).await;
    arbiter.swap("g", 0, owned(0, 1)).await.unwrap_err();
    desk.answer(&the_question(&desk).id, Verdict::Refuse).unwrap();
    assert!(reason(arbiter.swap("g", 0, owned(0, 1)).await.unwrap_err()).contains("refused"));
    assert!(desk.questions().is_empty(), "nobody is asked again at once");
    clock.advance(Duration::from_secs(61));
    arbiter.swap("g", 0, owned(0, 1)).await.unwrap_err();
    the_question(&desk);
}

#[tokio::test(start_paused = true)]
async fn the_owner_s_own_change_asks_nobody_unless_a_copy_loses_its_place() {
    let (_, desk, arbiter) = silent();
    told(&desk, &arbiter, None).await;
    let waiting = OperatorArbiter::new(Arc::clone(&desk), Duration::from_secs(30));
    let swap = tokio::spawn(async move { waiting.swap("g", 0, owned(0, 1)).await });
    while desk.questions().is_empty() {
        tokio::task::yield_now().await;
    }
    desk.answer(&the_question(&desk).id, Verdict::Grant).unwrap();
    assert_eq!(swap.await.unwrap().unwrap(), Swap::Done { revision: 1 });
    let mut next = owned(0, 1);
    next.generation = ha_core::Generation(1);
    assert_eq!(arbiter.swap("g", 1, next).await.unwrap(), Swap::Done { revision: 2 });
    next.in_sync = 0b01;
    arbiter.swap("g", 2, next).await.unwrap_err();
    assert!(the_question(&desk).to_string().contains("fall out of the in-sync set"));
    let mut given_up = owned(0, 1);
    given_up.owner = None;
    assert_eq!(arbiter.swap("g", 2, given_up).await.unwrap(), Swap::Done { revision: 3 });
    assert!(desk.questions().is_empty(), "what was asked before is void");
}

/// Of an owner at another desk nothing is heard: no reader may conclude that its lease ran out.
#[tokio::test(start_paused = true)]
async fn a_lease_granted_elsewhere_never_looks_expired() {
    let (clock, desk, arbiter) = silent();
    told(&desk, &arbiter, Some(owned(0, 6))).await;
    let Lease::Held { renewal: first, .. } = arbiter.read("g").await.unwrap().lease else { panic!("free") };
    clock.advance(LEASE * 3);
    let Lease::Held { renewal: second, .. } = arbiter.read("g").await.unwrap().lease else { panic!("free") };
    assert_ne!(first, second);
    assert!(!arbiter.renew("g", life(0), Epoch(6)).await.unwrap(), "that life is not here");
}

#[tokio::test(start_paused = true)]
async fn another_installation_and_a_falling_epoch_are_never_put_to_the_operator() {
    let (_, desk, arbiter) = silent();
    told(&desk, &arbiter, Some(owned(0, 6))).await;
    let mut foreign = owned(1, 7);
    foreign.init = ha_core::InitId(99);
    for record in [foreign, owned(1, 5)] {
        let error = arbiter.swap("g", 1, record).await.unwrap_err();
        assert!(matches!(error, ArbiterError::Foreign { .. }), "{error}");
    }
    assert!(desk.questions().is_empty());
}

/// The desk is one process with one boot clock: what was granted here and not renewed for a lease is free.
#[tokio::test(start_paused = true)]
async fn a_lease_that_was_granted_here_runs_out_by_the_desks_own_clock() {
    let (clock, desk, arbiter) = silent();
    told(&desk, &arbiter, None).await;
    arbiter.swap("g", 0, owned(0, 1)).await.unwrap_err();
    desk.answer(&the_question(&desk).id, Verdict::Grant).unwrap();
    clock.advance(LEASE - Duration::from_millis(1));
    assert!(matches!(arbiter.read("g").await.unwrap().lease, Lease::Held { .. }));
    clock.advance(Duration::from_millis(1));
    assert_eq!(arbiter.read("g").await.unwrap().lease, Lease::Free);
    assert!(!arbiter.renew("g", life(0), Epoch(1)).await.unwrap());
}
