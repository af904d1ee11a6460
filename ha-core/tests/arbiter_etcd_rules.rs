//! Rules of the etcd arbiter that hold only if requests of two nodes meet in a certain order, on real members.
//! `scripts/test-real` runs these.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a failed step of a test is a failed test"
)]

mod arbiter_support;
#[path = "arbiter_support/etcd_cluster.rs"]
#[allow(dead_code, reason = "every test binary uses its own part")]
mod etcd_cluster;
#[path = "arbiter_support/relay.rs"]
#[allow(dead_code, reason = "every test binary uses its own part")]
mod relay;

use arbiter_support::{HandClock, life, owned};
use etcd_client::Client;
use etcd_cluster::Cluster;
use ha_core::api::{Arbiter, ArbiterError, ArbiterView, Lease, OwnerRecord, Swap};
use ha_core::arbiter::{EtcdArbiter, EtcdArbiterBuilder};
use ha_core::{Epoch, Instant};
use relay::{Relay, Way};
use std::sync::Arc;
use std::time::Duration;

const LEASE: Duration = Duration::from_secs(4);
const DEADLINE: Duration = Duration::from_secs(2);
/// More than a call sends.
const ASKS: i32 = 8;

fn over(endpoints: Vec<String>) -> EtcdArbiterBuilder {
    EtcdArbiter::builder(endpoints).prefix("pair").lease(LEASE).deadline(DEADLINE)
}

async fn done(arbiter: &EtcdArbiter, at: u64, record: OwnerRecord) -> u64 {
    match arbiter.swap("g", at, record).await.unwrap() {
        Swap::Done { revision } => revision,
        lost => panic!("{lost:?}"),
    }
}

async fn read(arbiter: &EtcdArbiter) -> ArbiterView {
    arbiter.read("g").await.unwrap()
}

/// The release has read what stands, and before it writes another node takes the group.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[ignore = "needs etcd-server"]
async fn a_release_that_is_overtaken_by_a_swap_takes_nothing_away() {
    let cluster = Cluster::start(1).await;
    let relays = Relay::to_each(cluster.endpoints()).await;
    let other = over(cluster.endpoints()).build().unwrap();
    let (mut at, mut overtaken) = (0, 0);
    for asks in 0..ASKS {
        let a = over(vec![relays[0].endpoint()]).build().unwrap();
        at = done(&a, at, owned(0, 1)).await;
        relays[0].set(Way::HoldsAsksAfter(asks));
        let releasing = tokio::spawn(async move { a.release("g", life(0)).await });
        while !relays[0].holds() && !releasing.is_finished() {
            tokio::task::yield_now().await;
        }
        overtaken += u32::from(!releasing.is_finished());
        at = done(&other, at, owned(1, 1)).await;
        relays[0].set(Way::Passes);
        let released = releasing.await.unwrap();
        println!("after {asks} asks: {released:?}");
        let view = read(&other).await;
        assert_eq!((view.record, view.revision), (Some(owned(1, 1)), at), "after {asks} asks");
        assert!(matches!(view.lease, Lease::Held { incarnation, .. } if incarnation == life(1)), "{view:?}");
        assert!(other.renew("g", life(1), Epoch(1)).await.unwrap(), "after {asks} asks");
    }
    assert!(overtaken > 0);
}

/// Whatever became of the release: whoever asked for it has stopped.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[ignore = "needs etcd-server"]
async fn a_life_that_asked_for_its_release_unheard_renews_no_more() {
    let cluster = Cluster::start(1).await;
    let relays = Relay::to_each(cluster.endpoints()).await;
    let a = over(vec![relays[0].endpoint()]).build().unwrap();
    let at = done(&a, 0, owned(0, 1)).await;
    assert!(a.renew("g", life(0), Epoch(1)).await.unwrap());
    relays[0].cut().await;
    let unheard = a.release("g", life(0)).await.unwrap_err();
    assert!(matches!(unheard, ArbiterError::Unavailable { .. }), "{unheard}");
    relays[0].set(Way::Passes);
    let held = read(&a).await;
    assert!(matches!(held.lease, Lease::Held { .. }), "{held:?}");
    assert!(!a.renew("g", life(0), Epoch(1)).await.unwrap());
    assert_eq!(read(&a).await, held);
    done(&a, at, owned(0, 2)).await;
    assert!(a.renew("g", life(0), Epoch(2)).await.unwrap(), "a new grant is a new lease");
}

