use super::*;
use crate::GroupId;

const fn at(nanos: u64) -> Instant {
    Instant::from_nanos(nanos)
}

fn joined(end: &CommonEnd) -> TokenCell {
    let cell = TokenCell::new(GroupId(0));
    cell.join(end);
    cell
}

#[test]
fn one_renewal_renews_every_common_permission_and_no_other() {
    let end = CommonEnd::default();
    let (a, b, own, none) = (joined(&end), joined(&end), joined(&end), joined(&end));
    a.set_common(Epoch(3));
    b.set_common(Epoch(4));
    own.set(Epoch(5), at(10));
    assert!(a.check(at(1)).is_err(), "nothing was renewed yet");
    end.set(at(20));
    assert_eq!(a.check(at(19)).map(|t| (t.epoch, t.valid_until)), Ok((Epoch(3), at(20))));
    assert_eq!(b.check(at(19)).map(|t| t.epoch), Ok(Epoch(4)));
    assert_eq!(a.check(at(20)), Err(TokenError::Expired { epoch: Epoch(3) }));
    assert!(own.check(at(10)).is_err());
    assert_eq!(none.check(at(1)), Err(TokenError::NotGranted));
}

/// Rule 5: who is suspended waits for a confirmation of its own, however often the others are renewed.
#[test]
fn a_suspended_or_revoked_cell_is_not_renewed_with_the_others() {
    let end = CommonEnd::default();
    let (suspended, revoked) = (joined(&end), joined(&end));
    suspended.set_common(Epoch(3));
    revoked.set_common(Epoch(3));
    end.set(at(20));
    suspended.set(Epoch(3), Instant::ZERO);
    revoked.revoke();
    end.set(at(40));
    assert_eq!(suspended.check(at(1)), Err(TokenError::Expired { epoch: Epoch(3) }));
    assert_eq!(revoked.check(at(1)), Err(TokenError::NotGranted));
    suspended.set_common(Epoch(3));
    assert!(suspended.check(at(39)).is_ok());
}

#[test]
fn a_cell_keeps_its_first_end_and_tells_the_next_node_of_it() {
    let (first, second) = (CommonEnd::default(), CommonEnd::default());
    let cell = joined(&first);
    let end = cell.join(&second);
    assert!(end == first && end != second);
    cell.set_common(Epoch(7));
    end.set(at(9));
    assert!(cell.check(at(8)).is_ok());
}
