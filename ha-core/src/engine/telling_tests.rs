//! What is told of many groups, when, and until when.

use super::machine::Engine;
use super::pair_tests::{Pair, config};
use super::telling::{News, Topic};
use super::{ClaimState, Command, Input};
use crate::{GroupId, Instant};
use std::time::Duration;

/// All groups on node 0; the last but one starts after the hundredth.
fn many(groups: u16) -> Pair {
    let mut cfg = config(false);
    let group = cfg.groups[0].clone();
    cfg.groups = (0..groups).map(|_| group.clone()).collect();
    cfg.groups[usize::from(groups) - 2].policy.after = vec![GroupId(100)];
    let pair = Pair::settled(cfg);
    assert!(pair.nodes[0].as_ref().unwrap().owned().len() == usize::from(groups));
    pair
}

fn engine(pair: &Pair, n: usize) -> &Engine {
    pair.nodes[n].as_ref().unwrap()
}

/// How many beats come to node 1 until `done`.
fn beats_until(pair: &mut Pair, done: impl Fn(&Engine) -> bool) -> usize {
    let mut beats = 0;
    for _ in 0..2000 {
        let now = pair.now + Duration::from_millis(1);
        let comes = |(at, to, input): &&(Instant, usize, Input)| {
            *to == 1 && *at <= now && matches!(input, Input::Beat { .. })
        };
        beats += pair.in_flight.iter().filter(comes).count();
        pair.run(Duration::from_millis(1));
        if done(engine(pair, 1)) {
            return beats;
        }
    }
    panic!("never");
}

#[test]
fn a_new_life_of_the_peer_hears_of_all_groups_in_a_few_beats() {
    let mut pair = many(300);
    pair.kill(1);
    pair.run(Duration::from_millis(5));
    pair.boot(1);
    let all = |e: &Engine| (0..300).all(|g| e.st.peer.claims.contains_key(&GroupId(g)));
    let beats = beats_until(&mut pair, all);
    // Two or three greet; by sixteen a beat it would take nineteen on the wide link alone.
    assert!(beats <= 15, "{beats}");
    let serves = |e: &Engine| e.st.peer.serves.contains_key(&GroupId(100));
    let beats = beats_until(&mut pair, serves);
    assert!(beats <= 4, "{beats}");
}

/// The serial line is still telling of the start.
const WIDE: usize = 0;

#[test]
fn a_change_of_one_of_many_groups_is_told_out_of_turn() {
    let mut pair = many(300);
    pair.run(Duration::from_millis(3000));
    assert_eq!(engine(&pair, 0).st.links[WIDE].news, News::default());
    pair.feed(0, Input::Command(Command::Switchover(GroupId(251))));
    let moved =
        |e: &Engine| e.st.peer.claims.get(&GroupId(251)).is_some_and(|c| c.state != ClaimState::Owner);
    let beats = beats_until(&mut pair, moved);
    assert!(beats <= 6, "{beats}");
}

#[test]
fn that_one_of_many_groups_serves_is_told_out_of_turn() {
    let mut pair = many(300);
    pair.run(Duration::from_millis(3000));
    let owner = pair.nodes[0].as_mut().unwrap();
    owner.note_serving(GroupId(100), false);
    assert_eq!(owner.st.links[WIDE].news.first(), None);
    owner.note_serving(GroupId(100), true);
    assert_eq!(owner.st.links[WIDE].news.first(), Some(Topic::Serves(GroupId(100))));
}
