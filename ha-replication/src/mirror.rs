//! The mirror as its users see it.

use crate::config::MirrorConfig;
use crate::data_sync::MirrorData;
use crate::error::{MirrorError, OpenError};
use crate::hub::Hub;
use crate::lanes;
use crate::outcome::{Outcome, TxId};
use crate::report::{MirrorStatus, Protection};
use crate::state::{Role, State};
use crate::store::{self, OpenStoreError, QuarantineReport, StoreConfig, StoreDigest, StoreLimits};
use crate::stream::{dial, evidence::EvidenceLink};
use crate::transaction::Transaction;
use ha_core::api::{DataSync, LinkFactory};
use ha_core::store::medium::{Medium, RealMedium};
use ha_core::{Epoch, Lsn};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use tokio::runtime::Handle;
use tokio::sync::{oneshot, watch};
use tokio::task::AbortHandle;

/// One copy of a mirrored tree of files, and its stream to the other one.
///
/// The caller's contract:
/// 1. [`Mirror::open`] blocks (it recovers) and needs a tokio runtime; open before serving.
/// 2. Promotion and demotion come from the engine, through [`Mirror::data_sync`].
/// 3. Nobody but the mirror writes below [`Mirror::root`].
/// 4. Answer a client only after [`Transaction::commit`] said `Committed`.
///
/// ```no_run
/// # async fn show(config: ha_replication::MirrorConfig) -> Result<(), ha_replication::OpenError> {
/// use ha_replication::{CommitOutcome, Mirror};
/// let mirror = Mirror::open(config)?;
/// let outcome = mirror.begin().put_new("new/1", "mail").idempotency_key(b"queue id 1").commit().await;
/// if let CommitOutcome::Committed { lsn, .. } = outcome {
///     println!("both copies hold transaction {lsn}");
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Mirror(Arc<Owner>);

/// Ends threads and tasks with the last handle.
struct Owner {
    hub: Arc<Hub>,
    root: PathBuf,
    threads: Mutex<Vec<JoinHandle<()>>>,
    tasks: Vec<AbortHandle>,
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.tasks.iter().for_each(AbortHandle::abort);
        self.hub.with(|s| {
            s.stop = true;
            if let Some(session) = s.session.take() {
                session.outbox.close();
            }
            s.copy_rotated = None;
        });
        for wake in [&self.hub.journal_wake, &self.hub.apply_wake, &self.hub.keeper_wake] {
            wake.notify_all();
        }
        let threads = std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        for thread in threads {
            // A lane that panicked has nothing left to stop.
            let _ = thread.join();
        }
        self.hub.close_files();
    }
}

impl fmt::Debug for Mirror {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mirror").field("root", &self.0.root).finish_non_exhaustive()
    }
}

impl Mirror {
    /// Opens or makes the copy in `config.dir`, recovers it, and begins to look for the other one.
    ///
    /// # Errors
    /// [`OpenError`]: the disk, the lock, another mirror's directory, a busy port, a missing key, a bad limit.
    pub fn open(config: MirrorConfig) -> Result<Self, OpenError> {
        config.check()?;
        let medium = RealMedium::create(&config.dir)
            .map_err(|source| OpenError::Io { place: config.dir.display().to_string(), source })?;
        Self::open_on(Arc::new(medium), config)
    }

