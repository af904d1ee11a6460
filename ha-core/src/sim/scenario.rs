//! What a run is made of: two configurations, the properties of the world, and the faults with their times.

use super::fault::{Cut, DeviceFault, Fault, ResourceFault};
use super::rng::Rng;
use crate::config::{
    ACCEPT_SPLIT_BRAIN, ArbiterConfig, ArbiterKind, Config, FenceConfig, GroupConfig, LinkConfig,
    ResourceConfig, TimingConfig,
};
use crate::{FenceScope, NodeId};
use std::sync::Arc;
use std::time::Duration;

/// A fault that waits for its moment: it strikes `delay` after the next `moment` past `after`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Trap {
    /// Armed from this true time on.
    pub after: Duration,
    /// What it waits for.
    pub moment: Moment,
    /// How long after that it strikes.
    pub delay: Duration,
    /// What it does.
    pub fault: Fault,
}

/// Adversarial moments.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Moment {
    /// A group is claimed: its grant is being written.
    Claiming,
    /// A group was granted and starts.
    Starting,
    /// An owner's permission ran out.
    Suspended,
    /// An owner gives up.
    Stopping,
    /// A fencing order was given.
    Shot,
    /// A record is being written.
    Persisting,
    /// A node went alone.
    Alone,
    /// Both copies are members again.
    Full,
}

/// One whole run.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// The seed of everything random in the world.
    pub seed: u64,
    /// Each node's configuration; they differ only where a mismatch is wanted.
    pub configs: [Arc<Config>; 2],
    /// Each node runs under a guardian.
    pub guarded: bool,
    /// Fence devices may lie, so what rests on a lie is not asserted.
    pub lying: bool,
    /// The nodes' timings differ so much that takeovers must be disabled.
    pub mismatched: bool,
    /// Faults at fixed times.
    pub faults: Vec<(Duration, Fault)>,
    /// Faults at adversarial moments.
    pub traps: Vec<Trap>,
    /// When every fault is mended; `None`: never.
    pub heal_at: Option<Duration>,
    /// The length of the run.
    pub length: Duration,
    /// How long after the healing every group must be served, or a question stand.
    pub recovery: Duration,
    /// An operator answers questions, truthfully, after a while.
    pub operator: bool,
    /// Clients commit to mirrored groups.
    pub clients: bool,
    /// What each node's boot clock shows at the start, a random part of a second aside.
    pub clocks_begin: [Duration; 2],
}

const fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

impl Scenario {
    /// A run of `config` without any fault, for directed tests.
    #[must_use]
    pub fn quiet(seed: u64, config: Config) -> Self {
        let config = Arc::new(config);
        Self {
            seed,
            configs: [config.clone(), config],
            guarded: true,
            lying: false,
            mismatched: false,
            faults: Vec::new(),
            traps: Vec::new(),
            heal_at: None,
            length: Duration::from_secs(60),
            recovery: Duration::from_secs(20),
            operator: false,
            clients: true,
            clocks_begin: [Duration::from_secs(1000), Duration::from_secs(2000)],
        }
    }

    /// Everything is mended `at`; from [`recovery_bound`](super::recovery_bound) after that on all must be well.
    pub fn recover_after(&mut self, at: Duration) {
        self.heal_at = Some(at);
        self.recovery = self.configs.iter().map(|c| super::recovery_bound(c)).max().unwrap_or_default();
        self.length = self.length.max(at + self.recovery + Duration::from_secs(2));
    }

    /// A run of *your* configuration: at least ten faults by chance, an operator who answers, and a healing.
    /// [`Cluster::from_config`](super::Cluster::from_config) runs many of them.
    #[must_use]
    pub fn random(seed: u64, config: Config) -> Self {
        let mut rng = Rng::new(seed);
        let mut scenario = Self::quiet(seed, config);
        scenario.operator = true;
        scenario.recover_after(Duration::from_secs(38));
        plan(&mut rng, &mut scenario);
        scenario
    }

    /// The run of `seed`: configuration, world and at least ten faults, all by chance.
    #[must_use]
    pub fn from_seed(seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let config = random_config(&mut rng);
        let lying = config.fence.is_some() && rng.chance(60);
        let mismatched = !lying && config.fence.is_some() && rng.chance(60);
        let mut other = config.clone();
        if mismatched {
            mismatch(&mut rng, &mut other);
        }
        let mut scenario = Self::quiet(seed, config);
        if mismatched {
            scenario.configs[1] = Arc::new(other);
        }
        scenario.guarded = !rng.chance(60);
        scenario.lying = lying;
        scenario.mismatched = mismatched;
        scenario.operator = true;
        scenario.recover_after(Duration::from_secs(38));
        plan(&mut rng, &mut scenario);
        super::policies::season(&mut scenario);
        scenario
    }
}

