//! I4: a stopped group leaves nothing running.

use super::{Broken, Invariant, Verdict};
use crate::GroupId;

/// Checks a group that `node` says it has given up: `running` tells of each resource whether it is there.
///
/// # Errors
/// I4 with the first resource left.
pub fn nothing_left(
    group: GroupId,
    node: usize,
    said: &str,
    running: impl IntoIterator<Item = bool>,
) -> Verdict {
    match running.into_iter().position(|r| r) {
        Some(place) => Err(Broken::new(
            Invariant::I4,
            format!("node {node} {said} group {group}, but its resource {place} still runs"),
        )),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fires_on_anything_left() {
        assert!(nothing_left(GroupId(0), 0, "released", [false, false]).is_ok());
        assert_eq!(
            nothing_left(GroupId(0), 0, "released", [false, true]).unwrap_err().invariant,
            Invariant::I4
        );
    }
}
