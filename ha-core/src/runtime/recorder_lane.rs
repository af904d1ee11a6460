//! The record lane: one thread that writes the record of the engine, and explains its decisions. It runs behind
//! everything else, and nothing waits for it.

use super::NodeError;
use super::events::EventLog;
use super::explanations::Explanations;
use super::recorder_slot::{Batch, Slot, SlotEnd};
use super::reliving::{Reliving, Stretch};
use super::report::EventReport;
use crate::Instant;
use crate::explain::Explanation;
use crate::replay::{Checkpoint, FileKind, LogLimits, LogWriter, append_frame};
use crate::store::medium::Medium;
use std::io;
use std::sync::Arc;
use std::time::Duration;

/// After a failed write so many batches pass before the next attempt.
const RETRY_AFTER_BATCHES: u32 = 16;

/// What of a node's life is kept on a disk. Losing it harms nothing: it decides nothing.
#[derive(Clone)]
#[non_exhaustive]
pub struct RecordOptions {
    /// Where.
    pub medium: Arc<dyn Medium>,
    /// How much of the engine's inputs (`engine.log`), for [`replay`](crate::replay). None: nothing.
    pub steps: Option<LogLimits>,
    /// How much of the explanations (`explain.log`); they are read back by the next life.
    pub explanations: LogLimits,
}

impl RecordOptions {
    /// Both in `medium`: steps within 64 MiB, explanations within 2 MiB.
    #[must_use]
    pub fn new(medium: Arc<dyn Medium>) -> Self {
        Self { medium, steps: Some(LogLimits::default()), explanations: LogLimits::new(1 << 20, 2) }
    }

    /// The same with other bounds of the steps, or none of them.
    #[must_use]
    pub const fn steps(mut self, limits: Option<LogLimits>) -> Self {
        self.steps = limits;
        self
    }
}

/// The owner's end of the lane.
pub(super) struct RecorderLane {
    slot: Arc<Slot>,
}

impl RecorderLane {
    /// Starts the lane. Its first act is to read back what earlier lives explained.
    pub(super) fn start(
        options: Option<RecordOptions>,
        explanations: Explanations,
        log: EventLog,
    ) -> Result<(Self, SlotEnd), NodeError> {
        let slot = Arc::new(Slot::default());
        let taken = slot.clone();
        let body = move || {
            // The lowest of the ordinary ranks; where even that is refused, it competes like any other thread.
            let _ = rustix::process::setpriority_process(Some(rustix::thread::gettid()), 10);
            let mut lane = Lane::new(options, explanations, log);
            while let Some(batch) = taken.take() {
                lane.take(batch);
            }
            taken.finish();
        };
        std::thread::Builder::new()
            .name("ha-record".into())
            .spawn(body)
            .map_err(|source| NodeError::System { what: "start the record lane's thread", source })?;
        Ok((Self { slot: slot.clone() }, SlotEnd(slot)))
    }

    /// Gives the lane a moment to take care of what was handed over.
    pub(super) fn settle(&self, limit: Duration) {
        self.slot.settle(limit);
    }

    /// Waits for its end, but no longer than `limit`: its disk may hang. The recorder must have been dropped.
    pub(super) fn close(self, limit: Duration) {
        self.slot.wait_for_the_end(limit);
    }
}

struct Lane {
    steps: Option<File>,
    explained: Option<File>,
    explanations: Explanations,
    log: EventLog,
    reliving: Reliving,
    /// The state where the next batch begins.
    here: Option<Checkpoint>,
}

/// One log, and what befell it.
struct File {
    writer: LogWriter,
    name: &'static str,
    /// Batches that are not in it since the last that is.
    missed: u32,
}

impl Lane {
    fn new(options: Option<RecordOptions>, explanations: Explanations, log: EventLog) -> Self {
        let file = |medium: &Arc<dyn Medium>, name, kind, limits| File {
            writer: LogWriter::new(medium.clone(), name, kind, limits),
            name,
            missed: 0,
        };
        let steps = options
            .as_ref()
            .and_then(|o| o.steps.map(|limits| file(&o.medium, "engine.log", FileKind::Steps, limits)));
        let explained =
            options.as_ref().map(|o| file(&o.medium, "explain.log", FileKind::Explanations, o.explanations));
        if let Some(file) = &explained {
            explanations
                .remember(file.writer.read_back().iter().filter_map(|p| postcard::from_bytes(p).ok()));
        }
        Self { steps, explained, explanations, log, reliving: Reliving::default(), here: None }
    }

    fn take(&mut self, batch: Batch) {
        let start = std::mem::replace(&mut self.here, batch.end);
        let at = start.as_ref().map_or(Instant::ZERO, Checkpoint::at);
        if let Some(file) = &mut self.steps {
            let missed = u64::from(file.missed);
            let begin = |out: &mut Vec<u8>| {
                if let Some(start) = &start {
                    start.resumption(missed, out);
                }
            };
            file.append(&batch.frames, &self.log, at, begin);
        }
        let (explained, found) =
            self.reliving.take(Stretch { start, frames: batch.frames }, batch.decided, self.here.as_ref());
        for found in found {
            tracing::error!(target: "ha_core", "{found}");
            self.log.write(EventReport::note(at, "record", None, found));
        }
        for explanation in explained {
            self.keep(explanation);
        }
    }

    fn keep(&mut self, explanation: Explanation) {
        if let Some(file) = &mut self.explained {
            let mut frame = Vec::new();
            append_frame(&mut frame, &explanation);
            file.append(&frame, &self.log, explanation.at, |_| {});
        }
        self.explanations.add(explanation);
    }
}

impl File {
    /// Appends, or counts what could not be appended. A full disk is tried again once in a while.
    fn append(&mut self, frames: &[u8], log: &EventLog, at: Instant, mut begin: impl FnMut(&mut Vec<u8>)) {
        if self.missed > 0 && !self.missed.is_multiple_of(RETRY_AFTER_BATCHES) {
            self.missed = self.missed.saturating_add(1);
            return;
        }
        match self.writer.append(frames, self.missed > 0, &mut begin) {
            Ok(()) => self.missed = 0,
            Err(e) => {
                if self.missed == 0 {
                    self.complain(&e, log, at);
                }
                self.missed = self.missed.saturating_add(1);
            }
        }
    }

    fn complain(&self, e: &io::Error, log: &EventLog, at: Instant) {
        let name = self.name;
        let message = format!("{name} cannot be written: {e}; the node runs on, and {name} has a gap");
        tracing::warn!(target: "ha_core", "{message}");
        log.write(EventReport::note(at, "record", None, message));
    }
}
