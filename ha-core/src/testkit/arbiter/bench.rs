//! The nodes, what they call, and what is noted of it.

use super::Options;
use super::finding::{Check, Failed, Failure, Report};
use crate::api::{Arbiter, ArbiterError, ArbiterView, Lease, OwnerRecord, Swap};
use crate::{Epoch, Generation, Incarnation, InitId, NodeId};
use std::fmt::Debug;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::time::Instant;

/// A reading or call that must answer is made so many times.
const TRIES: usize = 4;

/// How a check ended that found nothing wrong.
pub(super) enum Done {
    Passed,
    Skipped(String),
}

pub(super) type Outcome = Result<Done, Failure>;

/// One node's way to the arbiter.
pub(super) struct Node<A> {
    pub arbiter: Arc<A>,
    pub id: NodeId,
    pub life: Incarnation,
    calls: Arc<AtomicU64>,
    unanswered: Arc<AtomicU64>,
}

impl<A> Clone for Node<A> {
    fn clone(&self) -> Self {
        Self {
            arbiter: Arc::clone(&self.arbiter),
            id: self.id,
            life: self.life,
            calls: Arc::clone(&self.calls),
            unanswered: Arc::clone(&self.unanswered),
        }
    }
}

pub(super) struct Bench<A> {
    pub nodes: Vec<Node<A>>,
    pub options: Options,
    salt: u128,
    report: Report,
    failures: Vec<Failure>,
}

impl<A: Arbiter> Bench<A> {
    pub(super) fn new(arbiters: Vec<A>, options: Options) -> Self {
        let salt = salt();
        let (calls, unanswered) = (Arc::default(), Arc::default());
        let node = |(i, arbiter): (usize, A)| Node {
            arbiter: Arc::new(arbiter),
            id: NodeId(u8::try_from(i % 64).unwrap_or(0)),
            life: Incarnation(salt.wrapping_add(i as u128)),
            calls: Arc::clone(&calls),
            unanswered: Arc::clone(&unanswered),
        };
        let nodes: Vec<_> = arbiters.into_iter().enumerate().map(node).collect();
        let arbiter = nodes.first().map_or_else(String::new, |n| n.arbiter.name().to_owned());
        Self { nodes, options, salt, report: Report { arbiter, ..Report::default() }, failures: Vec::new() }
    }

    /// A group's name that no other run uses.
    pub(super) fn group(&self, purpose: &str) -> String {
        format!("testkit-{:032x}-{purpose}", self.salt)
    }

    pub(super) fn init(&self) -> InitId {
        InitId(self.salt)
    }

    /// A record that names `node` as the owner.
    pub(super) fn record(&self, node: &Node<A>, epoch: u64) -> OwnerRecord {
        OwnerRecord {
            epoch: Epoch(epoch),
            owner: Some(node.id),
            generation: Generation(epoch),
            in_sync: 1 << node.id.0,
            ..OwnerRecord::new(self.init(), node.life)
        }
    }

    pub(super) fn lease(&self) -> Duration {
        self.nodes.first().map_or(Duration::ZERO, |n| n.arbiter.lease())
    }

    pub(super) fn note(&mut self, check: Check, outcome: Outcome) {
        match outcome {
            Ok(Done::Passed) => self.report.passed.push(check),
            Ok(Done::Skipped(why)) => self.report.skipped.push((check, why)),
            Err(failure) => self.failures.push(failure),
        }
    }

    pub(super) fn finish(mut self) -> Result<Report, Box<Failed>> {
        if let Some(node) = self.nodes.first() {
            self.report.calls = node.calls.load(Ordering::Relaxed);
            self.report.unanswered = node.unanswered.load(Ordering::Relaxed);
        }
        if self.failures.is_empty() {
            return Ok(self.report);
        }
        Err(Box::new(Failed { failures: self.failures, report: self.report }))
    }
}

impl<A: Arbiter> Node<A> {
    /// A call that may end with an error.
    pub(super) async fn tried<T>(
        &self,
        call: impl Future<Output = Result<T, ArbiterError>>,
    ) -> Result<T, ArbiterError> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        call.await.inspect_err(|_| {
            self.unanswered.fetch_add(1, Ordering::Relaxed);
        })
    }

    pub(super) async fn try_swap(
        &self,
        group: &str,
        at: u64,
        next: OwnerRecord,
    ) -> Result<Swap, ArbiterError> {
        self.tried(self.arbiter.swap(group, at, next)).await
    }

    pub(super) async fn read(&self, check: Check, group: &str) -> Result<ArbiterView, Failure> {
        let mut last = None;
        for _ in 0..TRIES {
            match self.tried(self.arbiter.read(group)).await {
                Ok(view) => return Ok(view),
                Err(error) => last = Some(error),
            }
        }
        Err(unanswered(check, "a reading", &last))
    }

    pub(super) async fn swap(
        &self,
        check: Check,
        group: &str,
        at: u64,
        next: OwnerRecord,
    ) -> Result<Swap, Failure> {
        self.try_swap(group, at, next).await.map_err(|e| unanswered(check, "a swap", &e))
    }

    /// A swap that nothing hinders. Its revision, and when it was asked for.
    pub(super) async fn take(
        &self,
        check: Check,
        group: &str,
        at: u64,
        next: OwnerRecord,
    ) -> Result<(u64, Instant), Failure> {
        let asked = Instant::now();
        match self.swap(check, group, at, next).await? {
            Swap::Done { revision } => Ok((revision, asked)),
            lost => Err(wrong(check, &lost, format!("Done: nobody else swapped revision {at}"))),
        }
    }

    pub(super) async fn renew(&self, check: Check, group: &str, epoch: u64) -> Result<bool, Failure> {
        let call = self.arbiter.renew(group, self.life, Epoch(epoch));
        self.tried(call).await.map_err(|e| unanswered(check, "a renewal", &e))
    }

    pub(super) async fn release(&self, check: Check, group: &str) -> Result<(), Failure> {
        let call = self.arbiter.release(group, self.life);
        self.tried(call).await.map_err(|e| unanswered(check, "a release", &e))
    }
}

/// A finding.
pub(super) fn wrong(check: Check, found: impl Debug, expected: impl Into<String>) -> Failure {
    Failure { check, found: format!("{found:?}"), expected: expected.into() }
}

/// A finding unless `holds`.
pub(super) fn ensure(
    check: Check,
    holds: bool,
    found: impl Debug,
    expected: impl Into<String>,
) -> Result<(), Failure> {
    if holds { Ok(()) } else { Err(wrong(check, found, expected)) }
}

fn unanswered(check: Check, what: &str, error: &impl Debug) -> Failure {
    wrong(check, error, format!("an answer to {what}: nothing is broken here"))
}

/// The record and revision of a view: what no renewal changes.
pub(super) fn stands(view: &ArbiterView) -> (Option<OwnerRecord>, u64) {
    (view.record, view.revision)
}

/// Whether the lease is held by that life.
pub(super) fn held_by(lease: Lease, life: Incarnation) -> bool {
    matches!(lease, Lease::Held { incarnation, .. } if incarnation == life)
}

fn salt() -> u128 {
    let mut bytes = [0; 16];
    // Without random numbers the address of a local has to do: names need to differ from other runs', no more.
    if getrandom::fill(&mut bytes).is_err() {
        return std::ptr::from_ref(&bytes).addr() as u128;
    }
    u128::from_le_bytes(bytes)
}
