//! Words that come late, or not yet, or that say too little: an older claim after a newer one, a life whose claim was not
//! heard, a release while something of an earlier life still runs, a grant of an earlier life that was still waiting.

use super::pair_tests::{Order, Pair, config};
use super::*;
use crate::*;
use std::time::Duration;

const GROUP: GroupId = GroupId(0);
const SERIAL: LinkId = LinkId(1);

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

fn claims_on_the_line(input: &Input) -> bool {
    let claims = |s: &Statement| matches!(s, Statement::Claim { state: ClaimState::Owner, .. });
    matches!(input, Input::Beat { link: SERIAL, beat } if beat.statements.iter().any(claims))
}

/// "I own it", under way on the serial line to the second node; what follows it on that line is lost.
fn held_back(pair: &mut Pair) -> Input {
    loop {
        pair.run(ms(1));
        let under_way = pair.in_flight.iter().find(|(_, to, i)| *to == 1 && claims_on_the_line(i));
        if let Some((at, to, input)) = under_way.cloned() {
            pair.in_flight.retain(|entry| *entry != (at, to, input.clone()));
            pair.cut.insert((0, SERIAL.0));
            return input;
        }
    }
}

/// The owner released to a node that lost its power, and was back before anybody noticed. Its promise, which lets the
/// former owner act again, met an older "I own it" of that one.
#[test]
fn a_promise_that_an_older_word_took_back_is_given_again() {
    let mut pair = Pair::settled(config(true));
    pair.feed(0, Input::Command(Command::Switchover(GROUP)));
    while pair.status(0).role != RoleName::Standby {
        pair.run(ms(1));
    }
    pair.kill(1);
    pair.run(ms(50));
    pair.boot(1);
    pair.run(ms(1500));
    let old = held_back(&mut pair);
    let promised = |pair: &Pair| pair.records[1].group(GROUP).floor;
    let before = promised(&pair);
    while promised(&pair) == before {
        pair.run(ms(1));
    }
    pair.feed(1, old);
    pair.run(ms(1000));
    assert_eq!(pair.status(0).role, RoleName::Active, "{:#?}", pair.log);
}

/// Node 1 comes into the role, within a second.
fn until(pair: &mut Pair, role: RoleName) {
    for _ in 0..1000 {
        if pair.status(1).role == role {
            return;
        }
        pair.run(ms(1));
    }
    panic!("{:#?}", pair.log);
}

/// A slow line told of an owner after its departure, on which this node had been granted the group. Given up again to that node's
/// next life, the group was taken back on the old departure while the new life served.
#[test]
fn the_end_of_an_owner_is_no_proof_twice() {
    let mut pair = Pair::settled(config(false));
    let old = held_back(&mut pair);
    pair.feed(0, Input::Command(Command::Shutdown));
    until(&mut pair, RoleName::Active);
    pair.kill(0);
    pair.feed(1, old);
    pair.cut.clear();
    pair.boot(0);
    pair.run(ms(1000));
    pair.feed(1, Input::Command(Command::Switchover(GROUP)));
    until(&mut pair, RoleName::Standby);
    pair.cut.extend([(0, 0), (0, SERIAL.0)]);
    pair.fence_works = false;
    // No two permissions at any instant, or it fails in there.
    pair.run(ms(4000));
    assert_eq!(pair.status(0).role, RoleName::Active, "{:#?}", pair.log);
    assert_eq!(pair.status(1).question, Some(Question::NoStopProof), "{:#?}", pair.log);
}

/// Two beats of one link changed places on their way: the first counts as a sign of life and not as a word.
#[test]
fn what_an_overtaken_beat_says_is_older_than_what_is_known() {
    const LAN: LinkId = LinkId(0);
    let mut pair = Pair::settled(config(false));
    let late = loop {
        pair.run(ms(1));
        let on_lan = |(_, to, input): &(Instant, usize, Input)| {
            *to == 1 && matches!(input, Input::Beat { link: LAN, .. })
        };
        if let Some(at) = pair.in_flight.iter().position(on_lan) {
            break pair.in_flight.remove(at).unwrap().2;
        }
    };
    pair.feed(0, Input::Command(Command::Switchover(GROUP)));
    pair.run(ms(500));
    let known = |pair: &Pair| pair.nodes[1].as_ref().unwrap().st.peer.claims.get(&GROUP).map(|c| c.state);
    let before = known(&pair);
    assert_ne!(before, Some(ClaimState::Owner), "{:#?}", pair.log);
    pair.feed(1, late);
    assert_eq!(known(&pair), before);
}

