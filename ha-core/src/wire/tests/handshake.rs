//! Two sides find each other, whatever the path does.

use super::*;
use proptest::prelude::*;
use std::collections::VecDeque;

#[test]
fn two_lives_are_acquainted_after_four_frames_each_at_most() {
    let (a, b) = acquainted();
    assert_eq!(a.session.counters().sessions, 1);
    assert_eq!(b.session.counters().sessions, 1);
}

/// An engine that addresses nobody before it has evidence gets that evidence.
#[test]
fn sides_that_address_nobody_find_each_other_but_say_nothing() {
    let (mut a, mut b) = (Side::new(0, 1), Side::new(1, 2));
    for _ in 0..4 {
        let _ = b.session.decode(&a.speak());
        let _ = a.session.decode(&b.speak());
    }
    assert!(a.knows(&b) && b.knows(&a));
    let Ok(Received::Beat(beat)) = b.session.decode(&a.speak()) else { panic!("no beat") };
    assert_eq!((beat.to, beat.statements), (Some(Incarnation(2)), vec![]));
}

#[test]
fn what_is_meant_for_one_life_is_never_told_to_another() {
    let (mut a, mut b) = acquainted();
    a.to = Some(Incarnation(77));
    let Ok(Received::Beat(beat)) = b.session.decode(&a.speak()) else { panic!("no beat") };
    assert!(beat.statements.is_empty());
}

#[test]
fn an_echo_of_an_earlier_life_is_not_sent_to_a_later_one() {
    let (mut a, mut b) = acquainted();
    for _ in 0..50 {
        a.hear(&b.speak()).unwrap();
    }
    let mut later = Side::new(1, 3);
    let stale = a.echo;
    for _ in 0..6 {
        let _ = a.session.decode(&later.speak());
        let _ = later.hear(&a.speak());
    }
    assert!(a.knows(&later));
    a.echo = stale;
    let Ok(Received::Beat(beat)) = later.hear(&a.speak()) else { panic!("no beat") };
    assert_eq!(beat.echo, None);
}

/// A path that loses, repeats and reorders, by a list of choices.
#[derive(Default)]
struct Path {
    under_way: VecDeque<Vec<u8>>,
}

impl Path {
    fn carry(&mut self, frame: Vec<u8>, choice: u8) -> Option<Vec<u8>> {
        match choice % 8 {
            0 | 1 => {}
            2 => self.under_way.extend([frame.clone(), frame]),
            3 => self.under_way.push_front(frame),
            _ => self.under_way.push_back(frame),
        }
        if choice & 0x40 == 0 || self.under_way.len() > 6 { self.under_way.pop_front() } else { None }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn restarts_and_a_bad_path_never_deceive_and_end_acquainted(
        choices in prop::collection::vec((any::<u8>(), any::<u8>(), any::<u8>()), 0..200),
    ) {
        let (mut a, mut b) = (Side::new(0, 1), Side::new(1, 2));
        let (mut there, mut back) = (Path::default(), Path::default());
        let (mut life, mut seen) = (10, std::collections::BTreeSet::new());
        for (x, y, restart) in choices {
            life += 1;
            match restart {
                0..8 => a = Side::new(0, life),
                8..16 => b = Side::new(1, life),
                _ => {}
            }
            for (from, path, to, choice) in [(0, &mut there, 1, x), (1, &mut back, 0, y)] {
                let frame = if from == 0 { a.speak() } else { b.speak() };
                let Some(frame) = path.carry(frame, choice) else { continue };
                let receiver = if to == 0 { &mut a } else { &mut b };
                let me = receiver.incarnation;
                if let Ok(Received::Beat(beat)) = receiver.hear(&frame) {
                    prop_assert_eq!(beat.to, Some(me));
                    prop_assert!(seen.insert((me, beat.incarnation, beat.seq)), "{:?} twice", beat);
                }
            }
        }
        for _ in 0..16 {
            let _ = b.hear(&a.speak());
            let _ = a.hear(&b.speak());
        }
        prop_assert!(a.knows(&b) && b.knows(&a), "{:?} {:?}", a.session, b.session);
        let (to_b, to_a) = (a.speak(), b.speak());
        prop_assert!(b.hear(&to_b).is_ok() && a.hear(&to_a).is_ok());
    }
}
