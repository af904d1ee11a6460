//! A device in a file on a real disk, and what tests do with it.
#![allow(dead_code, reason = "every test binary uses its own part")]

use ha_core::api::{Arbiter, ArbiterError, Clock, OwnerRecord, Swap};
use ha_core::{Epoch, Incarnation, InitId, Instant, NodeId};
use ha_storage_shared::{DiskArbiter, DiskArbiterBuilder, Initialisation};
use std::future::Future;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::Duration;
use tempfile::TempDir;

pub const INIT: InitId = InitId(0x1234);
pub const GROUP: &str = "mail";

/// A directory under the workspace's target directory: not a tmpfs, which has no direct I/O.
pub fn directory() -> TempDir {
    TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).unwrap()
}

/// A fresh device.
pub fn device(dir: &TempDir) -> PathBuf {
    let path = dir.path().join("arbiter");
    DiskArbiter::initialise(&path, &Initialisation::new(INIT, [GROUP, "lists"])).unwrap();
    path
}

pub fn builder(path: &Path, node: u8) -> DiskArbiterBuilder {
    DiskArbiter::builder(path, NodeId(node), INIT)
}

pub fn open(path: &Path, node: u8) -> DiskArbiter {
    builder(path, node).open().unwrap()
}

/// A record that `node` owns by the life numbered like its epoch.
pub fn record(node: u8, epoch: u64) -> OwnerRecord {
    let mut record = OwnerRecord::new(INIT, life(node, epoch));
    record.epoch = Epoch(epoch);
    record.owner = Some(NodeId(node));
    record.in_sync = 3;
    record
}

pub fn life(node: u8, epoch: u64) -> Incarnation {
    Incarnation(u128::from(epoch) << 8 | u128::from(node))
}

pub fn done(swap: Swap) -> u64 {
    match swap {
        Swap::Done { revision } => revision,
        other => panic!("{other:?}"),
    }
}

/// Both nodes swap against each other until each has won `wins` times: no revision is won twice, and those that nobody
/// says to have won are swaps whose outcome is unknown. Gives the last revision.
pub fn contend(path: &Path, wins: usize) -> u64 {
    let contender = |node: u8| {
        let path = path.to_owned();
        thread::spawn(move || compete(&open(&path, node), node, wins))
    };
    let threads = [contender(0), contender(1)];
    let (mut won, mut unknown) = (Vec::new(), 0);
    for thread in threads {
        let (revisions, open) = thread.join().unwrap();
        won.extend(revisions);
        unknown += open;
    }
    let (all, last) = (won.len(), wait(open(path, 0).read(GROUP)).unwrap());
    won.sort_unstable();
    won.dedup();
    assert_eq!((won.len(), all), (2 * wins, 2 * wins), "no revision is won twice");
    assert!(won.iter().all(|revision| (1..=last.revision).contains(revision)));
    assert!(last.revision - all as u64 <= unknown, "{} of {}, {unknown} unknown", all, last.revision);
    assert_eq!(
        last.record.unwrap().epoch,
        Epoch(last.revision),
        "each swap took the epoch after the one it read"
    );
    last.revision
}

/// The revisions that `node` won, and how many of its swaps have an unknown outcome.
fn compete(arbiter: &DiskArbiter, node: u8, wins: usize) -> (Vec<u64>, u64) {
    let (mut won, mut unknown) = (Vec::new(), 0);
    while won.len() < wins {
        let view = wait(arbiter.read(GROUP)).unwrap();
        let epoch = view.record.map_or(0, |record| record.epoch.0) + 1;
        match wait(arbiter.swap(GROUP, view.revision, record(node, epoch))) {
            Ok(Swap::Done { revision }) => {
                assert_eq!(revision, view.revision + 1);
                won.push(revision);
            }
            Ok(_) => {}
            // Overtaken by several swaps of the other: read again, as the caller's contract says.
            Err(ArbiterError::Unavailable { .. }) => unknown += 1,
            Err(e) => panic!("{e}"),
        }
    }
    (won, unknown)
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Runs one future to its end: the arbiter needs no runtime.
pub fn wait<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let mut context = Context::from_waker(&waker);
    loop {
        match future.as_mut().poll(&mut context) {
            Poll::Ready(value) => return value,
            Poll::Pending => thread::park(),
        }
    }
}

/// A clock that stands until it is moved, or moves whenever it was looked at.
#[derive(Default)]
pub struct Hand {
    now: AtomicU64,
    step: AtomicU64,
}

impl Hand {
    pub fn forward(&self, span: Duration) {
        self.now.fetch_add(u64::try_from(span.as_nanos()).unwrap(), Ordering::SeqCst);
    }

    /// Lets `span` pass after each look at the clock during `call`; then it shows `end` after the call's beginning.
    pub fn during<T>(&self, span: Duration, end: Duration, call: impl FnOnce() -> T) -> T {
        let began = self.now.load(Ordering::SeqCst);
        self.step.store(u64::try_from(span.as_nanos()).unwrap(), Ordering::SeqCst);
        let result = call();
        self.step.store(0, Ordering::SeqCst);
        assert!(self.now.load(Ordering::SeqCst) > began, "nobody looked at the clock");
        self.now.store(began + u64::try_from(end.as_nanos()).unwrap(), Ordering::SeqCst);
        result
    }
}

impl Clock for Hand {
    fn now(&self) -> Instant {
        let step = self.step.load(Ordering::SeqCst);
        Instant::from_nanos(self.now.fetch_add(step, Ordering::SeqCst) + 1_000_000_000)
    }
}
