//! The faults by name, and what must come out of each: the table of `docs/FAULTS.md`.

use crate::node::Mode;
use ha_core::config::Config;
use ha_core::timing::{FaultKind, Proof};
use std::time::Duration;

macro_rules! faults {
    ($($name:ident = $text:literal),+ $(,)?) => {
        /// A fault that the driver can inflict.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        pub(crate) enum Fault { $($name),+ }

        impl Fault {
            const EVERY: &[Self] = &[$(Self::$name),+];

            /// Its name in tables and on the command line.
            pub(crate) const fn name(self) -> &'static str {
                match self { $(Self::$name => $text),+ }
            }
        }
    };
}

faults! {
    PowerLossActive = "power-loss-active",
    PowerLossStandby = "power-loss-standby",
    ProcessKill = "process-kill",
    FreezeChild = "freeze-child",
    GuardianKill = "guardian-kill",
    GuardianThenChild = "guardian-then-child",
    FreezeShort = "freeze-short",
    FreezeLong = "freeze-long",
    ReplicationCut = "replication-cut",
    CutThenPowerLoss = "cut-then-power-loss",
    HeartbeatCut = "heartbeat-cut",
    NetworkCut = "network-cut",
    NetworkCutActive = "network-cut-active",
    Isolation = "isolation",
    StopFails = "stop-fails",
    Switchover = "switchover",
    BothDown = "both-down",
    IsolationNofence = "isolation-nofence",
    IsolationLying = "isolation-lying",
}

impl Fault {
    /// The fault by which the command line knows it: lying devices make another one of an isolation.
    pub(crate) const fn asked_for(self) -> Self {
        match self {
            Self::IsolationLying => Self::Isolation,
            other => other,
        }
    }
}

/// How long a short freeze lasts: longer than *suspect*, shorter than the earliest *dead*.
pub(crate) const SHORT_FREEZE: Duration = Duration::from_millis(150);

pub(super) const fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// Who must own the group afterwards.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Owner {
    Other,
    Same,
    /// Exactly one of the two.
    Either,
}

/// What the newest grant, or the exclusion, must rest on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Basis {
    /// A grant on one of these proofs.
    Grant(&'static [&'static str]),
    /// No grant; acknowledging alone on this proof.
    Exclusion(&'static str),
    /// Neither.
    Nothing,
    /// A grant or an exclusion on this proof, whoever it was that went on.
    Survivor(&'static str),
    /// At least one grant, and all of them on this proof: both nodes may be deceived, one after the other.
    Grants(&'static str),
    /// It went alone on this proof, and came back to a grant of its own.
    Return { alone: &'static str },
    /// Not checked here: the boot table decides, and its own checks are made while it does.
    BootTable,
}

/// How far the epoch must have moved.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Step {
    By(u64),
    Any,
}

/// How long mail may pause.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Pause {
    AtMost(Duration),
    Unbounded,
}

/// One line of the table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Expected {
    pub(crate) owner: Owner,
    pub(crate) basis: Basis,
    pub(crate) epoch: Step,
    pub(crate) pause: Pause,
    /// How many shots the board controllers must have been given; any number, if both may shoot at a lie.
    pub(crate) shots: Option<u64>,
}

pub(super) const RELEASED: Basis = Basis::Grant(&["Released", "Released{forced}"]);

/// The durations that the table speaks of.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spans {
    pub(super) mode: Mode,
    pub(super) dead: Duration,
    pub(super) fence: Duration,
    pub(super) slot: Duration,
    pub(super) feed: Duration,
    pub(super) stop: Duration,
    /// The shared disk's answer.
    pub(super) swap: Duration,
}

