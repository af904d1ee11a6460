//! The etcd arbiter against three real members: the kit, members killed, stuck and cut off, and what does not belong
//! there. `scripts/test-real` runs these.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a failed step of a test is a failed test"
)]

mod arbiter_support;
#[path = "arbiter_support/etcd_cluster.rs"]
mod etcd_cluster;
#[path = "arbiter_support/relay.rs"]
#[allow(dead_code, reason = "every test binary uses its own part")]
mod relay;

use arbiter_support::{life, owned};
use etcd_client::{Client, CompactionOptions};
use etcd_cluster::Cluster;
use ha_core::api::{Arbiter, ArbiterError, ArbiterView, Lease, Swap};
use ha_core::arbiter::EtcdArbiter;
use ha_core::testkit::arbiter::{Check, check};
use ha_core::{Epoch, InitId};
use relay::{Relay, Way};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

const LEASE: Duration = Duration::from_secs(4);
const DEADLINE: Duration = Duration::from_secs(2);

fn over(endpoints: Vec<String>) -> EtcdArbiter {
    EtcdArbiter::builder(endpoints).prefix("pair").lease(LEASE).deadline(DEADLINE).build().unwrap()
}

async fn done(arbiter: &EtcdArbiter, at: u64, record: ha_core::api::OwnerRecord) -> u64 {
    match arbiter.swap("g", at, record).await.unwrap() {
        Swap::Done { revision } => revision,
        lost => panic!("{lost:?}"),
    }
}

/// Reads until it is answered: members need a moment to find their leader.
async fn answered(arbiter: &EtcdArbiter) -> ArbiterView {
    loop {
        match arbiter.read("g").await {
            Ok(view) => return view,
            Err(error) => assert!(matches!(error, ArbiterError::Unavailable { .. }), "{error}"),
        }
    }
}