impl Scenario {
    /// The run of `seed` with a third party, and with faults of it among the others.
    #[must_use]
    pub fn arbitrated(seed: u64) -> Self {
        Self::from_seed(seed).with_third_party()
    }

    /// The same run with a third party, and with faults of it among the others.
    #[must_use]
    pub fn with_third_party(self) -> Self {
        let mut scenario = self;
        let mut rng = Rng::new(scenario.seed ^ 0x0a4b_17e4_0000);
        let lease = ms(rng.range(800, 2500));
        let trusts = rng.chance(700);
        for config in &mut scenario.configs {
            let config = Arc::make_mut(config);
            let arbiter = ArbiterConfig::new(ArbiterKind::ThirdParty, lease).with_trusts_host_pauses(trusts);
            config.arbiter = Some(arbiter);
            config.unguarded = None;
            for group in &mut config.groups {
                if trusts && group.address_lifetime.is_zero() {
                    group.address_lifetime = ms(700);
                }
            }
        }
        for _ in 0..rng.range(3, 9) {
            let at = rng.range(2000, 32_000);
            for (later, fault) in arbiter_faults(&mut rng) {
                scenario.faults.push((ms(at + later), fault));
            }
        }
        for _ in 0..rng.range(0, 3) {
            let moment = [Moment::Claiming, Moment::Starting, Moment::Suspended, Moment::Alone][rng.index(4)];
            let fault = arbiter_fault(&mut rng);
            let delay = Duration::from_micros(rng.range(0, 5000));
            scenario.traps.push(Trap { after: ms(rng.range(0, 30_000)), moment, delay, fault });
        }
        scenario
    }
}

fn arbiter_fault(rng: &mut Rng) -> Fault {
    let span = span(rng);
    match rng.range(0, 11) {
        0..=3 => Fault::CutArbiter(rng.node(), span),
        4..=6 => Fault::ArbiterDown(span),
        7 => Fault::ArbiterSlow(ms(rng.range(5, 200)), span),
        8 => Fault::ArbiterMute(span),
        // As many as reach back to a lower epoch.
        _ => Fault::ArbiterForgets(u8::try_from(rng.range(1, 12)).unwrap_or(1)),
    }
}

/// An arbiter's fault, or several that belong together, with their milliseconds after the begin.
fn arbiter_faults(rng: &mut Rng) -> Vec<(u64, Fault)> {
    let node = rng.node();
    match rng.range(0, 10) {
        // An owner goes on by its peer's promise; then the two lose each other while the taker sees an old lease.
        0 | 1 => {
            let away = rng.range(3000, 7000);
            vec![
                (0, Fault::CutArbiter(node, ms(away + 4000))),
                (away, Fault::Isolate(ms(rng.range(1000, 6000)))),
            ]
        }
        // The same while the arbiter was away for both.
        2 => {
            let away = rng.range(3000, 6000);
            vec![
                (0, Fault::ArbiterDown(ms(away))),
                (away - rng.range(0, 300), Fault::Isolate(ms(rng.range(1000, 6000)))),
            ]
        }
        // Nobody sees anybody, but one of them the arbiter.
        3 => vec![
            (0, Fault::CutArbiter(node, ms(rng.range(3000, 8000)))),
            (rng.range(0, 500), Fault::Isolate(ms(rng.range(3000, 8000)))),
        ],
        // A frozen owner wakes about when its lease is over.
        4 => vec![(0, Fault::PauseTree(node, ms(rng.range(500, 6000)))), (20, Fault::Isolate(ms(6000)))],
        // The promiser restarts.
        5 => vec![
            (0, Fault::CutArbiter(node, ms(9000))),
            (4000, Fault::KillEngine(1 - node)),
            (4000 + rng.range(0, 800), Fault::Isolate(ms(rng.range(3000, 6000)))),
        ],
        _ => vec![(0, arbiter_fault(rng))],
    }
}

fn random_config(rng: &mut Rng) -> Config {
    let interval = ms([50, 100, 100, 100][rng.index(4)]);
    let dead = interval * u32::try_from(rng.range(4, 6)).unwrap_or(4);
    let mut config = Config::pair("sim", "a", "b").link(LinkConfig::datagram("net0", interval, dead));
    if rng.chance(700) {
        config = config.link(LinkConfig::datagram("net1", interval, dead));
    }
    if rng.chance(750) {
        config = config.link(LinkConfig::serial("tty", ms(100), (dead * 3 / 2).max(ms(500)), 115_200));
    }
    let mutual = rng.chance(350);
    let mirrored = rng.chance(700);
    let scope = if rng.chance(300) { FenceScope::Processes } else { FenceScope::Incarnation };
    for index in 0..=u8::from(mutual) {
        config = config.group(random_group(rng, index, mirrored, scope));
    }
    if mirrored && rng.chance(600) {
        config = config.link(LinkConfig::evidence("stream", ms(100), ms(400)));
    }
    if rng.chance(800) {
        let mut fence = FenceConfig::new(ms(rng.range(80, 400)));
        fence.scope = scope;
        config = config.fence(fence);
    } else if rng.chance(150) && !mirrored {
        config.unguarded = Some(ACCEPT_SPLIT_BRAIN.into());
    }
    config.timing = random_timing(rng, &config, dead);
    config
}

