//! A device in a file on a real disk, and what tests do with it.
#![allow(dead_code, reason = "every test binary uses its own part")]

use ha_core::api::{Clock, OwnerRecord, Swap};
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

/// A clock that stands until it is moved.
#[derive(Default)]
pub struct Hand(AtomicU64);

impl Hand {
    pub fn forward(&self, span: Duration) {
        self.0.fetch_add(u64::try_from(span.as_nanos()).unwrap(), Ordering::SeqCst);
    }
}

impl Clock for Hand {
    fn now(&self) -> Instant {
        Instant::from_nanos(self.0.load(Ordering::SeqCst) + 1_000_000_000)
    }
}
