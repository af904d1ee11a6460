//! What a promise to leave a node's services alone holds back, proof by proof.

use super::duo::*;
use crate::config::{Config, GroupPolicy};
use crate::engine::*;
use crate::*;

const G: GroupId = GroupId(0);

fn config() -> Config {
    let mut group = group("mail", 0, GroupPolicy::default());
    group.resources.iter_mut().for_each(|r| r.outlives_engine = true);
    let mut config = pair([group]);
    config.fence = None;
    config
}

/// Node A serves in maintenance; its engine leaves orderly, or just dies.
fn without_a(orderly: bool) -> (Duo, Incarnation, Epoch) {
    let mut duo = Duo::settled(config());
    let status = duo.nodes[A].as_ref().unwrap().status();
    duo.command(A, Command::Maintenance { scope: PolicyScope::Node(NodeId(0)), on: true });
    duo.run(ms(50));
    if orderly {
        duo.command(A, Command::Detach);
        duo.run(ms(200));
        assert!(duo.said(A, &EventKind::Detach { group: G, step: DetachStep::Left }), "{:#?}", duo.log);
        assert!(duo.records[B].group(G).spares.is_some() && duo.records[A].group(G).detached.is_some());
    }
    duo.kill(A);
    (duo, status.incarnation, status.groups[0].epoch)
}

fn beat_of(duo: &Duo, life: Incarnation, statements: Vec<Statement>) -> Input {
    let to = duo.nodes[B].as_ref().map(|b| b.status().incarnation);
    Input::Beat {
        link: LinkId(0),
        beat: Beat { incarnation: life, to, seq: 1 << 20, echo: None, statements },
    }
}

/// With the promise the evidence changes nothing; without it the group is taken over at once.
fn held_back(evidence: impl Fn(&Duo, Incarnation, Epoch) -> Input) {
    for orderly in [true, false] {
        let (mut duo, life, epoch) = without_a(orderly);
        let input = evidence(&duo, life, epoch);
        duo.feed(B, input);
        duo.run(seconds(3));
        assert_eq!(duo.serving(0), (!orderly).then_some(B), "{:#?}", duo.log);
    }
}

#[test]
fn a_guardians_word_does_not_end_what_was_left_running() {
    held_back(|_, incarnation, epoch| {
        Input::Released(ReleasedNotice { incarnation, groups: vec![(G, epoch)], complete: true })
    });
}

#[test]
fn a_new_life_that_found_nothing_does_not_end_what_was_left_running() {
    held_back(|duo, _, _| {
        let (boot, predecessor) = (BootId(2), Predecessor::Gone);
        let claim = Statement::Claim {
            group: G,
            epoch: Epoch(1),
            state: ClaimState::Waiting,
            set: SetRecord::Never,
            lsn: Lsn(0),
            highest: Epoch(1),
        };
        beat_of(duo, Incarnation(99 << 96), vec![claim, Statement::Identity { boot, predecessor }])
    });
}

#[test]
fn a_departure_does_not_end_what_was_left_running() {
    held_back(|duo, life, _| beat_of(duo, life, vec![Statement::Departing]));
}

#[test]
fn a_promise_is_taken_back_by_a_life_that_left_nothing() {
    let (mut duo, ..) = without_a(true);
    // Another boot of the kernel: everything ended, and the record of it is void.
    duo.boot(A);
    duo.run(seconds(1));
    let (a, b) = (duo.records[A].group(G), duo.records[B].group(G));
    assert_eq!((a.detached, b.spares), (None, None), "{:#?}", duo.log);
    duo.command(A, Command::Maintenance { scope: PolicyScope::Node(NodeId(0)), on: false });
    duo.run(seconds(2));
    assert!(duo.serving(0).is_some(), "{:#?}", duo.log);
}

#[test]
fn a_promise_asked_for_out_of_maintenance_is_not_given() {
    let mut duo = Duo::settled(config());
    let life = duo.nodes[A].as_ref().unwrap().status().incarnation;
    let epoch = duo.status(A, 0).epoch;
    let spare = Statement::Spare { group: G, epoch, nonce: Nonce(5) };
    let input = beat_of(&duo, life, vec![spare]);
    duo.feed(B, input);
    duo.run(ms(100));
    assert_eq!(duo.records[B].group(G).spares, None);
    // Nor for another grant than the one that is claimed.
    duo.command(A, Command::Maintenance { scope: PolicyScope::Node(NodeId(0)), on: true });
    duo.run(ms(50));
    let spare = Statement::Spare { group: G, epoch: epoch.next(), nonce: Nonce(6) };
    let input = beat_of(&duo, life, vec![spare]);
    duo.feed(B, input);
    duo.run(ms(100));
    assert_eq!(duo.records[B].group(G).spares, None);
}

/// Of another boot of the kernel nothing runs, whatever a monitor says that is asked too early.
#[test]
fn after_a_power_cycle_nothing_of_before_is_taken_over() {
    let (mut duo, _, _) = without_a(true);
    duo.boot(A);
    duo.run(seconds(3));
    for step in [DetachStep::Found, DetachStep::Broken, DetachStep::Adopted] {
        assert!(!duo.said(A, &EventKind::Detach { group: G, step }), "{step:?}: {:#?}", duo.log);
    }
    assert!(duo.serving(0).is_some(), "{:#?}", duo.log);
}
