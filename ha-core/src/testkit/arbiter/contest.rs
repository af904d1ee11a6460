//! Many nodes at once.

use super::bench::{Bench, Done, Node, Outcome, ensure, stands, wrong};
use super::finding::{Check, Failure};
use crate::api::{Arbiter, ArbiterError, OwnerRecord, Swap};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use tokio::task::JoinSet;

/// Between two looks of a watcher.
const LOOKS_APART: Duration = Duration::from_micros(200);

/// Everybody swaps the same revision at the same time, round by round.
pub(super) async fn one_winner<A: Arbiter + 'static>(bench: &Bench<A>) -> Outcome {
    let check = Check::OneWinner;
    let group = bench.group("contest");
    let [first, ..] = &bench.nodes[..] else { return Ok(Done::Passed) };
    for round in 1..=bench.options.rounds as u64 {
        let base = first.read(check, &group).await?;
        let mut swaps = JoinSet::new();
        for node in &bench.nodes {
            let (group, record) = (group.clone(), bench.record(node, round));
            let node = node.clone();
            swaps.spawn(async move { (record, node.try_swap(&group, base.revision, record).await) });
        }
        let ended = joined(check, swaps).await?;
        let after = first.read(check, &group).await?;
        judge_round(base.revision, &ended, stands(&after))?;
    }
    Ok(Done::Passed)
}

type Ended = Vec<(OwnerRecord, Result<Swap, ArbiterError>)>;

/// Who won is in the record, and everybody else was told so.
fn judge_round(base: u64, ended: &Ended, after: (Option<OwnerRecord>, u64)) -> Result<(), Failure> {
    let check = Check::OneWinner;
    let done: Vec<_> = ended.iter().filter(|(_, s)| matches!(s, Ok(Swap::Done { .. }))).collect();
    ensure(check, done.len() <= 1, &done, format!("at most one swap of revision {base} done"))?;
    let all_answered = ended.iter().all(|(_, s)| s.is_ok());
    ensure(
        check,
        !all_answered || done.len() == 1,
        ended,
        format!("one swap of revision {base} done: it stood"),
    )?;
    if let Some((record, Ok(Swap::Done { revision }))) = done.first() {
        let expected = (Some(*record), *revision);
        ensure(check, after == expected, after, format!("the winner's: {expected:?}"))?;
    }
    let somebody_elses = after.1 == base || ended.iter().any(|(r, _)| Some(*r) == after.0);
    ensure(check, somebody_elses, after, "one of the records that were to be swapped in")?;
    for (_, swap) in ended {
        if let Ok(Swap::Lost(view)) = swap {
            ensure(check, stands(view) == after, stands(view), format!("Lost with what stands: {after:?}"))?;
        }
    }
    Ok(())
}

/// Everybody reads and swaps as fast as it goes, while others watch.
pub(super) async fn reads_are_linear<A: Arbiter + 'static>(bench: &Bench<A>) -> Outcome {
    let check = Check::ReadsAreLinear;
    let group = bench.group("linear");
    let floor = Arc::new(AtomicU64::new(0));
    let over = Arc::new(AtomicBool::new(false));
    let mut watchers = JoinSet::new();
    let mut swappers = JoinSet::new();
    for (i, node) in bench.nodes.iter().cloned().enumerate() {
        let (group, floor) = (group.clone(), Arc::clone(&floor));
        if i % 3 == 2 {
            watchers.spawn(watch(node, group, floor, Arc::clone(&over)));
        } else {
            swappers.spawn(swap_on(node, group, floor, bench.init(), bench.options.rounds));
        }
    }
    let swapped = joined(check, swappers).await;
    over.store(true, Ordering::SeqCst);
    for seen in joined(check, watchers).await? {
        seen?;
    }
    let mut swaps = Vec::new();
    for of_node in swapped? {
        swaps.extend(of_node?);
    }
    judge_chain(&swaps)?;
    Ok(Done::Passed)
}

/// A swap that was done: from this revision to that one.
type Step = (u64, u64);

async fn swap_on<A: Arbiter>(
    node: Node<A>,
    group: String,
    floor: Arc<AtomicU64>,
    init: crate::InitId,
    rounds: usize,
) -> Result<Vec<Step>, Failure> {
    let mut steps = Vec::new();
    for _ in 0..rounds {
        let view = look(&node, &group, &floor).await?;
        let epoch = view.record.map_or(1, |r| r.epoch.0 + 1);
        let next = OwnerRecord {
            epoch: crate::Epoch(epoch),
            owner: Some(node.id),
            ..OwnerRecord::new(init, node.life)
        };
        if let Ok(Swap::Done { revision }) = node.try_swap(&group, view.revision, next).await {
            floor.fetch_max(epoch, Ordering::SeqCst);
            steps.push((view.revision, revision));
        }
    }
    Ok(steps)
}

async fn watch<A: Arbiter>(
    node: Node<A>,
    group: String,
    floor: Arc<AtomicU64>,
    over: Arc<AtomicBool>,
) -> Result<(), Failure> {
    let mut last = 0;
    while !over.load(Ordering::SeqCst) {
        let view = look(&node, &group, &floor).await?;
        let epoch = view.record.map_or(0, |r| r.epoch.0);
        ensure(
            Check::ReadsAreLinear,
            epoch >= last,
            epoch,
            format!("an epoch that never falls: {last} was read before"),
        )?;
        last = epoch;
        // A sleep and not a yield: an arbiter that waits for a timer would starve where time is virtual.
        tokio::time::sleep(LOOKS_APART).await;
    }
    Ok(())
}

/// A reading that must show at least what was done before it began.
async fn look<A: Arbiter>(
    node: &Node<A>,
    group: &str,
    floor: &AtomicU64,
) -> Result<crate::api::ArbiterView, Failure> {
    let check = Check::ReadsAreLinear;
    let at_least = floor.load(Ordering::SeqCst);
    let view = node.read(check, group).await?;
    let epoch = view.record.map_or(0, |r| r.epoch.0);
    ensure(
        check,
        epoch >= at_least,
        epoch,
        format!("at least {at_least}: that swap was done before the reading began"),
    )?;
    Ok(view)
}

/// No revision was left twice, and none entered twice.
fn judge_chain(steps: &[Step]) -> Result<(), Failure> {
    let mut by_base = BTreeMap::new();
    let mut by_next = BTreeMap::new();
    for step in steps {
        if let Some(other) = by_base.insert(step.0, step).or(by_next.insert(step.1, step)) {
            let found = [other, step];
            return Err(wrong(
                Check::OneWinner,
                found,
                "one successful swap from each revision, each to a new one",
            ));
        }
    }
    Ok(())
}

async fn joined<T: 'static>(check: Check, mut tasks: JoinSet<T>) -> Result<Vec<T>, Failure> {
    let mut ended = Vec::new();
    while let Some(task) = tasks.join_next().await {
        match task {
            Ok(value) => ended.push(value),
            Err(error) => return Err(wrong(check, error, "a call that returns")),
        }
    }
    Ok(ended)
}
