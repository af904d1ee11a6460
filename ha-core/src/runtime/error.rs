//! Why a node did not start, or did not take a command.

use crate::api::StateError;
use crate::timing::Violations;
use std::fmt;
use std::io;

/// One thing that is wrong with what a [`NodeBuilder`](super::NodeBuilder) was given.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Problem {
    /// Which field of the configuration or call of the builder, for example `links[1]`.
    pub field: String,
    /// What was found there.
    pub found: String,
    /// What would be right.
    pub expected: String,
}

impl Problem {
    pub(super) fn new(
        field: impl Into<String>,
        found: impl Into<String>,
        expected: impl Into<String>,
    ) -> Self {
        Self { field: field.into(), found: found.into(), expected: expected.into() }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: found {}, expected {}", self.field, self.found, self.expected)
    }
}

/// Everything that is wrong with what a [`NodeBuilder`](super::NodeBuilder) was given, at once.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Problems(pub Vec<Problem>);

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, problem) in self.0.iter().enumerate() {
            if i > 0 {
                f.write_str("; ")?;
            }
            problem.fmt(f)?;
        }
        Ok(())
    }
}

/// A node could not start or could not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NodeError {
    /// The parts do not fit the configuration. Nothing was started.
    #[error("the node's parts do not fit its configuration: {0}")]
    Parts(Problems),
    /// The configuration is not proven to be safe. Nothing was started.
    #[error(transparent)]
    Unsafe(#[from] Violations),
    /// [`NodeBuilder::spawn`](super::NodeBuilder::spawn) was not called inside a tokio runtime.
    #[error("found no tokio runtime around spawn(), expected one with time enabled: resources run on it")]
    NoRuntime,
    /// The durable record could not be read. Nothing was started.
    #[error(transparent)]
    State(#[from] StateError),
    /// A link could not be opened. Everything that was started has ended again.
    #[error("link \"{link}\" could not be opened: {source}")]
    Link {
        /// Its name in the configuration.
        link: String,
        /// What the operating system said.
        source: io::Error,
    },
    /// The operating system refused something that the node needs to run.
    #[error("could not {what}: {source}")]
    System {
        /// What was tried.
        what: &'static str,
        /// What the operating system said.
        source: io::Error,
    },
    /// No group of that name.
    #[error("found no group \"{found}\", expected one of: {expected}")]
    UnknownGroup {
        /// The name that was given.
        found: String,
        /// The configured names.
        expected: String,
    },
    /// No node of that name.
    #[error("found no node \"{found}\", expected one of: {expected}")]
    UnknownNode {
        /// The name that was given.
        found: String,
        /// The configured names.
        expected: String,
    },
    /// No question about the group has that answer.
    #[error("found no answer \"{found}\" about group \"{group}\", expected one of: {expected}")]
    NoSuchAnswer {
        /// The answer that was given.
        found: String,
        /// About which group.
        group: String,
        /// The answers to the question that stands.
        expected: String,
    },
    /// Too many commands wait already; try again.
    #[error("{limit} commands wait already; try again when the node took some")]
    Busy {
        /// How many may wait.
        limit: usize,
    },
    /// The node ended.
    #[error("the node ended: {0}")]
    Ended(super::Ended),
}
