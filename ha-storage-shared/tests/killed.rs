//! Two processes contend for a group and are killed at random points of their reads and writes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod support;

use ha_core::api::{Arbiter, Swap};
use ha_storage_shared::DiskArbiter;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};
use support::*;

const PATH: &str = "HA_TEST_DISK";
const NODE: &str = "HA_TEST_NODE";
const KILLS: u32 = 40;
/// How long a node lives at most, in microseconds: a call takes about a tenth of a millisecond for each step.
const LIFE_US: u32 = 60_000;

/// What a process said: that it read, or wrote, this epoch as this revision.
struct Said {
    node: u8,
    done: bool,
    revision: u64,
    epoch: u64,
    owner: u128,
}

#[test]
#[ignore = "needs another test that starts it"]
fn swaps_until_it_is_killed() {
    let Ok(path) = std::env::var(PATH) else { return };
    let node: u8 = std::env::var(NODE).unwrap().parse().unwrap();
    let arbiter = open(Path::new(&path), node);
    let pid = u64::from(std::process::id());
    loop {
        let Ok(view) = wait(arbiter.read(GROUP)) else { continue };
        say("saw", view.revision, view.record.as_ref());
        let mut record = record(node, view.revision + 1);
        record.incarnation.0 |= u128::from(pid) << 64;
        match wait(arbiter.swap(GROUP, view.revision, record)) {
            Ok(Swap::Done { revision }) => say("done", revision, Some(&record)),
            Ok(Swap::Lost(view)) => say("saw", view.revision, view.record.as_ref()),
            Ok(other) => panic!("{other:?}"),
            // The other one keeps starting over: what is unknown is read again.
            Err(_) => {}
        }
    }
}

fn say(what: &str, revision: u64, record: Option<&ha_core::api::OwnerRecord>) {
    let (epoch, owner) = record.map_or((0, 0), |record| (record.epoch.0, record.incarnation.0));
    let line = format!("said {what} {revision} {epoch} {owner}\n");
    // A single write: a line is there or not.
    let _gone = std::io::stdout().write_all(line.as_bytes());
}

fn start(path: &Path, node: u8, said: &std::sync::mpsc::Sender<Said>) -> Child {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "swaps_until_it_is_killed", "--ignored", "--nocapture"])
        .env(PATH, path)
        .env(NODE, node.to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let output = BufReader::new(child.stdout.take().unwrap());
    let said = said.clone();
    thread::spawn(move || {
        for line in output.lines().map_while(Result::ok) {
            if let Some(found) = parse(node, &line) {
                let _late = said.send(found);
            }
        }
    });
    child
}

fn parse(node: u8, line: &str) -> Option<Said> {
    let words: Vec<&str> = line.split_once("said ")?.1.split(' ').collect();
    let [what, revision, epoch, owner] = words[..] else { return None };
    let numbers = (revision.parse().ok()?, epoch.parse().ok()?, owner.parse().ok()?);
    Some(Said { node, done: what == "done", revision: numbers.0, epoch: numbers.1, owner: numbers.2 })
}

fn check(said: Receiver<Said>) -> (u64, [u64; 2], usize) {
    let mut records: BTreeMap<u64, (u64, u128)> = BTreeMap::new();
    let mut done = BTreeMap::new();
    let mut wins = [0; 2];
    let mut lines = 0;
    // Ends when the readers of the dead nodes' pipes have ended.
    for said in said {
        lines += 1;
        if said.revision == 0 {
            continue;
        }
        assert_eq!(said.epoch, said.revision, "every swap takes the epoch after the one it read");
        let known = *records.entry(said.revision).or_insert((said.epoch, said.owner));
        assert_eq!(known, (said.epoch, said.owner), "revision {} has two records", said.revision);
        if said.done {
            assert_eq!(done.insert(said.revision, said.node), None, "won twice: {}", said.revision);
            wins[usize::from(said.node)] += 1;
        }
    }
    (records.last_key_value().map_or(0, |(revision, _)| *revision), wins, lines)
}

#[test]
fn nodes_killed_at_any_point_never_own_the_same_revision_twice() {
    let dir = directory();
    let path = device(&dir);
    let (sender, said) = channel();
    let mut nodes = [start(&path, 0, &sender), start(&path, 1, &sender)];
    for kill in 0..KILLS {
        thread::sleep(Duration::from_micros(u64::from(getrandom::u32().unwrap() % LIFE_US)));
        let node = (kill % 2) as u8;
        let child = &mut nodes[usize::from(node)];
        child.kill().unwrap();
        child.wait().unwrap();
        *child = start(&path, node, &sender);
    }
    // Left alone, both go on.
    let until = Instant::now() + Duration::from_secs(20);
    let before = DiskArbiter::inspect(&path, None).unwrap().groups[0].revision;
    while DiskArbiter::inspect(&path, None).unwrap().groups[0].revision < before + 20 {
        assert!(Instant::now() < until, "no progress from {before}");
        thread::sleep(Duration::from_millis(5));
    }
    for child in &mut nodes {
        child.kill().unwrap();
        child.wait().unwrap();
    }
    drop(sender);
    let last = wait(open(&path, 0).read(GROUP)).unwrap();
    let (seen, wins, lines) = check(said);
    println!("{KILLS} kills, revision {}, wins {wins:?}, {lines} lines", last.revision);
    assert!(last.revision >= seen && last.record.unwrap().epoch.0 == last.revision);
    assert!(wins.iter().all(|wins| *wins > 0), "{wins:?}");
}