/// A narrow line says one thing at a time: a copy can be caught up before its claim was heard. Its record is of a later
/// generation than the owner's, as an operator made a node serve that had forgotten.
#[test]
fn a_copy_is_admitted_above_its_own_generation_which_must_have_been_heard() {
    let mut pair = Pair::settled(config(true));
    pair.kill(1);
    pair.run(ms(400));
    let later = SetRecord::Both { generation: Generation(9) };
    pair.records[1].groups.entry(GROUP).or_default().set = later;
    pair.boot(1);
    for _ in 0..100 {
        let beats = pair.in_flight.iter_mut().filter(|(_, to, _)| *to == 0);
        for (_, _, input) in beats {
            if let Input::Beat { beat, .. } = input {
                beat.statements.retain(|s| !matches!(s, Statement::Claim { .. }));
            }
        }
        pair.run(ms(1));
    }
    pair.run(ms(1000));
    assert_eq!(pair.status(0).protection, Protection::Full, "{:#?}", pair.log);
    assert_eq!(pair.status(1).set, SetRecord::Both { generation: Generation(10) });
}

/// An earlier life's service ran on; this life was granted the group, could not promote its copy, and had to hand over:
/// "released" is said when the service was stopped, although this life never started it.
#[test]
fn what_an_earlier_life_left_running_is_stopped_before_a_release_whatever_had_failed() {
    let mut pair = Pair::settled(config(true));
    pair.kill(0);
    pair.kill(1);
    pair.boot_after(0, Predecessor::Leftovers);
    pair.boot(1);
    pair.orders.clear();
    let failed = |pair: &mut Pair| {
        let promotion = pair.orders.iter().find(|o| o.node == 0 && matches!(o.kind, OpKind::Promote(_)));
        let Some(op) = promotion.map(|o| o.op) else { return false };
        for (_, _, input) in &mut pair.in_flight {
            if let Input::OpDone { op: done, result } = input
                && *done == op
            {
                *result = OpResult::Failed;
                return true;
            }
        }
        false
    };
    while !failed(&mut pair) {
        pair.run(ms(1));
    }
    pair.run(ms(1));
    assert_eq!(pair.status(0).role, RoleName::Stopping, "{:#?}", pair.log);
    pair.feed(0, Input::Command(Command::Shutdown));
    pair.run(ms(500));
    let stopped = |o: &Order| o.node == 0 && o.kind == OpKind::Stop && o.target == OpTarget::Resource(0);
    assert!(pair.orders.iter().any(stopped), "{:#?}\n{:#?}", pair.orders, pair.log);
}

/// A device ended the owner's processes; its address ends by itself, and is waited for. The taker's engine is restarted
/// meanwhile, and goes on with its own earlier grant: the address has as long as before.
#[test]
fn who_is_restarted_while_an_address_expires_waits_for_it_again() {
    let mut cfg = config(true);
    cfg.groups[0].address_lifetime = ms(700);
    let expiry = timing::address_expiry(ms(700));
    let mut pair = Pair::settled(cfg);
    pair.fence_ends = FenceScope::Processes;
    pair.kill(0);
    while pair.status(1).role != RoleName::Starting {
        pair.run(ms(1));
    }
    assert!(pair.records[1].group(GROUP).awaits_address);
    pair.run(ms(300));
    pair.kill(1);
    pair.boot(1);
    pair.fence_works = false;
    pair.orders.clear();
    let began = pair.now;
    while !pair.orders.iter().any(|o| o.node == 1 && o.kind == OpKind::Start) {
        pair.run(ms(1));
        assert!(pair.now.since(began) < ms(10_000), "{:#?}", pair.log);
    }
    assert!(pair.now.since(began) >= expiry, "{:?} {:#?}", pair.now.since(began), pair.log);
    pair.run(ms(1000));
    assert_eq!(pair.status(1).role, RoleName::Active, "{:#?}", pair.log);
    assert!(!pair.records[1].group(GROUP).awaits_address, "not for ever");
}
