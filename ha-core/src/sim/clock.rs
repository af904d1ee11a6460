//! A node's boot clock as seen from true time.

use crate::Instant;

/// A boot clock that runs fast or slow. The engine sees only this one.
#[derive(Clone, Copy, Debug)]
pub struct DriftClock {
    true_base: u64,
    local_base: u64,
    ppm: i64,
}

impl DriftClock {
    /// A clock that shows `local` at true time `now` and gains `ppm` microseconds a second.
    #[must_use]
    pub const fn new(now: u64, local: u64, ppm: i64) -> Self {
        Self { true_base: now, local_base: local, ppm }
    }

    /// What it shows at true time `now`.
    #[must_use]
    pub fn local(&self, now: u64) -> Instant {
        let span = now.saturating_sub(self.true_base);
        let gain = span.cast_signed() / 1000 * self.ppm / 1000;
        Instant::from_nanos(self.local_base + span.saturating_add_signed(gain))
    }

    /// A true time at which it shows at least `local`, at most a few microseconds late; never for far instants.
    #[must_use]
    pub fn true_at(&self, local: Instant) -> u64 {
        let span = local.as_nanos().saturating_sub(self.local_base);
        if span > u64::MAX / 4 {
            return u64::MAX;
        }
        // Instants of one clock lie on one grid of microseconds, whatever its rate: runs that were recorded with a
        // slower search find the same ones.
        let rounded = self.true_base
            + span.saturating_add_signed(-(span.cast_signed() / 1000 * self.ppm / 1000))
            + 2 * span / 1_000_000;
        let rate = u128::from(1_000_000u64.saturating_add_signed(self.ppm).max(1));
        let exact = u64::try_from(u128::from(span) * 1_000_000 / rate).unwrap_or(u64::MAX / 2);
        let exact = self.true_base + exact;
        let mut at = exact - exact % 1000 + rounded % 1000;
        while self.local(at) < local {
            at += 1000;
        }
        while at > self.true_base + 1000 && self.local(at - 1000) >= local {
            at -= 1000;
        }
        at
    }

    /// From `now` on it gains `ppm` microseconds a second.
    pub fn drift(&mut self, now: u64, ppm: i64) {
        *self = Self { true_base: now, local_base: self.local(now).as_nanos(), ppm };
    }
}

#[cfg(test)]
mod tests {
    use super::DriftClock;
    use crate::Instant;

    #[test]
    fn true_time_of_a_local_instant_is_not_early_and_hardly_late() {
        for ppm in [-100_000, -500, 0, 250, 500, 100_000] {
            let c = DriftClock::new(7, 1_000_000_000, ppm);
            for nanos in [1_000_000_001u64, 1_050_000_000, 3_000_000_123, 70_000_000_000] {
                let at = c.true_at(Instant::from_nanos(nanos));
                assert!(c.local(at).as_nanos() >= nanos);
                assert!(c.local(at).as_nanos() <= nanos + 3000, "{ppm} {nanos}");
            }
        }
    }

    #[test]
    fn a_change_of_drift_does_not_make_the_clock_jump() {
        let mut c = DriftClock::new(0, 0, 500);
        let before = c.local(10_000_000_000);
        c.drift(10_000_000_000, -500);
        assert_eq!(c.local(10_000_000_000), before);
    }
}