fn random_group(rng: &mut Rng, index: u8, mirrored: bool, scope: FenceScope) -> GroupConfig {
    let mut group = GroupConfig::new(["mail", "web"][usize::from(index & 1)])
        .preferring(NodeId(index & 1))
        .then(ResourceConfig::new("address"))
        .then(ResourceConfig::new("service"));
    group.mirrored = mirrored;
    group.weight = u16::try_from(rng.range(1, 4)).unwrap_or(1);
    group.address_lifetime =
        if scope == FenceScope::Processes { ms(rng.range(200, 1500)) } else { Duration::ZERO };
    for resource in &mut group.resources {
        resource.start_timeout = ms(rng.range(300, 1500));
        resource.stop_timeout = ms(rng.range(200, 500));
        resource.monitor_interval = ms(1000);
        resource.monitor_timeout = ms(300);
    }
    group
}

fn random_timing(rng: &mut Rng, config: &Config, dead: Duration) -> TimingConfig {
    let latest = config.latest_dead();
    TimingConfig {
        token_validity: dead * 2 / 5,
        feed_limit: latest + ms(rng.range(50, 200)),
        boot_wait: latest * 2 + ms(rng.range(0, 600)),
        // A new life of the peer is heard both ways after two of its beats and one of ours.
        confirm_deadline: config.links.iter().map(|l| l.interval).max().unwrap_or_default() * 4,
        ask_deadline: ms(rng.range(300, 500)),
        query_interval: ms(rng.range(50, 150)),
        persist_deadline: ms(rng.range(800, 1500)),
        takeover_deadline: ms(rng.range(1500, 2500)),
        question_interval: Duration::from_secs(5),
        ..TimingConfig::default()
    }
}

/// Makes the second node's slots or patience other than the first one believes.
fn mismatch(rng: &mut Rng, other: &mut Config) {
    if let Some(fence) = &mut other.fence {
        fence.timeout = fence.timeout * 3 + ms(500);
    }
    if rng.chance(500) {
        other.timing.feed_limit *= 4;
    }
}

fn plan(rng: &mut Rng, scenario: &mut Scenario) {
    let count = rng.range(10, 17);
    let mut at = 3000;
    for _ in 0..count {
        let fault = random_fault(rng, scenario);
        scenario.faults.push((ms(at), fault));
        if rng.chance(300) {
            let second = random_fault(rng, scenario);
            scenario.faults.push((ms(at + rng.range(0, 1200)), second));
        }
        if rng.chance(if scenario.lying { 400 } else { 120 }) {
            for (later, fault) in super::combination::random(rng, scenario) {
                scenario.faults.push((ms(at + later), fault));
            }
        }
        at += rng.range(600, 3600);
        if at > 32_000 {
            at = rng.range(4000, 32_000);
        }
    }
    for _ in 0..rng.range(1, 5) {
        let trap = random_trap(rng, scenario);
        scenario.traps.push(trap);
    }
    // With a generator of their own: what a seed had before them it keeps.
    let mut rng = Rng::new(scenario.seed ^ 0x000d_15c0_0000);
    while rng.chance(350) {
        let at = ms(rng.range(3000, 32_000));
        let fault = late_fault(&mut rng, scenario);
        scenario.faults.push((at, fault));
    }
}

/// Faults of disks and clogged paths.
fn late_fault(rng: &mut Rng, scenario: &Scenario) -> Fault {
    let node = rng.node();
    let link = u8::try_from(rng.index(scenario.configs[0].links.len())).unwrap_or(0);
    match rng.range(0, 10) {
        0 | 1 => Fault::DiskFull(node, span(rng)),
        2 | 3 => Fault::DiskStalls(node, ms(rng.range(200, 3000))),
        4 => Fault::DamagedRecord(node, ms(rng.range(800, 5000))),
        5..=7 => Fault::Clog(link, random_cut(rng), ms(rng.range(50, 3000))),
        _ => Fault::ClogMirror(random_cut(rng), ms(rng.range(50, 3000))),
    }
}

