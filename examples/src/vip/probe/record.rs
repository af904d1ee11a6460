//! What a probe saw, and what follows from it. Stamps are of the machine's boot clock.

use serde::Serialize;
use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

/// Shorter pauses between two answers are not listed.
const LISTED: Duration = Duration::from_millis(10);
/// Lists in a report are not longer.
const LISTED_MOST: usize = 1000;

/// The boot clock.
pub(super) fn now() -> Duration {
    Duration::from_nanos(crate::start::boot_ns())
}

/// One answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Answer {
    /// Who answered.
    pub node: String,
    /// When the connection was begun.
    pub began: Duration,
    /// When the answer was here.
    pub came: Duration,
}

/// Everything that a probe saw.
#[derive(Clone, Default, Debug)]
pub struct Record {
    /// Connections begun.
    pub attempts: u64,
    /// Connections not begun: too many were under way, or this machine stood still.
    pub skipped: u64,
    /// Connections given up.
    pub unanswered: u64,
    /// Connections that failed, by what the system said.
    pub failures: BTreeMap<String, u64>,
    /// All answers, in the order in which they came.
    pub answers: Vec<Answer>,
}

impl Record {
    pub(super) fn answered(&mut self, node: String, began: Duration) {
        self.answers.push(Answer { node, began, came: now() });
    }

    pub(super) fn failed(&mut self, error: &io::Error) {
        *self.failures.entry(error.kind().to_string()).or_default() += 1;
    }

    /// Who answered last.
    #[must_use]
    pub fn last(&self) -> Option<&Answer> {
        self.answers.last()
    }

    /// The longest time without an answer that overlaps the window. Its ends count as answers where there is none beyond.
    #[must_use]
    pub fn longest_gap(&self, from: Duration, to: Duration) -> Duration {
        let nanos = |at: Duration| u64::try_from(at.as_nanos()).unwrap_or(u64::MAX);
        let times: Vec<u64> = self.answers.iter().map(|answer| nanos(answer.came)).collect();
        Duration::from_nanos(crate::driver::gaps::longest_in(&times, nanos(from), nanos(to)))
    }

    /// Connections in the order in which they were begun, as runs of one node's answers.
    #[must_use]
    pub fn runs(&self) -> Vec<Run> {
        let mut ordered: Vec<&Answer> = self.answers.iter().collect();
        ordered.sort_by_key(|answer| answer.began);
        let mut runs: Vec<Run> = Vec::new();
        for answer in ordered {
            match runs.last_mut() {
                Some(run) if run.node == answer.node => {
                    run.answers += 1;
                    run.last_began = answer.began;
                    run.last_came = run.last_came.max(answer.came);
                }
                Some(_) | None => runs.push(Run {
                    node: answer.node.clone(),
                    first_began: answer.began,
                    last_began: answer.began,
                    last_came: answer.came,
                    answers: 1,
                }),
            }
        }
        runs
    }

    /// How long connections went now to one node, now to another, after `from`: from the first move to the last one. Zero for a
    /// clean move, and for one there and back.
    #[must_use]
    pub fn interleaved(&self, from: Duration) -> Duration {
        let runs: Vec<Run> = self.runs().into_iter().filter(|run| run.last_began >= from).collect();
        match runs.as_slice() {
            [_, second, _, .., last] => last.first_began.saturating_sub(second.first_began),
            _ => Duration::ZERO,
        }
    }

    /// What is to be printed.
    #[must_use]
    pub fn report(&self, from: Duration, to: Duration) -> Report {
        let runs = self.runs();
        let gaps = self.answers.windows(2).filter_map(|pair| match pair {
            [a, b] if b.came.saturating_sub(a.came) >= LISTED => Some(Gap { from: a.came, to: b.came }),
            _ => None,
        });
        let mut nodes: BTreeMap<String, u64> = BTreeMap::new();
        for answer in &self.answers {
            *nodes.entry(answer.node.clone()).or_default() += 1;
        }
        Report {
            attempts: self.attempts,
            skipped: self.skipped,
            unanswered: self.unanswered,
            failures: self.failures.clone(),
            answers: nodes,
            longest_gap_ms: ms(self.longest_gap(from, to)),
            interleaved_ms: ms(self.interleaved(from)),
            moves: runs.len().saturating_sub(1),
            gaps: gaps.take(LISTED_MOST).collect(),
            runs: runs.into_iter().take(LISTED_MOST).collect(),
            stall_ms: 0.0,
        }
    }
}

