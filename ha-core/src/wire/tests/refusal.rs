//! Everything that must not count.

use super::*;

#[test]
fn any_flipped_bit_is_refused() {
    let (mut a, mut b) = acquainted();
    a.said = every_statement();
    let mut frames = vec![Side::new(0, 9).speak(), a.speak()];
    let notice = crate::engine::ReleasedNotice {
        incarnation: a.incarnation,
        groups: vec![(GroupId(0), Epoch(1))],
        complete: false,
    };
    frames.extend(a.session.testament().unwrap().released(&notice).unwrap());
    for frame in frames {
        for bit in 0..frame.len() * 8 {
            let mut damaged = frame.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(b.session.decode(&damaged).is_err(), "bit {bit} of {frame:x?}");
        }
        for len in 0..frame.len() {
            assert!(b.session.decode(&frame[..len]).is_err(), "cut to {len}");
        }
        b.session.decode(&frame).expect("the frame itself is good");
    }
}

#[test]
fn a_beat_counts_once() {
    let (mut a, mut b) = acquainted();
    let early = a.speak();
    let late = a.speak();
    assert!(b.hear(&late).is_ok());
    assert!(b.hear(&early).is_ok(), "reordered within the window");
    for frame in [&early, &late] {
        assert!(matches!(b.hear(frame), Err(FrameError::Replayed { .. })));
    }
    let old = a.speak();
    for _ in 0..64 {
        b.hear(&a.speak()).unwrap();
    }
    assert!(matches!(b.hear(&old), Err(FrameError::Replayed { .. })), "older than the window");
    assert_eq!(b.session.counters().replayed, 3);
}

#[test]
fn own_frames_come_back_as_reflected() {
    let (mut a, _) = acquainted();
    let beat = a.speak();
    assert_eq!(a.hear(&beat), Err(FrameError::Reflected));
    let mut alone = Side::new(0, 5);
    let greeting = alone.speak();
    assert_eq!(alone.hear(&greeting), Err(FrameError::Reflected));
    // Even under the other node's place in the header.
    let (mut a, _) = acquainted();
    let mut turned = a.speak();
    turned[2] = 1;
    assert_eq!(a.hear(&turned), Err(FrameError::Unbound));
    assert_eq!(a.session.counters().reflected, 0);
}

#[test]
fn two_nodes_with_one_name_are_named() {
    let (mut one, mut other) = (Side::new(0, 1), Side::new(0, 2));
    let error = one.hear(&other.speak()).unwrap_err();
    assert_eq!(error, FrameError::SameName { node: NodeId(0), incarnation: Incarnation(2) });
    assert!(error.to_string().contains("one name"));
}

#[test]
fn another_cluster_link_key_or_version_is_named_in_greetings() {
    let key = pair_key();
    let mut here = Side::new(0, 1);
    let mut refused = |mut from: Side| here.hear(&from.speak()).unwrap_err();
    assert_eq!(refused(Side::on(&key, "other", 0, 1, 2)), FrameError::OtherCluster);
    let swapped = FrameError::OtherLink { found: LinkId(1), here: LinkId(0) };
    assert_eq!(refused(Side::on(&key, "mail", 1, 1, 2)), swapped);
    let stranger = PairKey::from_bytes(&[1; 32]).unwrap();
    assert_eq!(refused(Side::on(&stranger, "mail", 0, 1, 2)), FrameError::BadMac);
    let mut newer = Side::new(1, 2).speak();
    newer[1] += 0x10;
    assert_eq!(here.hear(&newer), Err(FrameError::Version { found: 2, supported: 1 }));
    assert!(here.session.peer().is_none());
    let counters = here.session.counters();
    assert_eq!((counters.misdirected, counters.bad_mac, counters.other_version), (2, 1, 1));
    assert_eq!(counters.refused(), 4);
}

