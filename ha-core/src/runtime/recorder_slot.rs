//! Where frames wait between the control thread and the record lane.

use crate::replay::Checkpoint;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

/// What is handed over at once.
#[derive(Default)]
pub(super) struct Batch {
    pub(super) frames: Vec<u8>,
    /// Whether somebody may ask why.
    pub(super) decided: bool,
    /// The state after the last of them; none only at the end of a life.
    pub(super) end: Option<Checkpoint>,
}

/// Where one batch lies between the two threads.
#[derive(Default)]
pub(super) struct Slot {
    waiting: Mutex<Waiting>,
    filled: Condvar,
    emptied: Condvar,
}

#[derive(Default)]
struct Waiting {
    batch: Batch,
    closed: bool,
    busy: bool,
    done: bool,
}

impl Slot {
    /// Hands `frames` over and leaves an empty buffer. False, without waiting, if the lane has not taken the last.
    pub(super) fn offer(
        &self,
        frames: &mut Vec<u8>,
        decided: bool,
        end: impl FnOnce() -> Checkpoint,
    ) -> bool {
        let Ok(mut waiting) = self.waiting.try_lock() else { return false };
        if !waiting.batch.frames.is_empty() || waiting.closed {
            return false;
        }
        let frames = std::mem::replace(frames, Vec::with_capacity(frames.len()));
        waiting.batch = Batch { frames, decided, end: Some(end()) };
        drop(waiting);
        self.filled.notify_one();
        true
    }

    /// The last frames, and no more.
    pub(super) fn close(&self, rest: Vec<u8>) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.batch.decided |= !rest.is_empty();
        waiting.batch.frames.extend(rest);
        waiting.closed = true;
        drop(waiting);
        self.filled.notify_one();
    }

    /// Waits for frames. None when there will be no more.
    pub(super) fn take(&self) -> Option<Batch> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.busy = false;
        self.emptied.notify_all();
        while waiting.batch.frames.is_empty() && !waiting.closed {
            waiting = self.filled.wait(waiting).unwrap_or_else(PoisonError::into_inner);
        }
        let batch = std::mem::take(&mut waiting.batch);
        waiting.busy = !batch.frames.is_empty();
        waiting.busy.then_some(batch)
    }

    /// The lane ended.
    pub(super) fn finish(&self) {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).done = true;
        self.emptied.notify_all();
    }

    /// Waits until everything handed over is taken care of, but no longer than `limit`.
    pub(super) fn settle(&self, limit: Duration) {
        self.wait_while(limit, |w| w.busy || !w.batch.frames.is_empty());
    }

    /// Waits until the lane ended, but no longer than `limit`.
    pub(super) fn wait_for_the_end(&self, limit: Duration) {
        self.wait_while(limit, |_| true);
    }

    fn wait_while(&self, limit: Duration, holds: impl Fn(&Waiting) -> bool) {
        let waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = self.emptied.wait_timeout_while(waiting, limit, |w| !w.done && holds(w));
    }
}

/// The recorder's end of the lane: dropping it ends the lane.
pub(super) struct SlotEnd(pub(super) Arc<Slot>);

impl Drop for SlotEnd {
    fn drop(&mut self) {
        self.0.close(Vec::new());
    }
}
