//! A suspended owner that sleeps once more: meanwhile a device calls it off, and the other node takes over.

use super::pair_tests::{Pair, config};
use super::*;
use std::time::Duration;

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// The owner does not run, and is said to be off.
fn taken_over_in_its_sleep(pair: &mut Pair) {
    let asleep = pair.nodes[0].take();
    pair.run(ms(2000));
    assert_eq!(pair.status(1).role, RoleName::Active, "{:#?}", pair.log);
    pair.nodes[0] = asleep;
}

/// The first thing that it takes does not let it act, and then it hears of the other one.
fn waits_and_gives_way(pair: &mut Pair, first: Input) {
    pair.feed(0, first);
    assert_eq!(pair.status(0).role, RoleName::Suspended, "{:#?}", pair.log);
    pair.run(ms(500));
    let roles = [0, 1].map(|n| pair.status(n).role);
    assert_eq!(roles, [RoleName::Standby, RoleName::Active], "{:#?}", pair.log);
}

fn confirmation_under_way(pair: &mut Pair) -> Input {
    let confirms = |s: &Statement| matches!(s, Statement::Confirmed { .. });
    loop {
        pair.run(ms(1));
        let said = |i: &Input| matches!(i, Input::Beat { beat, .. } if beat.statements.iter().any(confirms));
        let at = pair.in_flight.iter().position(|(_, to, input)| *to == 0 && said(input));
        if let Some((_, _, input)) = at.and_then(|at| pair.in_flight.remove(at)) {
            return input;
        }
    }
}

#[test]
fn a_confirmation_from_before_the_sleep_confirms_nothing() {
    let mut pair = Pair::settled(config(true));
    pair.now += ms(150);
    let old = confirmation_under_way(&mut pair);
    taken_over_in_its_sleep(&mut pair);
    waits_and_gives_way(&mut pair, old);
}

/// Its application stood still for longer than the confirm deadline before the sleep.
#[test]
fn who_waited_for_a_confirmation_before_the_sleep_waits_as_long_after_it() {
    let mut pair = Pair::settled(config(true));
    pair.feed(0, Input::Application { alive: false });
    pair.run(ms(500));
    taken_over_in_its_sleep(&mut pair);
    waits_and_gives_way(&mut pair, Input::Application { alive: true });
}
