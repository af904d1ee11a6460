//! What a desk knows and asks. Pure: time is an argument.

use super::NAME;
use super::group::{Group, Told};
use super::question::{AnswerError, Consequence, OperatorQuestion, QuestionId, Sentence, Verdict};
use crate::api::{ArbiterError, ArbiterView, OwnerRecord, Swap};
use crate::arbiter::succession::check_succession;
use crate::{Epoch, Incarnation, Instant};
use std::collections::BTreeMap;
use std::time::Duration;

/// Questions that are remembered at the same time; more are not asked.
const MOST_QUESTIONS: usize = 1024;
/// An answer to a question that nobody asked again for so long is refused; a refusal holds for so long.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);

pub(super) struct State {
    lease: Duration,
    groups: BTreeMap<String, Group>,
    asked: BTreeMap<u64, Asked>,
    last_number: u64,
}

struct Asked {
    question: OperatorQuestion,
    last_asked: Instant,
    outcome: Option<Outcome>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Granted { revision: u64 },
    Refused,
    Withdrawn,
}

/// Whether a call has its answer.
pub(super) enum Wait<T> {
    Ready(Result<T, ArbiterError>),
    /// It waits for a question that was asked before.
    Open,
    /// It waits for this new question.
    Asked(Box<OperatorQuestion>),
}

pub(super) fn unavailable(reason: impl Into<String>) -> ArbiterError {
    ArbiterError::Unavailable { arbiter: NAME.to_owned(), reason: reason.into() }
}

impl State {
    pub(super) const fn new(lease: Duration) -> Self {
        Self { lease, groups: BTreeMap::new(), asked: BTreeMap::new(), last_number: 0 }
    }

    fn told(&mut self, group: &str) -> Option<&mut Told> {
        self.groups.get_mut(group)?.told.as_mut()
    }

    pub(super) fn note(&mut self, group: &str, fact: String) {
        self.groups.entry(group.to_owned()).or_default().note(fact);
    }

    pub(super) fn open(&self, now: Instant) -> Vec<OperatorQuestion> {
        let is_open = |a: &&Asked| a.outcome.is_none() && now.since(a.last_asked) <= PATIENCE;
        self.asked.values().filter(is_open).map(|a| a.question.clone()).collect()
    }

    pub(super) fn renew(&mut self, group: &str, life: Incarnation, epoch: Epoch, now: Instant) -> bool {
        let lease = self.lease;
        self.told(group).is_some_and(|told| told.renew(life, epoch, now, lease))
    }

    pub(super) fn release(&mut self, group: &str, life: Incarnation) {
        if let Some(told) = self.told(group) {
            told.release(life);
        }
    }

    /// One look at what stands; asks if nobody has said so yet.
    pub(super) fn view(&mut self, group: &str, now: Instant) -> Wait<ArbiterView> {
        let lease = self.lease;
        match self.told(group) {
            Some(told) => Wait::Ready(Ok(told.view(now, lease))),
            None => self.ask(group, 0, None, now).1,
        }
    }

    /// One look at a swap. `number` is its question, once it is asked.
    pub(super) fn swap(
        &mut self,
        group: &str,
        at: u64,
        next: OwnerRecord,
        number: &mut Option<u64>,
        now: Instant,
    ) -> Wait<Swap> {
        if let Some(number) = *number
            && let Some(wait) = self.outcome(number)
        {
            return wait;
        }
        let lease = self.lease;
        let Some(told) = self.told(group) else { return self.ask(group, 0, None, now).1 };
        if told.revision != at {
            return Wait::Ready(Ok(Swap::Lost(told.view(now, lease))));
        }
        if number.is_some() {
            let reason = "the question was withdrawn: its owner was heard of, or the same life asked for something else";
            return Wait::Ready(Err(unavailable(reason)));
        }
        if let Some(standing) = &told.record
            && let Err(refused) = check_succession(NAME, group, standing, &next)
        {
            return Wait::Ready(Err(refused));
        }
        if !told.takes(&next) {
            let revision = self.apply(group, next, now);
            return Wait::Ready(Ok(Swap::Done { revision }));
        }
        let (asked, wait) = self.ask(group, at, Some(next), now);
        *number = asked;
        wait
    }

