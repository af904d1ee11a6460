//! 87 to 94: operations. The wire's versions are in `ha-core/src/wire/tests/versions.rs`.

use crate::support::*;
use ha_core::config::{Config, Failback, GroupPolicy};
use ha_core::engine::{EventKind, MoveReason, Protection, Question, RoleName};
use ha_core::sim::{Cluster, Cut, Fault, Options, Scenario};
use std::path::{Path, PathBuf};
use std::sync::Arc;

#[test]
fn s089_nodes_whose_timings_do_not_fit_never_shoot_and_say_why() {
    let mut scenario = Scenario::quiet(1, pair());
    let mut other = pair();
    other.fence.as_mut().unwrap().timeout = seconds(3);
    scenario.configs[1] = Arc::new(other);
    scenario.mismatched = true;
    let mut cluster = Cluster::new(scenario, Options::default());
    cluster.run_for(seconds(4));
    whole(&cluster, 0, MAIL);
    // I9 is asserted at each shot; there is none.
    after(&mut cluster, &[Fault::Isolate(seconds(6))], seconds(5));
    nobody_shot(&cluster);
    asks(&cluster, 1, MAIL, Question::TimingMismatch);
    cluster.run_for(seconds(10));
    whole(&cluster, 0, MAIL);
    // A proof that needs no shot stays valid.
    after(&mut cluster, &[Fault::KillEngine(0)], seconds(2));
    owns(&cluster, 1, MAIL);
}

/// Every source file of the crates that decide, move or store anything.
fn sources(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push(path);
        }
    }
}

/// The one who reads it: the stamp of a log's life, which only people read.
const STAMP: (&str, &str) = ("runtime/builder.rs", "let wall = ");

/// A step of the wall clock can matter only to who reads it, and nobody does that decides.
#[test]
fn s090_the_wall_clock_may_step_by_hours_because_nothing_reads_it() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut files = Vec::new();
    for part in ["ha-core", "ha-heartbeat", "ha-vip", "ha-storage-shared", "ha-replication"] {
        sources(&root.join(part).join("src"), &mut files);
    }
    assert!(files.len() > 150, "{} files", files.len());
    let readers = ["SystemTime", "ClockId::Realtime", "CLOCK_REALTIME", "UNIX_EPOCH", "gettimeofday"];
    for file in files {
        let text = std::fs::read_to_string(&file).unwrap();
        let stamps = file.ends_with(STAMP.0);
        let code = text.lines().enumerate().filter(|(_, l)| !l.trim_start().starts_with("//"));
        for (n, line) in code.filter(|(_, l)| !(stamps && l.contains(STAMP.1))) {
            let reads = readers.iter().find(|r| line.contains(**r));
            assert!(reads.is_none(), "{}:{}: {line}", file.display(), n + 1);
        }
    }
}

/// What the engine sees is the boot clock alone: the same run gives the same decisions wherever that clock begins.
#[test]
fn s090_a_run_is_the_same_whenever_the_clocks_began() {
    let story = |shift| {
        let mut scenario = Scenario::quiet(1, pair());
        scenario.clocks_begin = shift;
        let mut cluster = Cluster::new(scenario, Options::default());
        cluster.run_for(seconds(4));
        after(&mut cluster, &[Fault::PowerLoss(0, seconds(3))], seconds(12));
        whole(&cluster, 1, MAIL);
        cluster.timeline().to_string()
    };
    let first = story([seconds(1000), seconds(2000)]);
    for begin in [[0, 0], [1, 900_000], [86_400 * 365 * 10, 5]] {
        assert_eq!(story(begin.map(seconds)), first, "{begin:?}");
    }
}

/// Grows by nothing: what is kept of a month of faults is what is kept of a minute.
#[test]
fn s092_hours_of_faults_end_whole_and_in_bounded_memory() {
    let mut config = pair();
    config.links.truncate(2);
    let mut cluster = served(config);
    let mut rng = ha_core::sim::Rng::new(92);
    let mut size = 0;
    for round in 0..250 {
        let node = rng.node();
        let fault = match rng.range(0, 7) {
            0 => Fault::PowerLoss(node, seconds(3)),
            1 => Fault::KillEngine(node),
            2 => Fault::PauseTree(node, ms(rng.range(50, 2000))),
            3 => Fault::Isolate(ms(rng.range(100, 3000))),
            4 => Fault::CutNetwork(ms(rng.range(100, 3000))),
            5 => Fault::Shutdown(node, seconds(2)),
            _ => Fault::Switchover(0),
        };
        after(&mut cluster, &[fault], seconds(16));
        // An operator brings back what has no proof.
        let Some(owner) = cluster.actor(MAIL) else { panic!("{fault}\n{}", cluster.timeline()) };
        protected(&cluster, owner, MAIL, Protection::Full);
        let now = (0..2).filter_map(|n| cluster.status(n)).map(|s| format!("{s:?}").len()).sum::<usize>();
        if round == 10 {
            size = now;
        }
    }
    let now = (0..2).filter_map(|n| cluster.status(n)).map(|s| format!("{s:?}").len()).sum::<usize>();
    assert!(now <= size + 300, "the state grew from {size} to {now}");
    assert!(cluster.elapsed() > seconds(4000));
}