    /// As [`Mirror::open`], with every access to `config.dir` going through `medium`, whose root it must be: for disks
    /// that fail on purpose.
    ///
    /// # Errors
    /// As there.
    pub fn open_on(medium: Arc<dyn Medium>, config: MirrorConfig) -> Result<Self, OpenError> {
        config.check()?;
        let handle = Handle::try_current().map_err(|_| OpenError::NoRuntime)?;
        let place = config.dir.display().to_string();
        let failed = |source| OpenError::Io { place: place.clone(), source };
        let listener = if config.me.0 == 0 { Some(bind(&config)?) } else { None };
        let opened = store::open(medium, store_config(&config)).map_err(|e| open_error(&place, e))?;
        point_root(&config.dir, &opened.recovered.generation_dir).map_err(failed)?;
        for note in &opened.recovered.notes {
            tracing::info!(target: "ha_replication", place, ?note, "found and mended at open");
        }
        let root = config.dir.join("root");
        let applied = opened.reader.chain_at(opened.recovered.commit);
        let applied =
            applied.map_err(|e| OpenError::Damaged { place: place.clone(), found: e.to_string() })?;
        let mut state = State::new(Arc::new(config), &opened.recovered);
        state.applied_chain = applied.unwrap_or(state.durable_chain);
        let hub = Arc::new(Hub::new(state, opened.applier.lookup(), opened.reader));
        let (journal, applier, keeper) = (opened.journal, opened.applier, opened.keeper);
        let threads = vec![
            lane(&hub, "mirror journal", move |hub| lanes::journal(hub, journal)).map_err(failed)?,
            lane(&hub, "mirror tree", move |hub| lanes::apply(hub, applier)).map_err(failed)?,
            lane(&hub, "mirror keeper", move |hub| lanes::keeper(hub, keeper)).map_err(failed)?,
        ];
        let stream = match listener {
            Some(listener) => handle.spawn(dial::listen(hub.clone(), listener)),
            None => handle.spawn(dial::dial(hub.clone())),
        };
        let tasks = vec![stream.abort_handle(), handle.spawn(dial::tick(hub.clone())).abort_handle()];
        Ok(Self(Arc::new(Owner { hub, root, threads: Mutex::new(threads), tasks })))
    }

    pub(crate) fn hub(&self) -> &Arc<Hub> {
        &self.0.hub
    }

    /// Begins a transaction. Nothing happens before its `commit` is polled.
    pub fn begin(&self) -> Transaction {
        Transaction::new(self.clone())
    }

    /// What became of a transaction, as far as this copy knows. After a takeover ask the promoted one.
    #[must_use]
    pub fn outcome(&self, tx: TxId) -> Outcome {
        self.0.hub.lock().outcome(tx)
    }

    /// The tree: a symbolic link that stays while the mirror lives. Read only.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.0.root
    }

    /// How well the data is protected, now and at each change.
    #[must_use]
    pub fn protection(&self) -> watch::Receiver<Protection> {
        self.0.hub.protection.subscribe()
    }

    /// All cursors, the role and the session.
    #[must_use]
    pub fn status(&self) -> MirrorStatus {
        self.0.hub.lock().status()
    }

    /// Counts changes of the status: wait on it instead of asking again and again.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.0.hub.changed.subscribe()
    }

    /// The mirror as the engine drives it.
    #[must_use]
    pub fn data_sync(&self) -> Arc<dyn DataSync> {
        Arc::new(MirrorData(self.clone()))
    }

    /// A heartbeat link over the replication connection. Evidence of life only: it ends with the connection.
    #[must_use]
    pub fn evidence_link(&self, name: &str) -> Arc<dyn LinkFactory> {
        Arc::new(EvidenceLink { name: name.into(), hub: self.0.hub.clone() })
    }

    /// Reads the whole tree at one transaction. The tree stands still meanwhile; commits wait.
    ///
    /// # Errors
    /// [`MirrorError`] if the mirror failed or the tree cannot be read.
    pub async fn digest(&self) -> Result<StoreDigest, MirrorError> {
        let (tell, told) = oneshot::channel();
        let mut tell = Some(tell);
        let far = self.0.hub.now() + std::time::Duration::from_secs(60);
        let asked = self.0.hub.wait(far, |s| match &s.role {
            Role::Failed(why) => Some(Err(why.clone())),
            _ if s.digest.is_none() => {
                s.digest = tell.take();
                s.effects.keeper = true;
                Some(Ok(()))
            }
            _ => None,
        });
        let closed = || "the mirror was closed".to_owned();
        asked.await.unwrap_or_else(|| Err(closed())).map_err(|why| MirrorError::Failed { why })?;
        let digest = told.await.unwrap_or_else(|_| Err(closed()));
        digest.map_err(|why| MirrorError::Failed { why })
    }

    /// An operator says: the next promotion may use this copy although the other one went alone.
    pub fn force_current(&self) {
        self.0.hub.with(|s| s.forced = true);
    }

    /// An operator gives this copy's own tail after `fork` up, on the loser of a divergence.
    ///
    /// # Errors
    /// [`MirrorError::NotDiverged`] unless the last comparison named this fork.
    pub fn surrender(&self, fork: Lsn) -> Result<Option<QuarantineReport>, MirrorError> {
        self.0.hub.with(|s| {
            if s.diverged != Some(fork) || !s.surrender() {
                let found = s.diverged.map_or("no divergence".into(), |f| format!("a divergence after {f}"));
                return Err(MirrorError::NotDiverged { found, expected: fork });
            }
            Ok(s.quarantine.clone())
        })
    }
}