/// The names and numbers that greetings show are part of every session's key, too.
#[test]
fn a_beat_of_another_cluster_link_or_key_is_refused_even_with_the_same_lives_and_nonces() {
    let key = pair_key();
    let stranger = PairKey::from_bytes(&[1; 32]).unwrap();
    for (key, cluster, link) in [(&key, "other", 0), (&key, "mail", 1), (&stranger, "mail", 0)] {
        let (_, mut b) = acquainted();
        let mut twin_a = Side::on(key, cluster, link, 0, 1);
        let mut twin_b = Side::on(key, cluster, link, 1, 2);
        acquaint(&mut twin_a, &mut twin_b, 4);
        twin_a.seq += 10;
        let frame = twin_a.speak();
        assert!(twin_b.hear(&frame).is_ok());
        assert_eq!(b.hear(&frame), Err(FrameError::Unbound), "{cluster} {link}");
    }
}

#[test]
fn nothing_recorded_in_an_earlier_life_of_the_receiver_counts() {
    let (mut a, mut b) = (Side::new(0, 1), Side::new(1, 2));
    let mut recorded = Vec::new();
    for _ in 0..8 {
        let frame = a.speak();
        let _ = b.hear(&frame);
        recorded.push(frame);
        let _ = a.hear(&b.speak());
    }
    assert!(b.knows(&a));
    let mut reborn = Side::new(1, 3);
    for _ in 0..3 {
        for frame in &recorded {
            assert!(!matches!(reborn.hear(frame), Ok(Received::Beat(_) | Received::Released(_))));
            let _ = reborn.speak();
        }
    }
    assert!(reborn.session.peer().is_none());
    assert_eq!(reborn.session.counters().beats, 0);
}

#[test]
fn nothing_of_an_earlier_life_of_the_sender_counts_once_a_later_one_is_present() {
    let mut b = Side::new(1, 2);
    let mut recorded = Vec::new();
    // More lives than are remembered.
    for life in 10..30 {
        let mut a = Side::new(0, life);
        for _ in 0..12 {
            let frame = a.speak();
            let _ = b.hear(&frame);
            recorded.push(frame);
            let _ = a.hear(&b.speak());
        }
        assert!(b.knows(&a) && a.knows(&b), "life {life}");
    }
    let present = b.session.peer();
    for _ in 0..3 {
        for frame in &recorded {
            assert!(!matches!(b.hear(frame), Ok(Received::Beat(_) | Received::Released(_))));
            let _ = b.speak();
        }
    }
    assert_eq!(b.session.peer(), present);
}

#[test]
fn repeated_greetings_cannot_silence_a_link() {
    let (mut a, mut b) = acquainted();
    let recorded: Vec<_> = (100..110).map(|life| Side::new(0, life).speak()).collect();
    let (mut by_a, mut by_b) = (0, 0);
    for _ in 0..400 {
        for frame in &recorded {
            let _ = b.hear(frame);
        }
        by_a += usize::from(matches!(a.hear(&b.speak()), Ok(Received::Beat(_))));
        by_b += usize::from(matches!(b.hear(&a.speak()), Ok(Received::Beat(_))));
    }
    assert!(by_a >= 300 && by_b >= 300, "{by_a} and {by_b} of 400 beats");
    assert!(a.knows(&b) && b.knows(&a));
}

#[test]
fn a_caller_that_breaks_the_contract_is_told() {
    let (mut a, _) = acquainted();
    let mut out = vec![1];
    let good = a.beat();
    let stale = Beat { seq: 1, ..good.clone() };
    assert!(matches!(a.session.encode(&stale, &mut out), Err(EncodeError::SeqNotIncreasing { .. })));
    let reserved = Beat { seq: RESERVED_SEQ, ..good.clone() };
    assert!(matches!(a.session.encode(&reserved, &mut out), Err(EncodeError::SeqExhausted { .. })));
    let other = Beat { incarnation: Incarnation(77), ..good.clone() };
    assert!(matches!(a.session.encode(&other, &mut out), Err(EncodeError::OtherLife { .. })));
    let long = Beat { statements: vec![every_statement()[0]; 100], ..good.clone() };
    assert!(matches!(a.session.encode(&long, &mut out), Err(EncodeError::TooLong { .. })));
    assert!(out.is_empty());
    assert_eq!(a.session.encode(&good, &mut out), Ok(FrameKind::Beat));
}
