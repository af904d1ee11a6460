//! Time, tasks and undo steps as an operation may use them, on the application's runtime.

use crate::api::{Clock, Environment, Undo, UndoError};
use crate::guardian::{GuardianClient, UndoId};
use crate::{GroupId, Instant};
use futures::future::BoxFuture;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::runtime::Handle;

/// What every agent of a node works in.
#[derive(Clone)]
pub(super) struct Surroundings {
    pub(super) clock: Arc<dyn Clock>,
    pub(super) handle: Handle,
    pub(super) guardian: Option<GuardianClient>,
}

/// The environment of one agent's operations.
pub(super) struct AgentEnvironment {
    around: Surroundings,
    group: GroupId,
    /// The steps that the guardian holds for this agent.
    steps: Mutex<Vec<UndoId>>,
}

impl AgentEnvironment {
    pub(super) fn new(around: Surroundings, group: GroupId) -> Self {
        Self { around, group, steps: Mutex::default() }
    }

    /// The agent stopped, and nothing of it is left: the guardian may forget its steps.
    pub(super) fn forget_undos(&self) {
        let steps = std::mem::take(&mut *self.steps.lock().unwrap_or_else(PoisonError::into_inner));
        for (guardian, step) in self.around.guardian.iter().flat_map(|g| steps.iter().map(move |s| (g, *s))) {
            if let Err(e) = guardian.undone(step) {
                tracing::warn!(target: "ha_core", error = %e, "the guardian keeps a step that is undone already");
            }
        }
    }
}

impl Environment for AgentEnvironment {
    fn now(&self) -> Instant {
        self.around.clock.now()
    }

    fn sleep(&self, span: Duration) -> BoxFuture<'static, ()> {
        // The timer belongs to the application's runtime, wherever the operation is polled.
        let _inside = self.around.handle.enter();
        Box::pin(tokio::time::sleep(span))
    }

    fn spawn(&self, task: BoxFuture<'static, ()>) {
        self.around.handle.spawn(task);
    }

    /// Without a guardian nothing survives this process, and its end proves nothing: the step is accepted, and
    /// a fence device has to end what is left.
    fn remember_undo(&self, undo: Undo) -> Result<(), UndoError> {
        let Some(guardian) = &self.around.guardian else { return Ok(()) };
        let kind = undo.kind.clone();
        let step = guardian
            .remember(undo, Some(self.group))
            .map_err(|e| UndoError { kind, reason: e.to_string() })?;
        self.steps.lock().unwrap_or_else(PoisonError::into_inner).push(step);
        Ok(())
    }
}

/// Time and tasks of the tokio runtime it is used in, and no guardian: for driving an agent or a mirror by hand, in a tool,
/// a benchmark or a test. Undo steps are accepted and kept nowhere.
///
/// ```
/// use ha_core::api::{Clock, Ctx};
/// use ha_core::runtime::{BootClock, Unguarded};
/// use ha_core::{Epoch, GroupId, TokenCell};
/// use std::{sync::Arc, time::Duration};
/// let deadline = BootClock.now() + Duration::from_secs(10);
/// let ctx = Ctx::new(Arc::new(Unguarded), Epoch(1), deadline, TokenCell::new(GroupId(0)));
/// assert!(ctx.remaining() > Duration::ZERO);
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Unguarded;

impl Environment for Unguarded {
    fn now(&self) -> Instant {
        super::BootClock.now()
    }

    fn sleep(&self, span: Duration) -> BoxFuture<'static, ()> {
        Box::pin(tokio::time::sleep(span))
    }

    fn spawn(&self, task: BoxFuture<'static, ()>) {
        tokio::spawn(task);
    }

    fn remember_undo(&self, _: Undo) -> Result<(), UndoError> {
        Ok(())
    }
}