/// The simulator's client is one that commits every 50 to 150 ms; ten thousand of them over real sockets are not.
#[test]
fn s093_a_thousand_takeovers_lose_nothing_that_a_client_was_told() {
    let mut config = pair();
    config.links.truncate(2);
    let mut cluster = served(config);
    for round in 0..1000 {
        let owner = round % 2;
        let fault = match round / 2 % 3 {
            0 => Fault::PowerLoss(owner, seconds(2)),
            1 => Fault::KillTree(owner, seconds(2)),
            _ => Fault::KillEngine(owner),
        };
        cluster.inject(fault);
        let whole = cluster.run_until(seconds(20), |c| {
            role(c, 1 - owner, MAIL) == Some(RoleName::Active)
                && status(c, 1 - owner, MAIL).is_some_and(|g| g.protection == Protection::Full)
                && status(c, owner, MAIL).is_some_and(|g| g.viable)
        });
        assert!(whole, "takeover {round}: {fault}\n{}", cluster.timeline());
        // I3 was asserted at the promotion.
        owns(&cluster, 1 - owner, MAIL);
    }
    let granted = status(&cluster, 0, MAIL).map_or(0, |g| g.epoch.0);
    assert!(granted >= 1001, "an epoch for each takeover: {granted}");
    assert!(cluster.acknowledged(MAIL) > 10_000, "{} messages", cluster.acknowledged(MAIL));
    nothing_is_lost(&mut cluster);
}

/// Mail prefers node 0, and goes back once both copies were members for so long without a break.
fn failing_back() -> Config {
    let mut config = pair();
    config.groups[0].policy = GroupPolicy::default().with_failback(Failback::After(seconds(3)));
    config
}

fn fails_back(cluster: &Cluster) -> bool {
    let begins = EventKind::Moving { group: MAIL, reason: MoveReason::Failback };
    reports(cluster).iter().any(|(_, kind)| *kind == begins)
}

#[test]
fn s094_failback_waits_for_the_resync_and_then_for_its_hold_off() {
    for seed in 0..5 {
        let mut cluster = served_with(seed, failing_back());
        after(&mut cluster, &[Fault::PowerLoss(0, seconds(3))], seconds(2));
        owns(&cluster, 1, MAIL);
        // Back, but without its stream: not a copy to move to, however long it takes.
        after(&mut cluster, &[Fault::CutMirror(Cut::Both, seconds(15))], seconds(14));
        owns(&cluster, 1, MAIL);
        assert!(!fails_back(&cluster), "{}", cluster.timeline());
        let full = |c: &Cluster| status(c, 1, MAIL).is_some_and(|g| g.protection == Protection::Full);
        assert!(cluster.run_until(seconds(10), full), "{}", cluster.timeline());
        after(&mut cluster, &[], ms(2800));
        assert!(!fails_back(&cluster), "{}", cluster.timeline());
        owns(&cluster, 1, MAIL);
        after(&mut cluster, &[], ms(1500));
        whole(&cluster, 0, MAIL);
        proven_by(&cluster, 0, MAIL, "Released");
        assert_eq!(cluster.probes().count("device", "shot hit"), 0, "{}", cluster.timeline());
        mail_flows(&mut cluster, seconds(1), 5);
        nothing_is_lost(&mut cluster);
    }
}

#[test]
fn s094_a_preferred_node_that_comes_and_goes_is_not_returned_to_before_it_stays() {
    let mut cluster = served(failing_back());
    after(&mut cluster, &[Fault::PowerLoss(0, seconds(2))], seconds(4));
    for _ in 0..4 {
        owns(&cluster, 1, MAIL);
        after(&mut cluster, &[Fault::KillEngine(0)], ms(2500));
    }
    assert!(!fails_back(&cluster), "{}", cluster.timeline());
    after(&mut cluster, &[], seconds(6));
    whole(&cluster, 0, MAIL);
    assert_eq!(cluster.probes().count("move", "Failback"), 1);
    nothing_is_lost(&mut cluster);
}
