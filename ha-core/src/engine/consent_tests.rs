//! The question whether the owner may go on alone: whose answer counts, and whose silence does not.

use super::pair_tests::{Pair, config};
use super::*;
use crate::*;
use std::time::Duration;

const GROUP: GroupId = GroupId(0);

fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

fn shots(pair: &Pair) -> Vec<usize> {
    pair.log.iter().filter(|(_, _, e)| *e == EventKind::Shoot).map(|(_, n, _)| *n).collect()
}

/// Both lost their power, and the mirror's line is down when they are back: the first one owns, and has admitted nobody yet.
fn back_without_a_mirror(edit: impl FnOnce(&mut NodeRecord)) -> Pair {
    let mut pair = Pair::settled(config(true));
    pair.kill(0);
    pair.kill(1);
    edit(&mut pair.records[1]);
    pair.mirror_cut = true;
    pair.boot(0);
    pair.boot(1);
    while pair.promoted[0].is_none() {
        pair.run(ms(1));
    }
    pair
}

/// It was away for less than anybody would notice.
fn returns_with_a_new_disk(pair: &mut Pair) {
    pair.kill(1);
    pair.records[1] = NodeRecord::blank(StoreId(3 << 96), Some(InitId(7)));
    pair.boot(1);
}

/// Nothing can have been granted to a peer with a new disk while this node's permission lasted.
#[test]
fn the_consent_of_a_peer_with_a_new_disk_counts_for_an_owner_with_an_unbroken_permission() {
    let mut pair = back_without_a_mirror(|_| {});
    returns_with_a_new_disk(&mut pair);
    pair.run(ms(5000));
    assert!(shots(&pair).is_empty(), "{:#?}", pair.log);
    assert_eq!(pair.status(0).exclusion, Some(ExclusionProof::Consented), "{:#?}", pair.log);
}

/// Where its consent does not count it is an answer all the same.
#[test]
fn a_peer_with_a_new_disk_whose_consent_does_not_count_is_not_mute() {
    let mut pair = back_without_a_mirror(|_| {});
    returns_with_a_new_disk(&mut pair);
    pair.feed(0, Input::Application { alive: false });
    pair.run(ms(5000));
    assert_eq!(pair.status(0).role, RoleName::Suspended, "{:#?}", pair.log);
    assert_eq!(pair.status(0).exclusion, None, "{:#?}", pair.log);
    assert!(shots(&pair).is_empty(), "{:#?}", pair.log);
    pair.feed(0, Input::Application { alive: true });
    pair.run(ms(500));
    assert_eq!(pair.status(0).exclusion, Some(ExclusionProof::Consented), "{:#?}", pair.log);
}

/// It was admitted at that generation by an owner that did not survive it, or promised, and left the set.
#[test]
fn a_copy_that_left_at_a_higher_generation_than_its_owners_consents_all_the_same() {
    let out = SetRecord::Out { epoch: Epoch(1), generation: Generation(9) };
    let mut pair = back_without_a_mirror(|record| record.groups.entry(GROUP).or_default().set = out);
    assert!(pair.records[0].group(GROUP).set.generation() < Generation(9));
    pair.run(ms(5000));
    assert!(shots(&pair).is_empty(), "{:#?}", pair.log);
    assert_eq!(pair.status(0).exclusion, Some(ExclusionProof::Consented), "{:#?}", pair.log);
}

/// Its beats still come, and none of the owner's arrives: the one that hears nothing shoots in its slot, and it alone.
#[test]
fn a_peer_to_which_the_question_never_came_is_not_mute() {
    let mut config = config(true);
    config.timing.ask_deadline = ms(80);
    let mut pair = Pair::settled(config);
    pair.mirror_cut = true;
    pair.cut = [(0, 0), (0, 1)].into();
    pair.run(ms(3000));
    assert_eq!(shots(&pair), [1], "{:#?}", pair.log);
}
