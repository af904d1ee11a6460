//! What an operation knows and may use: deadline, cancellation, permission, time.

use crate::{Epoch, Instant, StopProof, TokenCell, Undo};
use futures::future::BoxFuture;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// Time and tasks as an operation may use them. The runtime and the simulator each have one, so an agent that
/// takes time only from here runs unchanged in both.
pub trait Environment: Send + Sync {
    /// The boot clock.
    fn now(&self) -> Instant;
    /// Resolves after `span`.
    fn sleep(&self, span: Duration) -> BoxFuture<'static, ()>;
    /// Runs a task beside the operation, on the application's runtime.
    fn spawn(&self, task: BoxFuture<'static, ()>);
    /// Stores an undo step where it survives this process, before the side effect begins.
    fn remember_undo(&self, undo: Undo) -> Result<(), UndoError>;
}

/// An undo step could not be stored: do not begin the side effect.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("undo step \"{kind}\" could not be stored at the guardian: {reason}")]
pub struct UndoError {
    /// The step's kind.
    pub kind: String,
    /// What went wrong.
    pub reason: String,
}

/// The context of one operation.
///
/// The runtime never drops a running operation: it sets [`Ctx::is_cancelled`], tells the engine that the
/// operation timed out, and may call `stop` concurrently. A late completion is undone.
#[derive(Clone)]
pub struct Ctx {
    environment: Arc<dyn Environment>,
    cancelled: Arc<AtomicBool>,
    epoch: Epoch,
    deadline: Instant,
    token: TokenCell,
    proof: Option<StopProof>,
}

impl Ctx {
    /// A context for an operation in `epoch` that is given up at `deadline`.
    #[must_use]
    pub fn new(environment: Arc<dyn Environment>, epoch: Epoch, deadline: Instant, token: TokenCell) -> Self {
        Self { environment, cancelled: Arc::default(), epoch, deadline, token, proof: None }
    }

    /// The same in a grant that rests on `proof`.
    #[must_use]
    pub const fn with_proof(mut self, proof: Option<StopProof>) -> Self {
        self.proof = proof;
        self
    }

    /// Why the previous owner can no longer act: what the grant rests on. `None` if it is not known.
    #[must_use]
    pub const fn proof(&self) -> Option<&StopProof> {
        self.proof.as_ref()
    }

    /// The boot clock.
    #[must_use]
    pub fn now(&self) -> Instant {
        self.environment.now()
    }

    /// The grant in which the operation happens.
    #[must_use]
    pub const fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// When the operation is given up.
    #[must_use]
    pub const fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Time left before the deadline.
    #[must_use]
    pub fn remaining(&self) -> Duration {
        self.deadline.since(self.now())
    }

    /// The group's permission; check it before every act that only the owner may do.
    #[must_use]
    pub const fn token(&self) -> &TokenCell {
        &self.token
    }

    /// Resolves after `span`.
    pub async fn sleep(&self, span: Duration) {
        self.environment.sleep(span).await;
    }

    /// Runs a task beside the operation, on the application's runtime.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.environment.spawn(Box::pin(task));
    }

    /// Stores an undo step at the guardian. Call it **before** the side effect begins.
    ///
    /// # Errors
    /// [`UndoError`] if it could not be stored; the side effect must not begin then.
    pub fn remember_undo(&self, undo: Undo) -> Result<(), UndoError> {
        self.environment.remember_undo(undo)
    }

    /// Whether the engine gave the operation up: end it and clean up.
    #[must_use]
    pub fn is_cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Relaxed)
    }

    /// Gives the operation up.
    pub fn cancel(&self) {
        self.cancelled.store(true, Ordering::Relaxed);
    }
}

impl fmt::Debug for Ctx {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ctx")
            .field("epoch", &self.epoch)
            .field("deadline", &self.deadline)
            .finish_non_exhaustive()
    }
}
