//! I9: without a joint timing that holds, nobody takes over by time.

use super::{Broken, Invariant, Verdict};
use crate::{GroupId, StopProof};

/// Checks a grant on a node that knows (`known`) that the two timings do not fit each other.
///
/// # Errors
/// I9 if it rests on a proof that needs the joint timing.
pub fn takeover_disabled(known: bool, group: GroupId, proof: StopProof) -> Verdict {
    if known && matches!(proof, StopProof::Fenced { .. } | StopProof::AssumedDead) {
        return Err(Broken::new(
            Invariant::I9,
            format!("group {group} was taken over by {proof} although the joint timing does not hold"),
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::FenceScope;

    #[test]
    fn fires_on_a_timed_takeover_only() {
        let fenced = StopProof::Fenced { scope: FenceScope::Incarnation };
        assert!(takeover_disabled(false, GroupId(0), fenced).is_ok());
        assert!(takeover_disabled(true, GroupId(0), StopProof::NeverStarted).is_ok());
        assert_eq!(takeover_disabled(true, GroupId(0), fenced).unwrap_err().invariant, Invariant::I9);
    }
}
