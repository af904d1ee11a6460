//! Copies that both went on alone: their question stands until it is answered, and no longer.

use super::pair_tests::{Pair, config};
use super::*;
use crate::config::{GroupConfig, GroupPolicy, ResourceConfig};
use crate::*;
use std::time::Duration;

const GROUP: GroupId = GroupId(0);
const FOLLOWER: GroupId = GroupId(1);

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// How often the node asked about the divergence of the group's copies.
fn asked(pair: &Pair, node: usize, group: GroupId) -> usize {
    let question = Question::Diverged;
    pair.log.iter().filter(|(_, n, e)| *n == node && *e == EventKind::Asked { group, question }).count()
}

/// The choice is made, and still being written down.
#[test]
fn an_operators_choice_is_not_asked_for_again_while_it_is_written_down() {
    let mut pair = Pair::settled(config(true));
    for n in 0..2 {
        pair.kill(n);
        let alone = SetRecord::Alone { epoch: Epoch(1), generation: Generation(2) };
        pair.records[n].groups.entry(GROUP).or_default().set = alone;
    }
    pair.boot(0);
    pair.boot(1);
    pair.run(ms(500));
    assert_eq!(pair.status(1).question, Some(Question::Diverged), "{:#?}", pair.log);
    pair.log.clear();
    pair.feed(1, Input::Command(Command::Surrender { group: GROUP }));
    pair.feed(1, Input::Tick);
    assert_eq!(
        pair.records[1].group(GROUP).set,
        SetRecord::Out { epoch: Epoch(1), generation: Generation(2) }
    );
    pair.run(ms(500));
    assert_eq!(asked(&pair, 1, GROUP), 0, "{:#?}", pair.log);
    assert_eq!(pair.status(0).role, RoleName::Active, "{:#?}", pair.log);
}

/// Its lead is nowhere yet, and asks nothing.
#[test]
fn a_diverged_follower_that_waits_for_its_lead_asks_once() {
    let group = |name: &str| GroupConfig::new(name).then(ResourceConfig::new("service"));
    let mut cfg = config(false);
    let policy = GroupPolicy::default().with_lead(Some(GROUP));
    cfg.groups.push(group("web").with_policy(policy).mirrored());
    let mut pair = Pair::new(cfg);
    pair.kill(1);
    let report = DataReport { diverged: true, ..DataReport::default() };
    pair.feed(0, Input::Data { group: FOLLOWER, report });
    pair.run(ms(500));
    let groups = pair.nodes[0].as_ref().unwrap().status().groups;
    let questions: Vec<_> = groups.iter().map(|g| g.question).collect();
    assert_eq!(questions, [None, Some(Question::Diverged)], "{:#?}", pair.log);
    assert_eq!(asked(&pair, 0, FOLLOWER), 1, "{:#?}", pair.log);
}
