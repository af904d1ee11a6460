//! What must come out of each fault where both nodes share one store: the second table of `docs/FAULTS.md`.

use super::fault::{Basis, Expected, Fault, Owner, Pause, RELEASED, SHORT_FREEZE, Spans, Step, ms};
use crate::node::Mode;
use std::time::Duration;

/// What a node's end and boot may cost the other one that shares its few processors; two machines know no such thing.
const ONE_MACHINE: Duration = ms(50);
const FENCED: Basis = Basis::Grant(&["Fenced"]);

impl Fault {
    /// Whether a pair in this mode can suffer it.
    pub(crate) const fn exists_in(self, mode: Mode) -> bool {
        match mode {
            Mode::Mirror => true,
            Mode::Shared => !matches!(self, Self::ReplicationCut | Self::CutThenPowerLoss),
        }
    }

    /// The owner has no copy to exclude, so it is never the one that shoots, and no slot is waited for. Every grant costs
    /// one more answer of the disk.
    pub(super) fn expected_of_shared(self, spans: &Spans) -> Expected {
        let moved = |basis, pause: Duration| Expected {
            owner: Owner::Other,
            basis,
            epoch: Step::By(1),
            pause: Pause::AtMost(pause + spans.swap),
            shots: Some(0),
        };
        let stayed = |pause| Expected {
            owner: Owner::Same,
            basis: Basis::Nothing,
            epoch: Step::By(0),
            pause: Pause::AtMost(pause),
            shots: Some(0),
        };
        let by_fence = spans.dead + spans.fence + ms(200);
        let shot = || Expected { shots: Some(1), ..moved(FENCED, by_fence) };
        match self {
            Self::PowerLossActive => moved(FENCED, by_fence),
            Self::ProcessKill => moved(RELEASED, ms(100)),
            // The shot waits for no slot, and the guardian's patience is never below *dead*: either may be first.
            Self::FreezeChild => Expected {
                shots: None,
                ..moved(
                    Basis::Grant(&["Released", "Released{forced}", "Fenced"]),
                    by_fence.max(spans.feed + ms(200)),
                )
            },
            Self::GuardianKill => moved(RELEASED, ms(500)),
            // Without a mirror's stream nothing shows life but the beats: a cut of all of them is an isolation.
            Self::GuardianThenChild | Self::FreezeLong | Self::HeartbeatCut | Self::Isolation => shot(),
            Self::FreezeShort => stayed(SHORT_FREEZE + ms(100)),
            // The owner needs nobody: it goes on in its epoch. But a node that dies and boots takes its processors.
            Self::NetworkCut | Self::IsolationNofence => stayed(Duration::ZERO),
            Self::PowerLossStandby => stayed(ONE_MACHINE),
            Self::NetworkCutActive => moved(Basis::Grant(&["Released"]), ms(500)),
            Self::StopFails => moved(Basis::Grant(&["Released{forced}"]), spans.stop),
            Self::Switchover => moved(Basis::Grant(&["Released"]), ms(50)),
            Self::BothDown => Expected {
                owner: Owner::Either,
                basis: Basis::BootTable,
                epoch: Step::Any,
                pause: Pause::Unbounded,
                shots: Some(0),
            },
            Self::IsolationLying | Self::ReplicationCut | Self::CutThenPowerLoss => Expected {
                owner: Owner::Either,
                basis: Basis::Grants("Fenced"),
                epoch: Step::Any,
                pause: Pause::Unbounded,
                shots: None,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::driver::fault::Found;

    fn spans() -> Spans {
        let (dead, fence, slot, feed, stop) = (ms(250), ms(200), ms(290), ms(275), ms(1850));
        Spans { mode: Mode::Shared, dead, fence, slot, feed, stop, swap: ms(200) }
    }

    fn wrong(fault: Fault, same_owner: bool, step: u64, grants: &[&str], shots: u64) -> usize {
        let grants = grants.iter().map(|s| (*s).to_owned()).collect();
        let (epoch_before, epoch_after) = (4, 4 + step);
        let found = Found { same_owner, epoch_before, epoch_after, grants, exclusions: vec![], shots };
        fault.expected(&spans(), !same_owner).differences(&found).len()
    }

    #[test]
    fn a_lost_standby_and_a_cut_cost_the_owner_nothing() {
        for fault in [Fault::PowerLossStandby, Fault::NetworkCut, Fault::IsolationNofence] {
            assert_eq!(wrong(fault, true, 0, &[], 0), 0, "{fault:?}");
            assert_eq!(wrong(fault, false, 1, &["Fenced"], 1), 4, "{fault:?}");
        }
    }

    #[test]
    fn isolation_takes_one_shot_and_moves() {
        for fault in [Fault::Isolation, Fault::HeartbeatCut, Fault::FreezeLong] {
            assert_eq!(wrong(fault, false, 1, &["Fenced"], 1), 0, "{fault:?}");
            assert_eq!(wrong(fault, false, 1, &["LeaseExpired"], 0), 2, "{fault:?}");
            assert_eq!(wrong(fault, true, 0, &[], 0), 4, "{fault:?}");
        }
    }

    #[test]
    fn a_lie_may_be_believed_by_both_in_turn() {
        assert_eq!(wrong(Fault::IsolationLying, true, 6, &["Fenced", "Fenced"], 2), 0);
        assert_eq!(wrong(Fault::IsolationLying, true, 6, &["Fenced", "StillOwner"], 2), 1);
        assert_eq!(wrong(Fault::IsolationLying, true, 0, &[], 0), 1);
    }

    #[test]
    fn no_slot_is_waited_for_and_every_grant_asks_the_disk() {
        let pause = |fault: Fault| fault.expected(&spans(), true).pause;
        assert_eq!(pause(Fault::FreezeLong), Pause::AtMost(ms(850)));
        assert_eq!(pause(Fault::Switchover), Pause::AtMost(ms(250)));
        assert_eq!(pause(Fault::NetworkCut), Pause::AtMost(Duration::ZERO));
    }
}
