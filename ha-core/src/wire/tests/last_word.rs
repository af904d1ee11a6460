//! The guardian speaks for a child that is gone.

use super::*;
use crate::engine::ReleasedNotice;

fn notice(groups: u16) -> ReleasedNotice {
    let groups = (0..groups).map(|g| (GroupId(g), Epoch(u64::MAX - u64::from(g)))).collect();
    ReleasedNotice { incarnation: Incarnation(1), groups, complete: true }
}

#[test]
fn the_last_word_is_heard_repeatedly_and_no_beat_after_it() {
    let (mut a, mut b) = acquainted();
    let late = a.speak();
    let stored = a.session.testament().unwrap().to_bytes();
    assert_eq!(stored.len(), Testament::BYTES);
    let mut guardian = Testament::from_bytes(&stored).unwrap();
    assert_eq!((guardian.incarnation(), guardian.link()), (Incarnation(1), LinkId(0)));
    for _ in 0..3 {
        let frames = guardian.released(&notice(2)).unwrap();
        assert_eq!(frames.len(), 1);
        assert_eq!(b.hear(&frames[0]), Ok(Received::Released(notice(2))));
        assert!(matches!(b.hear(&frames[0]), Err(FrameError::Replayed { .. })));
    }
    assert!(matches!(b.hear(&late), Err(FrameError::Replayed { .. })));
    assert_eq!(b.session.counters().released, 3);
    // The next life is heard as ever.
    let mut reborn = Side::new(0, 3);
    acquaint(&mut reborn, &mut b, 8);
}

#[test]
fn many_groups_take_several_frames_that_fit_every_link() {
    let (a, mut b) = acquainted();
    let frames = a.session.testament().unwrap().released(&notice(8)).unwrap();
    let mut groups = Vec::new();
    for frame in &frames {
        assert!(frame.len() <= SERIAL_FRAME_BYTES, "{}", frame.len());
        let Ok(Received::Released(part)) = b.hear(frame) else { panic!("no last word") };
        assert!(part.complete);
        groups.extend(part.groups);
    }
    assert_eq!(groups, notice(8).groups);
}

#[test]
fn the_last_word_counts_for_the_life_it_was_bound_to_and_no_other() {
    let (a, mut b) = acquainted();
    let mut guardian = a.session.testament().unwrap();
    let said = guardian.released(&notice(1)).unwrap().concat();
    let mut reborn = Side::new(1, 5);
    let mut a = a;
    acquaint(&mut a, &mut reborn, 12);
    assert_eq!(reborn.hear(&said), Err(FrameError::Unbound));
    // Nor after the next life of the sender is present.
    let mut next = Side::new(0, 6);
    acquaint(&mut next, &mut b, 12);
    assert_eq!(b.hear(&said), Err(FrameError::Unbound));
}

/// The child died after it heard the peer and before its first beat arrived.
#[test]
fn a_life_that_was_only_a_candidate_can_have_a_last_word() {
    let (mut a, mut b) = (Side::new(0, 1), Side::new(1, 2));
    assert!(a.session.testament().is_none());
    let _ = b.hear(&a.speak());
    let changes = a.session.session_changes();
    let _ = a.hear(&b.speak());
    assert_ne!(a.session.session_changes(), changes);
    let lost = a.speak();
    let said = a.session.testament().unwrap().released(&notice(1)).unwrap().concat();
    assert_eq!(b.hear(&said), Ok(Received::Released(notice(1))));
    assert!(matches!(b.hear(&lost), Err(FrameError::Replayed { .. })));
    assert!(b.session.peer().is_none());
}

#[test]
fn the_testament_follows_the_session() {
    let (mut a, mut b) = acquainted();
    let changes = a.session.session_changes();
    for _ in 0..10 {
        let _ = b.hear(&a.speak());
        let _ = a.hear(&b.speak());
    }
    assert_eq!(a.session.session_changes(), changes, "quiet while nothing changes");
    let mut reborn = Side::new(1, 5);
    acquaint(&mut a, &mut reborn, 12);
    assert_ne!(a.session.session_changes(), changes);
    let said = a.session.testament().unwrap().released(&notice(1)).unwrap().concat();
    assert!(matches!(reborn.hear(&said), Ok(Received::Released(_))));
}

#[test]
fn bytes_that_are_no_testament_are_refused() {
    let (a, _) = acquainted();
    let testament = a.session.testament().unwrap();
    let bytes = testament.to_bytes();
    assert!(!format!("{testament:?}").contains(&format!("{:?}", &bytes[23..27]).replace(['[', ']'], "")));
    assert_eq!(Testament::from_bytes(&bytes[..10]).unwrap_err(), TestamentError::Length { found: 10 });
    let mut newer = bytes.to_vec();
    newer[0] = 9;
    assert_eq!(
        Testament::from_bytes(&newer).unwrap_err(),
        TestamentError::Version { found: 9, supported: 1 }
    );
    let mut damaged = bytes.to_vec();
    damaged[19] = 0;
    assert_eq!(Testament::from_bytes(&damaged).unwrap_err(), TestamentError::Content);
    let mut guardian = testament;
    let other = ReleasedNotice { incarnation: Incarnation(9), ..notice(0) };
    assert!(matches!(guardian.released(&other), Err(TestamentError::OtherLife { .. })));
}
