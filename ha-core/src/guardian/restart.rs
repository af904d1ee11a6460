//! When a dead child is started again.

use crate::Instant;
use std::collections::VecDeque;
use std::time::Duration;

/// How a guardian restarts its child.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RestartPolicy {
    /// The wait before the first restart; doubled at each further one in the window.
    pub first: Duration,
    /// The longest wait.
    pub longest: Duration,
    /// How many restarts are made in a window. After one more death the guardian ends with the child's code.
    pub limit: u32,
    /// How long a restart is held against the child.
    pub window: Duration,
}

impl Default for RestartPolicy {
    /// 200 ms, doubled up to 10 s, at most 10 in 5 minutes.
    fn default() -> Self {
        Self {
            first: Duration::from_millis(200),
            longest: Duration::from_secs(10),
            limit: 10,
            window: Duration::from_secs(300),
        }
    }
}

/// The restarts made so far.
#[derive(Debug)]
pub(super) struct Restarts {
    policy: RestartPolicy,
    made: VecDeque<Instant>,
}

impl Restarts {
    pub(super) const fn new(policy: RestartPolicy) -> Self {
        Self { policy, made: VecDeque::new() }
    }

    /// How long to wait before the restart that a death at `now` asks for; `None` beyond the limit.
    pub(super) fn next(&mut self, now: Instant) -> Option<Duration> {
        while self.made.front().is_some_and(|&at| now.since(at) > self.policy.window) {
            self.made.pop_front();
        }
        let made = u32::try_from(self.made.len()).unwrap_or(u32::MAX);
        if made >= self.policy.limit {
            return None;
        }
        self.made.push_back(now);
        let factor = 1u32.checked_shl(made.min(31)).unwrap_or(u32::MAX);
        Some(self.policy.first.saturating_mul(factor).min(self.policy.longest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_up_to_the_longest_and_end_at_the_limit_until_the_window_passed() {
        let ms = Duration::from_millis;
        let policy = RestartPolicy { first: ms(10), longest: ms(35), limit: 4, window: ms(1000) };
        let mut restarts = Restarts::new(policy);
        let t = Instant::from_nanos(1);
        let waits: Vec<_> = (0..5).map(|_| restarts.next(t)).collect();
        assert_eq!(waits, [Some(ms(10)), Some(ms(20)), Some(ms(35)), Some(ms(35)), None]);
        assert_eq!(restarts.next(t + ms(1001)), Some(ms(10)));
    }
}