impl State {
    fn outcome(&self, tx: TxId) -> Outcome {
        let TxId { epoch, lsn } = tx;
        let newest = self.history.newest().map_or(Epoch(0), |e| e.epoch);
        if lsn > self.sequenced {
            return if epoch >= newest { Outcome::Pending } else { Outcome::Absent };
        }
        match self.history.epoch_at(lsn) {
            None => return Outcome::Forgotten,
            Some(found) if found != epoch => return Outcome::Absent,
            Some(_) => {}
        }
        if self.aborted.get(&lsn).is_some_and(|by| *by <= self.commit) {
            Outcome::Absent
        } else if lsn <= self.commit {
            Outcome::Committed { lsn }
        } else {
            Outcome::Pending
        }
    }
}

fn lane(
    hub: &Arc<Hub>,
    name: &str,
    work: impl FnOnce(&Arc<Hub>) + Send + 'static,
) -> io::Result<JoinHandle<()>> {
    let hub = hub.clone();
    std::thread::Builder::new().name(name.into()).spawn(move || work(&hub))
}

fn bind(config: &MirrorConfig) -> Result<tokio::net::TcpListener, OpenError> {
    let failed = |source| OpenError::Listen { addr: config.listen, source };
    let listener = std::net::TcpListener::bind(config.listen).map_err(failed)?;
    listener.set_nonblocking(true).map_err(failed)?;
    tokio::net::TcpListener::from_std(listener).map_err(failed)
}

fn store_config(config: &MirrorConfig) -> StoreConfig {
    let l = &config.limits;
    let limits = StoreLimits {
        segment_bytes: l.segment_bytes,
        spare_segments: l.spare_segments,
        retain_bytes: l.retain_bytes,
        max_keys: l.max_keys,
    };
    StoreConfig { mirror: config.mirror, me: config.me, limits }
}

fn open_error(place: &str, e: OpenStoreError) -> OpenError {
    let place = place.to_owned();
    match e {
        OpenStoreError::Locked { pid } => OpenError::Locked { place, pid },
        OpenStoreError::OtherMirror { found, expected } => {
            OpenError::OtherMirror { place, found: found.0, expected: expected.0 }
        }
        OpenStoreError::OtherNode { found, expected } => OpenError::OtherNode { place, found, expected },
        OpenStoreError::Superblock { found } => OpenError::Superblock { place, found },
        OpenStoreError::Version { found } => OpenError::Version { place, found, expected: 1 },
        OpenStoreError::Store(store::StoreError::Io { source, .. }) => OpenError::Io { place, source },
        OpenStoreError::Store(e) => OpenError::Damaged { place, found: e.to_string() },
    }
}

/// Points `dir/root` at the tree of the generation in use. Never the truth: the superblock names it.
pub(crate) fn point_root(dir: &Path, generation: &Path) -> io::Result<()> {
    let wanted = generation.join("tree");
    let link = dir.join("root");
    if std::fs::read_link(&link).is_ok_and(|found| found == wanted) {
        return Ok(());
    }
    let fresh = dir.join("root.new");
    match std::fs::remove_file(&fresh) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    std::os::unix::fs::symlink(&wanted, &fresh)?;
    std::fs::rename(&fresh, &link)
}

/// The tree of a mirror that is not open, for a driver that compares both.
///
/// # Errors
/// [`OpenError::Io`] if there is no mirror.
pub fn offline_root(dir: &Path) -> Result<PathBuf, OpenError> {
    let failed = |source| OpenError::Io { place: dir.display().to_string(), source };
    std::fs::canonicalize(dir.join("root")).map_err(failed)
}
