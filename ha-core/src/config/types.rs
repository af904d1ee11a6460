//! What is configured, field by field, with its unit and its default.

use crate::{FenceScope, GroupId, LinkId, NodeId};
use serde::{Deserialize, Serialize};
use std::time::Duration;

use super::{ArbiterConfig, DeviceConfig, ReliabilityConfig, TimingConfig, WatchdogConfig, duration};

const fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// A whole pair. Both nodes carry the same one, except for the transports' own addresses.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Config {
    /// The cluster's name; part of every authenticated frame.
    pub cluster: String,
    /// The two nodes. Their place here is their [`NodeId`].
    pub nodes: Vec<NodeConfig>,
    /// The heartbeat paths. Their place here is their [`LinkId`].
    pub links: Vec<LinkConfig>,
    /// What follows the active role. Their place here is their [`GroupId`].
    pub groups: Vec<GroupConfig>,
    /// How either node can be stopped by the other; absent: a dead peer leaves a question.
    #[serde(default)]
    pub fence: Option<FenceConfig>,
    /// Who decides in place of the two nodes; absent: they decide by themselves.
    #[serde(default)]
    pub arbiter: Option<ArbiterConfig>,
    /// What ends a machine that cannot end itself.
    #[serde(default)]
    pub watchdog: Option<WatchdogConfig>,
    /// The longest outage that a fault may cause; absent: whatever comes out.
    #[serde(with = "duration::optional", default)]
    pub outage_budget: Option<Duration>,
    /// How often what fails; with it the proof estimates the availability.
    #[serde(default)]
    pub reliability: Option<ReliabilityConfig>,
    /// Durations that belong to no single link, group or device.
    #[serde(default)]
    pub timing: TimingConfig,
    /// `"i accept split brain"` takes over without proof. Any other text is refused.
    #[serde(default)]
    pub unguarded: Option<String>,
}

/// One node.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct NodeConfig {
    /// Its name, unique in the cluster.
    pub name: String,
}

/// One heartbeat path.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct LinkConfig {
    /// Its name, unique in the cluster.
    pub name: String,
    /// Time between two beats.
    #[serde(with = "duration")]
    pub interval: Duration,
    /// Silence after which the peer is suspected.
    #[serde(with = "duration")]
    pub suspect: Duration,
    /// Silence after which this link says dead.
    #[serde(with = "duration")]
    pub dead: Duration,
    /// Room for statements in one beat, in bytes (a serial frame has few).
    #[serde(default = "default_payload_bytes")]
    pub payload_bytes: usize,
    /// Bit rate of the line, where it limits the interval (serial: the baud rate).
    #[serde(default)]
    pub bits_per_second: Option<u32>,
    /// Carries evidence that can veto a death and never cause one (beats inside a mirror's stream).
    #[serde(default)]
    pub evidence_only: bool,
}

const fn default_payload_bytes() -> usize {
    1000
}

impl LinkConfig {
    /// Room for statements in a serial frame of 64 bytes.
    pub const SERIAL_PAYLOAD_BYTES: usize = 34;

    /// A datagram link that suspects after half of `dead`.
    #[must_use]
    pub fn datagram(name: &str, interval: Duration, dead: Duration) -> Self {
        Self {
            name: name.into(),
            interval,
            suspect: dead / 2,
            dead,
            payload_bytes: default_payload_bytes(),
            bits_per_second: None,
            evidence_only: false,
        }
    }

    /// A serial link of `baud` bits per second.
    #[must_use]
    pub fn serial(name: &str, interval: Duration, dead: Duration, baud: u32) -> Self {
        Self {
            payload_bytes: Self::SERIAL_PAYLOAD_BYTES,
            bits_per_second: Some(baud),
            ..Self::datagram(name, interval, dead)
        }
    }

    /// A link inside a data stream: it vetoes a death, it never causes one.
    #[must_use]
    pub fn evidence(name: &str, interval: Duration, window: Duration) -> Self {
        Self { evidence_only: true, ..Self::datagram(name, interval, window) }
    }
}

