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

/// A boot clock that only moves when told.
#[derive(Default)]
pub struct HandClock(AtomicU64);

impl HandClock {
    pub fn advance(&self, by: Duration) {
        self.0.fetch_add(u64::try_from(by.as_nanos()).unwrap(), Ordering::SeqCst);
    }
}

impl Clock for HandClock {
    fn now(&self) -> Instant {
        Instant::from_nanos(self.0.load(Ordering::SeqCst))
    }
}
