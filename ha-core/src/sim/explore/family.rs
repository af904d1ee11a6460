//! What is explored: a configuration, where it begins, which choices there are, and how many of them.

use super::choice::{Choice, Device};
use crate::FenceScope;
use crate::NodeId;
use crate::config::{
    ArbiterConfig, ArbiterKind, Config, FenceConfig, GroupConfig, LinkConfig, ResourceConfig, TimingConfig,
};
use std::time::Duration;

/// Where an exploration begins.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Start {
    /// Both nodes off, their stores initialised together.
    Cold,
    /// Every group served by its preferred node and fully protected.
    Settled,
    /// Both off after every group was served and fully protected.
    PowerLoss,
}

/// How many choices of each kind one path may hold.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Budget {
    /// Faults.
    pub faults: u8,
    /// Repairs: power, links, devices; an operator's confirmation.
    pub repairs: u8,
    /// Commands.
    pub commands: u8,
}

impl Budget {
    /// So many of each.
    #[must_use]
    pub const fn new(faults: u8, repairs: u8, commands: u8) -> Self {
        Self { faults, repairs, commands }
    }

    pub(super) const fn sum(self) -> u8 {
        self.faults + self.repairs + self.commands
    }
}

/// What is explored.
#[derive(Clone, Debug)]
pub struct Family {
    /// Its name, by which a path is replayed.
    pub name: &'static str,
    /// The configuration of both nodes, in units of one millisecond.
    pub config: Config,
    /// Where it begins.
    pub start: Start,
    /// The choices there are.
    pub choices: Vec<Choice>,
    /// How many of them a path may hold.
    pub budget: Budget,
    /// So many units after its last choice a path ends: longer than any deadline.
    pub window: u32,
    /// A rule to break.
    #[cfg(feature = "sabotage")]
    pub sabotage: Option<crate::engine::Sabotage>,
}

const fn units(n: u64) -> Duration {
    Duration::from_millis(n)
}

fn timing() -> TimingConfig {
    TimingConfig {
        token_validity: units(4),
        boot_wait: units(28),
        ask_deadline: units(9),
        confirm_deadline: units(7),
        prepare_deadline: units(9),
        persist_deadline: units(12),
        takeover_deadline: units(12),
        query_interval: units(2),
        question_interval: Duration::from_secs(10),
        feed_limit: units(10),
        ..TimingConfig::default()
    }
}

fn group(name: &str) -> GroupConfig {
    let mut resource = ResourceConfig::new("service");
    resource.start_timeout = units(8);
    resource.stop_timeout = units(8);
    resource.monitor_interval = Duration::from_secs(100_000);
    let mut group = GroupConfig::new(name).then(resource);
    group.promote_timeout = units(8);
    group.demote_timeout = units(8);
    group
}

/// Two links, one slower to despair; a device that answers within five units.
fn pair(groups: Vec<GroupConfig>, scope: FenceScope) -> Config {
    let link = |name: &str, dead: u64| {
        let mut link = LinkConfig::datagram(name, units(2), units(dead));
        link.suspect = units(4);
        link
    };
    let mut fence = FenceConfig::new(units(5));
    fence.scope = scope;
    let mut config = Config::pair("model", "a", "b").link(link("net", 6)).link(link("tty", 8)).fence(fence);
    config.links[1].bits_per_second = Some(115_200);
    config.groups = groups;
    config.timing(timing())
}

impl Family {
    fn new(name: &'static str, groups: Vec<GroupConfig>) -> Self {
        Self {
            name,
            config: pair(groups, FenceScope::Incarnation),
            start: Start::Settled,
            choices: Vec::new(),
            budget: Budget::new(1, 1, 0),
            window: 54,
            #[cfg(feature = "sabotage")]
            sabotage: None,
        }
    }

    fn only(mut self, budget: Budget, keep: impl Fn(&Choice) -> bool) -> Self {
        let all = Choice::all(self.config.links.len(), self.config.groups.len());
        self.choices = all.into_iter().filter(keep).collect();
        self.budget = budget;
        self
    }

    fn beginning(mut self, start: Start) -> Self {
        self.start = start;
        self
    }

    /// The same with other bounds.
    #[must_use]
    pub const fn within(mut self, budget: Budget) -> Self {
        self.budget = budget;
        self
    }

