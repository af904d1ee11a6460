//! The interval between advertisements, and the waits that follow from it (RFC 9568 section 6.1).

use super::Priority;
use std::fmt;
use std::time::Duration;

const CENTISECOND: Duration = Duration::from_millis(10);
/// What is added to the waits is a share of the interval: `256 - priority` parts of this many.
const SKEW_PARTS: u32 = 256;
/// Advertisements that must be missed in a row.
const MISSED: u32 = 3;

/// The time between two advertisements, 1..=4095 centiseconds (12 bits on the wire).
///
/// ```
/// use ha_vip::vrrp::{AdvertInterval, Priority};
/// use std::time::Duration;
/// let second = AdvertInterval::from_duration(Duration::from_secs(1)).unwrap();
/// assert_eq!(second.centiseconds(), 100);
/// assert_eq!(second.skew(Priority(255)), Duration::from_nanos(3_906_250));
/// assert_eq!(second.down(Priority(156)), Duration::from_nanos(3_390_625_000));
/// assert_eq!(AdvertInterval::from_duration(Duration::from_millis(15)), None);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct AdvertInterval(u16);

impl AdvertInterval {
    /// What routers have unless told otherwise: one second.
    pub const DEFAULT: Self = Self(100);
    /// The longest: 40.95 s.
    pub const LONGEST: Self = Self(0x0FFF);

    /// `count` centiseconds; `None` for 0 and for what does not fit into 12 bits.
    #[must_use]
    pub fn from_centiseconds(count: u16) -> Option<Self> {
        (1..=Self::LONGEST.0).contains(&count).then_some(Self(count))
    }

    /// `span`; `None` unless it is a whole number of centiseconds, 1..=4095.
    #[must_use]
    pub fn from_duration(span: Duration) -> Option<Self> {
        let count = u16::try_from(span.as_millis() / CENTISECOND.as_millis()).ok()?;
        Self::from_centiseconds(count).filter(|interval| interval.duration() == span)
    }

    /// In centiseconds.
    #[must_use]
    pub const fn centiseconds(self) -> u16 {
        self.0
    }

    /// As a span of time.
    #[must_use]
    pub fn duration(self) -> Duration {
        CENTISECOND * u32::from(self.0)
    }

    /// How much longer than the most wanting one a backup of `priority` waits:
    /// `(256 - priority) * interval / 256`, to the nanosecond. Rounding it more coarsely makes backups of different
    /// priority take over at the same instant.
    #[must_use]
    pub fn skew(self, priority: Priority) -> Duration {
        self.duration() * (SKEW_PARTS - u32::from(priority.0)) / SKEW_PARTS
    }

    /// How long a backup of `priority` waits for an active speaker with this interval: `3 * interval + skew`.
    #[must_use]
    pub fn down(self, priority: Priority) -> Duration {
        self.duration() * MISSED + self.skew(priority)
    }
}

impl fmt::Display for AdvertInterval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.duration())
    }
}
