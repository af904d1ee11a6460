//! What an operator is asked, as a value: what is missing, and what each answer does and risks.

use super::alternatives::rejected;
use super::decision::Decision;
use crate::engine::{Command, Engine, Question};
use crate::{GroupId, Instant};
use serde::{Deserialize, Serialize};

/// A question that stands.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct OpenQuestion {
    /// About which group.
    pub group: GroupId,
    /// Its kind.
    pub question: Question,
    /// One sentence.
    pub text: String,
    /// Why the node does not decide it by itself: each way, and what is missing for it.
    pub missing: Vec<String>,
    /// What can be answered. A question also ends by itself when what is missing arrives.
    pub answers: Vec<Answer>,
}

/// One answer to an [`OpenQuestion`].
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Answer {
    /// A short name, for example `confirm-peer-off`.
    pub name: String,
    /// What to give to the node; `None`: something to do outside of it, which it notices by itself.
    pub command: Option<Command>,
    /// What to make sure of before, and what happens then.
    pub does: String,
    /// What is lost or harmed if that was wrong.
    pub risks: String,
}

impl Answer {
    fn new(name: &str, command: Option<Command>, does: &str, risks: &str) -> Self {
        Self { name: name.into(), command, does: does.into(), risks: risks.into() }
    }
}

impl Engine {
    /// The question about `group` that stands, with its answers.
    #[must_use]
    pub fn open_question(&self, group: GroupId, now: Instant) -> Option<OpenQuestion> {
        let evidence = self.evidence(Some(group), now);
        let question = evidence.group.as_ref()?.question?;
        let missing = rejected(Decision::Ask { question }, &evidence);
        // Ages grow all the time; what is missing does not change with them.
        let missing = missing.into_iter().filter(|r| !r.alternative.starts_with("ask the peer"));
        Some(OpenQuestion {
            group,
            question,
            text: question.to_string(),
            missing: missing.map(|r| format!("to {}: {}", r.alternative, r.why)).collect(),
            answers: answers(question, group, evidence.peer.incarnation),
        })
    }
}

fn answers(question: Question, group: GroupId, incarnation: Option<crate::Incarnation>) -> Vec<Answer> {
    let confirm = || {
        Answer::new(
            "confirm-peer-off",
            Some(Command::ConfirmPeerOff { group, incarnation }),
            "power the peer off first, and see to it that it stays off; then this node acts without it",
            "if the peer still runs, both serve, and mail that only one of them holds must be sorted out by hand",
        )
    };
    let force = || {
        Answer::new(
            "force-current",
            Some(Command::ForceCurrent { group, incarnation }),
            "make sure that the peer cannot come back meanwhile; then this node serves with its own copy",
            "whatever was acknowledged on the other copy alone is not served; it stays on that copy's disk, and becomes a divergence when it returns",
        )
    };
    let bring_back = |risks: &str| {
        Answer::new(
            "bring-peer-back",
            None,
            "power the peer on, or mend the links; the question ends by itself",
            risks,
        )
    };
    let harmless = "nothing; the group is not served until then";
    match question {
        Question::PeerAbsent => vec![bring_back(harmless), force(), confirm()],
        Question::NoStopProof => vec![confirm(), bring_back(harmless)],
        Question::NotCurrent => vec![bring_back(harmless), force()],
        Question::NoExclusionProof => {
            vec![confirm(), bring_back("nothing; acknowledgements wait until then")]
        }
        Question::Diverged => vec![Answer::new(
            "surrender",
            Some(Command::Surrender { group }),
            "give it to the node whose copy is to follow: its own tail goes to quarantine, nothing is deleted",
            "what only that copy holds is not served until somebody brings it back from quarantine",
        )],
        Question::FailedEverywhere => vec![Answer::new(
            "clear-failures",
            Some(Command::ClearFailures(group)),
            "mend what keeps the service from starting; then it is tried again",
            "nothing; if it is not mended the question comes back",
        )],
        Question::NotInitialised => vec![
            Answer::new(
                "initialise-both",
                None,
                "initialise both stores with one common id, and start both nodes",
                "nothing, if neither store was ever used; what they held is gone",
            ),
            force(),
        ],
        Question::TimingMismatch => vec![
            Answer::new(
                "mend-timing",
                None,
                "give both nodes timings that fit, and restart them one after the other",
                harmless,
            ),
            confirm(),
        ],
        Question::Unconfirmed => vec![bring_back(harmless), confirm()],
        #[allow(unreachable_patterns, reason = "questions may grow")]
        _ => Vec::new(),
    }
}
