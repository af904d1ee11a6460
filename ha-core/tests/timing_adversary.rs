//! What a proof promises, against the simulator: random pairs, driven by pauses that end at the worst moment, clocks
//! that drift 500 ppm either way, beats that come late, devices that lie about a frozen node, and cuts. *Proven* must
//! mean that both nodes never act at one instant; of the *refused* ones a measured share does when they run all the same.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use ha_core::config::{
    ACCEPT_SPLIT_BRAIN, ArbiterConfig, ArbiterKind, Config, FenceConfig, GroupConfig, LinkConfig,
    ResourceConfig, TimingConfig,
};
use ha_core::engine::Sabotage;
use ha_core::sim::invariant::Invariant;
use ha_core::sim::{Cluster, Cut, DeviceFault, Fault, Options, Rng, Scenario};
use ha_core::timing::prove;
use ha_core::{GroupId, NodeId};
use std::collections::BTreeMap;
use std::time::Duration;

const fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

fn between(rng: &mut Rng, low: Duration, high: Duration) -> Duration {
    let micros = |span: Duration| u64::try_from(span.as_micros()).unwrap();
    Duration::from_micros(rng.range(micros(low), micros(high).max(micros(low) + 1)))
}

/// A pair that proves as its links have it: guarded by a device, or taking over on an assumption.
fn random_pair(rng: &mut Rng) -> Config {
    let interval = ms(rng.range(10, 70));
    let dead = interval * u32::try_from(rng.range(4, 9)).unwrap() + ms(rng.range(1, 40));
    let mut config = Config::pair("adversary", "a", "b").link(LinkConfig::datagram("net0", interval, dead));
    if rng.chance(500) {
        config = config.link(LinkConfig::datagram("net1", interval, dead + ms(rng.range(0, 60))));
    }
    if rng.chance(600) {
        let line = interval.max(ms(20));
        config = config.link(LinkConfig::serial("tty", line, (line * 5).max(dead), 115_200));
    }
    let kind = rng.range(0, 10);
    let (assumes, leases) = (kind < 3, kind >= 7);
    let groups = if assumes || leases { 1 } else { rng.range(1, 3) };
    let mirrored = !assumes && rng.chance(500);
    for n in 0..groups {
        let mut group = GroupConfig::new(&format!("g{n}"))
            .preferring(NodeId(u8::try_from(n).unwrap()))
            .then(ResourceConfig::new("address").with_start_timeout(ms(300)).with_stop_timeout(ms(100)))
            .then(ResourceConfig::new("service").with_start_timeout(ms(300)).with_stop_timeout(ms(200)));
        group.mirrored = mirrored;
        config = config.group(group);
    }
    if assumes {
        config = config.with_unguarded(ACCEPT_SPLIT_BRAIN);
    } else if leases {
        let arbiter = ArbiterConfig::new(ArbiterKind::ThirdParty, ms(rng.range(300, 1500)));
        config = config.arbiter(arbiter.with_trusts_host_pauses(true));
        if rng.chance(500) {
            config.groups[0].address_lifetime = ms(rng.range(100, 1500));
        }
    } else {
        config = config.fence(FenceConfig::new(ms(rng.range(120, 400))));
    }
    config.timing = TimingConfig::for_links(&config.links, config.fence.as_ref()).with_drift_ppm(1000);
    config
}

/// Breaks one rule of a pair that proves, by a random amount. `None` if it proves still, or breaks another one too.
fn broken(rng: &mut Rng, rule: &str, mut config: Config) -> Option<Config> {
    let earliest = config.links.iter().map(|link| link.dead).min()?;
    match rule {
        "freeze" => config.timing.token_validity = between(rng, earliest, earliest * 6),
        "expired" => {
            let lease = config.arbiter.as_ref()?.lease;
            config.arbiter.as_mut()?.takeover_wait = Some(between(rng, lease / 10, lease * 5 / 4));
        }
        "patience" => config.timing.feed_limit = between(rng, ms(20), config.latest_dead()),
        "boot" => config.timing.boot_wait = between(rng, ms(5), config.latest_dead() * 2),
        "consent" => config.timing.ask_deadline = between(rng, ms(5), ms(90)),
        "first slot" => {
            // The slowest beat outweighs the device's tenth.
            config.fence.as_mut()?.timeout = ms(rng.range(10, 100));
            let slowest = config.links.iter_mut().max_by_key(|link| link.interval)?;
            slowest.interval = slowest.interval.max(ms(120));
            (slowest.suspect, slowest.dead) = (slowest.interval * 3, slowest.interval * 5);
            let timing = TimingConfig::for_links(&config.links, config.fence.as_ref());
            config.timing = timing.with_drift_ppm(1000);
        }
        other => panic!("no way to break {other}"),
    }
    let violations = prove(&config).err()?;
    let goes_along = |found: &str| {
        matches!(
            (rule, found),
            ("boot", "listening") | ("first slot", "slots") | ("expired", "expired addresses")
        )
    };
    let allowed = |found: &str| found == rule || goes_along(found);
    violations.as_slice().iter().all(|violation| allowed(violation.rule)).then_some(config)
}

