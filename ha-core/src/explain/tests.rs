use super::*;
use crate::config::{Config, FenceConfig, GroupConfig, LinkConfig};
use crate::engine::{Boot, Command, Engine, Input, Predecessor, Question, Refusal};
use crate::replay::Step;
use crate::{BootId, GroupId, Incarnation, InitId, Instant, NodeId, NodeRecord, StoreId};
use std::sync::Arc;
use std::time::Duration;

const fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// One engine and its explainer.
struct Watched {
    engine: Engine,
    explainer: Explainer,
    at: Instant,
    told: Vec<Explanation>,
}

impl Watched {
    fn new() -> Self {
        let config = Config::pair("post", "left", "right")
            .link(LinkConfig::datagram("lan", ms(20), ms(200)))
            .fence(FenceConfig::new(ms(200)))
            .group(GroupConfig::new("mail").mirrored());
        let boot = Boot {
            me: NodeId(0),
            incarnation: Incarnation(5 << 96),
            boot: BootId(1),
            record: NodeRecord::blank(StoreId(1), Some(InitId(9))),
            predecessor: Predecessor::Gone,
            guarded: true,
            outside: 1,
        };
        let at = Instant::from_nanos(1_000_000_000);
        let engine = Engine::boot(Arc::new(config), boot, at);
        let explainer = Explainer::new(&engine);
        Self { engine, explainer, at, told: Vec::new() }
    }

    fn feed(&mut self, after: Duration, input: Input) {
        self.at += after;
        self.engine.handle(self.at, input.clone());
        let actions = std::iter::from_fn(|| self.engine.next_action()).collect();
        let step = Step { at: self.at, input, actions, same: true };
        self.told.extend(self.explainer.observe(&self.engine, &step));
    }
}

#[test]
fn a_lonely_boot_ends_in_a_question_that_says_what_is_missing() {
    let mut watched = Watched::new();
    for _ in 0..150 {
        watched.feed(ms(10), Input::Tick);
    }
    let asked = watched.told.iter().find(|e| e.decision == Decision::Ask { question: Question::PeerAbsent });
    let asked = asked.expect("a question");
    assert_eq!((asked.rule.number, asked.group_name.as_deref()), (7, Some("mail")));
    let text = asked.to_string();
    assert!(
        text.contains("lan silent, never heard both ways") && text.contains("no release was heard"),
        "{text}"
    );
    let question = watched.engine.open_question(GroupId(0), watched.at).unwrap();
    assert_eq!(
        question.answers.iter().map(|a| &*a.name).collect::<Vec<_>>(),
        ["bring-peer-back", "force-current", "confirm-peer-off"]
    );
    assert!(question.answers.iter().all(|a| !a.does.is_empty() && !a.risks.is_empty()));
    let force = question.answers[1].command.unwrap();
    watched.feed(ms(1), Input::Command(force));
    assert!(watched.engine.open_question(GroupId(0), watched.at).is_none());
    assert!(watched.told.iter().any(|e| matches!(e.decision, Decision::Claim { .. })), "{:#?}", watched.told);
}

#[test]
fn a_flood_of_refusals_is_counted_and_not_told_one_by_one() {
    let mut watched = Watched::new();
    for _ in 0..50 {
        watched.feed(ms(1), Input::Command(Command::Switchover(GroupId(0))));
    }
    watched.feed(ms(1100), Input::Command(Command::Switchover(GroupId(0))));
    let refusals: Vec<_> =
        watched.told.iter().filter(|e| e.decision == Decision::Refuse { why: Refusal::NotOwner }).collect();
    assert_eq!(refusals.iter().map(|e| e.omitted).collect::<Vec<_>>(), [0, 0, 0, 0, 46]);
    assert!(refusals[0].rejected[0].why.contains("this node is waiting"), "{}", refusals[0]);
}

#[test]
fn every_rule_has_a_name_of_its_own() {
    let names: std::collections::BTreeSet<_> = (1..=14).map(|n| Rule::numbered(n).name).collect();
    assert_eq!(names.len(), 14);
}
