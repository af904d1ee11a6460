//! The device's own thread: the only one that touches it, one call after the other.

use super::deadline::Pending;
use super::session::Settings;
use super::{Call, Disk, Reply, Session};
use crate::error::DiskError;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

/// Calls that may wait for a device.
pub(crate) const QUEUE_MAX: usize = 64;
/// How long closing waits for a call under way, so that the place can be opened again at once.
const CLOSE_WAIT: Duration = Duration::from_secs(1);

struct Job {
    id: u64,
    group: u16,
    call: Call,
}

/// The handle of a device's thread.
pub(crate) struct Worker {
    queue: Option<SyncSender<Job>>,
    pending: Arc<Pending>,
    ended: Mutex<Receiver<()>>,
}

impl Worker {
    pub(crate) fn start(disk: Disk, settings: Settings) -> Result<Self, DiskError> {
        let (queue, jobs) = sync_channel(QUEUE_MAX);
        let (end, ended) = sync_channel(1);
        let pending = Arc::new(Pending::default());
        let path = disk.path().to_owned();
        let failed = |source| DiskError::Io { path, what: "starting a thread", source };
        let served = Arc::clone(&pending);
        let watched = Arc::clone(&pending);
        let start = || {
            thread::Builder::new().name("ha-disk".into()).spawn(move || {
                serve(disk, &settings, &jobs, &served);
                // Nobody may be left who waits for it.
                let _gone = end.send(());
            })?;
            thread::Builder::new().name("ha-disk-late".into()).spawn(move || watched.watch())
        };
        start().map_err(failed)?;
        Ok(Self { queue: Some(queue), pending, ended: Mutex::new(ended) })
    }

    pub(crate) async fn ask(&self, group: u16, call: Call, within: Duration) -> Result<Reply, DiskError> {
        let Some(queue) = &self.queue else { return Err(DiskError::Closed) };
        let (id, answer) = self.pending.add(within);
        if let Err(error) = queue.try_send(Job { id, group, call }) {
            let why = match error {
                TrySendError::Full(_) => DiskError::Full { waiting: QUEUE_MAX },
                TrySendError::Disconnected(_) => DiskError::Closed,
            };
            self.pending.answer(id, Err(DiskError::Closed));
            return Err(why);
        }
        answer.await.unwrap_or(Err(DiskError::Closed))
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.queue = None;
        self.pending.close();
        let ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        // A device that hangs keeps its thread, its file and its lock; nothing more can be done about it here.
        let _hangs = ended.recv_timeout(CLOSE_WAIT);
    }
}

fn serve(mut disk: Disk, settings: &Settings, jobs: &Receiver<Job>, pending: &Pending) {
    let mut sessions: BTreeMap<u16, Session> = BTreeMap::new();
    while let Ok(job) = jobs.recv() {
        if !pending.wanted(job.id) {
            // Nobody would learn of it: a swap that nobody asked for any more is not begun.
            continue;
        }
        let session = sessions.entry(job.group).or_insert_with(|| Session::new(settings.clone(), job.group));
        let outcome = session.call(&mut disk, job.call, &|| pending.wanted(job.id));
        pending.answer(job.id, outcome);
    }
}

#[cfg(test)]
mod tests {
    use super::super::{AcceptStaleReads, Access, BootClock, Initialisation, inspect, read_superblock};
    use super::*;
    use ha_core::{InitId, NodeId};

    #[test]
    fn a_call_that_nobody_waits_for_any_more_is_not_begun() {
        let dir = tempfile::TempDir::new().unwrap();
        let (path, buffered) = (dir.path().join("arbiter"), Some(AcceptStaleReads));
        Initialisation::new(InitId(7), ["g"]).buffered(AcceptStaleReads).run(&path).unwrap();
        let life = || inspect(&path, buffered).unwrap().groups[0].nodes[0].liveness.unwrap().life;
        for wanted in [false, true] {
            let mut disk = Disk::open(&path, Access::Write, buffered).unwrap();
            let stamp = read_superblock(&mut disk).unwrap().stamp;
            let lease = Duration::from_secs(8);
            let settings = Settings { stamp, node: NodeId(0), life: 5, lease, clock: Arc::new(BootClock) };
            let pending = Pending::default();
            let (id, answer) = pending.add(lease);
            let kept = wanted.then_some(answer);
            let (queue, jobs) = sync_channel(1);
            queue.send(Job { id, group: 0, call: Call::Read }).unwrap();
            drop(queue);
            serve(disk, &settings, &jobs, &pending);
            assert_eq!(life(), if wanted { 5 } else { 0 }, "whoever begins says who it is");
            drop(kept);
        }
    }
}