impl Spans {
    pub(crate) fn of(config: &Config) -> Self {
        let stops: Duration = config.groups.iter().flat_map(|g| &g.resources).map(|r| r.stop_timeout).sum();
        let demotions: Duration = config.groups.iter().filter(|g| g.mirrored).map(|g| g.demote_timeout).sum();
        Self {
            mode: if config.groups.iter().any(|g| g.shared) { Mode::Shared } else { Mode::Mirror },
            dead: config.latest_dead(),
            fence: config.fence.as_ref().map_or(Duration::ZERO, |f| f.timeout + f.effect),
            slot: config.slot(),
            feed: config.timing.feed_limit,
            stop: stops + demotions + config.timing.kill_grace + ms(200),
            swap: config.arbiter.as_ref().map_or(Duration::ZERO, |a| a.answer_timeout),
        }
    }
}

impl Fault {
    /// All but the one whose run must fail.
    pub(crate) const ALL: &[Self] = Self::EVERY.split_at(Self::EVERY.len() - 1).0;
    /// A set that shows every kind of proof and ends within 90 seconds.
    pub(crate) const DEFAULT: &[Self] = &[
        Self::ProcessKill,
        Self::PowerLossActive,
        Self::PowerLossStandby,
        Self::FreezeShort,
        Self::FreezeLong,
        Self::GuardianKill,
        Self::ReplicationCut,
        Self::HeartbeatCut,
        Self::NetworkCutActive,
        Self::Isolation,
        Self::Switchover,
    ];

    pub(crate) fn named(name: &str) -> Result<Self, String> {
        let found = Self::EVERY.iter().find(|fault| fault.name() == name).copied();
        found.ok_or_else(|| {
            let names: Vec<_> = Self::EVERY.iter().map(|fault| fault.name()).collect();
            format!("found fault \"{name}\", expected default, all, none, or some of: {}", names.join(", "))
        })
    }

    /// The predicted longest pause; absent where only a proof or an operator ends it.
    pub(crate) fn predicted(self, proof: &Proof) -> Option<Duration> {
        if self == Self::FreezeShort {
            return ha_core::timing::Outage::freeze_short(SHORT_FREEZE).total;
        }
        let kind: FaultKind = self.name().parse().ok()?;
        proof.outage(kind).total
    }

    /// What the table of the run's mode demands. `other` is whether the other node owns the group now: who survives an isolation decides
    /// whose slot it was.
    pub(crate) fn expected(self, spans: &Spans, other: bool) -> Expected {
        match spans.mode {
            Mode::Mirror => self.expected_of_mirror(spans, other),
            Mode::Shared => self.expected_of_shared(spans),
        }
    }

    fn expected_of_mirror(self, spans: &Spans, other: bool) -> Expected {
        let moved = |basis, pause| Expected {
            owner: Owner::Other,
            basis,
            epoch: Step::By(1),
            pause: Pause::AtMost(pause),
            shots: Some(0),
        };
        let stayed = |basis, pause| Expected {
            owner: Owner::Same,
            basis,
            epoch: Step::By(0),
            pause: Pause::AtMost(pause),
            shots: Some(0),
        };
        let fenced = Basis::Grant(&["Fenced"]);
        let by_fence = spans.dead + spans.fence + ms(200);
        let by_slot = by_fence + spans.slot;
        match self {
            Self::PowerLossActive => moved(fenced, by_fence),
            Self::PowerLossStandby => stayed(Basis::Exclusion("Fenced"), by_fence),
            Self::ProcessKill => moved(RELEASED, ms(100)),
            Self::FreezeChild => moved(RELEASED, spans.feed + ms(200)),
            Self::GuardianKill => moved(RELEASED, ms(500)),
            Self::GuardianThenChild | Self::FreezeLong => {
                Expected { shots: Some(1), ..moved(fenced, by_slot) }
            }
            Self::FreezeShort => stayed(Basis::Nothing, SHORT_FREEZE + ms(100)),
            Self::ReplicationCut => stayed(Basis::Exclusion("Consented"), ms(200)),
            // The excluded standby has no copy to serve, and so nothing to shoot for.
            Self::CutThenPowerLoss => Expected {
                epoch: Step::By(1),
                pause: Pause::Unbounded,
                ..stayed(Basis::Return { alone: "Consented" }, Duration::ZERO)
            },
            Self::HeartbeatCut => stayed(Basis::Nothing, Duration::ZERO),
            Self::NetworkCut => stayed(Basis::Exclusion("Consented"), ms(500)),
            Self::NetworkCutActive => moved(RELEASED, ms(500)),
            Self::Isolation => Expected {
                owner: Owner::Either,
                basis: Basis::Survivor("Fenced"),
                epoch: Step::Any,
                pause: Pause::AtMost(if other { by_slot } else { by_fence }),
                shots: Some(1),
            },
            Self::StopFails => moved(Basis::Grant(&["Released{forced}"]), spans.stop),
            Self::Switchover => moved(Basis::Grant(&["Released"]), ms(50)),
            Self::BothDown => Expected {
                owner: Owner::Either,
                basis: Basis::BootTable,
                epoch: Step::Any,
                pause: Pause::Unbounded,
                shots: Some(0),
            },
            Self::IsolationNofence => {
                Expected { pause: Pause::Unbounded, ..stayed(Basis::Nothing, Duration::ZERO) }
            }
            Self::IsolationLying => Expected {
                owner: Owner::Either,
                basis: Basis::Survivor("Fenced"),
                epoch: Step::Any,
                pause: Pause::Unbounded,
                shots: None,
            },
        }
    }
}