/// A leader that was stuck takes living leases away (etcd issue 15247): a key that is gone frees no group, and readers
/// see something that stands still from then on.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[ignore = "needs etcd-server"]
async fn a_lease_key_that_etcd_took_away_is_no_free_group() {
    let cluster = Cluster::start(1).await;
    let (a, b) = (over(cluster.endpoints()).build().unwrap(), over(cluster.endpoints()).build().unwrap());
    let mut raw = Client::connect(cluster.endpoints(), None).await.unwrap();
    let mut at = done(&a, 0, owned(0, 1)).await;
    for epoch in 1..=3 {
        let granted = read(&b).await.lease;
        assert!(a.renew("g", life(0), Epoch(epoch)).await.unwrap());
        let before = read(&b).await.lease;
        for lease in raw.leases().await.unwrap().leases() {
            raw.lease_revoke(lease.id()).await.unwrap();
        }
        assert!(raw.get("pair/g/lease", None).await.unwrap().kvs().is_empty());
        let gone = read(&b).await;
        assert!(matches!(gone.lease, Lease::Held { incarnation, .. } if incarnation == life(0)), "{gone:?}");
        // Also for who looked last before the renewal: the same number twice would say that there was none.
        assert!(gone.lease != before && gone.lease != granted, "the wait for its end begins anew");
        assert!(!a.renew("g", life(0), Epoch(epoch)).await.unwrap());
        assert_eq!(read(&b).await, gone, "and nothing disturbs it");
        at = done(&a, at, owned(0, epoch + 1)).await;
        assert_ne!(read(&b).await.lease, gone.lease);
    }
    let mut nobody = owned(0, 9);
    nobody.owner = None;
    done(&a, at, nobody).await;
    raw.delete("pair/g/lease", None).await.unwrap();
    assert_eq!(read(&b).await.lease, Lease::Free, "nobody owns it, so nobody's lease is waited for");
}

/// A node asked for a grant to another of its lives, or epochs, and does not know what became of it. Nothing did.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[ignore = "needs etcd-server"]
async fn a_grant_of_unknown_outcome_does_not_renew_the_one_that_stands() {
    let cluster = Cluster::start(1).await;
    let relays = Relay::to_each(cluster.endpoints()).await;
    let other = over(cluster.endpoints()).build().unwrap();
    let mut at = 0;
    let mut open = 0;
    for next in [owned(1, 1), owned(0, 2)] {
        for asks in 0..ASKS {
            let a = over(vec![relays[0].endpoint()]).deadline(DEADLINE / 4).build().unwrap();
            let epoch = read(&other).await.record.map_or(1, |record| record.epoch.0);
            let mut next = next;
            next.epoch = Epoch(epoch + next.epoch.0 - 1);
            at = done(&a, at, owned(0, epoch)).await;
            assert!(a.renew("g", life(0), Epoch(epoch)).await.unwrap());
            relays[0].set(Way::HoldsAsksAfter(asks));
            let swapped = a.swap("g", at, next).await;
            relays[0].cut().await;
            relays[0].set(Way::Passes);
            if swapped.is_ok() {
                at = read(&other).await.revision;
                continue;
            }
            assert!(matches!(swapped, Err(ArbiterError::Unavailable { .. })), "{swapped:?}");
            let stands = read(&other).await;
            assert_eq!(stands.revision, at, "what was held back and thrown away was not done");
            assert!(!a.renew("g", next.incarnation, next.epoch).await.unwrap(), "after {asks} asks");
            assert_eq!(read(&other).await, stands, "nothing was renewed");
            assert!(a.renew("g", life(0), Epoch(epoch)).await.unwrap(), "what stands is still its own");
            open += 1;
        }
    }
    assert!(open > 2);
}

/// By the owner's clock: a lease lasts from when the last good renewal was *asked for*, not from its answer.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[ignore = "needs etcd-server"]
async fn a_lease_counts_from_when_it_was_asked_for() {
    let cluster = Cluster::start(1).await;
    let mut at = 0;
    for renews in [false, true] {
        for (end, renewed) in [(LEASE - Duration::from_nanos(1), true), (LEASE, false)] {
            let clock = Arc::new(HandClock::default());
            let a = over(cluster.endpoints()).clock(clock.clone()).build().unwrap();
            clock.step(Duration::from_secs(1));
            at = done(&a, at, owned(0, 1)).await;
            let mut asked = Instant::ZERO;
            if renews {
                clock.step(Duration::ZERO);
                asked = Instant::ZERO + Duration::from_secs(1);
                clock.set(asked);
                clock.step(Duration::from_secs(1));
                assert!(a.renew("g", life(0), Epoch(1)).await.unwrap());
            }
            clock.step(Duration::ZERO);
            clock.set(asked + end);
            assert_eq!(a.renew("g", life(0), Epoch(1)).await.unwrap(), renewed, "{renews} {end:?}");
        }
    }
}

/// Asked for in time, and on etcd, but its answer came when a reader may have found the lease expired.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[ignore = "needs etcd-server"]
async fn a_renewal_that_ends_after_the_lease_does_not_count() {
    let cluster = Cluster::start(1).await;
    let clock = Arc::new(HandClock::default());
    let a = over(cluster.endpoints()).clock(clock.clone()).build().unwrap();
    let b = over(cluster.endpoints()).build().unwrap();
    done(&a, 0, owned(0, 1)).await;
    let before = read(&b).await.lease;
    // The first two looks at the clock are in time, the one after the answer is not.
    clock.advance(LEASE - Duration::from_millis(1500));
    clock.step(Duration::from_secs(1));
    assert!(!a.renew("g", life(0), Epoch(1)).await.unwrap());
    let written = read(&b).await.lease;
    assert_ne!(written, before, "it was written: a reader waits anew");
    clock.step(Duration::ZERO);
    assert!(!a.renew("g", life(0), Epoch(1)).await.unwrap(), "for ever");
    assert_eq!(read(&b).await.lease, written, "and what is over is not shown as alive");
}
