//! An owner that has just woken: what it remembers of the other node is as old as its sleep.

use super::duo::*;
use crate::config::GroupPolicy;
use crate::engine::*;
use crate::*;

/// The other one lost its power during the sleep; the service is found broken before anybody can know.
#[test]
fn a_failed_group_is_not_moved_to_a_peer_that_was_there_before_the_sleep() {
    let mut mail = group("mail", 0, GroupPolicy::default());
    mail.resources[0].restart_limit = 0;
    let mut duo = Duo::settled(pair([mail]));
    duo.kill(B);
    duo.now += ms(150);
    duo.health.insert((A, 0), Some(Health::Failed));
    duo.run(ms(40));
    let peer = duo.nodes[A].as_ref().unwrap().peer_status();
    assert_eq!(peer.state, PeerState::Alive, "{:#?}", duo.log);
    assert!(duo.done.contains(&(A, 0, OpKind::Stop)), "{:#?}", duo.log);
    duo.health.clear();
    duo.run(seconds(2));
    assert!(!duo.said(A, &EventKind::Quarantined { group: GroupId(0) }), "{:#?}", duo.log);
    assert_eq!(duo.serving(0), Some(A), "{:#?}", duo.log);
}