/// What was found in one fault, as far as the table asks.
#[derive(Clone, Debug, Default)]
pub(crate) struct Found {
    pub(crate) same_owner: bool,
    pub(crate) epoch_before: u64,
    pub(crate) epoch_after: u64,
    /// The proofs of the grants made, in order.
    pub(crate) grants: Vec<String>,
    /// The proofs on which an owner went alone, in order.
    pub(crate) exclusions: Vec<String>,
    pub(crate) shots: u64,
}

impl Expected {
    /// Everything in which `found` differs, as sentences. The pause is judged elsewhere.
    pub(crate) fn differences(&self, found: &Found) -> Vec<String> {
        let mut wrong = Vec::new();
        match (self.owner, found.same_owner) {
            (Owner::Other, true) => wrong.push("the owner is the same, expected the other".into()),
            (Owner::Same, false) => wrong.push("the owner changed, expected the same".into()),
            _ => {}
        }
        let step = found.epoch_after.wrapping_sub(found.epoch_before);
        if let Step::By(by) = self.epoch
            && by != step
        {
            let (before, after) = (found.epoch_before, found.epoch_after);
            wrong.push(format!("the epoch went from {before} to {after}, expected +{by}"));
        }
        if let Some(text) = self.basis.difference(found) {
            wrong.push(text);
        }
        if let Some(shots) = self.shots
            && shots != found.shots
        {
            wrong.push(format!("{} shots were given, expected {shots}", found.shots));
        }
        wrong
    }
}

