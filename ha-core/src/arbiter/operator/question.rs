//! What a person is asked, and what an answer must match.

use crate::api::OwnerRecord;
use crate::{Epoch, Incarnation};
use std::fmt;

/// What an answer is bound to. An answer counts once, and only for the very question it names.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub struct QuestionId {
    /// Its number at this desk; never used again.
    pub number: u64,
    /// The group it is about.
    pub group: String,
    /// The revision that stood when it was asked.
    pub revision: u64,
    /// The epoch that would be granted; absent if only told what stands.
    pub epoch: Option<Epoch>,
    /// The life that asks to own the group; absent if only told what stands.
    pub incarnation: Option<Incarnation>,
}

/// What one answer would mean.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Consequence {
    /// The answer.
    pub answer: &'static str,
    /// What follows, and what is lost if the answer is wrong.
    pub then: String,
}

/// A question to a person, with what is known.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct OperatorQuestion {
    /// What the answer must name.
    pub id: QuestionId,
    /// What stands as far as this desk was told.
    pub standing: Option<OwnerRecord>,
    /// What is asked for; nothing if the desk only wants to know what stands.
    pub wanted: Option<OwnerRecord>,
    /// What speaks for and against, one sentence each.
    pub evidence: Vec<String>,
    /// What each answer means.
    pub consequences: Vec<Consequence>,
}

/// A person's answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Verdict {
    /// Let it be as wanted.
    Grant,
    /// Leave it as it is.
    Refuse,
    /// This record stands, or none: the answer to a question that wants nothing else.
    Stands(Option<OwnerRecord>),
}

/// Why an answer was not taken.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AnswerError {
    /// No such question is open.
    #[error(
        "question {number} is not open: it was answered, withdrawn, or never asked; look at the open questions again"
    )]
    NotOpen {
        /// The number given.
        number: u64,
    },
    /// The answer names another group, revision, epoch or life than the question with that number.
    #[error(
        "the answer is for another question than the open one: found {found}, expected {expected}; read it again before answering"
    )]
    OtherQuestion {
        /// What the answer names.
        found: String,
        /// What is asked.
        expected: String,
    },
    /// Nobody has asked it for so long that the circumstances may be others.
    #[error(
        "question {number} is stale: it was last asked {asked_ago:?} ago; it will be asked again if it still matters"
    )]
    Stale {
        /// Its number.
        number: u64,
        /// When it was last asked.
        asked_ago: std::time::Duration,
    },
    /// That kind of answer does not fit that kind of question.
    #[error("question {number} wants {expected}, found another kind of answer")]
    WrongKind {
        /// Its number.
        number: u64,
        /// What it wants.
        expected: &'static str,
    },
}

impl fmt::Display for QuestionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "question {} on group \"{}\" at revision {}", self.number, self.group, self.revision)?;
        match (self.epoch, self.incarnation) {
            (Some(epoch), Some(life)) => write!(f, " for life {life} at epoch {epoch}"),
            _ => Ok(()),
        }
    }
}

impl fmt::Display for OperatorQuestion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.wanted {
            None => write!(f, "{}: what stands?", self.id)?,
            Some(wanted) => write!(f, "{}: shall this stand: {}?", self.id, Sentence(wanted))?,
        }
        for evidence in &self.evidence {
            write!(f, "\n  known: {evidence}")?;
        }
        for consequence in &self.consequences {
            write!(f, "\n  {}: {}", consequence.answer, consequence.then)?;
        }
        Ok(())
    }
}

/// A record in words.
pub(super) struct Sentence<'a>(pub &'a OwnerRecord);

impl fmt::Display for Sentence<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let record = self.0;
        match record.owner {
            Some(node) => {
                write!(f, "node {node} (life {}) owns it at epoch {}", record.incarnation, record.epoch)?
            }
            None => write!(f, "nobody owns it since epoch {}", record.epoch)?,
        }
        write!(f, ", generation {}, in-sync set {:#b}", record.generation, record.in_sync)
    }
}