async fn unavailable(arbiter: &EtcdArbiter) {
    for error in [
        arbiter.read("g").await.unwrap_err(),
        arbiter.swap("g", 1, owned(0, 9)).await.unwrap_err(),
        arbiter.release("g", life(77)).await.unwrap_err(),
    ] {
        assert!(matches!(error, ArbiterError::Unavailable { .. }), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[ignore = "needs etcd-server"]
async fn over_three_members_it_passes_the_kit() {
    let cluster = Cluster::start(3).await;
    let report = check(|| over(cluster.endpoints())).await.unwrap_or_else(|failed| panic!("{failed}"));
    println!("{report}");
    assert_eq!(report.passed, Check::ALL);
}

/// Nodes swap and renew without a pause while the leader is killed, again and again, and comes back.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[ignore = "needs etcd-server"]
async fn each_revision_has_one_winner_while_leaders_are_killed() {
    let mut cluster = Cluster::start(3).await;
    let over_now = Arc::new(AtomicBool::new(false));
    let floor = Arc::new(AtomicU64::new(0));
    let mut nodes = tokio::task::JoinSet::new();
    for i in 0..4_u8 {
        let arbiter = over(cluster.endpoints());
        let (over_now, floor) = (Arc::clone(&over_now), Arc::clone(&floor));
        nodes.spawn(async move {
            let (mut steps, mut errors) = (Vec::new(), 0);
            while !over_now.load(Ordering::SeqCst) {
                let at_least = floor.load(Ordering::SeqCst);
                let Ok(view) = arbiter.read("g").await else {
                    errors += 1;
                    continue;
                };
                let epoch = view.record.map_or(0, |r| r.epoch.0);
                assert!(epoch >= at_least, "read epoch {epoch} after {at_least} was done");
                match arbiter.swap("g", view.revision, owned(i, epoch + 1)).await {
                    Ok(Swap::Done { revision }) => {
                        floor.fetch_max(epoch + 1, Ordering::SeqCst);
                        steps.push((view.revision, revision));
                        let _ = arbiter.renew("g", life(i), Epoch(epoch + 1)).await;
                    }
                    Ok(Swap::Lost(standing)) => assert_ne!(standing.revision, view.revision),
                    Ok(other) => panic!("{other:?}"),
                    Err(_) => errors += 1,
                }
            }
            (steps, errors)
        });
    }
    for round in 0..3 {
        let done_before = floor.load(Ordering::SeqCst);
        let leader = cluster.leader().await;
        println!("round {round}: member {leader} leads and is killed at epoch {done_before}");
        cluster.kill(leader).await;
        while floor.load(Ordering::SeqCst) < done_before + 20 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        cluster.restart(leader).await;
    }
    over_now.store(true, Ordering::SeqCst);
    let ended = nodes.join_all().await;
    let errors: u32 = ended.iter().map(|(_, errors)| errors).sum();
    let mut steps: Vec<_> = ended.into_iter().flat_map(|(steps, _)| steps).collect();
    println!("{} swaps done, {errors} calls without an answer", steps.len());
    steps.sort_unstable();
    for pair in steps.windows(2) {
        assert!(pair[0].0 < pair[1].0 && pair[0].1 <= pair[1].0, "each revision is left once: {pair:?}");
    }
    assert!(steps.len() >= 60);
}

/// A leader that is stuck for longer than the lease, and wakes up believing that it still leads.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[ignore = "needs etcd-server"]
async fn a_stuck_leader_never_makes_a_living_lease_look_expired() {
    let cluster = Cluster::start(3).await;
    let (a, b) = (over(cluster.endpoints()), over(cluster.endpoints()));
    let mut at = done(&a, 0, owned(0, 1)).await;
    let leader = cluster.leader().await;
    let start = tokio::time::Instant::now();
    cluster.stop(leader);
    let (mut renewed, mut refused, mut stuck) = (0, 0, true);
    let mut last = (b.read("g").await.unwrap().lease, tokio::time::Instant::now());
    // What the reader may conclude is held against what the owner was told.
    let mut owned_until = start;
    while start.elapsed() < LEASE * 3 {
        if stuck && start.elapsed() > LEASE + LEASE / 2 {
            cluster.resume(leader);
            stuck = false;
        }
        let asked = tokio::time::Instant::now();
        match a.renew("g", life(0), Epoch(1)).await {
            Ok(true) => (renewed, owned_until) = (renewed + 1, asked + LEASE),
            Ok(false) => {
                // What etcd took away is taken back by a swap, if nobody else did.
                refused += 1;
                match a.swap("g", at, owned(0, 1)).await {
                    Ok(Swap::Done { revision }) => at = revision,
                    Ok(Swap::Lost(view)) if view.record == Some(owned(0, 1)) => at = view.revision,
                    Ok(lost) => panic!("{lost:?}"),
                    Err(error) => println!("at {:?}: {error}", start.elapsed()),
                }
            }
            Err(error) => println!("at {:?}: {error}", start.elapsed()),
        }
        let began = tokio::time::Instant::now();
        if let Ok(view) = b.read("g").await {
            assert_ne!(view.lease, Lease::Free, "nobody released it");
            if view.lease != last.0 {
                last = (view.lease, tokio::time::Instant::now());
            }
            let expired = began > last.1 + LEASE;
            assert!(!(expired && owned_until > began), "the reader sees an end, the owner was told to go on");
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    println!("{renewed} renewals, {refused} leases taken away by etcd");
    assert!(renewed > 10);
}

/// One endpoint after the other hangs, refuses, or swallows its answers: every call is still answered in time.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[ignore = "needs etcd-server"]
async fn one_endpoint_that_hangs_or_refuses_stops_nothing() {
    let cluster = Cluster::start(3).await;
    let relays = Relay::to_each(cluster.endpoints()).await;
    let a = over(relays.iter().map(Relay::endpoint).collect());
    let mut at = done(&a, 0, owned(0, 1)).await;
    for way in [Way::Hangs, Way::Refuses, Way::SwallowsAnswersAfter(0)] {
        for relay in &relays {
            relay.set(way);
            assert_eq!(a.read("g").await.unwrap().revision, at, "{way:?}");
            assert!(a.renew("g", life(0), Epoch(1)).await.unwrap(), "{way:?}");
            at = done(&a, at, owned(0, 1)).await;
            relay.set(Way::Passes);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[ignore = "needs etcd-server"]
async fn without_a_quorum_nothing_is_answered_and_nothing_is_lost() {
    let mut cluster = Cluster::start(3).await;
    let a = over(cluster.endpoints());
    let at = done(&a, 0, owned(0, 1)).await;
    cluster.kill(1).await;
    cluster.kill(2).await;
    unavailable(&a).await;
    cluster.restart(1).await;
    assert_eq!((answered(&a).await.record, answered(&a).await.revision), (Some(owned(0, 1)), at));
    // All down at once, the disks stay.
    cluster.restart(2).await;
    for member in 0..3 {
        cluster.kill(member).await;
    }
    unavailable(&a).await;
    for member in 0..3 {
        cluster.restart(member).await;
    }
    assert_eq!((answered(&a).await.record, answered(&a).await.revision), (Some(owned(0, 1)), at));
    let next = loop {
        match a.swap("g", at, owned(0, 2)).await {
            Ok(Swap::Done { revision }) => break revision,
            Ok(lost) => panic!("{lost:?}"),
            Err(error) => println!("{error}"),
        }
    };
    assert!(next > at);
}

/// The owner is cut off from every member for longer than its lease.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[ignore = "needs etcd-server"]
async fn an_owner_that_was_cut_off_finds_its_lease_lost() {
    let cluster = Cluster::start(3).await;
    let relays = Relay::to_each(cluster.endpoints()).await;
    let a = over(relays.iter().map(Relay::endpoint).collect());
    let b = over(cluster.endpoints());
    let first = done(&a, 0, owned(0, 1)).await;
    assert!(a.renew("g", life(0), Epoch(1)).await.unwrap());
    for way in [Way::Hangs, Way::Refuses] {
        relays.iter().for_each(|r| r.set(way));
        match a.renew("g", life(0), Epoch(1)).await {
            Err(error) => assert!(matches!(error, ArbiterError::Unavailable { .. }), "{error}"),
            // Once a lease has passed nobody needs to be asked any more.
            Ok(renewed) => assert!(!renewed && way == Way::Refuses),
        }
        unavailable(&a).await;
    }
    // The reader's proof: the same renewal for a whole lease, or what etcd shows in its place, for a whole lease.
    let mut last = (b.read("g").await.unwrap().lease, tokio::time::Instant::now());
    while last.1.elapsed() < LEASE + LEASE / 10 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let lease = b.read("g").await.unwrap().lease;
        if lease != last.0 {
            last = (lease, tokio::time::Instant::now());
        }
    }
    relays.iter().for_each(|r| r.set(Way::Passes));
    assert!(
        !a.renew("g", life(0), Epoch(1)).await.unwrap(),
        "the lease ran out, though the record still names it"
    );
    assert_eq!(answered(&a).await.record, Some(owned(0, 1)));
    done(&b, first, owned(1, 2)).await;
    assert!(!a.renew("g", life(0), Epoch(1)).await.unwrap());
    let lost = a.swap("g", first, owned(0, 3)).await.unwrap();
    assert!(matches!(lost, Swap::Lost(v) if v.record == Some(owned(1, 2))));
    a.release("g", life(0)).await.unwrap();
    assert!(b.renew("g", life(1), Epoch(2)).await.unwrap());
}

/// The answer of a swap that was done never arrives.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[ignore = "needs etcd-server"]
async fn a_swap_whose_answer_is_lost_is_found_again_or_left_open() {
    let cluster = Cluster::start(3).await;
    let relays = Relay::to_each(cluster.endpoints()).await;
    let through = || over(relays.iter().map(Relay::endpoint).collect());
    let mut at = done(&through(), 0, owned(0, 1)).await;
    // The member asked first falls silent after some of its answers, each time later: before the reading's, the
    // lease's, the swap's. Another one is asked, and shows what became of it.
    for answers in 0..10 {
        let a = through();
        assert_eq!(a.read("g").await.unwrap().revision, at);
        relays[0].set(Way::SwallowsAnswersAfter(answers));
        at = done(&a, at, owned(0, 2)).await;
        let view = a.read("g").await.unwrap();
        assert_eq!((view.record, view.revision), (Some(owned(0, 2)), at), "after {answers} answers");
        relays[0].set(Way::Passes);
        assert!(a.renew("g", life(0), Epoch(2)).await.unwrap(), "after {answers} answers");
    }
    // No member is heard: what was asked may have been done.
    let mut done_unheard = 0;
    for answers in 0..10 {
        let a = through();
        assert_eq!(a.read("g").await.unwrap().revision, at);
        relays[1..].iter().for_each(|r| r.set(Way::Hangs));
        relays[0].set(Way::SwallowsAnswersAfter(answers));
        let swapped = a.swap("g", at, owned(0, 3)).await;
        relays.iter().for_each(|r| r.set(Way::Passes));
        let view = answered(&a).await;
        match swapped {
            Ok(Swap::Done { revision }) => assert_eq!(view.revision, revision),
            Ok(lost) => panic!("nobody else swaps: {lost:?}"),
            Err(error) => {
                assert!(matches!(error, ArbiterError::Unavailable { .. }), "{error}");
                let done = view.revision != at;
                done_unheard += u32::from(done);
                println!("after {answers} answers: {error}; it was {}done", if done { "" } else { "not " });
                assert_eq!(a.renew("g", life(0), Epoch(3)).await.unwrap(), done, "it is ours if it was done");
            }
        }
        at = view.revision;
    }
    assert!(done_unheard > 0, "one of the cuts falls between the swap and its answer");
}

/// Of all that want a group one is granted it, and every node reads who; each of many groups for itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[ignore = "needs etcd-server"]
async fn three_and_five_nodes_contend_for_each_of_many_groups_and_one_owns_it() {
    let cluster = Cluster::start(3).await;
    for nodes in [3u8, 5] {
        let handles: Vec<_> = (0..nodes).map(|_| over(cluster.endpoints())).collect();
        answered(&handles[0]).await;
        let mut owners = std::collections::BTreeSet::new();
        for group in (0..16).map(|g| format!("{nodes}-nodes-{g}")) {
            let swaps = (0..nodes).map(|n| handles[usize::from(n)].swap(&group, 0, owned(n, 1)));
            let ended = futures::future::join_all(swaps).await;
            let won: Vec<u8> =
                (0..nodes).filter(|n| matches!(ended[usize::from(*n)], Ok(Swap::Done { .. }))).collect();
            assert_eq!(won.len(), 1, "{ended:?}");
            for (n, handle) in (0..nodes).zip(&handles) {
                assert_eq!(handle.read(&group).await.unwrap().record, Some(owned(won[0], 1)));
                assert_eq!(handle.renew(&group, life(n), Epoch(1)).await.unwrap(), n == won[0]);
            }
            owners.insert(won[0]);
        }
        println!("{nodes} nodes: groups were won by {owners:?}");
    }
}

/// etcd's own lease lives on with every renewal; without that the key that readers look at would go with it.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[ignore = "needs etcd-server"]
async fn an_owner_that_renews_keeps_its_grant_for_longer_than_a_lease() {
    let cluster = Cluster::start(1).await;
    let owner = over(cluster.endpoints());
    done(&owner, 0, owned(0, 1)).await;
    let began = tokio::time::Instant::now();
    while began.elapsed() < LEASE * 2 {
        assert!(owner.renew("g", life(0), Epoch(1)).await.unwrap(), "after {:?}", began.elapsed());
        tokio::time::sleep(LEASE / 10).await; // the renewals of an owner
    }
    let view = answered(&owner).await;
    assert!(matches!(view.lease, Lease::Held { renewal, .. } if renewal < u64::MAX / 2), "{view:?}");
}

/// Done, its answer lost, and replaced by another node before it is asked again: "lost" would be a lie about what was done.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[ignore = "needs etcd-server"]
async fn a_swap_that_was_done_unheard_and_replaced_is_left_open() {
    let cluster = Cluster::start(3).await;
    let relays = Relay::to_each(cluster.endpoints()).await;
    let other = over(cluster.endpoints());
    let mut at = done(&other, 0, owned(1, 1)).await;
    let (mut epoch, mut left_open) = (1, 0);
    for answers in 0..6 {
        let a = over(relays.iter().map(Relay::endpoint).collect());
        assert_eq!(a.read("g").await.unwrap().revision, at);
        relays[0].set(Way::SwallowsAnswersAfter(answers));
        relays[1..].iter().for_each(|r| r.set(Way::Hangs));
        let swapping = tokio::spawn(async move { a.swap("g", at, owned(0, epoch + 1)).await });
        let mut seen = answered(&other).await.revision;
        while seen == at && !swapping.is_finished() {
            seen = answered(&other).await.revision;
        }
        // It may have been done just after it was last looked for.
        let view = answered(&other).await;
        at = view.revision;
        if view.record == Some(owned(0, epoch + 1)) {
            at = done(&other, at, owned(1, epoch + 2)).await;
        }
        relays[1..].iter().for_each(|r| r.set(Way::Passes));
        match swapping.await.unwrap() {
            Ok(Swap::Done { revision }) => assert!(revision < at, "it was done, and replaced"),
            Ok(lost) => panic!("after {answers} answers: {lost:?}"),
            Err(error) => {
                assert!(matches!(error, ArbiterError::Unavailable { .. }), "{error}");
                left_open += 1;
            }
        }
        relays[0].set(Way::Passes);
        let view = answered(&other).await;
        (at, epoch) = (view.revision, view.record.unwrap().epoch.0);
    }
    assert!(left_open > 0, "one of the cuts falls between the swap and its answer");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[ignore = "needs etcd-server"]
async fn what_does_not_belong_there_is_named_and_never_overwritten() {
    let cluster = Cluster::start(1).await;
    let a = over(cluster.endpoints());
    let mut raw = Client::connect(cluster.endpoints(), None).await.unwrap();
    for garbage in [&b"hello"[..], &[0xff, 0xfe], &[b'x'; 9000], b"{}"] {
        raw.put("pair/g/owner", garbage, None).await.unwrap();
        for error in [a.read("g").await.unwrap_err(), a.swap("g", 0, owned(0, 1)).await.unwrap_err()] {
            assert!(matches!(error, ArbiterError::Foreign { .. }), "{error}");
        }
        assert_eq!(raw.get("pair/g/owner", None).await.unwrap().kvs()[0].value(), garbage);
    }
    raw.delete("pair/g/owner", None).await.unwrap();
    let at = done(&a, 0, owned(0, 1)).await;

    let mut foreign = owned(1, 2);
    foreign.init = InitId(99);
    let error = a.swap("g", at, foreign).await.unwrap_err();
    assert!(error.to_string().contains("another pair"), "{error}");
    let error = a.swap("g", at, owned(1, 0)).await.unwrap_err();
    assert!(error.to_string().contains("an epoch never falls"), "{error}");

    let copied = raw.get("pair/g/owner", None).await.unwrap().kvs()[0].value().to_vec();
    raw.put("pair/h/owner", copied, None).await.unwrap();
    let error = a.read("h").await.unwrap_err();
    assert!(error.to_string().contains("the record of group \"g\""), "{error}");

    raw.put("pair/g/lease", "whatever", None).await.unwrap();
    let error = a.read("g").await.unwrap_err();
    assert!(error.to_string().contains("a lease key that is not of this record"), "{error}");
    assert!(!a.renew("g", life(0), Epoch(1)).await.unwrap(), "its lease key was taken");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[ignore = "needs etcd-server"]
async fn a_revision_that_is_compacted_or_wiped_is_no_revision() {
    let cluster = Cluster::start(1).await;
    let a = over(cluster.endpoints());
    let mut raw = Client::connect(cluster.endpoints(), None).await.unwrap();
    let at = done(&a, 0, owned(0, 1)).await;
    for _ in 0..5 {
        assert!(a.renew("g", life(0), Epoch(1)).await.unwrap());
    }
    let newest = raw.get("x", None).await.unwrap().header().unwrap().revision();
    raw.compact(newest, Some(CompactionOptions::new().with_physical())).await.unwrap();
    let next = done(&a, at, owned(0, 2)).await;
    raw.delete("pair/g/owner", None).await.unwrap();
    assert!(!a.renew("g", life(0), Epoch(2)).await.unwrap(), "etcd forgot who owns the group");
    let lost = a.swap("g", next, owned(0, 3)).await.unwrap();
    assert!(matches!(lost, Swap::Lost(v) if v == ArbiterView::new(None, Lease::Free, 0)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[ignore = "needs etcd-server"]
async fn members_of_two_clusters_are_never_mixed() {
    let mut one = Cluster::start(1).await;
    let other = Cluster::start(1).await;
    let a = over([one.endpoints(), other.endpoints()].concat());
    done(&a, 0, owned(0, 1)).await;
    one.kill(0).await;
    let error = a.read("g").await.unwrap_err();
    assert!(matches!(error, ArbiterError::Unusable { .. }), "{error}");
    assert!(error.to_string().contains("members of one cluster only"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[ignore = "needs etcd-server"]
async fn a_wrong_password_is_named_and_no_password_is_shown() {
    let cluster = Cluster::start(1).await;
    let mut raw = Client::connect(cluster.endpoints(), None).await.unwrap();
    raw.user_add("root", "right-secret", None).await.unwrap();
    let _ = raw.role_add("root").await;
    raw.user_grant_role("root", "root").await.unwrap();
    raw.auth_enable().await.unwrap();
    let with = |password: &str| {
        let builder = EtcdArbiter::builder(cluster.endpoints()).lease(LEASE).deadline(DEADLINE);
        let builder = builder.user("root", password);
        let shown = format!("{builder:?} {:?}", builder.clone().build().unwrap());
        assert!(!shown.contains("secret"), "{shown}");
        builder.build().unwrap()
    };
    for (arbiter, what) in [(with("wrong-secret"), "wrong password"), (over(cluster.endpoints()), "no user")]
    {
        let error = arbiter.read("g").await.unwrap_err();
        println!("{what}: {error}");
        assert!(matches!(error, ArbiterError::Unusable { .. }), "{error}");
        assert!(!error.to_string().contains("secret"), "{error}");
    }
    let right = with("right-secret");
    done(&right, 0, owned(0, 1)).await;
    assert!(right.renew("g", life(0), Epoch(1)).await.unwrap());
}

#[test]
fn bad_settings_are_refused() {
    let build = |endpoints: &[&str], lease, deadline| {
        let builder = EtcdArbiter::builder(endpoints.iter().copied());
        builder.lease(Duration::from_millis(lease)).deadline(Duration::from_millis(deadline)).build()
    };
    assert!(build(&["http://127.0.0.1:1"], 4000, 2000).is_ok());
    for (endpoints, lease, deadline) in [
        (&[][..], 4000, 2000),
        (&["http://127.0.0.1:1"], 4500, 2000),
        (&["http://127.0.0.1:1"], 3000, 2000),
        (&["http://127.0.0.1:1"], 3000, 0),
    ] {
        let error = build(endpoints, lease, deadline).unwrap_err();
        assert!(matches!(error, ArbiterError::Unusable { .. }), "{error}");
    }
}

#[tokio::test]
async fn an_endpoint_that_is_none_is_named() {
    let error = over(vec!["not an endpoint".into()]).read("g").await.unwrap_err();
    assert!(matches!(error, ArbiterError::Unusable { .. }), "{error}");
}
