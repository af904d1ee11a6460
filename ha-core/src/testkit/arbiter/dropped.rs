//! Calls that nobody waits for any more.

use super::bench::{Bench, Done, Node, Outcome, ensure, held_by, stands, wrong};
use super::finding::{Check, Failure};
use crate::Epoch;
use crate::api::{Arbiter, OwnerRecord, Swap};
use std::time::Duration;
use tokio::time::Instant;

const CHECK: Check = Check::DroppedCalls;
/// How much longer the next call lives than the one before, once it has been polled a few times.
const STEP: Duration = Duration::from_micros(150);
/// Time for an abandoned call to do harm before its traces are looked for.
const SETTLE: Duration = Duration::from_millis(5);

pub(super) async fn dropped_calls<A: Arbiter>(bench: &Bench<A>) -> Outcome {
    let group = bench.group("dropped");
    let [a, b, c, ..] = &bench.nodes[..] else { return Ok(Done::Passed) };
    let mut epoch = 1;
    let mut at = b.take(CHECK, &group, 0, bench.record(b, epoch)).await?.0;
    for patience in 0..bench.options.drops {
        let standing = stands(&c.read(CHECK, &group).await?);
        epoch += 1;
        let abandoned = bench.record(a, epoch);
        let asked = Instant::now();
        cut(patience, a.arbiter.swap(&group, at, abandoned)).await;
        whole_or_nothing(c, &group, standing, abandoned, asked, bench.lease()).await?;
        epoch += 1;
        let (next, asked) = supersede(b, &group, at, abandoned, bench.record(b, epoch)).await?;
        at = next;
        cut(patience, b.arbiter.renew(&group, b.life, Epoch(epoch))).await;
        cut(patience, a.arbiter.release(&group, a.life)).await;
        tokio::time::sleep(SETTLE).await;
        let renewed = b.renew(CHECK, &group, epoch).await?;
        if asked.elapsed() < bench.lease() {
            ensure(
                CHECK,
                renewed,
                "false",
                "true: an abandoned renewal and a stranger's release hurt nobody",
            )?;
        }
        let after = stands(&c.read(CHECK, &group).await?);
        let expected = (Some(bench.record(b, epoch)), at);
        ensure(
            CHECK,
            after == expected,
            after,
            format!("no abandoned call acts after a later swap: {expected:?}"),
        )?;
    }
    Ok(Done::Passed)
}

/// Drives a call a little, a little longer each time, and drops it.
async fn cut<T>(patience: usize, call: impl Future<Output = T>) {
    let end = async {
        for _ in 0..patience.min(4) {
            tokio::task::yield_now().await;
        }
        let more = u32::try_from(patience.saturating_sub(4)).unwrap_or(0);
        if more > 0 {
            tokio::time::sleep(STEP * more).await;
        }
    };
    tokio::select! {
        biased;
        () = async { call.await; } => {}
        () = end => {}
    }
}

async fn whole_or_nothing<A: Arbiter>(
    reader: &Node<A>,
    group: &str,
    standing: (Option<OwnerRecord>, u64),
    abandoned: OwnerRecord,
    asked: Instant,
    lease: Duration,
) -> Result<(), Failure> {
    let view = reader.read(CHECK, group).await?;
    if stands(&view) == standing {
        return Ok(());
    }
    let taken = view.record == Some(abandoned) && view.revision != standing.1;
    ensure(
        CHECK,
        taken,
        &view,
        format!("what stood, {standing:?}, or the abandoned {abandoned:?} at a new revision"),
    )?;
    if asked.elapsed() < lease {
        let expected = "the lease taken in the same step as the record";
        ensure(CHECK, held_by(view.lease, abandoned.incarnation), view.lease, expected)?;
    }
    Ok(())
}

/// Another node goes on, whatever became of the abandoned swap.
async fn supersede<A: Arbiter>(
    node: &Node<A>,
    group: &str,
    before: u64,
    abandoned: OwnerRecord,
    next: OwnerRecord,
) -> Result<(u64, Instant), Failure> {
    let mut at = before;
    for _ in 0..3 {
        let asked = Instant::now();
        match node.swap(CHECK, group, at, next).await? {
            Swap::Done { revision } => return Ok((revision, asked)),
            Swap::Lost(view) if view.record == Some(abandoned) && view.revision != at => at = view.revision,
            Swap::Lost(view) => {
                return Err(wrong(CHECK, view, format!("Lost only to the abandoned {abandoned:?}")));
            }
        }
    }
    Err(wrong(CHECK, "three lost swaps", "a swap done at the latest after the abandoned one"))
}