/// What an attack saw.
struct Seen {
    twice: bool,
    broken: Option<Invariant>,
    /// The group is elsewhere at the end.
    moved: bool,
    text: String,
}

/// Where an attack is aimed.
#[derive(Clone, Copy)]
enum Aim {
    Anywhere,
    At(&'static str),
}

/// One run: a healthy start, then drift and one attack, then peace.
fn attack(config: &Config, seed: u64, aim: Aim, options: Options) -> Seen {
    let mut rng = Rng::new(seed ^ 0xadbe_ef00);
    let mut scenario = Scenario::quiet(seed, config.clone());
    scenario.lying = true;
    let mut cluster = Cluster::new(scenario, options);
    cluster.run_for(ms(2500));
    let ppm = if rng.chance(500) { 500 } else { -500 };
    cluster.inject(Fault::Drift(0, ppm));
    cluster.inject(Fault::Drift(1, -ppm));
    cluster.run_for(between(&mut rng, ms(300), ms(600)));
    let owner = cluster.actor(GroupId(0));
    match aim {
        Aim::Anywhere => strike(&mut cluster, config, &mut rng),
        Aim::At(rule) => aimed(&mut cluster, config, &mut rng, rule),
    }
    cluster.run_for(ms(8000));
    let broken = cluster.broken().map(|broken| broken.invariant);
    let moved = cluster.actor(GroupId(0)) != owner;
    let text = cluster.broken().map(ToString::to_string).unwrap_or_default();
    Seen { twice: cluster.twice_active().is_some(), broken, moved, text }
}

/// The attack that the rule is there against.
fn aimed(cluster: &mut Cluster, config: &Config, rng: &mut Rng, rule: &str) {
    let (dead, token) = (config.latest_dead(), config.timing.token_validity);
    let owner = cluster.actor(GroupId(0)).unwrap_or(0);
    match rule {
        "freeze" => {
            cluster.inject(Fault::Device(owner, DeviceFault::Lies, ms(6000)));
            cluster.inject(Fault::PauseTree(owner, between(rng, dead, token.max(dead * 2))));
        }
        "expired" => lose_the_lease(cluster, config, rng, owner),
        "patience" => {
            let pause = between(rng, config.timing.feed_limit, dead.max(config.timing.feed_limit));
            cluster.inject(Fault::PauseChild(owner, pause));
        }
        // On an assumption any cut makes two owners, by its name: the return alone is the attack.
        "boot" if config.is_unguarded() => {
            cluster.inject(Fault::PowerLoss(1 - owner, between(rng, ms(200), dead * 3)));
        }
        "boot" => {
            cluster.inject(Fault::PowerLoss(1 - owner, between(rng, ms(200), dead)));
            cluster.run_for(between(rng, ms(100), dead * 2));
            cluster.inject(Fault::Isolate(between(rng, dead, dead * 20)));
        }
        "consent" => cluster.inject(Fault::CutMirror(Cut::Both, ms(2500))),
        _ => {
            // One direction first, so that the two nodes count from beats as far apart as may be.
            cluster.inject(Fault::CutBeats(Cut::From(rng.node()), dead * 12));
            cluster.run_for(between(rng, ms(0), ms(150)));
            cluster.inject(Fault::Isolate(dead * 12));
        }
    }
}

/// The owner no longer reaches the arbiter, then nobody; or it sleeps until somebody may act in its place.
fn lose_the_lease(cluster: &mut Cluster, config: &Config, rng: &mut Rng, owner: usize) {
    let (lease, wait) = (config.arbiter.as_ref().unwrap().lease, config.takeover_wait().unwrap());
    match rng.range(0, 4) {
        0 => cluster.inject(Fault::PauseTree(owner, between(rng, lease / 2, wait + lease))),
        1 => {
            cluster.inject(Fault::CutArbiter(owner, wait * 3));
            cluster.run_for(between(rng, ms(0), lease * 2));
            cluster.inject(Fault::Isolate(wait * 3));
        }
        2 => {
            cluster.inject(Fault::ArbiterSlow(config.arbiter.as_ref().unwrap().answer_timeout, wait));
            cluster.inject(Fault::ArbiterMute(wait));
            cluster.run_for(between(rng, ms(0), lease));
            cluster.inject(Fault::CutArbiter(owner, wait * 3));
            cluster.inject(Fault::Isolate(wait * 3));
        }
        _ => {
            cluster.inject(Fault::CutArbiter(owner, wait * 3));
            cluster.inject(Fault::Isolate(wait * 3));
        }
    }
}

fn strike(cluster: &mut Cluster, config: &Config, rng: &mut Rng) {
    let (dead, token) = (config.latest_dead(), config.timing.token_validity);
    let owner = cluster.actor(GroupId(0)).unwrap_or(0);
    let late = |rng: &mut Rng, cluster: &mut Cluster| {
        let link = u8::try_from(rng.index(config.links.len())).unwrap();
        cluster.inject(Fault::Slow(link, between(rng, ms(1), dead / 2), ms(2000)));
    };
    // Between the earliest instant at which somebody may act in its place and the end of its own permission.
    let worst = between(rng, dead, (token * 2).max(dead + dead / 2) + ms(600));
    if config.is_unguarded() {
        // On an assumption any cut makes two owners, by its name: only sleeps and returns are attacks.
        let away = between(rng, ms(200), dead * 3);
        let asleep = rng.chance(700);
        cluster.inject(if asleep {
            Fault::PauseTree(owner, worst)
        } else {
            Fault::PowerLoss(1 - owner, away)
        });
        return;
    }
    if config.arbiter.is_some() {
        lose_the_lease(cluster, config, rng, owner);
        return;
    }
    match rng.range(0, 7) {
        0 | 1 => {
            cluster.inject(Fault::Device(owner, DeviceFault::Lies, ms(6000)));
            cluster.inject(Fault::PauseTree(owner, worst));
        }
        2 => {
            late(rng, cluster);
            cluster.inject(Fault::PauseTree(owner, worst));
        }
        3 => {
            cluster.inject(Fault::Isolate(between(rng, dead, dead * 20)));
        }
        4 => {
            cluster.inject(Fault::PowerLoss(1 - owner, between(rng, ms(200), dead * 3)));
            cluster.run_for(between(rng, ms(100), dead * 3));
            cluster.inject(Fault::Isolate(between(rng, dead, dead * 20)));
        }
        5 => {
            cluster.inject(Fault::CutMirror(Cut::Both, ms(2500)));
            cluster.inject(Fault::SlowDisk(1 - owner, ms(20), ms(2500)));
            cluster.run_for(between(rng, ms(10), ms(200)));
            cluster.inject(Fault::PauseChild(rng.node(), between(rng, ms(20), dead * 2)));
        }
        _ => {
            late(rng, cluster);
            cluster.inject(Fault::CutBeats(Cut::From(owner), between(rng, dead / 2, dead * 4)));
        }
    }
}

const PROVEN: u64 = 150;
const ATTACKS: u64 = 5;

#[test]
fn a_proven_pair_never_has_two_active_nodes_whatever_the_adversary_does() {
    let mut tried = 0;
    for seed in 0..PROVEN {
        let mut rng = Rng::new(seed);
        let config = random_pair(&mut rng);
        if prove(&config).is_err() {
            continue;
        }
        tried += 1;
        for n in 0..ATTACKS {
            let seen = attack(&config, seed * 1000 + n, Aim::Anywhere, Options::default());
            let sound = !seen.twice && seen.broken.is_none();
            assert!(
                sound,
                "pair {seed}, attack {n}: {}, twice active: {}\n{config:?}",
                seen.text, seen.twice
            );
        }
    }
    println!("{tried} of {PROVEN} random pairs are proven; {} attacks", tried * ATTACKS);
    assert!(tried > PROVEN / 3, "only {tried} proven");
}

/// What came of the refused.
#[derive(Default, Debug)]
struct Forced {
    runs: u64,
    twice: u64,
    moved: u64,
    broken: BTreeMap<String, u64>,
}

fn forced(rule: &'static str, pairs: u64, sabotage: Option<Sabotage>) -> Forced {
    let mut all = Forced::default();
    for seed in 1..pairs * 40 {
        let mut rng = Rng::new(seed);
        let sound = random_pair(&mut rng);
        let Some(config) = broken(&mut rng, rule, sound) else { continue };
        for n in 0..ATTACKS {
            let seen =
                attack(&config, seed * 1000 + n, Aim::At(rule), Options { sabotage, ..Options::default() });
            all.runs += 1;
            all.twice += u64::from(seen.twice);
            all.moved += u64::from(seen.moved);
            if let Some(other) = seen.broken {
                *all.broken.entry(format!("{other:?}")).or_default() += 1;
            }
        }
        if all.runs >= pairs * ATTACKS {
            break;
        }
    }
    println!("{rule}: {all:?}");
    all
}

#[test]
fn a_measured_share_of_the_pairs_refused_for_their_permission_is_twice_active() {
    let all = forced("freeze", 50, None);
    assert!(all.runs >= 200 && all.twice * 10 >= all.runs, "only {} of {}", all.twice, all.runs);
}

#[test]
fn a_measured_share_of_the_pairs_refused_for_their_lease_wait_is_twice_active() {
    let all = forced("expired", 40, Some(Sabotage::IgnoreJointTiming));
    assert!(all.runs >= 150 && all.twice * 10 >= all.runs, "only {} of {}", all.twice, all.runs);
    // Run all the same, such a pair finds it out by what each tells the other.
    assert_eq!(forced("expired", 40, None).twice, 0);
}

#[test]
fn a_measured_share_of_the_pairs_refused_for_their_guardians_patience_moves_without_need() {
    let all = forced("patience", 20, None);
    assert!(all.runs >= 50 && all.moved * 2 >= all.runs, "only {} of {}", all.moved, all.runs);
    assert_eq!(all.twice, 0, "that is needless, and not unsafe");
}

#[test]
fn what_comes_of_the_other_refusals_is_measured() {
    for rule in ["first slot", "boot", "consent"] {
        let all = forced(rule, 30, None);
        assert!(all.runs >= 50, "{rule}: only {} runs", all.runs);
    }
}
