//! Durations as another node's clock may count them.

use std::time::Duration;

const PPM: u128 = 1_000_000;

/// A bound ρ on the relative drift of two clocks, in parts per million.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Drift(pub(super) u32);

impl Drift {
    /// `span × (1 + ρ)`, rounded up: how long it may last when measured by the other clock.
    pub(super) fn longest(self, span: Duration) -> Duration {
        nanos(span.as_nanos() + self.share(span))
    }

    /// `span × (1 − ρ)`, rounded down: how short it may be when measured by the other clock.
    pub(super) fn shortest(self, span: Duration) -> Duration {
        nanos(span.as_nanos().saturating_sub(self.share(span)))
    }

    fn share(self, span: Duration) -> u128 {
        (span.as_nanos() * u128::from(self.0)).div_ceil(PPM)
    }
}

fn nanos(n: u128) -> Duration {
    Duration::from_nanos(u64::try_from(n).unwrap_or(u64::MAX))
}

/// The next whole millisecond.
pub(super) fn ceil_ms(span: Duration) -> Duration {
    Duration::from_millis(u64::try_from(span.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX))
}

/// The whole milliseconds within.
pub(super) const fn floor_ms(span: Duration) -> Duration {
    Duration::from_millis(span.as_millis() as u64)
}

/// The next whole second.
pub(super) fn ceil_s(span: Duration) -> Duration {
    Duration::from_secs(span.as_secs() + u64::from(span.subsec_nanos() > 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drift_rounds_towards_caution() {
        let d = Drift(500);
        assert_eq!(d.longest(Duration::from_nanos(1)), Duration::from_nanos(2));
        assert_eq!(d.shortest(Duration::from_nanos(1)), Duration::ZERO);
        assert_eq!(d.longest(Duration::from_secs(2)), Duration::from_millis(2001));
        assert_eq!(d.shortest(Duration::from_secs(2)), Duration::from_millis(1999));
    }

    #[test]
    fn whole_units_round_as_named() {
        let span = Duration::from_micros(1_000_001);
        assert_eq!(ceil_ms(span), Duration::from_millis(1001));
        assert_eq!(floor_ms(span), Duration::from_secs(1));
        assert_eq!(ceil_s(span), Duration::from_secs(2));
        assert_eq!(ceil_s(Duration::from_secs(1)), Duration::from_secs(1));
    }
}
