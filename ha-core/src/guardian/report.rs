//! What a guardian tells about itself.

use crate::Incarnation;
use crate::engine::{Predecessor, ReleasedNotice};
use std::fmt;
use std::time::Duration;

/// One thing that a guardian did or saw.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum GuardianReport {
    /// A child was started.
    Started {
        /// Its pid.
        pid: u32,
        /// Its life.
        incarnation: Incarnation,
        /// Whether anything of an earlier life may be left.
        predecessor: Predecessor,
    },
    /// The child ended.
    Ended {
        /// Its pid.
        pid: u32,
        /// Why, in words.
        cause: String,
    },
    /// Processes outlived the budget: nothing is released.
    Survivors,
    /// The undo list could not be read or written.
    List {
        /// What went wrong.
        error: String,
    },
    /// The effect of an undo step is still there.
    NotUndone {
        /// The step's kind.
        kind: String,
        /// Why.
        reason: String,
    },
    /// An undo handler hangs: the guardian ends itself, its successor tries again.
    UndoHangs,
    /// The last word was spoken.
    Released {
        /// What it says.
        notice: ReleasedNotice,
        /// On how many links.
        links: usize,
    },
    /// There is nothing to say: no group was verified, or the child left no testament.
    NothingToSay,
    /// A link has no sender.
    LinkUnavailable {
        /// Its name.
        link: String,
        /// Why.
        error: String,
    },
    /// A testament cannot be used: on that link nothing will be said.
    TestamentRefused {
        /// The link's name.
        link: String,
        /// Why.
        error: String,
    },
    /// The child will be started again.
    RestartIn(Duration),
    /// The child died too often.
    GaveUp,
}

impl fmt::Display for GuardianReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Started { pid, incarnation, predecessor } => {
                let left = match predecessor {
                    Predecessor::Gone => "nothing of an earlier life is left",
                    Predecessor::Leftovers => "something of an earlier life may be left",
                };
                write!(f, "started child {pid}, incarnation {incarnation}; {left}")
            }
            Self::Ended { pid, cause } => write!(f, "child {pid} {cause}"),
            Self::Survivors => f.write_str("some of its processes survive SIGKILL; nothing is released"),
            Self::List { error } => write!(f, "undo list: {error}"),
            Self::NotUndone { kind, reason } => write!(f, "undo step \"{kind}\" is not verified: {reason}"),
            Self::UndoHangs => {
                f.write_str("an undo handler overran its budget; ending, so that it cannot act late")
            }
            Self::Released { notice, links } => {
                let groups: Vec<String> = notice.groups.iter().map(|(g, e)| format!("{g}@{e}")).collect();
                let complete = if notice.complete { "complete" } else { "incomplete" };
                write!(f, "released [{}] ({complete}) on {links} links", groups.join(" "))
            }
            Self::NothingToSay => f.write_str("no last word: nothing is verified, or no testament was left"),
            Self::LinkUnavailable { link, error } => write!(f, "link {link} has no sender: {error}"),
            Self::TestamentRefused { link, error } => write!(f, "testament for link {link} refused: {error}"),
            Self::RestartIn(wait) => write!(f, "restart in {} ms", wait.as_millis()),
            Self::GaveUp => f.write_str("the child died too often; giving up"),
        }
    }
}
