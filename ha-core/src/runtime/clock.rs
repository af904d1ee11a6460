//! The machine's own boot clock.

use crate::Instant;
use crate::api::Clock;
use rustix::time::{ClockId, clock_gettime};

/// `CLOCK_BOOTTIME`: never goes backwards and counts the time in which the machine was suspended.
///
/// ```
/// use ha_core::api::Clock;
/// use ha_core::runtime::BootClock;
/// let first = BootClock.now();
/// assert!(BootClock.now() >= first);
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct BootClock;

impl Clock for BootClock {
    fn now(&self) -> Instant {
        let t = clock_gettime(ClockId::Boottime);
        let seconds = u64::try_from(t.tv_sec).unwrap_or(0);
        let nanos = u64::try_from(t.tv_nsec).unwrap_or(0);
        Instant::from_nanos(seconds.saturating_mul(1_000_000_000).saturating_add(nanos))
    }
}
