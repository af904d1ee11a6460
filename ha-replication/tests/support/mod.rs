//! Two mirrors in one process, on loopback, with a relay between them that can be cut.
#![allow(dead_code, missing_docs)]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed set-up fails the test")]

use ha_core::api::{Clock, Ctx, DataSync};
use ha_core::engine::{AckRule, DataReport};
use ha_core::runtime::{BootClock, Unguarded};
use ha_core::wire::PairKey;
use ha_core::{Epoch, Generation, GroupId, Incarnation, Instant, NodeId, TokenCell};
use ha_replication::{CommitOutcome, Limits, Mirror, MirrorConfig, MirrorId, MirrorStatus};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

pub const BOTH: AckRule = AckRule::Both(Generation(1));
pub const ALONE: AckRule = AckRule::Alone(Generation(2));

pub fn limits() -> Limits {
    Limits {
        segment_bytes: 1 << 20,
        max_transaction_bytes: 256 << 10,
        inflight_bytes: 4 << 20,
        retain_bytes: 4 << 20,
        min_free_bytes: 1 << 20,
        // Tests run beside builds: silence must not be mistaken for a cut.
        silence: Duration::from_millis(500),
        ..Limits::default()
    }
}

pub struct Side {
    pub mirror: Mirror,
    pub data: Arc<dyn DataSync>,
    pub token: TokenCell,
    pub reports: Arc<Mutex<Vec<DataReport>>>,
}

impl Side {
    pub fn open(config: MirrorConfig) -> Self {
        let token = config.token.clone();
        let mirror = Mirror::open(config).unwrap();
        let data = mirror.data_sync();
        let reports: Arc<Mutex<Vec<DataReport>>> = Arc::default();
        let sink = reports.clone();
        data.subscribe(Arc::new(move |r| sink.lock().unwrap().push(r)));
        Self { mirror, data, token, reports }
    }

    pub fn ctx(&self, epoch: u64) -> Ctx {
        let deadline = BootClock.now() + Duration::from_secs(20);
        Ctx::new(Arc::new(Unguarded), Epoch(epoch), deadline, self.token.clone())
    }

    pub async fn promote(&self, epoch: u64, rule: AckRule) {
        self.token.set(Epoch(epoch), Instant::FAR);
        self.data.promote(&self.ctx(epoch), rule).await.unwrap();
    }

    /// Waits until the status is as wanted.
    pub async fn until(&self, what: &str, wanted: impl Fn(&MirrorStatus) -> bool) {
        let mut changes = self.mirror.changes();
        let waiting = async {
            while !wanted(&self.mirror.status()) {
                let look = Duration::from_millis(20);
                let _ = tokio::time::timeout(look, changes.changed()).await;
            }
        };
        if tokio::time::timeout(Duration::from_secs(20), waiting).await.is_err() {
            panic!("never saw: {what}; {:#?}", self.mirror.status());
        }
    }

    pub async fn caught_up(&self) {
        self.until("caught up", |s| s.report.caught_up.is_some()).await;
    }

    pub async fn put(&self, path: &str, bytes: &str) -> CommitOutcome {
        self.mirror.begin().put(path, bytes.to_owned()).commit().await
    }

    pub fn read(&self, path: &str) -> Option<String> {
        std::fs::read_to_string(self.mirror.root().join(path)).ok()
    }
}

/// Passes bytes on, unless it is cut.
pub struct Relay {
    pub addr: SocketAddr,
    open: watch::Sender<bool>,
}

impl Relay {
    pub async fn to(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let open = watch::Sender::new(true);
        let gate = open.subscribe();
        tokio::spawn(async move {
            loop {
                let Ok((mut a, _)) = listener.accept().await else { return };
                let mut gate = gate.clone();
                if !*gate.borrow() {
                    continue;
                }
                tokio::spawn(async move {
                    let Ok(mut b) = TcpStream::connect(target).await else { return };
                    tokio::select! {
                        _ = tokio::io::copy_bidirectional(&mut a, &mut b) => {}
                        _ = gate.wait_for(|open| !*open) => {}
                    }
                });
            }
        });
        Self { addr, open }
    }

    pub fn cut(&self) {
        self.open.send_replace(false);
    }

    pub fn heal(&self) {
        self.open.send_replace(true);
    }
}

pub struct Pair {
    pub dirs: [tempfile::TempDir; 2],
    pub addr: SocketAddr,
    pub relay: Relay,
    pub limits: Limits,
}

/// A free port below those that the kernel gives to outgoing connections, so that none of them takes it before
/// the mirror listens.
pub fn free_port() -> SocketAddr {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let start = 12_000 + (std::process::id() % 250) as u16 * 64;
    loop {
        let port = start + NEXT.fetch_add(1, Ordering::Relaxed);
        if let Ok(listener) = std::net::TcpListener::bind(("127.0.0.1", port)) {
            return listener.local_addr().unwrap();
        }
    }
}

impl Pair {
    pub async fn new() -> Self {
        Self::with(limits()).await
    }

    pub async fn with(limits: Limits) -> Self {
        let dir = || tempfile::tempdir().unwrap();
        let addr = free_port();
        Self { dirs: [dir(), dir()], addr, relay: Relay::to(addr).await, limits }
    }

    pub fn config(&self, node: u8, life: u128) -> MirrorConfig {
        self.config_in(self.dirs[usize::from(node)].path(), node, life)
    }

    pub fn config_in(&self, dir: &Path, node: u8, life: u128) -> MirrorConfig {
        let token = TokenCell::new(GroupId(0));
        let mirror = MirrorId::from_name("test");
        MirrorConfig::new(dir, mirror, NodeId(node), Incarnation(life), self.addr, self.relay.addr, token)
            .with_key(PairKey::from_bytes(&[5; 32]).unwrap())
            .with_limits(self.limits.clone())
    }

    pub fn open(&self, node: u8) -> Side {
        Side::open(self.config(node, u128::from(node) + 1))
    }
}

pub async fn same_trees(a: &Side, b: &Side) {
    let lsn = a.mirror.status().applied;
    b.until("the same transaction", |s| s.applied >= lsn).await;
    let (x, y) = (a.mirror.digest().await.unwrap(), b.mirror.digest().await.unwrap());
    assert_eq!((x.files, x.bytes, x.hash), (y.files, y.bytes, y.hash), "{x:?} {y:?}");
}

#[track_caller]
pub fn lsn(outcome: CommitOutcome) -> u64 {
    match outcome {
        CommitOutcome::Committed { lsn, .. } => lsn.0,
        other => panic!("expected a commit, found {other:?}"),
    }
}