/// One group of resources.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct GroupConfig {
    /// Its name, unique in the cluster.
    pub name: String,
    /// The node (0 or 1) that owns it when nothing else decides.
    #[serde(default)]
    pub preferred: NodeId,
    /// Its weight in the fencing order (rule 11).
    #[serde(default = "one")]
    pub weight: u16,
    /// Whether its data is a mirror kept by both nodes.
    #[serde(default)]
    pub mirrored: bool,
    /// Whether its data is on one store that both nodes reach. Not with `mirrored`.
    #[serde(default)]
    pub shared: bool,
    /// Budget of a promotion of the data.
    #[serde(with = "duration", default = "ms_2000")]
    pub promote_timeout: Duration,
    /// Budget of a demotion of the data.
    #[serde(with = "duration", default = "ms_500")]
    pub demote_timeout: Duration,
    /// How long an address outlives its owner's processes; waited for when a device ended only processes.
    #[serde(with = "duration", default)]
    pub address_lifetime: Duration,
    /// Where it should be, and what its failures lead to.
    #[serde(default)]
    pub policy: super::GroupPolicy,
    /// Longest until the network follows a moved address: between two of its announcements, at most.
    #[serde(with = "duration", default)]
    pub announcement: Duration,
    /// The resources in the order of their start; stopped in reverse.
    #[serde(default)]
    pub resources: Vec<ResourceConfig>,
}

const fn one() -> u16 {
    1
}
const fn ms_500() -> Duration {
    ms(500)
}
const fn ms_2000() -> Duration {
    ms(2000)
}

impl GroupConfig {
    /// A group without data of its own, preferring the first node.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self {
            name: name.into(),
            preferred: NodeId(0),
            weight: 1,
            mirrored: false,
            shared: false,
            promote_timeout: ms_2000(),
            demote_timeout: ms_500(),
            address_lifetime: Duration::ZERO,
            policy: super::GroupPolicy::default(),
            announcement: Duration::ZERO,
            resources: Vec::new(),
        }
    }

    /// The same with a mirror of its data on both nodes.
    #[must_use]
    pub fn mirrored(mut self) -> Self {
        self.mirrored = true;
        self
    }

    /// The same with its data on one store that both nodes reach.
    #[must_use]
    pub fn shared(mut self) -> Self {
        self.shared = true;
        self
    }

    /// The same with a resource started after the ones before.
    #[must_use]
    pub fn then(mut self, resource: ResourceConfig) -> Self {
        self.resources.push(resource);
        self
    }

    /// The same preferring `node`.
    #[must_use]
    pub fn preferring(mut self, node: NodeId) -> Self {
        self.preferred = node;
        self
    }
}

/// One resource's budgets.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct ResourceConfig {
    /// Its name, unique in its group.
    pub name: String,
    /// Budget of a start.
    #[serde(with = "duration", default = "ms_2000")]
    pub start_timeout: Duration,
    /// Budget of a stop, drain included. A stop that takes longer is finished by the guardian.
    #[serde(with = "duration", default = "ms_500")]
    pub stop_timeout: Duration,
    /// Time between two monitors.
    #[serde(with = "duration", default = "ms_500")]
    pub monitor_interval: Duration,
    /// Budget of a monitor. An overrun is *unknown*, not *failed*.
    #[serde(with = "duration", default = "ms_500")]
    pub monitor_timeout: Duration,
    /// Restarts in place before the group moves to a viable target.
    #[serde(default = "one_u8")]
    pub restart_limit: u8,
    /// What its monitor's findings lead to.
    #[serde(default)]
    pub health: super::HealthPolicy,
    /// It runs on when the engine's process ends, and a later life can find and stop it: the engine may be exchanged
    /// without stopping it. Its agent must say the same.
    #[serde(default)]
    pub outlives_engine: bool,
}

const fn one_u8() -> u8 {
    1
}

impl ResourceConfig {
    /// A resource with the default budgets.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self {
            name: name.into(),
            start_timeout: ms_2000(),
            stop_timeout: ms_500(),
            monitor_interval: ms_500(),
            monitor_timeout: ms_500(),
            restart_limit: 1,
            health: super::HealthPolicy::default(),
            outlives_engine: false,
        }
    }

    /// The same for something that runs on without the engine.
    #[must_use]
    pub const fn outliving_engine(mut self) -> Self {
        self.outlives_engine = true;
        self
    }
}

