//! What a line can carry. A pty takes everything at once, and a tty's driver queues: both would hide that the
//! line is too slow until beats arrive late, so the output keeps the line's own time.

use std::time::Duration;

/// Bits on the line for one octet at 8N1: start, eight, stop.
const BITS_PER_OCTET: u64 = 10;

/// Keeps output within a bit rate. Pure: instants are durations since any fixed origin.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Pacer {
    bits_per_second: u32,
    patience: Duration,
    free_at: Duration,
}

impl Pacer {
    /// A line of `bits_per_second` (at least 1) on which a frame may wait for `patience` behind others.
    #[must_use]
    pub const fn new(bits_per_second: u32, patience: Duration) -> Self {
        let bits_per_second = if bits_per_second == 0 { 1 } else { bits_per_second };
        Self { bits_per_second, patience, free_at: Duration::ZERO }
    }

    /// Whether `octets` may be handed to the line at `now`; if so they are counted. A frame that would wait
    /// longer than the patience is to be dropped: a newer one says more.
    pub fn admit(&mut self, now: Duration, octets: usize) -> bool {
        if self.wait(now) > self.patience {
            return false;
        }
        self.free_at = self.free_at.max(now) + time_of(octets, self.bits_per_second);
        true
    }

    /// How long the line is still busy at `now`.
    #[must_use]
    pub const fn wait(&self, now: Duration) -> Duration {
        self.free_at.saturating_sub(now)
    }
}

/// How long the line needs for `octets`.
pub(crate) fn time_of(octets: usize, bits_per_second: u32) -> Duration {
    let bits = octets as u64 * BITS_PER_OCTET;
    Duration::from_nanos((bits * 1_000_000_000).div_ceil(u64::from(bits_per_second.max(1))))
}

/// Whether a line carries one frame of `line_bytes` (on the line, delimiters included) each `interval`.
pub(crate) fn check(
    interval: Duration,
    line_bytes: usize,
    bits_per_second: u32,
) -> Result<(), IntervalError> {
    let needed = line_bytes as u64 * BITS_PER_OCTET;
    let available = u128::from(bits_per_second) * interval.as_nanos() / 1_000_000_000;
    if u128::from(needed) <= available {
        return Ok(());
    }
    let smallest = time_of(line_bytes, bits_per_second);
    let smallest_ms = u64::try_from(smallest.as_micros().div_ceil(1000)).unwrap_or(u64::MAX);
    let available = u64::try_from(available).unwrap_or(u64::MAX);
    Err(IntervalError { interval, bits_per_second, line_bytes, needed, available, smallest_ms })
}

/// A line too slow for the beats wanted.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error(
    "a beat of {line_bytes} bytes each {interval:?} needs {needed} bits, a line of {bits_per_second} baud has {available}: \
     the smallest interval is {smallest_ms} ms"
)]
#[non_exhaustive]
pub struct IntervalError {
    /// The interval wanted.
    pub interval: Duration,
    /// The line's speed.
    pub bits_per_second: u32,
    /// A frame on the line, delimiters included.
    pub line_bytes: usize,
    /// Bits that a frame takes.
    pub needed: u64,
    /// Bits that the line has in an interval.
    pub available: u64,
    /// The smallest interval that works, in milliseconds.
    pub smallest_ms: u64,
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MS: fn(u64) -> Duration = Duration::from_millis;

    #[test]
    fn a_frame_waits_within_the_patience_and_no_longer() {
        // 64 octets take 10 ms.
        let mut pacer = Pacer::new(64_000, MS(10));
        assert!(pacer.admit(MS(100), 64));
        assert!(pacer.admit(MS(100), 64), "behind one frame");
        assert!(!pacer.admit(MS(100), 64), "behind two");
        assert!(!pacer.admit(MS(109), 64));
        assert_eq!(pacer.wait(MS(109)), MS(11));
        assert!(pacer.admit(MS(110), 64));
        assert_eq!(pacer.wait(MS(500)), Duration::ZERO);
    }

    proptest! {
        #[test]
        fn output_never_exceeds_the_line_by_more_than_the_patience(
            offers in prop::collection::vec((0u64..20, 1usize..=64), 1..300),
            baud in 300u32..1_000_000,
        ) {
            let patience = time_of(64, baud);
            let mut pacer = Pacer::new(baud, patience);
            let (mut now, mut sent) = (Duration::ZERO, 0u64);
            for (gap, octets) in offers {
                now += MS(gap);
                if pacer.admit(now, octets) {
                    sent += octets as u64 * BITS_PER_OCTET;
                }
                let room = (now + patience + time_of(64, baud)).as_nanos() * u128::from(baud) / 1_000_000_000;
                prop_assert!(u128::from(sent) <= room + 1, "{} bits by {:?}", sent, now);
            }
        }
    }

    #[test]
    fn an_interval_that_the_line_cannot_carry_is_refused_with_its_numbers() {
        assert_eq!(check(MS(20), 64, 115_200), Ok(()));
        let error = check(MS(20), 64, 9600).unwrap_err();
        assert_eq!((error.needed, error.available, error.smallest_ms), (640, 192, 67));
        let said = error.to_string();
        assert!(said.contains("640 bits") && said.contains("has 192") && said.contains("67 ms"), "{said}");
        assert_eq!(check(MS(67), 64, 9600), Ok(()));
        assert!(check(MS(66), 64, 9600).is_err());
    }
}
