//! Time, tasks and undo steps as an operation may use them, on the application's runtime.

use super::seat::Seat;
use crate::Instant;
use crate::api::{Clock, Environment, Undo, UndoError};
use futures::future::BoxFuture;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Handle;

/// The environment of every operation of one node.
pub(super) struct ApplicationEnvironment {
    pub(super) clock: Arc<dyn Clock>,
    pub(super) handle: Handle,
    pub(super) seat: Option<Arc<dyn Seat>>,
}

impl Environment for ApplicationEnvironment {
    fn now(&self) -> Instant {
        self.clock.now()
    }

    fn sleep(&self, span: Duration) -> BoxFuture<'static, ()> {
        // The timer belongs to the application's runtime, wherever the operation is polled.
        let _inside = self.handle.enter();
        Box::pin(tokio::time::sleep(span))
    }

    fn spawn(&self, task: BoxFuture<'static, ()>) {
        self.handle.spawn(task);
    }

    /// Without a guardian nothing survives this process, and its end is not proof of anything: the step is
    /// accepted, and a fence device has to end what is left.
    fn remember_undo(&self, undo: Undo) -> Result<(), UndoError> {
        self.seat.as_ref().map_or(Ok(()), |seat| seat.remember(undo))
    }
}
