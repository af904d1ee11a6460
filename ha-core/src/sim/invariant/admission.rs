//! I9: without a joint timing that holds, nobody shoots.

use super::{Broken, Invariant, Verdict};

/// Checks a fencing order of `node`, which knows (`known`) that the two timings do not fit each other: slots of
/// different lengths exclude nothing, so both could shoot.
///
/// # Errors
/// I9 if it is given all the same.
pub fn shooting_disabled(known: bool, node: usize) -> Verdict {
    if known {
        return Err(Broken::new(
            Invariant::I9,
            format!("node {node} orders to fence its peer although the joint timing does not hold"),
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fires_on_a_shot_with_known_mismatch_only() {
        assert!(shooting_disabled(false, 0).is_ok());
        assert_eq!(shooting_disabled(true, 0).unwrap_err().invariant, Invariant::I9);
    }
}
