//! Two real nodes and a third party that really compares and swaps.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a failed step of a test is a failed test"
)]

mod runtime_support;

use async_trait::async_trait;
use ha_core::api::{Arbiter, ArbiterError, ArbiterView, Clock, Lease, OwnerRecord, Swap};
use ha_core::arbiter::ObjectArbiter;
use ha_core::config::{ArbiterConfig, ArbiterKind, FenceConfig};
use ha_core::runtime::{BootClock, NodeError};
use ha_core::{Epoch, Incarnation};
use object_store::ObjectStore;
use object_store::memory::InMemory;
use runtime_support::{Pair, config, ms, story, switch_over, until, until_role, until_viable};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

const LEASE: Duration = ms(1000);

#[derive(Default)]
struct Row {
    record: Option<OwnerRecord>,
    revision: u64,
    renewal: u64,
    held: Option<Incarnation>,
}

impl Row {
    fn view(&self) -> ArbiterView {
        let renewal = self.renewal;
        let lease = self.held.map_or(Lease::Free, |incarnation| Lease::Held { incarnation, renewal });
        ArbiterView::new(self.record, lease, self.revision)
    }
}

/// One mutex decides.
struct Memory {
    rows: Mutex<BTreeMap<String, Row>>,
    answers: AtomicBool,
}

impl Memory {
    fn new() -> Arc<Self> {
        Arc::new(Self { rows: Mutex::default(), answers: AtomicBool::new(true) })
    }

    fn with<T>(&self, group: &str, act: impl FnOnce(&mut Row) -> T) -> Result<T, ArbiterError> {
        if !self.answers.load(Ordering::SeqCst) {
            return Err(ArbiterError::Unavailable {
                arbiter: "memory".into(),
                reason: "switched off".into(),
            });
        }
        Ok(act(self.rows.lock().unwrap().entry(group.into()).or_default()))
    }
}

#[async_trait]
impl Arbiter for Memory {
    fn name(&self) -> &str {
        "memory"
    }
    fn lease(&self) -> Duration {
        LEASE
    }
    async fn read(&self, group: &str) -> Result<ArbiterView, ArbiterError> {
        self.with(group, |row| row.view())
    }
    async fn swap(&self, group: &str, revision: u64, record: OwnerRecord) -> Result<Swap, ArbiterError> {
        self.with(group, |row| {
            if row.revision != revision {
                return Swap::Lost(row.view());
            }
            row.record = Some(record);
            row.revision += 1;
            if record.owner.is_some() {
                (row.held, row.renewal) = (Some(record.incarnation), row.renewal + 1);
            }
            Swap::Done { revision: row.revision }
        })
    }
    async fn renew(&self, group: &str, incarnation: Incarnation, epoch: Epoch) -> Result<bool, ArbiterError> {
        self.with(group, |row| {
            let owns = row
                .record
                .is_some_and(|r| r.owner.is_some() && r.incarnation == incarnation && r.epoch == epoch);
            row.renewal += u64::from(owns);
            owns
        })
    }
    async fn release(&self, group: &str, incarnation: Incarnation) -> Result<(), ArbiterError> {
        self.with(group, |row| row.held = row.held.filter(|by| *by != incarnation))
    }
}

/// Without any fence device: the lease alone proves an owner's end.
fn pair() -> (Pair, Arc<Memory>) {
    let arbiter = Memory::new();
    let lease = ArbiterConfig::new(ArbiterKind::ThirdParty, LEASE).with_trusts_host_pauses(true);
    let mut pair = Pair::new(config().arbiter(lease));
    pair.arbiter = Some(arbiter.clone());
    (pair, arbiter)
}

#[tokio::test]
async fn a_dead_owner_is_followed_when_its_lease_is_over() {
    let (pair, arbiter) = pair();
    let [left, right] = pair.both_on().await;
    let before = until_role(&left, "active").await;
    until_viable(&right).await;
    pair.machines[0].power_off().await;
    let active = until_role(&right, "active").await;
    assert_eq!(active.proof.as_deref(), Some("LeaseExpired"), "{}", story(&right));
    assert!(active.epoch > before.epoch);
    let kept = arbiter.read("mail").await.unwrap().record.unwrap();
    assert_eq!((kept.epoch.0, kept.owner.map(|n| n.0)), (active.epoch, Some(1)));
    // Back again, it stands by; a switchover needs no lease to run out.
    let left = pair.power_on(0).await;
    until_viable(&left).await;
    switch_over(&right).await;
    let active = until_role(&left, "active").await;
    assert_eq!(active.proof.as_deref(), Some("Released"), "{}", story(&left));
}

