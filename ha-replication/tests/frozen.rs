//! An owner that did not run for a while does not take its own standstill for the other copy's (rule 9).

#![allow(clippy::unwrap_used, reason = "a failed step of a test is a failed test")]

mod support;

use ha_core::Instant;
use ha_core::api::Clock;
use ha_core::runtime::BootClock;
use ha_replication::Limits;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use support::{BOTH, Pair, Side, limits, lsn};

/// The machine's clock, and what the process slept: it runs while nothing of the process does.
#[derive(Debug, Default)]
struct Slept(AtomicU64);

impl Clock for Slept {
    fn now(&self) -> Instant {
        BootClock.now() + Duration::from_secs(self.0.load(Ordering::Relaxed))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_owner_that_wakes_without_a_session_has_not_been_stalled_by_the_other_copy() {
    // Beyond what any machine takes for this test: only the sleep is longer.
    let silence = Duration::from_secs(600);
    let pair = Pair::with(Limits { silence, stall: silence, ..limits() }).await;
    let clock = Arc::new(Slept::default());
    let a = Side::open(pair.config(0, 1).with_clock(Arc::clone(&clock) as _));
    let b = pair.open(1);
    a.promote(1, BOTH).await;
    lsn(a.put("1", "one").await);
    a.caught_up().await;
    pair.relay.cut();
    a.until("the session ended", |s| !s.session).await;
    clock.0.store(3_600, Ordering::Relaxed);
    assert!(!a.mirror.status().report.stalled, "at the first look");
    // Reports that follow the own clockwork's return say the same, until the copy is back.
    pair.relay.heal();
    a.caught_up().await;
    lsn(a.put("2", "two").await);
    assert!(a.reports.lock().unwrap().iter().all(|report| !report.stalled));
    drop(b);
}