    /// The same with a rule broken.
    #[cfg(feature = "sabotage")]
    #[must_use]
    pub const fn sabotaged(mut self, switch: crate::engine::Sabotage) -> Self {
        self.sabotage = Some(switch);
        self
    }

    /// Every family.
    #[must_use]
    pub fn all() -> Vec<Self> {
        use Choice::{
            Boot, ConfirmOff, Cut, CutLinks, CutMirror, CutStream, Delay, DiskReplaced, Freeze, Heal,
            HealStream, Isolate, Lose, OpFails, OpHangs, OutsideLost, PowerLoss, ProcessDies, Repair,
            Shutdown, SlowDisk, Switchover, Thaw, WriteFails,
        };
        let mail = || group("mail").mirrored();
        let plain = || group("plain");
        let other = || group("other").mirrored().preferring(NodeId(1));
        let third = |name, group: GroupConfig, trusts: bool| {
            let mut family = Self::new(name, vec![group]);
            let mut arbiter = ArbiterConfig::new(ArbiterKind::ThirdParty, units(20));
            arbiter.renew_interval = units(4);
            arbiter.answer_timeout = units(3);
            arbiter.trusts_host_pauses = trusts;
            family.config.arbiter = Some(arbiter);
            family
        };
        // Whoever does not know what the other weighs, or gave a group up unheard, has one of the last slots.
        let patient = |name, groups| Self { window: 90, ..Self::new(name, groups) };
        let mut tied = patient("tied", vec![plain(), mail()]);
        tied.config.groups[1].policy.with = Some(crate::GroupId(0));
        let mut two = third("two-third", plain(), false);
        two.config.groups.push(other());
        let mut access = Self::new("access", vec![plain()]);
        access.config = pair(vec![plain()], FenceScope::Access);
        vec![
            // A power loss or a dead process at any point, and the way back.
            Self::new("crash", vec![mail()]).only(Budget::new(2, 1, 0), |c| {
                matches!(c, PowerLoss { .. } | ProcessDies { .. } | SlowDisk(_) | CutStream | Boot(_))
            }),
            // A stream that is cut: consent, alone, admission, each interrupted.
            Self::new("stream", vec![mail()]).only(Budget::new(2, 1, 0), |c| {
                matches!(
                    c,
                    CutStream
                        | CutMirror(_)
                        | HealStream
                        | PowerLoss { .. }
                        | SlowDisk(_)
                        | WriteFails { .. }
                        | Lose(_)
                )
            }),
            // Links cut in every direction.
            Self::new("links", vec![mail()]).only(Budget::new(2, 1, 0), |c| {
                matches!(c, Cut { .. } | CutLinks | Isolate | CutStream | Lose(_) | Delay(_) | Heal)
            }),
            // Everything cut, and devices in every mood.
            Self::new("fencing", vec![mail()]).only(Budget::new(2, 1, 0), |c| {
                matches!(
                    c,
                    Isolate
                        | CutLinks
                        | PowerLoss { durable: false, .. }
                        | Choice::Device { .. }
                        | Boot(_)
                        | Heal
                        | Repair
                        | ConfirmOff(_)
                )
            }),
            // Commands, and everything that may befall them.
            patient("commands", vec![mail()]).only(Budget::new(1, 0, 1), |c| {
                matches!(
                    c,
                    Switchover { .. }
                        | Shutdown(_)
                        | PowerLoss { .. }
                        | ProcessDies { .. }
                        | CutStream
                        | CutLinks
                        | Isolate
                        | SlowDisk(_)
                        | WriteFails { .. }
                        | OpFails(_)
                        | OpHangs(_)
                        | OutsideLost(_)
                        | Lose(_)
                        | Delay(_)
                        | Freeze(_)
                )
            }),
            // The first boot in any order.
            Self::new("first-boot", vec![mail()]).beginning(Start::Cold).only(Budget::new(1, 2, 0), |c| {
                matches!(c, Boot(_) | PowerLoss { .. } | SlowDisk(_) | Lose(_) | Delay(_) | CutLinks)
            }),
            // The boot after a total power loss, in any order.
            Self::new("return", vec![mail()]).beginning(Start::PowerLoss).only(Budget::new(1, 2, 0), |c| {
                matches!(c, Boot(_) | PowerLoss { .. } | DiskReplaced(_) | SlowDisk(_) | CutLinks | Isolate)
            }),
            // A store that is lost.
            Self::new("amnesia", vec![mail()]).only(Budget::new(2, 1, 0), |c| {
                matches!(c, DiskReplaced(_) | PowerLoss { durable: false, .. } | CutStream | Boot(_))
            }),
            // A machine that stops and goes on.
            Self::new("freeze", vec![mail()]).only(Budget::new(2, 1, 0), |c| {
                matches!(
                    c,
                    Freeze(_)
                        | Thaw(_)
                        | Isolate
                        | CutLinks
                        | CutStream
                        | Choice::Device { does: Device::Fails, .. }
                )
            }),
            // Two groups that prefer opposite nodes, each with a mirror.
            patient("mutual", vec![mail(), other()]).only(Budget::new(1, 1, 1), |c| {
                matches!(
                    c,
                    PowerLoss { .. }
                        | ProcessDies { durable: false, .. }
                        | CutStream
                        | CutLinks
                        | Isolate
                        | Boot(_)
                        | Heal
                        | Switchover { .. }
                )
            }),
            // A group with a mirror and one without, owned by one node.
            Self::new("mixed", vec![mail(), plain()]).only(Budget::new(2, 1, 0), |c| {
                matches!(
                    c,
                    PowerLoss { .. }
                        | CutStream
                        | HealStream
                        | CutLinks
                        | Isolate
                        | SlowDisk(_)
                        | Boot(_)
                        | Heal
                )
            }),
            // A group with a mirror that must be where one without is.
            tied.only(Budget::new(2, 1, 1), |c| {
                matches!(
                    c,
                    PowerLoss { durable: false, .. }
                        | CutStream
                        | CutLinks
                        | Boot(_)
                        | Shutdown(_)
                        | OpFails(_)
                )
            }),
            // A third party decides of both kinds, each node owning one.
            two.only(Budget::new(2, 1, 0), |c| {
                matches!(
                    c,
                    PowerLoss { durable: false, .. }
                        | Choice::ArbiterCut(_)
                        | CutStream
                        | CutLinks
                        | Isolate
                        | Boot(_)
                        | Repair
                )
            }),
            // A group without data.
            Self::new("plain", vec![plain()]).only(Budget::new(2, 1, 0), |c| {
                matches!(
                    c,
                    PowerLoss { .. }
                        | ProcessDies { durable: false, .. }
                        | CutLinks
                        | Cut { .. }
                        | Freeze(_)
                        | Thaw(_)
                        | Boot(_)
                        | Heal
                        | Choice::Device { .. }
                )
            }),
            // A device that cuts only the access.
            access.only(Budget::new(2, 1, 0), |c| {
                matches!(
                    c,
                    PowerLoss { durable: false, .. }
                        | CutLinks
                        | Freeze(_)
                        | Thaw(_)
                        | Boot(_)
                        | Heal
                        | Choice::Device { .. }
                )
            }),
            // A third party decides; its leases prove nothing.
            third("third", mail(), false).only(Budget::new(2, 1, 0), |c| {
                matches!(
                    c,
                    Choice::ArbiterCut(_)
                        | Choice::ArbiterMute(_)
                        | PowerLoss { .. }
                        | ProcessDies { durable: false, .. }
                        | CutStream
                        | Isolate
                        | Boot(_)
                        | Repair
                )
            }),
            // A third party whose leases prove an owner's end.
            third("lease", mail(), true).only(Budget::new(2, 1, 0), |c| {
                matches!(
                    c,
                    Choice::ArbiterCut(_)
                        | Choice::ArbiterMute(_)
                        | PowerLoss { durable: false, .. }
                        | Freeze(_)
                        | Thaw(_)
                        | CutStream
                        | CutLinks
                        | Isolate
                        | Repair
                )
            }),
            // A third party that loses its memory.
            third("forgetful", mail(), false).only(Budget::new(2, 1, 1), |c| {
                matches!(
                    c,
                    Choice::ArbiterForgets
                        | Choice::ArbiterCut(_)
                        | CutStream
                        | CutLinks
                        | Lose(_)
                        | HealStream
                        | Heal
                        | Switchover { .. }
                )
            }),
            // Everything there is.
            patient("all", vec![mail()]).only(Budget::new(2, 2, 1), |_| true),
        ]
    }

    /// The family of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::all().into_iter().find(|f| f.name == name)
    }
}
