//! Which proofs make a probe needless.

use ha_core::{FenceScope, StopProof};

/// Whether `proof` says that the *other member of the pair* no longer answers at its addresses, so that a takeover need not
/// lose a tenth of a second by asking, and an IPv6 address may be added without duplicate address detection.
///
/// | proof | needless | because |
/// |---|---|---|
/// | `Released` | yes | the address was removed, and the kernel asked whether it is gone |
/// | `Fenced`, scope incarnation | yes | nothing of the node runs |
/// | `Rebooted` | yes | the new incarnation removed what the old one left |
/// | `LeaseExpired` | yes | it comes after the lifetime of the address, which the kernel ends by itself |
/// | `Yielded` | yes | the live peer promised, and holds nothing |
/// | `StillAlone`, `StillOwner` | yes | nobody but this node could have had it since |
/// | `Fenced`, scope processes or access | no | the address may live until its lifetime ends |
/// | `NeverStarted` | no | says nothing about the network, and the first start has time |
///
/// No proof speaks of a third host that has the address by mistake; the [`Watcher`](super::Watcher) hears that one after
/// the take. A proof that this version does not know makes nothing needless.
#[must_use]
pub fn probe_is_needless(proof: &StopProof) -> bool {
    match proof {
        StopProof::Released { .. }
        | StopProof::Rebooted { .. }
        | StopProof::LeaseExpired { .. }
        | StopProof::Yielded { .. }
        | StopProof::StillAlone { .. }
        | StopProof::StillOwner { .. } => true,
        StopProof::Fenced { scope } => *scope == FenceScope::Incarnation,
        StopProof::NeverStarted => false,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fence_that_leaves_addresses_behind_does_not_make_it_needless() {
        assert!(probe_is_needless(&StopProof::Fenced { scope: FenceScope::Incarnation }));
        for scope in [FenceScope::Processes, FenceScope::Access] {
            assert!(!probe_is_needless(&StopProof::Fenced { scope }));
        }
        assert!(!probe_is_needless(&StopProof::NeverStarted));
    }
}