fn random_trap(rng: &mut Rng, scenario: &Scenario) -> Trap {
    let moments = [
        Moment::Claiming,
        Moment::Starting,
        Moment::Suspended,
        Moment::Stopping,
        Moment::Shot,
        Moment::Persisting,
        Moment::Alone,
        Moment::Full,
    ];
    let longest = [300, 5000, 400_000][rng.index(3)];
    let moment = moments[rng.index(moments.len())];
    let fault = if moment == Moment::Stopping && rng.chance(500) {
        // Whoever was to take the group over dies before it does.
        Fault::PowerLoss(rng.node(), ms(rng.range(3000, 6000)))
    } else {
        random_fault(rng, scenario)
    };
    Trap {
        after: ms(rng.range(0, 30_000)),
        moment,
        delay: Duration::from_micros(rng.range(0, longest)),
        fault,
    }
}

fn random_cut(rng: &mut Rng) -> Cut {
    [Cut::Both, Cut::Both, Cut::From(0), Cut::From(1)][rng.index(4)]
}

/// A span around the deadlines, where the interesting things are; now and then a long one.
pub(super) fn span(rng: &mut Rng) -> Duration {
    ms(match rng.range(0, 4) {
        0 => rng.range(20, 400),
        1 => rng.range(200, 1500),
        2 => rng.range(1000, 4000),
        _ => rng.range(2000, 9000),
    })
}

fn random_fault(rng: &mut Rng, scenario: &Scenario) -> Fault {
    let config = scenario.configs[0].clone();
    let node = rng.node();
    let away = ms(rng.range(800, 6000));
    let link = u8::try_from(rng.index(config.links.len())).unwrap_or(0);
    let group = u8::try_from(rng.index(config.groups.len())).unwrap_or(0);
    match rng.range(0, 100) {
        0..=10 => Fault::PowerLoss(node, away),
        11..=13 => Fault::TotalPowerLoss(away, ms(rng.range(800, 6000))),
        14..=15 => Fault::ReplaceDisk(node, away),
        16..=20 => Fault::KillEngine(node),
        21..=23 => Fault::KillGuardian(node),
        24..=26 => Fault::KillTree(node, away),
        27..=34 => Fault::PauseTree(node, span(rng)),
        35..=38 => Fault::PauseChild(node, span(rng)),
        39 => Fault::Drift(node, rng.range(0, 501).cast_signed() - 250),
        40..=43 => Fault::CutLink(link, random_cut(rng), span(rng)),
        44..=47 => Fault::CutBeats(random_cut(rng), span(rng)),
        48..=55 => Fault::CutMirror(random_cut(rng), span(rng)),
        56..=58 => Fault::CutNetwork(span(rng)),
        59..=64 => Fault::Isolate(span(rng)),
        65..=67 => {
            Fault::Lossy(link, u32::try_from(rng.range(50, 700)).unwrap_or(50), ms(rng.range(1000, 6000)))
        }
        68 => Fault::Slow(link, ms(rng.range(5, 40)), ms(rng.range(1000, 4000))),
        69..=74 => Fault::Device(node, device_fault(rng, scenario.lying), ms(rng.range(2000, 9000))),
        75..=83 => {
            let place = u8::try_from(rng.range(0, 2)).unwrap_or(0);
            Fault::Resource(node, group, place, resource_fault(rng))
        }
        84..=85 => Fault::SlowDisk(node, ms(rng.range(20, 1200)), ms(rng.range(1000, 5000))),
        86 => Fault::DiskError(node),
        87 => Fault::UndoFails(node),
        88..=90 => Fault::NoOutside(node, ms(rng.range(1000, 6000))),
        91 => Fault::StallApplication(node, span(rng)),
        92..=96 => Fault::Switchover(group),
        _ => Fault::Shutdown(node, away),
    }
}

fn device_fault(rng: &mut Rng, lying: bool) -> DeviceFault {
    let honest = [DeviceFault::Fails, DeviceFault::Hangs, DeviceFault::Late];
    if lying && rng.chance(700) { DeviceFault::Lies } else { honest[rng.index(3)] }
}

fn resource_fault(rng: &mut Rng) -> ResourceFault {
    let all = [
        ResourceFault::StartFails,
        ResourceFault::StartHangs,
        ResourceFault::StopFails,
        ResourceFault::StopHangs,
        ResourceFault::Dies,
        ResourceFault::MonitorHangs,
        ResourceFault::PromoteFails,
        ResourceFault::PromoteHangs,
        ResourceFault::DemoteHangs,
    ];
    all[rng.index(all.len())]
}

#[cfg(test)]
mod tests {
    use super::Scenario;
    use std::time::Duration;

    #[test]
    fn a_seed_plans_at_least_ten_faults_in_sixty_seconds_and_always_the_same_ones() {
        for seed in 0..200 {
            let (a, b) = (Scenario::from_seed(seed), Scenario::from_seed(seed));
            assert!(a.faults.len() >= 10);
            assert_eq!(a.faults, b.faults);
            assert_eq!(a.configs, b.configs);
            assert!(a.length >= Duration::from_secs(60));
            assert!(a.faults.iter().all(|(at, _)| Some(*at) < a.heal_at));
        }
    }
}
