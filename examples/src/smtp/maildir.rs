//! One Maildir in a directory. For pairs whose disk is shared, for tests, and to compare the mirror with.

use super::permit::Permit;
use super::reply::Identity;
use super::store::{Delivery, Envelope, MessageStore};
use super::trace;
use async_trait::async_trait;
use bytes::Bytes;
use ha_core::Epoch;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};
use tokio::sync::RwLock;

/// Names that no delivery of either node ever repeats.
#[derive(Debug)]
pub(super) struct Names {
    who: Identity,
    counter: AtomicU64,
}

impl Names {
    pub(super) const fn new(who: Identity) -> Self {
        Self { who, counter: AtomicU64::new(0) }
    }

    pub(super) fn node(&self) -> &str {
        &self.who.node
    }

    /// Second, grant, life and number of the message; unique even if the wall clock jumps.
    pub(super) fn next(&self, epoch: Epoch, at: SystemTime) -> String {
        let seconds = at.duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
        let number = self.counter.fetch_add(1, Ordering::Relaxed);
        format!("{seconds}.E{epoch}I{:032x}Q{number}.{}", self.who.incarnation.0, file_name(&self.who.node))
    }
}

/// A node's name as a part of a file name: no separators, and no ":" that begins a Maildir's flags.
fn file_name(node: &str) -> String {
    node.chars().map(|c| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' }).take(64).collect()
}

/// One Maildir on a local disk: written to `tmp`, synced, renamed into `new`, and the directory synced.
#[derive(Clone, Debug)]
pub struct LocalMaildir {
    root: PathBuf,
    names: Arc<Names>,
    /// Read-locked by each delivery, for as long as its thread runs.
    under_way: Arc<RwLock<()>>,
}

impl LocalMaildir {
    /// Opens the Maildir at `root`, or makes it. Blocking.
    ///
    /// # Errors
    /// What the operating system said.
    pub fn open(root: impl Into<PathBuf>, who: Identity) -> io::Result<Self> {
        let root = root.into();
        for part in ["tmp", "new", "cur"] {
            fs::create_dir_all(root.join(part))?;
        }
        sync_directory(&root)?;
        Ok(Self { root, names: Arc::new(Names::new(who)), under_way: Arc::default() })
    }

    /// The steps of one delivery, in the order that makes each durable before the next. Blocking.
    fn write(&self, permit: &Permit, envelope: &Envelope, message: &[u8]) -> Delivery {
        let now = SystemTime::now();
        let name = self.names.next(permit.epoch(), now);
        let trace = trace::lines(envelope, self.names.node(), &name, now);
        let (tmp, new) = (self.root.join("tmp").join(&name), self.root.join("new").join(&name));
        if let Err(error) = write_synced(&tmp, &[trace.as_bytes(), message]) {
            return abandoned(&tmp, Err(error));
        }
        if let Err(why) = permit.check() {
            return abandoned(&tmp, Ok(why.to_string()));
        }
        if let Err(error) = fs::rename(&tmp, &new) {
            return abandoned(&tmp, Err(error));
        }
        if let Err(error) = sync_directory(&self.root.join("new")) {
            return Delivery::Unknown(error.to_string());
        }
        match permit.check() {
            Ok(checked) => Delivery::Stored(checked),
            Err(why) => Delivery::Unknown(why.to_string()),
        }
    }
}

/// The message never became visible.
fn abandoned(tmp: &Path, why: Result<String, io::Error>) -> Delivery {
    if let Err(error) = fs::remove_file(tmp)
        && error.kind() != io::ErrorKind::NotFound
    {
        tracing::warn!(path = %tmp.display(), %error, "an unfinished message stays in tmp");
    }
    match why {
        Ok(why) => Delivery::Unavailable(why),
        Err(e) if matches!(e.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) => {
            Delivery::NoSpace
        }
        Err(error) => Delivery::Unavailable(error.to_string()),
    }
}

fn write_synced(path: &Path, parts: &[&[u8]]) -> io::Result<()> {
    let mut file = File::create_new(path)?;
    for part in parts {
        file.write_all(part)?;
    }
    file.sync_all()
}

fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

#[async_trait]
impl MessageStore for LocalMaildir {
    async fn deliver(&self, permit: &Permit, envelope: &Envelope, message: Bytes) -> Delivery {
        let (store, permit, envelope) = (self.clone(), permit.clone(), envelope.clone());
        let under_way = Arc::clone(&self.under_way).read_owned().await;
        let write = move || {
            let delivery = store.write(&permit, &envelope, &message);
            drop(under_way);
            delivery
        };
        let written = tokio::task::spawn_blocking(write).await;
        written.unwrap_or_else(|e| Delivery::Unknown(e.to_string()))
    }

    async fn settle(&self) {
        drop(self.under_way.write().await);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::poll;
    use ha_core::api::Clock;
    use ha_core::{GroupId, Incarnation, Instant, TokenCell};
    use std::sync::Mutex;
    use std::sync::mpsc::{Receiver, Sender, channel};
    use std::task::Poll;

    /// Stands still at its `stalls`th reading until it is told to go on: a disk, or a process, that is stuck there.
    struct Stuck {
        readings: AtomicU64,
        stalls: u64,
        reached: Sender<()>,
        go_on: Mutex<Receiver<()>>,
    }

    impl Clock for Stuck {
        fn now(&self) -> Instant {
            if self.readings.fetch_add(1, Ordering::SeqCst) + 1 == self.stalls {
                self.reached.send(()).unwrap();
                self.go_on.lock().unwrap().recv().unwrap();
            }
            Instant::from_nanos(1_000)
        }
    }

    fn store(dir: &Path) -> LocalMaildir {
        LocalMaildir::open(dir, Identity { node: "n1".into(), incarnation: Incarnation(7) }).unwrap()
    }

    fn stored(dir: &Path) -> usize {
        fs::read_dir(dir.join("new")).unwrap().count()
    }

    /// The name takes the first reading, the check before the rename the second one.
    const BEFORE_THE_RENAME: u64 = 2;

    #[tokio::test]
    async fn what_outlives_its_client_is_waited_for_and_needs_the_permission_still() {
        for (revoked, files) in [(false, 1), (true, 0)] {
            let dir = tempfile::tempdir().unwrap();
            let (maildir, token) = (store(dir.path()), TokenCell::new(GroupId(0)));
            token.set(Epoch(3), Instant::from_nanos(5_000));
            let ((reached, waiting), (go, go_on)) = (channel(), channel());
            let clock = Stuck {
                readings: AtomicU64::new(0),
                stalls: BEFORE_THE_RENAME,
                reached,
                go_on: Mutex::new(go_on),
            };
            let permit = Permit::new(token.clone(), Arc::new(clock));
            let envelope = Envelope::default();
            {
                let mut delivery =
                    Box::pin(maildir.deliver(&permit, &envelope, Bytes::from_static(b"x\r\n")));
                assert!(poll!(&mut delivery).is_pending());
                waiting.recv().unwrap();
                // Its client is cut off here.
            }
            let mut settled = Box::pin(maildir.settle());
            assert_eq!(poll!(&mut settled), Poll::Pending, "its thread still runs");
            assert_eq!(stored(dir.path()), 0);
            if revoked {
                token.revoke();
            }
            go.send(()).unwrap();
            settled.await;
            assert_eq!(stored(dir.path()), files, "revoked: {revoked}");
            assert_eq!(fs::read_dir(dir.path().join("tmp")).unwrap().count(), 0);
        }
    }

    #[tokio::test]
    async fn both_nodes_write_to_one_maildir_in_turn_and_each_sees_everything() {
        let dir = tempfile::tempdir().unwrap();
        let second = Identity { node: "n2".into(), incarnation: Incarnation(8) };
        let stores = [store(dir.path()), LocalMaildir::open(dir.path(), second).unwrap()];
        for (turn, epoch) in [(0, 1), (1, 2), (0, 3)] {
            let token = TokenCell::new(GroupId(0));
            token.set(Epoch(epoch), Instant::FAR);
            let permit = Permit::new(token, Arc::new(ha_core::runtime::BootClock));
            let envelope = Envelope::default();
            let delivery = stores[turn].deliver(&permit, &envelope, Bytes::from_static(b"x\r\n"));
            assert!(matches!(delivery.await, Delivery::Stored(checked) if checked.epoch == Epoch(epoch)));
            assert_eq!(stored(dir.path()) as u64, epoch);
        }
    }
}
