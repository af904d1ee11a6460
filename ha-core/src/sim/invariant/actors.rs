//! I1: at most one node acts with a group's token.

use super::{Broken, Invariant, Verdict};
use crate::{Epoch, GroupId};

/// Checks the two nodes' permissions at one instant: `Some(epoch)` for a node that runs with a valid token.
///
/// # Errors
/// I1 if both act.
pub fn one_actor(group: GroupId, acting: [Option<Epoch>; 2]) -> Verdict {
    match acting {
        [Some(a), Some(b)] => Err(Broken::new(
            Invariant::I1,
            format!("group {group}: node 0 acts in epoch {a} and node 1 in epoch {b} at the same instant"),
        )),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fires_on_two_actors_and_on_nothing_less() {
        assert!(one_actor(GroupId(0), [None, None]).is_ok());
        assert!(one_actor(GroupId(0), [Some(Epoch(1)), None]).is_ok());
        let broken = one_actor(GroupId(0), [Some(Epoch(1)), Some(Epoch(2))]).unwrap_err();
        assert_eq!(broken.invariant, Invariant::I1);
    }
}
