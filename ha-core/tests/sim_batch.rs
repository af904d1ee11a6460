//! The batch of the gate: a thousand seeds hold every invariant, and reach everything that the engine has.

use ha_core::engine::{LinkState, PeerState, RoleName, TimeoutEdge};
use ha_core::sim::{Options, Probes, Scenario, run_scenario};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

const SEEDS: u64 = 1000;
/// The same with a third party, on seeds of their own.
const ARBITRATED: u64 = 250;
const FAULTS_MIN: u64 = 10;
const HITS_MIN: u64 = 10;
/// Every so manieth seed also checks that a fresh engine decides the same (I6).
const REPLAY_EVERY: u64 = 8;

const PROOFS: [&str; 11] = [
    "LeaseExpired",
    "StillOwner",
    "Released",
    "Released{forced}",
    "Fenced",
    "Rebooted",
    "NeverStarted",
    "StillAlone",
    "Yielded",
    "OperatorConfirmed",
    "AssumedDead",
];

const EXCLUSIONS: [&str; 6] =
    ["ThirdParty", "Consented", "Departed", "Rebooted", "Fenced", "OperatorConfirmed"];

const ROLES: [RoleName; 8] = [
    RoleName::Waiting,
    RoleName::Standby,
    RoleName::Claiming,
    RoleName::Starting,
    RoleName::Active,
    RoleName::Suspended,
    RoleName::Stopping,
    RoleName::Blocked,
];

const PEERS: [PeerState; 6] = [
    PeerState::Unknown,
    PeerState::Alive,
    PeerState::Suspect,
    PeerState::Dead,
    PeerState::Unreachable,
    PeerState::Gone,
];

const LINKS: [LinkState; 5] =
    [LinkState::Silent, LinkState::HalfOpen, LinkState::Up, LinkState::Suspect, LinkState::Dead];

const QUESTIONS: [&str; 10] = [
    "ArbiterSilent",
    "ArbiterForgot",
    "PeerAbsent",
    "NoStopProof",
    "NotCurrent",
    "NoExclusionProof",
    "Diverged",
    "FailedEverywhere",
    "NotInitialised",
    "TimingMismatch",
];

fn expected() -> Vec<(&'static str, String)> {
    let mut all: Vec<(&'static str, String)> = Vec::new();
    all.extend(PROOFS.iter().map(|n| ("proof", (*n).to_owned())));
    all.extend(EXCLUSIONS.iter().map(|n| ("exclusion", (*n).to_owned())));
    all.extend(QUESTIONS.iter().map(|n| ("question", (*n).to_owned())));
    all.extend(ROLES.iter().map(|n| ("role", format!("{n:?}"))));
    all.extend(PEERS.iter().map(|n| ("peer", format!("{n:?}"))));
    all.extend(LINKS.iter().map(|n| ("link", format!("{n:?}"))));
    all.extend(TimeoutEdge::ALL.iter().map(|n| ("timeout", format!("{n:?}"))));
    all.extend(["Answers", "Silent", "Forgot"].map(|n| ("arbiter", n.to_owned())));
    all.extend(["Departed", "Reborn", "StopOverrun", "RecordNotDurable"].map(|n| ("end", n.to_owned())));
    all.extend(["Shoot", "Full", "OpOverrun", "Late"].map(|n| ("event", n.to_owned())));
    all
}

fn batch(next: &AtomicU64) -> (Probes, u64) {
    let (mut probes, mut acknowledged) = (Probes::default(), 0);
    loop {
        let seed = next.fetch_add(1, Ordering::Relaxed);
        if seed >= SEEDS + ARBITRATED {
            return (probes, acknowledged);
        }
        let options = Options { replay: seed.is_multiple_of(REPLAY_EVERY), ..Options::default() };
        let arbitrated = seed >= SEEDS;
        let scenario = if arbitrated { Scenario::arbitrated(seed) } else { Scenario::from_seed(seed) };
        let report = run_scenario(scenario, &options);
        let failure = report.failure.map(|f| f.to_string());
        assert!(failure.is_none(), "{}", failure.unwrap_or_default());
        assert!(report.faults >= FAULTS_MIN, "seed {seed} had only {} faults", report.faults);
        probes.absorb(&report.probes);
        acknowledged += report.acknowledged as u64;
    }
}

#[test]
fn a_thousand_seeds_hold_every_invariant_and_reach_every_state() {
    assert!((0..SEEDS).all(|s| Scenario::from_seed(s).length >= Duration::from_secs(60)));
    let next = AtomicU64::new(0);
    let (mut probes, mut acknowledged) = (Probes::default(), 0);
    std::thread::scope(|scope| {
        let workers = [(); 2].map(|()| scope.spawn(|| batch(&next)));
        for worker in workers {
            let (p, a) = worker.join().unwrap_or_else(|e| std::panic::resume_unwind(e));
            probes.absorb(&p);
            acknowledged += a;
        }
    });
    println!("{probes}{acknowledged} messages acknowledged");
    let rare: Vec<_> =
        expected().into_iter().filter(|(kind, name)| probes.count(kind, name) < HITS_MIN).collect();
    assert!(rare.is_empty(), "reached fewer than {HITS_MIN} times: {rare:?}\n{probes}");
    assert!(acknowledged > 100_000, "the clients got only {acknowledged} acknowledgements");
}
