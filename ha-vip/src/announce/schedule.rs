//! When an address is announced, if nobody disputes it.

use std::time::Duration;

const MILLIS: fn(u64) -> Duration = Duration::from_millis;
/// Steps of a burst at most; more would be a flood of our own.
const MAX_STEPS: usize = 64;
/// The shortest slow repetition.
const MIN_REPEAT: Duration = Duration::from_secs(1);

/// When an address is announced: at once, in a spaced burst, then slowly for as long as it is held.
///
/// The default is 0, 10, 50, 200, 500 and 1000 ms after the take, then every 30 s. The burst is for frames that get
/// lost (a switch port that learns, a full queue); the repetition for neighbours that were away.
///
/// ```
/// use ha_vip::announce::Schedule;
/// use std::time::Duration;
/// let slow = Schedule::default().with_repeat(Some(Duration::from_secs(300)));
/// assert_eq!(slow.at(1), Some(Duration::from_millis(10)));
/// assert_eq!(slow.at(7), Some(Duration::from_secs(601))); // one second, and twice 300
/// assert_eq!(slow.with_repeat(None).at(6), None);
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Schedule {
    burst: Vec<Duration>,
    repeat: Option<Duration>,
}

impl Default for Schedule {
    fn default() -> Self {
        Self { burst: [0, 10, 50, 200, 500, 1000].map(MILLIS).into(), repeat: Some(Duration::from_secs(30)) }
    }
}

impl Schedule {
    /// A burst at these instants after the take. The first is always at once; the others are put in order; at most 64
    /// are kept.
    #[must_use]
    pub fn with_burst(mut self, instants: &[Duration]) -> Self {
        self.burst = instants.to_vec();
        self.burst.push(Duration::ZERO);
        self.burst.sort_unstable();
        self.burst.dedup();
        self.burst.truncate(MAX_STEPS);
        self
    }

    /// A repetition this long after the burst and then always; at least 1 s. `None`: no repetition.
    #[must_use]
    pub fn with_repeat(mut self, every: Option<Duration>) -> Self {
        self.repeat = every.map(|every| every.max(MIN_REPEAT));
        self
    }

    /// The instant of announcement `step`, counted from zero, after the take. `None`: there is none.
    #[must_use]
    pub fn at(&self, step: u64) -> Option<Duration> {
        let index = usize::try_from(step).unwrap_or(usize::MAX);
        if let Some(&instant) = self.burst.get(index) {
            return Some(instant);
        }
        let last = self.burst.last().copied().unwrap_or_default();
        let times = step.saturating_add(1).saturating_sub(self.burst.len() as u64);
        let times = u32::try_from(times).unwrap_or(u32::MAX);
        self.repeat.map(|repeat| last.saturating_add(repeat.saturating_mul(times)))
    }

    /// Whether announcement `step` belongs to the burst.
    #[must_use]
    pub fn is_burst(&self, step: u64) -> bool {
        step < self.burst.len() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_is_at_once_whatever_the_burst() {
        for burst in [vec![], vec![MILLIS(7)], vec![MILLIS(9), MILLIS(3), MILLIS(9)]] {
            assert_eq!(Schedule::default().with_burst(&burst).at(0), Some(Duration::ZERO), "{burst:?}");
        }
        let sorted = Schedule::default().with_burst(&[MILLIS(9), MILLIS(3), MILLIS(9)]);
        assert_eq!((sorted.at(1), sorted.at(2)), (Some(MILLIS(3)), Some(MILLIS(9))));
        assert_eq!(sorted.at(3), Some(MILLIS(30_009)));
    }

    #[test]
    fn nobody_makes_it_a_flood() {
        let many: Vec<_> = (0..100_000).map(MILLIS).collect();
        let schedule = Schedule::default().with_burst(&many).with_repeat(Some(Duration::ZERO));
        assert!(schedule.is_burst(63) && !schedule.is_burst(64));
        assert_eq!(schedule.at(64), Some(MILLIS(63 + 1000)));
        assert!(schedule.at(u64::MAX).is_some());
    }
}