impl Basis {
    fn difference(self, found: &Found) -> Option<String> {
        let (grants, exclusions) = (&found.grants, &found.exclusions);
        let (good, expected) = match self {
            Self::Grant(proofs) => {
                let good = grants.len() == 1 && proofs.contains(&grants[0].as_str());
                (good, format!("one grant on {}", proofs.join(" or ")))
            }
            Self::Exclusion(proof) => {
                let good =
                    grants.is_empty() && exclusions.iter().all(|e| e == proof) && !exclusions.is_empty();
                (good, format!("no grant, and alone on {proof}"))
            }
            Self::Nothing => {
                (grants.is_empty() && exclusions.is_empty(), "neither grant nor exclusion".into())
            }
            Self::Survivor(proof) => {
                let good = grants.len() <= 1
                    && grants.iter().chain(exclusions).any(|p| p == proof)
                    && grants.iter().all(|p| p == proof);
                (good, format!("at most one grant, and all on {proof}"))
            }
            Self::Grants(proof) => {
                (!grants.is_empty() && grants.iter().all(|g| g == proof), format!("grants on {proof} only"))
            }
            Self::Return { alone } => {
                let good = grants.len() == 1 && exclusions.first().is_some_and(|e| e == alone);
                (good, format!("alone on {alone}, then one grant at its return"))
            }
            Self::BootTable => (true, String::new()),
        };
        (!good).then(|| format!("grants {grants:?} and exclusions {exclusions:?}, expected {expected}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spans() -> Spans {
        let (dead, fence, slot, feed, stop) = (ms(250), ms(200), ms(290), ms(275), ms(1850));
        Spans { mode: Mode::Mirror, dead, fence, slot, feed, stop, swap: Duration::ZERO }
    }

    fn found(same_owner: bool, step: u64, grants: &[&str], exclusions: &[&str], shots: u64) -> Found {
        let texts = |list: &[&str]| list.iter().map(|s| (*s).to_owned()).collect();
        Found {
            same_owner,
            epoch_before: 7,
            epoch_after: 7 + step,
            grants: texts(grants),
            exclusions: texts(exclusions),
            shots,
        }
    }

    fn wrong(fault: Fault, found: &Found) -> usize {
        fault.expected(&spans(), false).differences(found).len()
    }

    #[test]
    fn what_the_table_demands_passes_and_everything_else_is_named() {
        assert_eq!(wrong(Fault::ProcessKill, &found(false, 1, &["Released{forced}"], &["Departed"], 0)), 0);
        assert_eq!(wrong(Fault::ProcessKill, &found(false, 1, &["Fenced"], &[], 1)), 2);
        assert_eq!(wrong(Fault::ProcessKill, &found(true, 0, &[], &[], 0)), 3);
        assert_eq!(wrong(Fault::FreezeShort, &found(true, 0, &[], &[], 0)), 0);
        assert_eq!(wrong(Fault::FreezeShort, &found(true, 0, &[], &["Consented"], 0)), 1);
        assert_eq!(wrong(Fault::ReplicationCut, &found(true, 0, &[], &["Consented"], 0)), 0);
        assert_eq!(wrong(Fault::ReplicationCut, &found(true, 0, &[], &["Fenced"], 1)), 2);
        assert_eq!(wrong(Fault::CutThenPowerLoss, &found(true, 1, &["Yielded"], &["Consented"], 0)), 0);
        assert_eq!(wrong(Fault::CutThenPowerLoss, &found(true, 1, &["Yielded"], &[], 0)), 1);
        assert_eq!(wrong(Fault::CutThenPowerLoss, &found(false, 1, &["Fenced"], &["Fenced"], 0)), 2);
        assert_eq!(wrong(Fault::Switchover, &found(false, 1, &["Released{forced}"], &[], 0)), 1);
        assert_eq!(wrong(Fault::StopFails, &found(false, 1, &["Released{forced}"], &[], 0)), 0);
    }

    #[test]
    fn an_isolation_has_one_survivor_whoever_it_is() {
        assert_eq!(wrong(Fault::Isolation, &found(true, 0, &[], &["Fenced"], 1)), 0);
        assert_eq!(wrong(Fault::Isolation, &found(false, 1, &["Fenced"], &["Fenced"], 1)), 0);
        assert_eq!(wrong(Fault::Isolation, &found(false, 1, &["Fenced"], &["Fenced"], 2)), 1);
        assert_eq!(wrong(Fault::Isolation, &found(true, 0, &[], &[], 0)), 2);
    }

    #[test]
    fn limits_follow_from_the_configuration() {
        let pause = |fault: Fault, other| fault.expected(&spans(), other).pause;
        assert_eq!(pause(Fault::PowerLossActive, true), Pause::AtMost(ms(650)));
        assert_eq!(pause(Fault::FreezeLong, true), Pause::AtMost(ms(940)));
        assert_eq!(pause(Fault::Isolation, false), Pause::AtMost(ms(650)));
        assert_eq!(pause(Fault::HeartbeatCut, false), Pause::AtMost(Duration::ZERO));
    }

    #[test]
    fn every_name_is_found() {
        for fault in Fault::EVERY {
            assert_eq!(Fault::named(fault.name()), Ok(*fault));
        }
        assert_eq!(Fault::ALL.len() + 1, Fault::EVERY.len());
    }
}
