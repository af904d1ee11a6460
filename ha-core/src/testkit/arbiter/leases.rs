//! Renewal, release and expiry.

use super::bench::{Bench, Done, Outcome, ensure, held_by, stands};
use super::finding::Check;
use crate::Epoch;
use crate::api::{Arbiter, Lease, OwnerRecord};
use std::collections::BTreeSet;
use tokio::time::Instant;

pub(super) async fn renewal_shows<A: Arbiter>(bench: &Bench<A>) -> Outcome {
    let check = Check::RenewalShows;
    let group = bench.group("renewal");
    let [a, b, ..] = &bench.nodes[..] else { return Ok(Done::Passed) };
    let (revision, mut asked) = a.take(check, &group, 0, bench.record(a, 3)).await?;
    let before = b.read(check, &group).await?;
    let mut seen = BTreeSet::new();
    let mut late = 0;
    for round in 0..6 {
        let view = b.read(check, &group).await?;
        ensure(
            check,
            stands(&view) == stands(&before),
            stands(&view),
            "a renewal changes neither record nor revision",
        )?;
        if let Lease::Held { renewal, .. } = view.lease {
            ensure(check, seen.insert(renewal), renewal, format!("a number not seen before: {seen:?}"))?;
        }
        let asks = Instant::now();
        let renewed = a.renew(check, &group, 3).await?;
        // On a machine that was too slow the lease ran out: nothing can be said.
        if asked.elapsed() < bench.lease() {
            ensure(check, renewed, "false", format!("true: {:?} owns {group} and renews in time", a.life))?;
            asked = asks;
        } else if !renewed {
            late = round;
            break;
        }
    }
    ensure(check, stands(&before).1 == revision, stands(&before), format!("revision {revision}"))?;
    if seen.len() < 3 {
        return Ok(Done::Skipped(format!(
            "renewals came later than a lease of {:?}, in round {late}",
            bench.lease()
        )));
    }
    Ok(Done::Passed)
}

pub(super) async fn only_the_owner_renews<A: Arbiter>(bench: &Bench<A>) -> Outcome {
    let check = Check::OnlyTheOwnerRenews;
    let group = bench.group("owner");
    let [a, b, c, ..] = &bench.nodes[..] else { return Ok(Done::Passed) };
    let (first, asked) = a.take(check, &group, 0, bench.record(a, 5)).await?;
    let before = c.read(check, &group).await?;
    for (node, epoch, who) in [
        (b, 5, "a life that never owned it"),
        (a, 4, "its owner at an older epoch"),
        (a, 6, "its owner at an epoch that was never granted"),
    ] {
        ensure(check, !node.renew(check, &group, epoch).await?, format!("a renewal by {who}"), "false")?;
    }
    let view = c.read(check, &group).await?;
    if asked.elapsed() < bench.lease() {
        ensure(check, view == before, &view, format!("no trace of vain renewals: {before:?}"))?;
    }
    let (second, asked) = b.take(check, &group, first, bench.record(b, 6)).await?;
    let before = c.read(check, &group).await?;
    for epoch in [5, 6] {
        ensure(check, !a.renew(check, &group, epoch).await?, "a renewal by the former owner", "false")?;
    }
    let view = c.read(check, &group).await?;
    let renewed = b.renew(check, &group, 6).await?;
    if asked.elapsed() < bench.lease() {
        ensure(check, view == before, &view, format!("no trace of the former owner's renewals: {before:?}"))?;
        ensure(check, renewed, "false", "true: the former owner's vain renewals do not hurt the new one")?;
    }
    let ownerless = OwnerRecord { owner: None, ..bench.record(b, 6) };
    b.take(check, &group, second, ownerless).await?;
    ensure(check, !b.renew(check, &group, 6).await?, "a renewal after the owner gave the group up", "false")?;
    Ok(Done::Passed)
}

pub(super) async fn release_touches_only_its_own<A: Arbiter>(bench: &Bench<A>) -> Outcome {
    let check = Check::ReleaseTouchesOnlyItsOwn;
    let group = bench.group("release");
    let [a, b, c, ..] = &bench.nodes[..] else { return Ok(Done::Passed) };
    let (first, _) = a.take(check, &group, 0, bench.record(a, 1)).await?;
    let (revision, asked) = b.take(check, &group, first, bench.record(b, 2)).await?;
    let before = c.read(check, &group).await?;
    a.release(check, &group).await?;
    c.release(check, &group).await?;
    let view = b.read(check, &group).await?;
    if asked.elapsed() < bench.lease() {
        ensure(check, view == before, &view, format!("others' releases leave it alone: {before:?}"))?;
    }
    b.release(check, &group).await?;
    let view = c.read(check, &group).await?;
    ensure(check, view.lease == Lease::Free, view.lease, "Free: its owner gave it up")?;
    let expected = (Some(bench.record(b, 2)), revision);
    ensure(
        check,
        stands(&view) == expected,
        stands(&view),
        format!("a release leaves the record: {expected:?}"),
    )?;
    let renewed = b.renew(check, &group, 2).await?;
    ensure(check, !renewed, "a renewal after the release", "false: others were told that it is free")?;
    let view = c.read(check, &group).await?;
    ensure(check, view.lease == Lease::Free, view.lease, "Free for good, until the next swap")?;
    b.release(check, &group).await?;
    a.take(check, &group, revision, bench.record(a, 3)).await?;
    Ok(Done::Passed)
}

pub(super) async fn lease_runs_out<A: Arbiter>(bench: &Bench<A>) -> Outcome {
    let check = Check::LeaseRunsOut;
    let (group, lease) = (bench.group("expiry"), bench.lease());
    let [a, b, ..] = &bench.nodes[..] else { return Ok(Done::Passed) };
    if lease > bench.options.longest_lease {
        let why = format!("its lease of {lease:?} is longer than {:?}", bench.options.longest_lease);
        return Ok(Done::Skipped(why));
    }
    let (revision, _) = a.take(check, &group, 0, bench.record(a, 1)).await?;
    let asked = Instant::now();
    let renewed = a.renew(check, &group, 1).await?;
    loop {
        let view = b.read(check, &group).await?;
        let after = asked.elapsed();
        if renewed && after < lease {
            let says = format!("a lease held by {:?}, only {after:?} after a renewal was asked for", a.life);
            ensure(check, held_by(view.lease, a.life), view.lease, says)?;
        }
        if after > lease + lease / 4 {
            break;
        }
        tokio::time::sleep(lease / 16).await;
    }
    let first = b.read(check, &group).await?;
    let late = a.arbiter.renew(&group, a.life, Epoch(1)).await;
    ensure(
        check,
        !matches!(late, Ok(true)),
        "a renewal that succeeded more than a lease after the last one",
        "false: a reader who saw one renewal for a whole lease may take the group at this revision",
    )?;
    let view = b.read(check, &group).await?;
    ensure(check, stands(&view) == stands(&first), stands(&view), format!("{:?}", stands(&first)))?;
    a.take(check, &group, revision, bench.record(a, 1)).await?;
    Ok(Done::Passed)
}
