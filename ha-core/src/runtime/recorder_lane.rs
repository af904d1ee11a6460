//! The record lane: one thread that writes the record of the engine, relives it, and explains its decisions. It
//! runs behind everything else, and nothing waits for it.

use super::NodeError;
use super::events::EventLog;
use super::explanations::Explanations;
use super::report::EventReport;
use crate::Instant;
use crate::explain::Explainer;
use crate::replay::{Entry, FileKind, LogLimits, LogWriter, Player, Step, append_frame, entries};
use crate::store::medium::Medium;
use std::io;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
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

/// Where one full buffer lies between the two threads.
#[derive(Default)]
pub(super) struct Slot {
    waiting: Mutex<Waiting>,
    filled: Condvar,
    emptied: Condvar,
}

#[derive(Default)]
struct Waiting {
    bytes: Vec<u8>,
    closed: bool,
    busy: bool,
    done: bool,
}

impl Slot {
    /// Exchanges a full buffer for an empty one. False, without waiting, if the lane has not taken the last.
    pub(super) fn offer(&self, full: &mut Vec<u8>) -> bool {
        let Ok(mut waiting) = self.waiting.try_lock() else { return false };
        if !waiting.bytes.is_empty() || waiting.closed {
            return false;
        }
        std::mem::swap(&mut waiting.bytes, full);
        drop(waiting);
        self.filled.notify_one();
        true
    }

    /// The last bytes, and no more.
    pub(super) fn close(&self, rest: Vec<u8>) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.bytes.extend(rest);
        waiting.closed = true;
        drop(waiting);
        self.filled.notify_one();
    }

    /// Takes a full buffer for an empty one. False when there will be no more.
    fn take(&self, empty: &mut Vec<u8>) -> bool {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.busy = false;
        self.emptied.notify_all();
        while waiting.bytes.is_empty() && !waiting.closed {
            waiting = self.filled.wait(waiting).unwrap_or_else(PoisonError::into_inner);
        }
        empty.clear();
        std::mem::swap(&mut waiting.bytes, empty);
        waiting.busy = !empty.is_empty();
        waiting.busy
    }

    /// The lane ended.
    fn finish(&self) {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).done = true;
        self.emptied.notify_all();
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
            let mut bytes = Vec::new();
            while taken.take(&mut bytes) {
                lane.take(&bytes);
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
        self.slot.wait_while(limit, |w| w.busy || !w.bytes.is_empty());
    }

    /// Waits for its end, but no longer than `limit`: its disk may hang. The recorder must have been dropped.
    pub(super) fn close(self, limit: Duration) {
        self.slot.wait_while(limit, |_| true);
    }
}

struct Lane {
    steps: Option<File>,
    explained: Option<File>,
    explanations: Explanations,
    log: EventLog,
    player: Option<Player>,
    explainer: Option<Explainer>,
    diverged: bool,
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
        Self { steps, explained, explanations, log, player: None, explainer: None, diverged: false }
    }

    fn take(&mut self, frames: &[u8]) {
        if let Some(file) = &mut self.steps {
            let (player, missed) = (&self.player, u64::from(file.missed));
            let begin = |out: &mut Vec<u8>| {
                if let Some(player) = player {
                    player.resumption(missed, out);
                }
            };
            file.append(frames, &self.log, at(player.as_ref()), begin);
        }
        for entry in entries(frames) {
            match entry {
                Ok(entry) => self.relive(&entry),
                Err(e) => self.note(format!("the record cannot be read back: {e}")),
            }
        }
    }

    fn relive(&mut self, entry: &Entry) {
        if matches!(entry, Entry::Life(_) | Entry::Resume(_)) {
            match Player::begin(entry) {
                Ok(player) => {
                    self.explainer = Some(Explainer::new(player.engine()));
                    self.player = Some(player);
                }
                Err(e) => self.note(format!("the record cannot be relived: {e}")),
            }
            return;
        }
        let Some(player) = &mut self.player else { return };
        let step = match player.step(entry) {
            Ok(step) => step,
            Err(e) => {
                self.player = None;
                return self.note(format!("the record cannot be relived: {e}"));
            }
        };
        if !step.same && !std::mem::replace(&mut self.diverged, true) {
            self.note("the engine, fed its own record, decided otherwise: please report this".into());
        }
        self.explain(&step);
    }

    fn explain(&mut self, step: &Step) {
        let (Some(player), Some(explainer)) = (&self.player, &mut self.explainer) else { return };
        for explanation in explainer.observe(player.engine(), step) {
            if let Some(file) = &mut self.explained {
                let mut frame = Vec::new();
                append_frame(&mut frame, &explanation);
                file.append(&frame, &self.log, step.at, |_| {});
            }
            self.explanations.add(explanation);
        }
    }

    fn note(&self, message: String) {
        tracing::error!(target: "ha_core", "{message}");
        self.log.write(EventReport::note(at(self.player.as_ref()), "record", None, message));
    }
}

fn at(player: Option<&Player>) -> Instant {
    player.map_or(Instant::ZERO, Player::at)
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
