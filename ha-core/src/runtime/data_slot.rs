//! The newest state of a group's data, handed over without anybody waiting for anybody.

use super::arrivals::{Arrival, ArrivalSender};
use crate::GroupId;
use crate::api::DataSync;
use crate::engine::DataReport;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, TryLockError};

/// Holds one report; a newer one replaces it, so that a busy mirror cannot flood the control thread.
pub(super) struct DataSlot {
    report: Mutex<DataReport>,
    announced: AtomicBool,
}

impl DataSlot {
    /// Subscribes to `data` and hands in its present state.
    pub(super) fn subscribe(group: GroupId, data: &dyn DataSync, arrivals: ArrivalSender) -> Arc<Self> {
        let slot = Arc::new(Self { report: Mutex::default(), announced: AtomicBool::new(false) });
        let sink = slot.clone();
        let announce = arrivals.clone();
        data.subscribe(Arc::new(move |report| sink.put(group, report, &announce)));
        slot.put(group, data.report(), &arrivals);
        slot
    }

    fn put(&self, group: GroupId, report: DataReport, arrivals: &ArrivalSender) {
        *self.report.lock().unwrap_or_else(PoisonError::into_inner) = report;
        if !self.announced.swap(true, Ordering::SeqCst) {
            let _ = arrivals.send(Arrival::Data { group });
        }
    }

    /// The newest report. `None` while it is being replaced: then another announcement follows.
    pub(super) fn take(&self) -> Option<DataReport> {
        // Before the look, so that whoever writes after it announces again.
        self.announced.store(false, Ordering::SeqCst);
        match self.report.try_lock() {
            Ok(report) => Some(*report),
            Err(TryLockError::Poisoned(report)) => Some(*report.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }
}
