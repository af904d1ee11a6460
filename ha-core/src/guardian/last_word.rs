//! What is said after a child's end: which groups are released, on which links, how often.

use super::undo_list::Outstanding;
use super::voices::Voices;
use crate::engine::ReleasedNotice;
use crate::wire::Testament;
use crate::{Epoch, GroupId, Incarnation, Instant};
use std::collections::BTreeMap;
use std::time::Duration;

/// When the last word is repeated after the first time; afterwards every [`LATER`] until the next life.
const REPEATS: [Duration; 3] =
    [Duration::from_millis(5), Duration::from_millis(20), Duration::from_millis(50)];
const LATER: Duration = Duration::from_millis(100);

/// A life that ended and what it left.
pub(super) struct LastWord {
    incarnation: Incarnation,
    groups: Vec<(GroupId, Epoch)>,
    testaments: BTreeMap<String, Testament>,
    /// Something was left running on purpose.
    runs_on: bool,
    /// Absent while nothing is proven.
    notice: Option<ReleasedNotice>,
    first_at: Instant,
    said: usize,
}

impl LastWord {
    pub(super) const fn new(
        incarnation: Incarnation,
        groups: Vec<(GroupId, Epoch)>,
        testaments: BTreeMap<String, Testament>,
    ) -> Self {
        Self {
            incarnation,
            groups,
            testaments,
            runs_on: false,
            notice: None,
            first_at: Instant::FAR,
            said: 0,
        }
    }

    /// These groups run on: nothing of them is released, and the life left something.
    pub(super) fn leave_running(&mut self, detached: &[GroupId]) {
        self.groups.retain(|(group, _)| !detached.contains(group));
        self.runs_on = !detached.is_empty();
    }

    /// Decides what is proven: with every process gone, the groups that no outstanding step speaks of.
    pub(super) fn decide(&mut self, processes_gone: bool, outstanding: &[Outstanding]) {
        let holds = |group: GroupId| outstanding.iter().any(|s| s.group.is_none_or(|g| g == group));
        let groups: Vec<_> = self.groups.iter().filter(|(group, _)| !holds(*group)).copied().collect();
        let complete = outstanding.is_empty() && !self.runs_on;
        self.notice = (processes_gone && (complete || !groups.is_empty())).then_some(ReleasedNotice {
            incarnation: self.incarnation,
            groups,
            complete,
        });
    }

    /// Says it on all links. Returns what was said and on how many.
    pub(super) fn say(&mut self, now: Instant, voices: &mut Voices) -> Option<(&ReleasedNotice, usize)> {
        let notice = self.notice.as_ref()?;
        if self.said == 0 {
            self.first_at = now;
        }
        self.said += 1;
        let mut links = 0;
        for (link, testament) in &mut self.testaments {
            if !voices.has(link) {
                continue;
            }
            // Exhausted after 65,536 frames: the peer has not listened for an hour.
            let Ok(frames) = testament.released(notice) else { continue };
            links += 1;
            frames.into_iter().for_each(|frame| voices.say(link, frame));
        }
        (links > 0).then_some((notice, links))
    }

    /// When to say it again; never if it was not said.
    pub(super) fn again_at(&self) -> Instant {
        match self.said {
            0 => Instant::FAR,
            said => match REPEATS.get(said - 1) {
                Some(after) => self.first_at + *after,
                None => {
                    let later = u32::try_from(said - REPEATS.len()).unwrap_or(u32::MAX);
                    self.first_at + REPEATS[REPEATS.len() - 1] + LATER.saturating_mul(later)
                }
            },
        }
    }

    /// Whether a child that said goodbye has said it all itself: it owned nothing and left nothing.
    pub(super) fn adds_nothing(&self) -> bool {
        self.notice.as_ref().is_some_and(|notice| notice.complete) && self.groups.is_empty()
    }

    /// Whether it was said as often as it must be before the guardian may end.
    pub(super) const fn is_said(&self) -> bool {
        self.said == 0 || self.said > REPEATS.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Undo;

    fn word() -> LastWord {
        let groups = vec![(GroupId(0), Epoch(5)), (GroupId(1), Epoch(9))];
        LastWord::new(Incarnation(1), groups, BTreeMap::new())
    }

    fn step(group: Option<GroupId>) -> Outstanding {
        let undo = Undo { kind: "x".into(), version: 1, bytes: vec![] };
        Outstanding { incarnation: Incarnation(1), id: 1, undo, group }
    }

    fn decided(gone: bool, outstanding: &[Outstanding]) -> Option<(Vec<u16>, bool)> {
        let mut word = word();
        word.decide(gone, outstanding);
        word.notice.map(|n| (n.groups.iter().map(|(g, _)| g.0).collect(), n.complete))
    }

    #[test]
    fn only_groups_whose_every_step_is_verified_are_released() {
        assert_eq!(decided(true, &[]), Some((vec![0, 1], true)));
        assert_eq!(decided(true, &[step(Some(GroupId(1)))]), Some((vec![0], false)));
        assert_eq!(decided(true, &[step(None)]), None);
        assert_eq!(decided(false, &[]), None);
    }

    #[test]
    fn what_runs_on_is_not_released_even_without_any_step() {
        let mut word = word();
        word.leave_running(&[GroupId(0)]);
        word.decide(true, &[]);
        let notice = word.notice.unwrap();
        assert_eq!((notice.groups, notice.complete), (vec![(GroupId(1), Epoch(9))], false));
        let mut word = LastWord::new(Incarnation(1), vec![(GroupId(0), Epoch(5))], BTreeMap::new());
        word.leave_running(&[GroupId(0)]);
        word.decide(true, &[]);
        assert_eq!(word.notice, None);
    }

    #[test]
    fn it_is_repeated_at_the_named_times() {
        let mut word = word();
        word.decide(true, &[]);
        let mut voices = Voices::new(Vec::new());
        let mut times = Vec::new();
        let mut now = Instant::ZERO;
        for _ in 0..6 {
            word.say(now, &mut voices);
            now = word.again_at();
            times.push(now.as_nanos() / 1_000_000);
        }
        assert_eq!(times, [5, 20, 50, 150, 250, 350]);
    }
}
