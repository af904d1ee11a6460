//! I8: an address answers from exactly one machine.

use super::{Broken, Invariant, Verdict};
use crate::GroupId;

/// Checks whether a group's address answers on both machines.
///
/// # Errors
/// I8 if it does.
pub fn one_address(group: GroupId, answering: [bool; 2]) -> Verdict {
    if answering == [true, true] {
        return Err(Broken::new(
            Invariant::I8,
            format!("the address of group {group} answers from both machines"),
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fires_when_both_answer() {
        assert!(one_address(GroupId(1), [true, false]).is_ok());
        assert_eq!(one_address(GroupId(1), [true, true]).unwrap_err().invariant, Invariant::I8);
    }
}
