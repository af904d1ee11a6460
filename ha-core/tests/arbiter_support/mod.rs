//! What the arbiters' tests share.
#![allow(dead_code, reason = "each test binary uses its part")]

use ha_core::api::{Clock, OwnerRecord};
use ha_core::{Epoch, Incarnation, InitId, Instant, NodeId};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The life of node `i`.
pub fn life(i: u8) -> Incarnation {
    Incarnation(u128::from(i) + 1000)
}

/// A record that names node `i`.
pub fn owned(i: u8, epoch: u64) -> OwnerRecord {
    let mut record = OwnerRecord::new(InitId(1), life(i));
    record.epoch = Epoch(epoch);
    record.owner = Some(NodeId(i));
    record.in_sync = 0b11;
    record
}

/// A boot clock that only moves when told, or whenever it was looked at.
#[derive(Default)]
pub struct HandClock {
    now: AtomicU64,
    step: AtomicU64,
}

impl HandClock {
    pub fn advance(&self, by: Duration) {
        self.now.fetch_add(nanos(by), Ordering::SeqCst);
    }

    /// From now on so much passes after each look.
    pub fn step(&self, by: Duration) {
        self.step.store(nanos(by), Ordering::SeqCst);
    }

    pub fn set(&self, to: Instant) {
        self.now.store(nanos(to.since(Instant::ZERO)), Ordering::SeqCst);
    }
}

fn nanos(span: Duration) -> u64 {
    u64::try_from(span.as_nanos()).unwrap()
}

impl Clock for HandClock {
    fn now(&self) -> Instant {
        Instant::from_nanos(self.now.fetch_add(self.step.load(Ordering::SeqCst), Ordering::SeqCst))
    }
}