    /// How a question ended: an answer is used up by this.
    fn outcome(&mut self, number: u64) -> Option<Wait<Swap>> {
        match self.asked.get(&number)?.outcome {
            None => Some(Wait::Open),
            Some(Outcome::Granted { revision }) => {
                self.asked.remove(&number);
                Some(Wait::Ready(Ok(Swap::Done { revision })))
            }
            Some(Outcome::Refused) => Some(Wait::Ready(Err(refused()))),
            Some(Outcome::Withdrawn) => None,
        }
    }

    /// Makes `next` stand. Whoever asked on the ground of what stood before asks in vain.
    fn apply(&mut self, group: &str, next: OwnerRecord, now: Instant) -> u64 {
        let Some(told) = self.told(group) else { return 0 };
        told.swap(next, now);
        let revision = told.revision;
        for asked in self.asked.values_mut() {
            if asked.question.id.group == group && asked.outcome.is_none() {
                asked.outcome = Some(Outcome::Withdrawn);
            }
        }
        revision
    }

    pub(super) fn heard_of(&mut self, life: Incarnation) {
        for asked in self.asked.values_mut() {
            let question = &asked.question;
            let from_it = question.standing.is_some_and(|r| r.owner.is_some() && r.incarnation == life);
            let by_other = question.id.incarnation.is_some_and(|by| by != life);
            if asked.outcome.is_none() && from_it && by_other {
                asked.outcome = Some(Outcome::Withdrawn);
            }
        }
    }

    pub(super) fn answer(
        &mut self,
        id: &QuestionId,
        verdict: Verdict,
        now: Instant,
    ) -> Result<(), AnswerError> {
        let number = id.number;
        let not_open = AnswerError::NotOpen { number };
        let Some(asked) = self.asked.get_mut(&number).filter(|a| a.outcome.is_none()) else {
            return Err(not_open);
        };
        if asked.question.id != *id {
            let (found, expected) = (id.to_string(), asked.question.id.to_string());
            return Err(AnswerError::OtherQuestion { found, expected });
        }
        let asked_ago = now.since(asked.last_asked);
        if asked_ago > PATIENCE {
            return Err(AnswerError::Stale { number, asked_ago });
        }
        match (asked.question.wanted, verdict) {
            (None, Verdict::Stands(record)) => {
                self.asked.remove(&number);
                self.groups.entry(id.group.clone()).or_default().tell(record);
            }
            (Some(next), Verdict::Grant) => {
                let revision = self.apply(&id.group, next, now);
                if let Some(asked) = self.asked.get_mut(&number) {
                    asked.outcome = Some(Outcome::Granted { revision });
                }
            }
            (Some(_), Verdict::Refuse) => asked.outcome = Some(Outcome::Refused),
            (None, _) => return Err(AnswerError::WrongKind { number, expected: "what stands" }),
            (Some(_), _) => return Err(AnswerError::WrongKind { number, expected: "a grant or a refusal" }),
        }
        Ok(())
    }

