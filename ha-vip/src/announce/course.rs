//! One address on its schedule.

use super::Schedule;
use super::answer::{Answering, Dispute};
use std::sync::Arc;
use std::time::Duration;

/// Why an announcement is due.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Round {
    /// The first of a burst: at once, without asking anybody anything.
    First,
    /// The burst goes on.
    Burst,
    /// The slow repetition.
    Repeat,
    /// Somebody else claimed the address.
    Answer,
}

impl Round {
    /// Whether the neighbours that the node knows are told one by one as well. Not in the first round, which must not
    /// wait for the list of them; not in the slow repetition.
    #[must_use]
    pub const fn is_directed(self) -> bool {
        match self {
            Self::Burst | Self::Answer => true,
            Self::First | Self::Repeat => false,
        }
    }
}

/// One address on its schedule. Instants count from any origin, the same for all calls.
///
/// The caller's contract:
/// 1. Call [`due`](Self::due) whenever [`next`](Self::next) is reached, until it returns `None`; announce for each.
/// 2. Call [`conflict_heard`](Self::conflict_heard) for each foreign claim and [`loser_released`](Self::loser_released)
///    when the other owner has let go; look at [`next`](Self::next) again afterwards.
/// 3. Drop it when the address is given up.
#[derive(Clone, Debug)]
pub struct Course {
    schedule: Arc<Schedule>,
    answering: Answering,
    taken: Duration,
    step: u64,
    dispute: Dispute,
}

impl Course {
    /// An address that was taken `now`.
    #[must_use]
    pub fn new(schedule: Arc<Schedule>, answering: Answering, now: Duration) -> Self {
        Self { schedule, answering, taken: now, step: 0, dispute: Dispute::default() }
    }

    /// When something is due next.
    #[must_use]
    pub fn next(&self) -> Option<Duration> {
        [self.planned(self.step), self.dispute.next(&self.answering)].into_iter().flatten().min()
    }

    /// What is due. Rounds that were missed (the process stood still) are made good by one.
    pub fn due(&mut self, now: Duration) -> Option<Round> {
        if self.dispute.take(&self.answering, now) {
            return Some(Round::Answer);
        }
        self.planned(self.step).filter(|due| *due <= now)?;
        let step = self.step;
        while self.planned(self.step).is_some_and(|due| due <= now) && self.step < u64::MAX {
            self.step = self.jump(now);
        }
        Some(match step {
            0 => Round::First,
            step if self.schedule.is_burst(step) => Round::Burst,
            _ => Round::Repeat,
        })
    }

    /// Somebody else claimed the address.
    pub fn conflict_heard(&mut self, now: Duration) {
        self.dispute.heard(&self.answering, now);
    }

    /// The other owner has let the address go: it is announced as if it had been taken now.
    pub fn loser_released(&mut self, now: Duration) {
        (self.taken, self.step) = (now, 0);
    }

    fn planned(&self, step: u64) -> Option<Duration> {
        self.schedule.at(step).map(|after| self.taken.saturating_add(after))
    }

    /// The step behind the present one; of a repetition, the first one that is not over (after a long standstill there are
    /// many).
    fn jump(&self, now: Duration) -> u64 {
        let following = self.step.saturating_add(1);
        let (Some(this), Some(then)) = (self.planned(self.step), self.planned(following)) else {
            return following;
        };
        let every = then.saturating_sub(this);
        if self.schedule.is_burst(self.step) || every.is_zero() {
            return following;
        }
        let missed = now.saturating_sub(this).as_nanos() / every.as_nanos();
        following.saturating_add(u64::try_from(missed).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MILLIS: fn(u64) -> Duration = Duration::from_millis;

    fn course(now: u64) -> Course {
        Course::new(Arc::default(), Answering::default(), MILLIS(now))
    }

    fn rounds(course: &mut Course, from: u64, until: u64) -> Vec<(u64, Round)> {
        let mut rounds = vec![];
        for now in from..until {
            while let Some(round) = course.due(MILLIS(now)) {
                rounds.push((now, round));
            }
            assert!(course.next().is_none_or(|next| next > MILLIS(now)), "{now}: {:?}", course.next());
        }
        rounds
    }

    #[test]
    fn at_once_then_a_spaced_burst_then_slowly() {
        use Round::{Burst, First, Repeat};
        let expected = [
            (7, First),
            (17, Burst),
            (57, Burst),
            (207, Burst),
            (507, Burst),
            (1007, Burst),
            (31_007, Repeat),
            (61_007, Repeat),
        ];
        assert_eq!(rounds(&mut course(7), 7, 90_000), expected);
    }

    #[test]
    fn what_a_frozen_process_missed_is_one_round() {
        let mut frozen = course(0);
        assert_eq!(frozen.due(MILLIS(0)), Some(Round::First));
        assert_eq!(frozen.due(MILLIS(300)), Some(Round::Burst));
        assert_eq!((frozen.due(MILLIS(300)), frozen.next()), (None, Some(MILLIS(500))));
        let years = Duration::from_secs(10 * 365 * 86_400);
        assert_eq!(frozen.due(years), Some(Round::Burst));
        assert_eq!(frozen.due(years), None);
        assert!(frozen.next().is_some_and(|next| next > years && next <= years + MILLIS(30_000)));
    }

    #[test]
    fn a_claim_is_answered_between_the_rounds_and_the_burst_goes_on() {
        let mut course = course(0);
        assert_eq!(rounds(&mut course, 0, 100).len(), 3);
        course.conflict_heard(MILLIS(100));
        let answered = rounds(&mut course, 100, 5000);
        let kinds = |wanted| {
            answered.iter().filter(|(_, round)| *round == wanted).map(|(at, _)| *at).collect::<Vec<_>>()
        };
        assert_eq!(kinds(Round::Answer), [100, 300, 1100]);
        assert_eq!(kinds(Round::Burst), [200, 500, 1000]);
    }

    #[test]
    fn when_the_loser_has_released_the_burst_starts_again() {
        let mut course = course(0);
        rounds(&mut course, 0, 40_000);
        course.loser_released(MILLIS(40_000));
        assert_eq!(rounds(&mut course, 40_000, 42_000).len(), 6);
    }
}