/// How the pair's fence devices behave.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct FenceConfig {
    /// Longest time from the order to the device's answer. No answer by then is a failure.
    #[serde(with = "duration")]
    pub timeout: Duration,
    /// Longest time from the device's acceptance to the node's end.
    #[serde(with = "duration", default)]
    pub effect: Duration,
    /// What the device ends.
    pub scope: FenceScope,
    /// The devices that one order tries one after the other; only for the proof that `timeout` gives them the time.
    #[serde(default)]
    pub devices: Vec<DeviceConfig>,
}

impl FenceConfig {
    /// A device that ends the whole incarnation within `timeout`.
    #[must_use]
    pub const fn new(timeout: Duration) -> Self {
        Self { timeout, effect: Duration::ZERO, scope: FenceScope::Incarnation, devices: Vec::new() }
    }
}

/// The only text that switches proofs off.
pub const ACCEPT_SPLIT_BRAIN: &str = "i accept split brain";

impl Config {
    /// A pair of nodes without links and groups yet.
    #[must_use]
    pub fn pair(cluster: &str, first: &str, second: &str) -> Self {
        Self {
            cluster: cluster.into(),
            nodes: vec![NodeConfig { name: first.into() }, NodeConfig { name: second.into() }],
            links: Vec::new(),
            groups: Vec::new(),
            fence: None,
            arbiter: None,
            watchdog: None,
            outage_budget: None,
            reliability: None,
            timing: TimingConfig::default(),
            unguarded: None,
        }
    }

    /// The same with one more link.
    #[must_use]
    pub fn link(mut self, link: LinkConfig) -> Self {
        self.links.push(link);
        self
    }

    /// The same with one more group.
    #[must_use]
    pub fn group(mut self, group: GroupConfig) -> Self {
        self.groups.push(group);
        self
    }

    /// The same with a fence device on either side.
    #[must_use]
    pub fn fence(mut self, fence: FenceConfig) -> Self {
        self.fence = Some(fence);
        self
    }

    /// The same with an arbiter.
    #[must_use]
    pub fn arbiter(mut self, arbiter: ArbiterConfig) -> Self {
        self.arbiter = Some(arbiter);
        self
    }

    /// The same with a hardware watchdog in either machine.
    #[must_use]
    pub fn watchdog(mut self, watchdog: WatchdogConfig) -> Self {
        self.watchdog = Some(watchdog);
        self
    }

    /// The same with other durations.
    #[must_use]
    pub fn timing(mut self, timing: TimingConfig) -> Self {
        self.timing = timing;
        self
    }

    /// Whether takeovers without proof were accepted by name.
    #[must_use]
    pub fn is_unguarded(&self) -> bool {
        self.unguarded.as_deref() == Some(ACCEPT_SPLIT_BRAIN)
    }

    /// The configured links with their ids.
    pub fn links(&self) -> impl Iterator<Item = (LinkId, &LinkConfig)> {
        (0u8..).map(LinkId).zip(&self.links)
    }

    /// The configured groups with their ids.
    pub fn groups(&self) -> impl Iterator<Item = (GroupId, &GroupConfig)> {
        (0u16..).map(GroupId).zip(&self.groups)
    }

    /// The other node of the pair.
    #[must_use]
    pub const fn peer_of(node: NodeId) -> NodeId {
        NodeId(1 - node.0)
    }

    /// The latest deadline among the links that may declare a node dead.
    #[must_use]
    pub fn latest_dead(&self) -> Duration {
        self.links.iter().filter(|l| !l.evidence_only).map(|l| l.dead).max().unwrap_or_default()
    }

    /// The length of a fencing slot: `1.2 × (fence timeout + effect) + slowest beat interval` (rule 11).
    #[must_use]
    pub fn slot(&self) -> Duration {
        let slowest = self.links.iter().map(|l| l.interval).max().unwrap_or_default();
        self.fence.as_ref().map_or(Duration::ZERO, |f| (f.timeout + f.effect) * 6 / 5) + slowest
    }

    /// For how long after the begin of its slot a node may still shoot: `slowest beat interval + (fence timeout +
    /// effect) / 10`. The slot then has room for the shot, and for another tenth of it.
    ///
    /// So long, because an owner knows that its peer is dead a beat and its echo after its slot begins.
    #[must_use]
    pub fn slot_window(&self) -> Duration {
        let shot = self.fence.as_ref().map_or(Duration::ZERO, |f| f.timeout + f.effect);
        self.slot().saturating_sub(shot + shot / 10)
    }
}
