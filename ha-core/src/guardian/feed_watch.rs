//! When a child has been silent for too long, with the guardian's own gaps subtracted first (rule 9).

use crate::Instant;
use std::time::Duration;

/// The guardian looks at the clock this many times in a feed limit, so that a gap of its own is known to
/// within that fraction.
const LOOKS_IN_A_LIMIT: u32 = 4;

/// Watches one child's feed.
///
/// 1. call [`FeedWatch::woke`] with a fresh reading after every wait, before anything else;
/// 2. take in what the socket holds, [`FeedWatch::fed`] for each feed;
/// 3. ask [`FeedWatch::lapsed`];
/// 4. wait until [`FeedWatch::plan`] or an event.
#[derive(Clone, Debug)]
pub(super) struct FeedWatch {
    limit: Duration,
    /// Absent until the first feed: before it nothing is owned.
    fed_at: Option<Instant>,
    /// Own gaps since `fed_at`.
    excused: Duration,
    woke_at: Instant,
    planned: Instant,
}

impl FeedWatch {
    pub(super) const fn new(limit: Duration, now: Instant) -> Self {
        Self { limit, fed_at: None, excused: Duration::ZERO, woke_at: now, planned: Instant::FAR }
    }

    /// The guardian runs again. What it is late is its own gap, not the child's.
    pub(super) fn woke(&mut self, now: Instant) {
        self.excused = self.excused.saturating_add(now.since(self.planned));
        self.planned = Instant::FAR;
        self.woke_at = now;
    }

    /// The child's control thread showed that it is alive.
    pub(super) const fn fed(&mut self, now: Instant) {
        self.fed_at = Some(now);
        self.excused = Duration::ZERO;
    }

    /// Whether the child was ever fed from.
    pub(super) const fn armed(&self) -> bool {
        self.fed_at.is_some()
    }

    /// The child said goodbye: its control thread ends in good order.
    pub(super) const fn disarm(&mut self) {
        self.fed_at = None;
    }

    /// Whether the child has been silent for longer than the limit, own gaps subtracted.
    pub(super) fn lapsed(&self, now: Instant) -> bool {
        now >= self.deadline()
    }

    /// When to look again. What passed since [`FeedWatch::woke`] was the guardian's own work.
    pub(super) fn plan(&mut self, now: Instant) -> Instant {
        self.excused = self.excused.saturating_add(now.since(self.woke_at));
        self.planned = if self.armed() {
            self.deadline().min(now + self.limit / LOOKS_IN_A_LIMIT).max(now)
        } else {
            Instant::FAR
        };
        self.planned
    }

    fn deadline(&self) -> Instant {
        self.fed_at.map_or(Instant::FAR, |at| at + self.limit.saturating_add(self.excused))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Instant {
        Instant::from_nanos(ms * 1_000_000)
    }

    fn watch() -> FeedWatch {
        let mut watch = FeedWatch::new(Duration::from_millis(80), at(0));
        watch.fed(at(0));
        watch
    }

    /// Waits as a guardian does that is never late.
    fn wait_until(watch: &mut FeedWatch, mut now: u64, until: u64) -> bool {
        while now < until {
            let next = watch.plan(at(now)).as_nanos().div_ceil(1_000_000).min(until);
            watch.woke(at(next));
            now = next;
            if watch.lapsed(at(now)) {
                return true;
            }
        }
        false
    }

    #[test]
    fn a_silent_child_lapses_at_the_limit_and_not_before() {
        assert!(!wait_until(&mut watch(), 0, 79));
        assert!(wait_until(&mut watch(), 0, 80));
    }

    #[test]
    fn a_child_that_was_never_fed_from_does_not_lapse() {
        let mut watch = FeedWatch::new(Duration::from_millis(80), at(0));
        assert_eq!(watch.plan(at(0)), Instant::FAR);
        watch.woke(at(1000));
        assert!(!watch.lapsed(at(100_000)));
    }

    #[test]
    fn the_guardians_own_gap_is_not_held_against_the_child() {
        let mut watch = watch();
        assert!(!wait_until(&mut watch, 0, 20));
        assert_eq!(watch.plan(at(20)), at(40));
        watch.woke(at(5040));
        assert!(!watch.lapsed(at(5040)));
        assert!(!wait_until(&mut watch, 5040, 5079));
        assert!(wait_until(&mut watch, 5079, 5085));
    }

    #[test]
    fn time_spent_working_counts_as_an_own_gap() {
        let mut watch = watch();
        watch.woke(at(10));
        watch.plan(at(510));
        assert!(!watch.lapsed(at(520)));
    }
}
