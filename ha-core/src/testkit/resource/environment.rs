//! Real time and tasks; undo steps are kept, or refused.

use crate::Instant;
use crate::api::{Environment, Undo, UndoError};
use crate::runtime::Unguarded;
use futures::future::BoxFuture;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

#[derive(Default)]
pub(super) struct Recorder {
    steps: Mutex<Vec<Undo>>,
    refuses: bool,
}

impl Recorder {
    pub(super) fn refusing() -> Arc<Self> {
        Arc::new(Self { refuses: true, ..Self::default() })
    }

    pub(super) fn in_future(&self, span: Duration) -> Instant {
        self.now() + span
    }

    /// The stored steps, the newest first.
    pub(super) fn steps(&self) -> Vec<Undo> {
        let steps = self.steps.lock().unwrap_or_else(PoisonError::into_inner);
        steps.iter().rev().cloned().collect()
    }
}

impl Environment for Recorder {
    fn now(&self) -> Instant {
        Unguarded.now()
    }

    fn sleep(&self, span: Duration) -> BoxFuture<'static, ()> {
        Unguarded.sleep(span)
    }

    fn spawn(&self, task: BoxFuture<'static, ()>) {
        Unguarded.spawn(task);
    }

    fn remember_undo(&self, undo: Undo) -> Result<(), UndoError> {
        self.steps.lock().unwrap_or_else(PoisonError::into_inner).push(undo.clone());
        if self.refuses {
            return Err(UndoError { kind: undo.kind, reason: "the test refuses it".into() });
        }
        Ok(())
    }
}
