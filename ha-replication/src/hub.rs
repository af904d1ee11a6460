//! The one lock, and what follows from each change under it.

use crate::config::MirrorConfig;
use crate::report::Protection;
use crate::state::{Effects, State};
use crate::store::{Lookup, Reader};
use crate::stream::evidence::EvidenceBox;
use crate::stream::outbox::Outbox;
use ha_core::Instant;
use ha_core::api::DataReports;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock};
use tokio::sync::{Semaphore, watch};

/// One permit of the window of transactions under way, in bytes.
pub(crate) const SHARE_BYTES: usize = 1024;

/// Lock order: reports → state → outbox. No sink, disk or wait under the state's lock.
pub(crate) struct Hub {
    pub cfg: Arc<MirrorConfig>,
    state: Mutex<State>,
    pub journal_wake: Condvar,
    pub apply_wake: Condvar,
    pub keeper_wake: Condvar,
    pub changed: watch::Sender<u64>,
    pub protection: watch::Sender<Protection>,
    sinks: Mutex<Vec<DataReports>>,
    pub evidence: EvidenceBox,
    /// Empty once the mirror is closed: whoever still knows the hub does not hold the directory's lock.
    pub lookup: RwLock<Option<Lookup>>,
    pub reader: RwLock<Option<Reader>>,
    pub window: Arc<Semaphore>,
}

impl Hub {
    pub(crate) fn new(state: State, lookup: Lookup, reader: Reader) -> Self {
        let cfg = state.cfg.clone();
        let protection = watch::Sender::new(state.protection());
        let window = cfg.limits.inflight_bytes / SHARE_BYTES;
        Self {
            cfg,
            state: Mutex::new(state),
            journal_wake: Condvar::new(),
            apply_wake: Condvar::new(),
            keeper_wake: Condvar::new(),
            changed: watch::Sender::new(0),
            protection,
            sinks: Mutex::default(),
            evidence: EvidenceBox::default(),
            lookup: RwLock::new(Some(lookup)),
            reader: RwLock::new(Some(reader)),
            window: Arc::new(Semaphore::new(window)),
        }
    }

    pub(crate) fn now(&self) -> Instant {
        self.cfg.clock.now()
    }

    /// For the lanes, which wait on it; everybody else uses [`Hub::with`].
    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the state, then wakes whoever has something to do.
    pub(crate) fn with<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.lock();
        let out = change(&mut state);
        let effects = std::mem::take(&mut state.effects);
        drop(state);
        self.follow_up(effects);
        out
    }

    pub(crate) fn follow_up(&self, effects: Effects) {
        if effects.journal {
            self.journal_wake.notify_one();
        }
        if effects.apply {
            self.apply_wake.notify_one();
        }
        if effects.keeper {
            self.keeper_wake.notify_one();
        }
        for (waiter, resolution) in effects.resolved {
            // A dropped future does not wait any more.
            let _ = waiter.send(resolution);
        }
        if effects.changed && self.changed.receiver_count() > 0 {
            self.changed.send_modify(|n| *n += 1);
        }
        if effects.report {
            self.emit();
        }
    }

    /// Tells the sinks how it stands, in order; they are called outside of the state's lock.
    pub(crate) fn emit(&self) {
        let sinks = self.sinks.lock().unwrap_or_else(PoisonError::into_inner);
        let (report, protection, withdrawn) = {
            let mut state = self.lock();
            let report = state.report();
            state.reported = report;
            (report, state.protection(), state.withdraw)
        };
        self.protection.send_if_modified(|p| {
            let changed = *p != protection;
            *p = protection;
            changed
        });
        for sink in sinks.iter() {
            sink(report);
        }
        drop(sinks);
        if withdrawn {
            self.with(|s| {
                if s.withdraw {
                    s.withdraw = false;
                    s.caught_up = None;
                    s.advance();
                }
            });
        }
    }

    pub(crate) fn subscribe(&self, sink: DataReports) {
        self.sinks.lock().unwrap_or_else(PoisonError::into_inner).push(sink);
    }

    pub(crate) fn outbox(&self) -> Option<Arc<Outbox>> {
        self.lock().session.as_ref().map(|s| s.outbox.clone())
    }

    /// Lets go of the files; the lanes have ended.
    pub(crate) fn close_files(&self) {
        *self.reader.write().unwrap_or_else(PoisonError::into_inner) = None;
        *self.lookup.write().unwrap_or_else(PoisonError::into_inner) = None;
        self.with(|s| {
            s.parts = crate::state::Parts::default();
            s.copy_rotated = None;
            s.session = None;
        });
    }

    pub(crate) fn reader(&self) -> Option<Reader> {
        self.reader.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn lookup(&self) -> Option<Lookup> {
        self.lookup.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until `done` says something, or `None` at `deadline`.
    pub(crate) async fn wait<T>(
        &self,
        deadline: Instant,
        mut done: impl FnMut(&mut State) -> Option<T>,
    ) -> Option<T> {
        let mut changed = self.changed.subscribe();
        loop {
            changed.mark_unchanged();
            if let Some(out) = self.with(&mut done) {
                return Some(out);
            }
            let left = deadline.since(self.now());
            if left.is_zero() || tokio::time::timeout(left, changed.changed()).await.is_err() {
                return self.with(&mut done);
            }
        }
    }
}