    /// Asks, or finds the same question asked before. Its number, if there is one.
    fn ask<T>(
        &mut self,
        group: &str,
        revision: u64,
        wanted: Option<OwnerRecord>,
        now: Instant,
    ) -> (Option<u64>, Wait<T>) {
        self.asked.retain(|_, a| now.since(a.last_asked) <= PATIENCE);
        let same = |a: &&mut Asked| {
            let id = &a.question.id;
            let lasting = matches!(a.outcome, None | Some(Outcome::Refused));
            lasting && id.group == group && id.revision == revision && a.question.wanted == wanted
        };
        if let Some(asked) = self.asked.values_mut().find(same) {
            if asked.outcome == Some(Outcome::Refused) {
                return (None, Wait::Ready(Err(refused())));
            }
            asked.last_asked = now;
            return (Some(asked.question.id.number), Wait::Open);
        }
        if self.asked.len() == MOST_QUESTIONS {
            let reason = format!("{MOST_QUESTIONS} questions are open already; answer them first");
            return (None, Wait::Ready(Err(unavailable(reason))));
        }
        self.withdraw_former(group, wanted.as_ref());
        self.last_number += 1;
        let number = self.last_number;
        let question = self.question(number, group, revision, wanted, now);
        let asked = Asked { question: question.clone(), last_asked: now, outcome: None };
        self.asked.insert(number, asked);
        (Some(number), Wait::Asked(Box::new(question)))
    }

    /// One life asks one thing at a time.
    fn withdraw_former(&mut self, group: &str, wanted: Option<&OwnerRecord>) {
        let Some(life) = wanted.map(|w| w.incarnation) else { return };
        for asked in self.asked.values_mut() {
            let id = &asked.question.id;
            if asked.outcome.is_none() && id.group == group && id.incarnation == Some(life) {
                asked.outcome = Some(Outcome::Withdrawn);
            }
        }
    }

    fn question(
        &self,
        number: u64,
        group: &str,
        revision: u64,
        wanted: Option<OwnerRecord>,
        now: Instant,
    ) -> OperatorQuestion {
        let known = self.groups.get(group);
        let told = known.and_then(|g| g.told.as_ref());
        let standing = told.and_then(|t| t.record);
        let mut evidence = vec![match &standing {
            Some(record) => format!("what stands: {}", Sentence(record)),
            None if told.is_some() => "nobody ever owned it".to_owned(),
            None => "this desk was not told yet what stands".to_owned(),
        }];
        evidence.extend(told.and_then(|t| t.tenure_in_words(now, self.lease)));
        evidence.extend(known.map_or(&[][..], Group::notes).iter().cloned());
        OperatorQuestion {
            id: QuestionId {
                number,
                group: group.to_owned(),
                revision,
                epoch: wanted.map(|w| w.epoch),
                incarnation: wanted.map(|w| w.incarnation),
            },
            standing,
            consequences: consequences(standing.as_ref(), wanted.as_ref()),
            wanted,
            evidence,
        }
    }
}

fn refused() -> ArbiterError {
    unavailable("the operator refused; the same is asked again after a minute at the earliest")
}

fn consequences(standing: Option<&OwnerRecord>, wanted: Option<&OwnerRecord>) -> Vec<Consequence> {
    let Some(wanted) = wanted else {
        return vec![
            Consequence {
                answer: "stands <record>",
                then: "this node builds on it; an older one than the other node's lets both own the group"
                    .to_owned(),
            },
            Consequence {
                answer: "stands nothing",
                then: "right only for a group that no node ever owned; otherwise an old copy may be promoted"
                    .to_owned(),
            },
        ];
    };
    let mut grant = format!("from now on {}", Sentence(wanted));
    if let Some(standing) = standing
        && let Some(node) = standing.owner.filter(|_| standing.incarnation != wanted.incarnation)
    {
        grant += &format!(
            "; if node {node} (life {}) still runs, both serve and their data part: power it off first",
            standing.incarnation
        );
    }
    let lost = standing.map_or(0, |s| s.in_sync & !wanted.in_sync);
    if lost != 0 {
        grant += &format!(
            "; the copies {lost:#b} fall out of the in-sync set: what they alone hold is lost, and if one of them is \
             promoted elsewhere, mail acknowledged from now on is lost"
        );
    }
    let refuse = "everything stays as it is; whoever asks does not serve".to_owned();
    vec![Consequence { answer: "grant", then: grant }, Consequence { answer: "refuse", then: refuse }]
}
