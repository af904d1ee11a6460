//! Whether the application's runtime makes progress.

use crate::Instant;
use crate::api::Clock;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::task::AbortHandle;

/// A task on the application's runtime that notes the time, and the judge of its notes.
pub(super) struct Liveness {
    judge: Judge,
    probe: AbortHandle,
}

struct Judge {
    noted: Arc<AtomicU64>,
    limit: Duration,
    /// No stall is counted from before this instant: the control thread itself did not run then (rule 9).
    since: Instant,
    alive: bool,
}

impl Liveness {
    pub(super) fn start(handle: &Handle, clock: Arc<dyn Clock>, limit: Duration) -> Self {
        let judge = Judge::new(clock.now(), limit);
        let (note, period) = (judge.noted.clone(), (limit / 8).max(Duration::from_millis(1)));
        let probe = handle.spawn(async move {
            loop {
                note.store(clock.now().as_nanos(), Ordering::Relaxed);
                tokio::time::sleep(period).await;
            }
        });
        Self { judge, probe: probe.abort_handle() }
    }

    /// The new verdict, if it changed. `previous` is when the control thread looked last.
    pub(super) fn judge(&mut self, now: Instant, previous: Instant) -> Option<bool> {
        self.judge.judge(now, previous)
    }

    /// When the verdict may change by mere silence; never while it is bad already.
    pub(super) fn next_deadline(&self) -> Instant {
        if self.judge.alive { self.judge.deadline() } else { Instant::FAR }
    }
}

impl Judge {
    fn new(now: Instant, limit: Duration) -> Self {
        Self { noted: Arc::new(AtomicU64::new(now.as_nanos())), limit, since: now, alive: true }
    }

    fn judge(&mut self, now: Instant, previous: Instant) -> Option<bool> {
        if now.since(previous) > self.limit / 4 {
            self.since = now;
        }
        // A bad verdict is only lifted by a note, never by an own gap.
        let alive = if self.alive { now < self.deadline() } else { now.since(self.note()) < self.limit };
        let changed = alive != self.alive;
        self.alive = alive;
        changed.then_some(alive)
    }

    fn note(&self) -> Instant {
        Instant::from_nanos(self.noted.load(Ordering::Relaxed))
    }

    fn deadline(&self) -> Instant {
        self.note().max(self.since) + self.limit
    }
}

impl Drop for Liveness {
    fn drop(&mut self) {
        self.probe.abort();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(4);

    fn at(ms: u64) -> Instant {
        Instant::from_nanos(ms * 1_000_000)
    }

    #[test]
    fn a_stall_is_reported_once_and_so_is_its_end() {
        let mut judge = Judge::new(at(0), LIMIT);
        assert_eq!(judge.judge(at(900), at(800)), None);
        for ms in (1000..4000).step_by(100) {
            assert_eq!(judge.judge(at(ms), at(ms - 100)), None, "at {ms} ms");
        }
        assert_eq!(judge.judge(at(4000), at(3900)), Some(false));
        assert_eq!(judge.judge(at(4100), at(4000)), None);
        judge.noted.store(at(4150).as_nanos(), Ordering::Relaxed);
        assert_eq!(judge.judge(at(4200), at(4100)), Some(true));
    }

    #[test]
    fn time_in_which_the_control_thread_did_not_run_counts_against_nobody() {
        let mut judge = Judge::new(at(0), LIMIT);
        assert_eq!(judge.judge(at(60_000), at(100)), None, "the whole process was frozen");
        assert_eq!(judge.deadline(), at(64_000));
        assert_eq!(judge.judge(at(64_000), at(63_900)), Some(false), "and did not come back");
    }

    #[test]
    fn an_own_gap_does_not_lift_a_bad_verdict() {
        let mut judge = Judge::new(at(0), LIMIT);
        assert_eq!(judge.judge(at(4000), at(3900)), Some(false));
        assert_eq!(judge.judge(at(60_000), at(4000)), None);
    }
}
