//! A node that could not verify that nothing of its earlier life is left, and data which that life could still write.

use super::pair_tests::{Pair, config};
use super::*;
use std::time::Duration;

/// Both nodes went down; the one that owned last comes back after `predecessor`.
fn back_after(shared: bool, predecessor: Predecessor) -> Pair {
    let mut cfg = config(false);
    cfg.groups[0].shared = shared;
    let mut pair = Pair::settled(cfg);
    pair.kill(0);
    pair.kill(1);
    pair.boot_after(0, predecessor);
    pair.boot(1);
    pair.run(Duration::from_secs(10));
    pair
}

#[test]
fn shared_data_is_not_granted_by_the_peers_promise_while_an_own_earlier_life_may_still_write() {
    let pair = back_after(true, Predecessor::Leftovers);
    assert_eq!(pair.tokens, [None, None], "{:#?}", pair.log);
    assert_eq!(pair.status(0).question, Some(Question::NoStopProof));
}

#[test]
fn it_is_granted_once_nothing_is_left_and_other_data_in_any_case() {
    for (shared, predecessor) in [(true, Predecessor::Gone), (false, Predecessor::Leftovers)] {
        let pair = back_after(shared, predecessor);
        assert_eq!(pair.status(0).role, RoleName::Active, "{:#?}", pair.log);
    }
}
