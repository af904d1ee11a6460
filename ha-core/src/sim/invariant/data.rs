//! I3: no acknowledged message is missing on whichever node serves.

use super::{Broken, Invariant, Verdict};
use crate::{Epoch, GroupId};

/// One acknowledged message, as the client knows it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Acknowledged {
    /// Its place in the log, from zero.
    pub index: usize,
    /// The grant in which it was appended.
    pub epoch: Epoch,
    /// Its number.
    pub message: u64,
    /// An operator chose a copy without it, told so.
    pub forgiven: bool,
}

/// Checks that every acknowledged message is in the log of the node that serves. `holds` tells which message
/// is at an index.
///
/// # Errors
/// I3 with the first missing one.
pub fn all_present(
    group: GroupId,
    node: usize,
    acknowledged: &[Acknowledged],
    holds: impl Fn(usize) -> Option<u64>,
) -> Verdict {
    let missing = |a: &&Acknowledged| !a.forgiven && holds(a.index) != Some(a.message);
    let count = acknowledged.iter().filter(missing).count();
    match acknowledged.iter().find(missing) {
        Some(a) => Err(Broken::new(
            Invariant::I3,
            format!(
                "node {node} serves group {group} without {count} acknowledged message(s); the first is number {} of epoch {}, transaction {}",
                a.message,
                a.epoch,
                a.index + 1
            ),
        )),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fires_on_a_missing_or_replaced_message_unless_it_was_forgiven() {
        let mut acked = [Acknowledged { index: 1, epoch: Epoch(1), message: 7, forgiven: false }];
        let check = |a: &[Acknowledged], log: &[u64]| all_present(GroupId(0), 1, a, |i| log.get(i).copied());
        assert!(check(&acked, &[5, 7]).is_ok());
        assert_eq!(check(&acked, &[5]).unwrap_err().invariant, Invariant::I3);
        assert_eq!(check(&acked, &[5, 8]).unwrap_err().invariant, Invariant::I3);
        acked[0].forgiven = true;
        assert!(check(&acked, &[5]).is_ok());
    }
}
