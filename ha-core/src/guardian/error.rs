//! Why a guardian does not start, and why its child is not heard.

use std::io;
use std::path::PathBuf;

/// A guardian did not start. Nothing runs, and nothing of an earlier life was forgotten.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GuardianError {
    /// A tokio runtime exists already.
    #[error("guardian::enter was called inside a tokio runtime; call it first in main, before any runtime")]
    InsideRuntime,
    /// The process has more than one thread.
    #[error("guardian::enter found {found} threads, expected 1; call it first in main")]
    Threads {
        /// How many.
        found: usize,
    },
    /// The runtime directory cannot be used.
    #[error("runtime directory {}: {source}; it must exist or be creatable, be writable and survive a restart of the service", path.display())]
    RuntimeDir {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Another guardian lives.
    #[error("another guardian (pid {pid}) holds {}; stop it, or give each node a runtime directory of its own", path.display())]
    Locked {
        /// Its lock.
        path: PathBuf,
        /// Its pid as it wrote it.
        pid: String,
    },
    /// An earlier life left an effect that nothing registered here can take back.
    #[error(
        "an earlier life left an undo step of kind \"{kind}\", but only {registered:?} are registered; register its handler with GuardianConfig::handler before guardian::enter"
    )]
    UnknownUndo {
        /// The kind.
        kind: String,
        /// The kinds that are registered.
        registered: Vec<String>,
    },
    /// A system call failed.
    #[error("guardian: {what}: {source}")]
    System {
        /// What was tried.
        what: &'static str,
        /// Why it failed.
        source: io::Error,
    },
    /// The guardian of this child ended before the child began.
    #[error("the guardian ended before its child began; start again")]
    Orphan,
}

impl GuardianError {
    pub(super) fn system(what: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::System { what, source }
    }
}

/// A child could not reach its guardian.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// The guardian is gone.
    #[error("the guardian is gone")]
    Lost,
    /// The guardian is late; the message was dropped.
    #[error("the guardian does not read; the message was dropped")]
    Busy,
    /// The guardian did not answer in time; whether it stored the step is unknown, so do not begin.
    #[error("the guardian did not answer within {limit_ms} ms")]
    Silent {
        /// The limit.
        limit_ms: u64,
    },
    /// The guardian refused.
    #[error("the guardian refused: {reason}")]
    Refused {
        /// Why.
        reason: String,
    },
    /// A value is longer than a message can carry.
    #[error("{what} has {found} bytes, at most {limit} fit")]
    TooLong {
        /// Which value.
        what: &'static str,
        /// Its length.
        found: usize,
        /// The limit.
        limit: usize,
    },
    /// A system call failed.
    #[error("guardian socket: {0}")]
    System(#[from] io::Error),
}