#[tokio::test]
async fn a_pair_whose_arbiter_is_gone_goes_on_and_grants_nothing() {
    let (pair, arbiter) = pair();
    let [left, right] = pair.both_on().await;
    until_role(&left, "active").await;
    until_viable(&right).await;
    arbiter.answers.store(false, Ordering::SeqCst);
    // 150 beats of 20 ms: three leases.
    let heard = || right.traffic()[0].received();
    let enough = heard() + 150;
    while heard() < enough {
        assert!(left.token("mail").unwrap().check(BootClock.now()).is_ok(), "{}", story(&left));
        tokio::task::yield_now().await;
    }
    assert!(story(&left).contains("the arbiter gives no answer"), "{}", story(&left));
    pair.machines[0].power_off().await;
    until(&right, "a question", |g| g.question.as_ref().is_some_and(|q| q.kind == "arbiter-silent")).await;
    arbiter.answers.store(true, Ordering::SeqCst);
    let active = until_role(&right, "active").await;
    assert_eq!(active.proof.as_deref(), Some("LeaseExpired"), "{}", story(&right));
}

/// Several pairs over one store, each below its own prefix: what is more than one pair is more groups, nothing else.
#[tokio::test]
async fn s099_two_pairs_over_one_third_party_each_lose_a_node_and_see_nothing_of_each_other() {
    let lease = ms(3000);
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let witness = |prefix: &str| -> Arc<dyn Arbiter> {
        let builder = ObjectArbiter::builder(Arc::clone(&store)).prefix(prefix);
        Arc::new(builder.lease(lease).deadline(ms(300)).build().unwrap())
    };
    let third = ArbiterConfig::new(ArbiterKind::ThirdParty, lease).with_trusts_host_pauses(true);
    let mut pairs = [(); 2].map(|()| Pair::new(config().arbiter(third.clone())));
    let mut nodes = Vec::new();
    for (pair, prefix) in pairs.iter_mut().zip(["pair-a", "pair-b"]) {
        for me in [0, 1] {
            pair.arbiter = Some(witness(prefix));
            nodes.push(pair.power_on(me).await);
        }
    }
    let [a0, a1, b0, b1] = [0, 1, 2, 3].map(|n| nodes[n].clone());
    for (owner, standby) in [(&a0, &a1), (&b0, &b1)] {
        until_role(owner, "active").await;
        until_viable(standby).await;
    }
    // In one pair the first node is lost, in the other the second one.
    pairs[0].machines[0].power_off().await;
    pairs[1].machines[1].power_off().await;
    let active = until_role(&a1, "active").await;
    assert_eq!(active.proof.as_deref(), Some("LeaseExpired"), "{}", story(&a1));
    assert_eq!(until_role(&b0, "active").await.epoch, 1, "{}", story(&b0));
    let owners = async |prefix| {
        let record = witness(prefix).read("mail").await.unwrap().record.unwrap();
        (record.owner.map(|n| n.0), record.epoch.0)
    };
    assert_eq!(owners("pair-a").await, (Some(1), active.epoch));
    assert_eq!(owners("pair-b").await, (Some(0), 1));
}

#[tokio::test]
async fn an_arbiter_and_its_configuration_belong_together() {
    let (mut pair, _) = pair();
    pair.arbiter = None;
    assert!(refusal(&pair).await.contains("the configured arbiter"));
    let mut other = Pair::new(config().fence(FenceConfig::new(ms(1000))));
    other.arbiter = Some(Memory::new());
    assert!(refusal(&other).await.contains("no [arbiter] in the configuration"));
    let slower = ArbiterConfig::new(ArbiterKind::ThirdParty, ms(3000));
    let mut slower = Pair::new(config().arbiter(slower));
    slower.arbiter = Some(Memory::new());
    assert!(refusal(&slower).await.contains("lease"));
}

async fn refusal(pair: &Pair) -> String {
    match pair.power_on_with(0, Box::new(pair.store(0))).await {
        Err(NodeError::Parts(problems)) => problems.to_string(),
        other => panic!("{:?}", other.map(drop)),
    }
}
