//! The durable lane: one thread that writes the node's record and does nothing else, so that neither the
//! application's disk work nor a slow flush ever delays a beat.

use super::NodeError;
use super::arrivals::{Arrival, ArrivalSender};
use crate::api::{StateError, StateStore};
use crate::{NodeRecord, WriteId};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;
use tokio::sync::oneshot;

/// Writes that may wait. The engine issues one at a time.
const WRITES_WAITING: usize = 4;

/// The control thread's end of the lane. Dropping it ends the lane's thread after the write under way.
pub(super) struct DurableLane {
    orders: SyncSender<(WriteId, NodeRecord)>,
    thread: JoinHandle<()>,
}

/// The record, as soon as it is read.
pub(super) type Loaded = oneshot::Receiver<Result<NodeRecord, StateError>>;

impl DurableLane {
    /// Starts the lane; its first act is to read the record.
    pub(super) fn start(
        mut store: Box<dyn StateStore>,
        arrivals: ArrivalSender,
    ) -> Result<(Self, Loaded), NodeError> {
        let (orders, waiting) = sync_channel(WRITES_WAITING);
        let (loaded, load) = oneshot::channel();
        let body = move || {
            let record = store.load();
            let usable = record.is_ok();
            if loaded.send(record).is_ok() && usable {
                write_all(store.as_mut(), &waiting, &arrivals);
            }
        };
        let thread = std::thread::Builder::new()
            .name("ha-durable".into())
            .spawn(body)
            .map_err(|source| NodeError::System { what: "start the durable lane's thread", source })?;
        Ok((Self { orders, thread }, load))
    }

    /// Orders a write. False if it was not taken: then no completion will come.
    #[must_use]
    pub(super) fn order(&self, write: WriteId, record: NodeRecord) -> bool {
        self.orders.try_send((write, record)).is_ok()
    }

    /// Waits for the write under way, and until the store is closed.
    pub(super) fn close(self) {
        drop(self.orders);
        let _ = self.thread.join();
    }
}

fn write_all(store: &mut dyn StateStore, orders: &Receiver<(WriteId, NodeRecord)>, arrivals: &ArrivalSender) {
    let mut usable = true;
    for (write, record) in orders {
        if usable && let Err(e) = store.save(&record) {
            // What is on the disk is unknown now; by contract the store is not used again.
            tracing::error!(target: "ha_core", error = %e, "the record could not be made durable");
            usable = false;
        }
        if arrivals.send(Arrival::Persisted { write, ok: usable }).is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::StoreId;
    use tokio::sync::mpsc::unbounded_channel;

    struct Memory {
        record: NodeRecord,
        saves_left: usize,
    }

    impl StateStore for Memory {
        fn load(&mut self) -> Result<NodeRecord, StateError> {
            Ok(self.record.clone())
        }
        fn save(&mut self, record: &NodeRecord) -> Result<(), StateError> {
            let Some(left) = self.saves_left.checked_sub(1) else {
                self.saves_left = usize::MAX;
                let source = std::io::Error::from(std::io::ErrorKind::StorageFull);
                return Err(StateError::Io { place: "memory".into(), source });
            };
            self.saves_left = left;
            self.record = record.clone();
            Ok(())
        }
    }

    #[tokio::test]
    async fn after_a_failed_write_the_store_is_not_used_again() {
        let record = NodeRecord::blank(StoreId(1), None);
        let (tx, mut rx) = unbounded_channel();
        let store = Memory { record: record.clone(), saves_left: 1 };
        let (lane, loaded) = DurableLane::start(Box::new(store), tx).unwrap();
        assert_eq!(loaded.await.unwrap().unwrap(), record);
        let mut seen = Vec::new();
        for n in 0..3 {
            assert!(lane.order(WriteId(n), record.clone()));
            let Some(Arrival::Persisted { write, ok }) = rx.recv().await else { panic!("no completion") };
            seen.push((write, ok));
        }
        assert_eq!(seen, [(WriteId(0), true), (WriteId(1), false), (WriteId(2), false)]);
        lane.close();
        assert!(rx.recv().await.is_none(), "the lane ends with its owner");
    }
}
