//! How many frames are looked at, however many there are.

use std::time::Duration;

/// The length of a window.
pub(super) const WINDOW: Duration = Duration::from_millis(100);
/// Frames looked at in a window: 10,000 a second, which a core decodes in about a hundredth of that time.
const FRAMES: u32 = 1000;

/// Counts frames by windows of 100 ms.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Budget {
    since: Duration,
    used: u32,
}

impl Budget {
    /// Takes one frame `now`. `Some`: it was the last of this window, so rest for that long.
    pub(super) fn spend(&mut self, now: Duration) -> Option<Duration> {
        if now.saturating_sub(self.since) >= WINDOW {
            *self = Self { since: now, used: 0 };
        }
        self.used += 1;
        (self.used >= FRAMES).then(|| (self.since + WINDOW).saturating_sub(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_looked_at_a_thousand_frames_at_a_time() {
        let (mut budget, mut now, mut rested) = (Budget::default(), Duration::ZERO, Duration::ZERO);
        for _ in 0..100_000 {
            now += Duration::from_micros(2);
            if let Some(rest) = budget.spend(now) {
                now += rest;
                rested += rest;
            }
        }
        assert!(now >= WINDOW * 99, "{now:?}");
        assert!(rested > now * 9 / 10, "{rested:?} of {now:?}");
    }

    #[test]
    fn usual_traffic_never_rests() {
        let mut budget = Budget::default();
        assert!((0..100_000).all(|i| budget.spend(Duration::from_millis(i)).is_none()));
    }
}
