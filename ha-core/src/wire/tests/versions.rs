//! Two nodes of different programs: what they agree on, and how both say that they cannot.

use super::*;
use crate::config::{Config, LinkConfig};
use std::time::Duration;

fn side(node: u8, life: u128, terms: WireTerms) -> Side {
    let mut side = Side::new(node, life);
    side.session = side.session.with_terms(terms);
    side
}

fn speaking(oldest: u8, newest: u8) -> WireTerms {
    WireTerms::default().speaking(oldest, newest)
}

/// Some rounds of frames both ways; the refusals that each side saw.
fn exchange(a: &mut Side, b: &mut Side) -> [Vec<FrameError>; 2] {
    let mut refused = [Vec::new(), Vec::new()];
    for _ in 0..8 {
        let frame = a.speak();
        refused[1].extend(b.hear(&frame).err());
        let frame = b.speak();
        refused[0].extend(a.hear(&frame).err());
    }
    refused
}

#[test]
fn a_newer_and_an_older_program_speak_the_newest_version_that_both_know() {
    for (one, two, agreed) in
        [((1, 2), (1, 1), 1), ((1, 1), (1, 2), 1), ((1, 3), (2, 2), 2), ((1, 2), (2, 9), 2)]
    {
        let (mut a, mut b) = (side(0, 1, speaking(one.0, one.1)), side(1, 2, speaking(two.0, two.1)));
        exchange(&mut a, &mut b);
        assert!(a.knows(&b) && b.knows(&a), "{one:?} {two:?}");
        assert_eq!([&a, &b].map(|s| s.session.agreement().map(|g| g.version)), [Some(agreed); 2]);
        let frame = a.speak();
        assert_eq!((frame[1] >> 4, frame[1] & 0x0f), (agreed, 1), "a beat carries its version");
        assert!(matches!(b.hear(&frame), Ok(Received::Beat(_))));
    }
}

#[test]
fn programs_without_a_common_version_refuse_each_other_by_name_on_both_sides() {
    let (mut a, mut b) = (side(0, 1, speaking(2, 3)), side(1, 2, speaking(1, 1)));
    let [at_a, at_b] = exchange(&mut a, &mut b);
    assert!(!a.knows(&b) && !b.knows(&a));
    assert_eq!(at_a[0], FrameError::NoCommonVersion { ours: (2, 3), theirs: (1, 1) });
    assert_eq!(at_b[0], FrameError::NoCommonVersion { ours: (1, 1), theirs: (2, 3) });
    assert!(at_a[0].to_string().contains("the peer speaks versions 1 to 1"), "{}", at_a[0]);
    assert_eq!(at_a.len(), 8, "each of its greetings is refused");
    assert!(b.session.counters().other_version >= 8);
    assert_eq!(b.session.agreement(), None);
}

/// The programs before there were terms say nothing of them.
#[test]
fn a_program_that_tells_no_terms_speaks_version_one() {
    let (mut a, mut b) = (side(0, 1, speaking(1, 1)), side(1, 2, speaking(1, 4)));
    assert_eq!(a.speak().len(), 56);
    assert_eq!(b.speak().len(), SERIAL_FRAME_BYTES, "a greeting with terms fills a serial frame");
    exchange(&mut a, &mut b);
    assert!(a.knows(&b) && b.knows(&a));
    assert_eq!(b.session.agreement().map(|g| (g.version, g.same_parameters)), Some((1, None)));
}

/// Computed by another program, from `docs/WIRE.md`.
#[test]
fn golden_greeting_with_terms() {
    let mut terms = speaking(1, 3);
    (terms.capabilities, terms.parameters) = (5, Some([0xab, 0xcd, 0xef]));
    let octets: String = side(0, 1, terms).speak().iter().map(|b| format!("{b:02x}")).collect();
    let expected = "a710000000d8d3f10000000000000000000000000000000100000000000003e80000000000000000\
                    1305abcdefee593799dbf3752c2b609eceb353c140";
    assert_eq!(octets, expected);
}

#[test]
fn capabilities_are_those_of_both_and_other_parameters_are_named_on_both_sides() {
    let ms = Duration::from_millis;
    let config = |dead| Config::pair("mail", "a", "b").link(LinkConfig::datagram("lan", ms(50), ms(dead)));
    for (mine, yours, same) in [(200, 200, true), (200, 250, false)] {
        let mut one = WireTerms::of(&config(mine));
        let mut two = WireTerms::of(&config(yours));
        (one.capabilities, two.capabilities) = (0b0110, 0b0011);
        let (mut a, mut b) = (side(0, 1, one), side(1, 2, two));
        exchange(&mut a, &mut b);
        for found in [a, b].map(|s| s.session.agreement().unwrap()) {
            assert_eq!((found.capabilities, found.same_parameters), (0b0010, Some(same)));
        }
    }
}

#[test]
fn terms_that_contradict_themselves_are_malformed() {
    for (oldest, newest) in [(0, 1), (3, 2)] {
        let (mut a, mut b) = (side(0, 1, speaking(oldest, newest)), side(1, 2, speaking(1, 1)));
        let frame = a.speak();
        assert_eq!(b.hear(&frame), Err(FrameError::Malformed { what: "greeting" }));
    }
}

/// One node after the other is replaced by a newer program, and one of them goes back; each life finds the other.
#[test]
fn s087_a_rolling_upgrade_and_the_way_back_always_have_a_common_version() {
    let (old, new) = (speaking(1, 1), speaking(1, 2));
    let (mut a, mut b) = (side(0, 1, old), side(1, 2, old));
    exchange(&mut a, &mut b);
    let mut life = 3;
    for (which, terms, agreed) in [(1, new, 1), (0, new, 2), (1, old, 1), (1, new, 2), (0, old, 1)] {
        let replaced = side(which, life, terms);
        life += 1;
        if which == 0 {
            a = replaced
        } else {
            b = replaced
        }
        exchange(&mut a, &mut b);
        assert!(a.knows(&b) && b.knows(&a), "after life {life}");
        let found = [&a, &b].map(|s| s.session.agreement().map(|g| g.version));
        assert_eq!(found, [Some(agreed); 2]);
    }
}
