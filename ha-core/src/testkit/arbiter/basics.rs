//! One call at a time.

use super::bench::{Bench, Done, Outcome, ensure, held_by, stands, wrong};
use super::finding::Check;
use crate::api::{Arbiter, ArbiterView, Lease, OwnerRecord, Swap};
use crate::{Generation, NodeId};

pub(super) async fn unknown_group<A: Arbiter>(bench: &Bench<A>) -> Outcome {
    let check = Check::UnknownGroup;
    let group = bench.group("unknown");
    let [a, b, ..] = &bench.nodes[..] else { return Ok(Done::Passed) };
    let nothing = ArbiterView::new(None, Lease::Free, 0);
    let view = a.read(check, &group).await?;
    ensure(check, view == nothing, &view, format!("{nothing:?} for a group that nobody ever named"))?;
    ensure(check, !a.renew(check, &group, 0).await?, "a renewal that succeeded", "false: there is no owner")?;
    b.release(check, &group).await?;
    let view = b.read(check, &group).await?;
    ensure(check, view == nothing, &view, format!("{nothing:?}: neither renewal nor release make a record"))?;
    Ok(Done::Passed)
}

pub(super) async fn record_reads_back<A: Arbiter>(bench: &Bench<A>) -> Outcome {
    let check = Check::RecordReadsBack;
    let group = bench.group("reads-back");
    let [a, b, ..] = &bench.nodes[..] else { return Ok(Done::Passed) };
    let large = OwnerRecord {
        owner: Some(NodeId(63)),
        in_sync: u64::MAX,
        generation: Generation(u64::MAX - 1),
        ..bench.record(a, u64::MAX - 1)
    };
    let empty_set = OwnerRecord { in_sync: 0, generation: Generation(0), ..large };
    let ownerless = OwnerRecord { owner: None, in_sync: 1, ..large };
    let plain = bench.record(a, 1);
    let mut at = 0;
    for next in [plain, large, empty_set, ownerless, large] {
        let (revision, asked) = a.take(check, &group, at, next).await?;
        ensure(
            check,
            revision != at && revision != 0,
            revision,
            format!("a new revision after {at}, never zero"),
        )?;
        for node in [a, b] {
            let view = node.read(check, &group).await?;
            let expected = (Some(next), revision);
            ensure(check, stands(&view) == expected, stands(&view), format!("{expected:?}"))?;
            let in_time = asked.elapsed() < bench.lease();
            if next.owner.is_some() && in_time {
                let says = format!("a lease held by {:?}: the swap takes it", next.incarnation);
                ensure(check, held_by(view.lease, next.incarnation), view.lease, says)?;
            }
        }
        at = revision;
    }
    Ok(Done::Passed)
}

pub(super) async fn lost_shows_what_stands<A: Arbiter>(bench: &Bench<A>) -> Outcome {
    let check = Check::LostShowsWhatStands;
    let group = bench.group("lost");
    let [a, b, ..] = &bench.nodes[..] else { return Ok(Done::Passed) };
    let standing = bench.record(a, 7);
    let (revision, asked) = a.take(check, &group, 0, standing).await?;
    for wrong_revision in [0, revision.wrapping_add(1), revision.wrapping_add(1 << 40), u64::MAX] {
        let next = bench.record(b, 8);
        let view = match b.swap(check, &group, wrong_revision, next).await? {
            Swap::Lost(view) => view,
            done => {
                let expected = format!("Lost: revision {revision} stands, not {wrong_revision}");
                return Err(wrong(check, done, expected));
            }
        };
        let expected = (Some(standing), revision);
        ensure(
            check,
            stands(&view) == expected,
            stands(&view),
            format!("Lost with what stands: {expected:?}"),
        )?;
        if asked.elapsed() < bench.lease() {
            ensure(
                check,
                held_by(view.lease, a.life),
                view.lease,
                format!("Lost with the lease of {:?}", a.life),
            )?;
        }
        let view = a.read(check, &group).await?;
        ensure(check, stands(&view) == expected, stands(&view), format!("nothing changed: {expected:?}"))?;
    }
    Ok(Done::Passed)
}

pub(super) async fn groups_are_apart<A: Arbiter>(bench: &Bench<A>) -> Outcome {
    let check = Check::GroupsAreApart;
    let base = bench.group("apart");
    let [a, b, ..] = &bench.nodes[..] else { return Ok(Done::Passed) };
    let names: Vec<String> = ["", "/x", "/", "x", "X", "_", "%2F", " ", "é", ".", "/record.1", "\u{0}"]
        .iter()
        .map(|tail| format!("{base}{tail}"))
        .collect();
    let mut expected = Vec::new();
    for (epoch, name) in (1..).zip(&names) {
        let node = if epoch % 2 == 0 { a } else { b };
        let view = node.read(check, name).await?;
        ensure(check, stands(&view) == (None, 0), &view, format!("no record of {name:?} yet"))?;
        let record = bench.record(node, epoch);
        let (revision, _) = node.take(check, name, 0, record).await?;
        expected.push((node, name, record, revision));
    }
    let (first, name, ..) = expected[0];
    first.release(check, name).await?;
    for (node, name, record, revision) in &expected {
        let view = node.read(check, name).await?;
        let expected = (Some(*record), *revision);
        ensure(check, stands(&view) == expected, stands(&view), format!("{expected:?} for {name:?}"))?;
    }
    Ok(Done::Passed)
}