/// Consecutive connections that one node answered.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Run {
    /// The node.
    pub node: String,
    /// When the first of them was begun.
    #[serde(rename = "first_began_ns", serialize_with = "nanos")]
    pub first_began: Duration,
    /// When the last of them was begun.
    #[serde(rename = "last_began_ns", serialize_with = "nanos")]
    pub last_began: Duration,
    /// When the last answer came.
    #[serde(rename = "last_came_ns", serialize_with = "nanos")]
    pub last_came: Duration,
    /// How many.
    pub answers: u64,
}

/// A time without an answer.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Gap {
    /// The answer before.
    #[serde(rename = "from_ns", serialize_with = "nanos")]
    pub from: Duration,
    /// The answer after.
    #[serde(rename = "to_ns", serialize_with = "nanos")]
    pub to: Duration,
}

/// What `vip-probe` prints.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Connections begun.
    pub attempts: u64,
    /// Connections not begun: too many were under way, or this machine stood still.
    pub skipped: u64,
    /// Connections given up.
    pub unanswered: u64,
    /// Connections that failed, by reason.
    pub failures: BTreeMap<String, u64>,
    /// How many each node answered.
    pub answers: BTreeMap<String, u64>,
    /// The longest time without an answer.
    pub longest_gap_ms: f64,
    /// How long the address was on two nodes at once, as connections show it.
    pub interleaved_ms: f64,
    /// How often another node answered than before.
    pub moves: usize,
    /// Pauses of 10 ms and more; the first 1000.
    pub gaps: Vec<Gap>,
    /// Who answered when; the first 1000.
    pub runs: Vec<Run>,
    /// The longest time by which this machine woke up a 1 ms timer too late.
    pub stall_ms: f64,
}

pub(crate) fn ms(span: Duration) -> f64 {
    (span.as_secs_f64() * 1e6).round() / 1e3
}

fn nanos<S: serde::Serializer>(at: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u64(u64::try_from(at.as_nanos()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn record(answers: &[(&str, u64)]) -> Record {
        let answer = |(node, began): &(&str, u64)| Answer {
            node: (*node).into(),
            began: at(*began),
            came: at(*began + 1),
        };
        Record { answers: answers.iter().map(answer).collect(), ..Record::default() }
    }

    #[test]
    fn a_clean_move_is_one_gap_and_no_interleaving() {
        let record = record(&[("n1", 0), ("n1", 2), ("n2", 150), ("n2", 152)]);
        assert_eq!(record.longest_gap(at(1), at(200)), at(148));
        assert_eq!(record.interleaved(at(1)), Duration::ZERO);
        assert_eq!(record.report(at(0), at(153)).moves, 1);
        assert_eq!(record.report(at(0), at(153)).gaps.len(), 1);
    }

    #[test]
    fn two_nodes_in_turn_are_on_both() {
        let there_and_back = record(&[("n1", 0), ("n2", 10), ("n1", 30), ("n1", 60)]);
        assert_eq!(there_and_back.interleaved(at(0)), Duration::ZERO);
        let record = record(&[("n1", 0), ("n2", 10), ("n1", 30), ("n2", 50), ("n2", 60)]);
        assert_eq!(record.interleaved(at(0)), at(40));
        // What was before the window is another matter.
        assert_eq!(record.interleaved(at(40)), Duration::ZERO);
    }

    #[test]
    fn an_answer_that_came_late_is_no_second_node() {
        // Begun before the move, answered after it: a frozen node that woke up.
        let mut record = record(&[("n1", 0), ("n2", 100), ("n2", 102)]);
        record.answers.push(Answer { node: "n1".into(), began: at(50), came: at(400) });
        assert_eq!(record.interleaved(at(0)), Duration::ZERO);
    }
}
