//! Switches that break one safety rule each. They exist only in builds with the `sabotage` feature, for the
//! tests that prove the simulator catches each of them.

/// Which rule is broken.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[non_exhaustive]
pub enum Sabotage {
    /// Rule 1: takes over without a stop proof.
    TakeoverWithoutProof,
    /// Rule 2: acknowledges alone without an exclusion proof.
    AloneWithoutProof,
    /// Rule 2: shoots a peer that is alive both ways.
    ShootTheLiving,
    /// Rule 3: takes over with a copy that consented to its exclusion.
    StaleStandbyTakesOver,
    /// Rule 4: uses an epoch twice.
    ReuseEpoch,
    /// Rule 5: renews an expired permission without confirmation.
    RenewWithoutConfirmation,
    /// Rule 6: takes over although the joint timing does not hold.
    IgnoreJointTiming,
    /// Rule 7: believes its own record at boot.
    CurrentAtBoot,
    /// Rule 8: reports a stop that overran its budget as done.
    StopOverrunIsDone,
    /// Rule 9: counts its own gap against the peer.
    BlameThePeer,
    /// Rule 10: counts a beat that does not echo as life both ways.
    HalfOpenIsUp,
    /// Rule 11: shoots outside its own slot.
    ShootAtOnce,
    /// Rule 4: takes the grant without the third party's swap.
    SkipSwap,
    /// Rule 2: goes alone on the pair's proofs without the third party's swap.
    AloneWithoutSwap,
    /// Rule 3: takes over although the third party's record does not list this copy.
    UnlistedTakesOver,
    /// Rule 1: takes an arbiter's silence for the end of the owner's lease.
    SilenceIsExpiry,
    /// Rule 6: calls a lease expired after a tenth of the wait.
    EarlyLease,
    /// Rule 13: judges the lease although it promised not to.
    BreakPromise,
    /// Rule 13: extends a lapsed lease without the peer's promise.
    ExtendAlone,
    /// Takes a restart of the peer for the end of services that it promised to leave alone.
    ForgetPromise,
    /// The simulated guardian undoes what its child left running on purpose.
    UndoDetached,
    /// Rule 12: stops towards a target that is not viable.
    MoveAnywhere,
}

impl Sabotage {
    /// Every switch.
    pub const ALL: [Self; 22] = [
        Self::TakeoverWithoutProof,
        Self::AloneWithoutProof,
        Self::ShootTheLiving,
        Self::StaleStandbyTakesOver,
        Self::ReuseEpoch,
        Self::RenewWithoutConfirmation,
        Self::IgnoreJointTiming,
        Self::CurrentAtBoot,
        Self::StopOverrunIsDone,
        Self::BlameThePeer,
        Self::HalfOpenIsUp,
        Self::ShootAtOnce,
        Self::MoveAnywhere,
        Self::SkipSwap,
        Self::AloneWithoutSwap,
        Self::UnlistedTakesOver,
        Self::SilenceIsExpiry,
        Self::EarlyLease,
        Self::BreakPromise,
        Self::ExtendAlone,
        Self::ForgetPromise,
        Self::UndoDetached,
    ];
}
