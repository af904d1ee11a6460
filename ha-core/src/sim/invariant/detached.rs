//! What was left running without an engine is left alone.

use super::{Broken, Invariant, Verdict};
use crate::{Epoch, GroupId};

/// Somebody takes back what the group runs on `node` without an engine, though the machine is up.
///
/// # Errors
/// Always: this is called where it happens.
pub fn left_alone(group: GroupId, node: usize, epoch: Epoch) -> Verdict {
    Err(Broken::new(
        Invariant::Detached,
        format!("what group {group} left running on node {node} in epoch {epoch} was undone"),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fires() {
        assert_eq!(left_alone(GroupId(0), 1, Epoch(2)).unwrap_err().invariant, Invariant::Detached);
    }
}
