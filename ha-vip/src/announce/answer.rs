//! When somebody else claims an address that we hold: how often we say that it is ours.

use std::time::Duration;

/// How a claim of somebody else is answered (RFC 5227 section 2.4, case c, for a host that must not give its address up).
///
/// The first claim is answered at once, further ones not more often than every `gap`. When the other one has been silent for
/// a while ([`after_last`](Self::after_last)), the address is announced twice more: whoever spoke last is
/// believed, and that must not be him. A dispute that lasts longer than [`brisk_for`](Self::brisk_for) is answered only
/// every [`slow_gap`](Self::slow_gap), the 10 s of DEFEND_INTERVAL, so that two that defend the same address do not fill
/// the network. After [`calm`](Self::calm) without a claim the next one is a new dispute.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Answering {
    gap: Duration,
    after_last: [Duration; 2],
    brisk_for: Duration,
    slow_gap: Duration,
    calm: Duration,
}

impl Default for Answering {
    fn default() -> Self {
        Self {
            gap: Duration::from_millis(100),
            after_last: [Duration::from_millis(200), Duration::from_secs(1)],
            brisk_for: Duration::from_secs(10),
            slow_gap: Duration::from_secs(10),
            calm: Duration::from_secs(30),
        }
    }
}

impl Answering {
    /// The shortest time between two answers. Default 100 ms; at least 1 ms.
    #[must_use]
    pub fn gap(mut self, gap: Duration) -> Self {
        self.gap = gap.max(Duration::from_millis(1));
        self
    }

    /// When the address is announced after the last claim heard. Default 200 ms and 1 s.
    #[must_use]
    pub fn after_last(mut self, first: Duration, second: Duration) -> Self {
        self.after_last = [first.min(second), first.max(second)];
        self
    }

    /// How long a dispute is answered briskly. Default 10 s.
    #[must_use]
    pub const fn brisk_for(mut self, brisk_for: Duration) -> Self {
        self.brisk_for = brisk_for;
        self
    }

    /// The time between two answers in a long dispute. Default 10 s.
    #[must_use]
    pub fn slow_gap(mut self, slow_gap: Duration) -> Self {
        self.slow_gap = slow_gap.max(self.gap);
        self
    }

    /// After how much silence a dispute is over. Default 30 s.
    #[must_use]
    pub const fn calm(mut self, calm: Duration) -> Self {
        self.calm = calm;
        self
    }
}

/// One dispute about one address. Instants count from any origin, the same for all calls.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(super) struct Dispute {
    began: Duration,
    last_claim: Option<Duration>,
    last_answer: Option<Duration>,
    /// A claim that is not answered yet.
    owed: bool,
    /// Announcements that follow the last claim: how many were made.
    closing: usize,
}

impl Dispute {
    pub(super) fn heard(&mut self, rule: &Answering, now: Duration) {
        if self.last_claim.is_none_or(|last| now.saturating_sub(last) >= rule.calm) {
            self.began = now;
        }
        self.last_claim = Some(now);
        self.owed = true;
        self.closing = 0;
    }

    /// When the next answer is due.
    pub(super) fn next(&self, rule: &Answering) -> Option<Duration> {
        let last_claim = self.last_claim?;
        let wanted = match (self.owed, rule.after_last.get(self.closing)) {
            (true, _) => last_claim.min(self.last_answer.unwrap_or(last_claim)),
            (false, Some(after)) => last_claim.saturating_add(*after),
            (false, None) => return None,
        };
        let brisk = last_claim.saturating_sub(self.began) < rule.brisk_for;
        let gap = if brisk { rule.gap } else { rule.slow_gap };
        let earliest = self.last_answer.map_or(Duration::ZERO, |answered| answered.saturating_add(gap));
        Some(wanted.max(earliest))
    }

    /// Whether an answer is due; it counts as given.
    pub(super) fn take(&mut self, rule: &Answering, now: Duration) -> bool {
        if self.next(rule).is_none_or(|due| due > now) {
            return false;
        }
        if !self.owed {
            self.closing += 1;
        }
        self.owed = false;
        self.last_answer = Some(now);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MILLIS: fn(u64) -> Duration = Duration::from_millis;

    /// The instants, in ms, of the answers to claims at these instants.
    fn answers(claims: &[u64], until: u64) -> Vec<u64> {
        let (rule, mut dispute) = (Answering::default(), Dispute::default());
        let mut claims = claims.iter().peekable();
        let mut given = vec![];
        for now in 0..until {
            while claims.next_if(|claim| **claim == now).is_some() {
                dispute.heard(&rule, MILLIS(now));
            }
            while dispute.take(&rule, MILLIS(now)) {
                given.push(now);
            }
        }
        given
    }

    #[test]
    fn one_claim_is_answered_at_once_and_twice_more() {
        assert_eq!(answers(&[5], 60_000), [5, 205, 1005]);
    }

    #[test]
    fn the_last_word_is_ours_whatever_burst_the_other_one_sends() {
        let burst = [0, 10, 50, 200, 500, 1000];
        let given = answers(&burst, 60_000);
        assert_eq!(given.last(), Some(&2000));
        assert!(given.contains(&1200), "{given:?}");
        for claim in burst {
            assert!(given.iter().any(|answer| (claim..=claim + 110).contains(answer)), "{claim}: {given:?}");
        }
    }

    #[test]
    fn a_flood_is_answered_at_the_pace_of_the_gap_then_of_the_long_one() {
        let flood: Vec<_> = (0..60_000).collect();
        let given = answers(&flood, 60_000);
        assert!(given.windows(2).all(|pair| pair[1] - pair[0] >= 100));
        assert!(given.len() <= 100 + 6, "{}", given.len());
        assert!(given.windows(2).skip(101).all(|pair| pair[1] - pair[0] >= 10_000), "{given:?}");
    }

    #[test]
    fn a_flood_that_ends_gets_our_last_word() {
        let flood: Vec<_> = (0..20_000).collect();
        assert!(answers(&flood, 60_000).last() > Some(&20_000));
    }

    #[test]
    fn after_a_calm_the_next_dispute_is_brisk_again() {
        let mut claims: Vec<_> = (0..20_000).collect();
        claims.push(60_000);
        let given = answers(&claims, 70_000);
        assert!(given.ends_with(&[60_000, 60_200, 61_000]), "{given:?}");
    }
}
