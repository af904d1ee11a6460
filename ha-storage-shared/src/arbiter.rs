//! The arbiter on a disk.

use crate::device::{
    AcceptStaleReads, Access, BootClock, Call, Disk, Initialisation, Inspection, Reply, Settings, Worker,
    inspect, read_names, read_superblock,
};
use crate::error::DiskError;
use crate::layout::Flaw;
use async_trait::async_trait;
use ha_core::api::{Arbiter, ArbiterError, ArbiterView, Clock, OwnerRecord, Swap};
use ha_core::{Epoch, Incarnation, InitId, NodeId};
use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// Decides through a disk that both nodes reach who owns a group: a block device, or a file on a cluster file system.
///
/// Each node writes only its own places; ownership is compare-and-swap by Disk Paxos, safe whatever the timing. Time
/// decides only about leases. The protocol, the layout and what is assumed of the disk: `docs/SHARED-DISK.md`.
///
/// ```no_run
/// use ha_core::{InitId, NodeId, api::Arbiter};
/// use ha_storage_shared::{DiskArbiter, Initialisation};
/// use std::time::Duration;
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let disk = "/dev/disk/by-id/wwn-0x5000c500a0b1c2d3-part1";
/// // Once, by an operator:
/// DiskArbiter::initialise(disk, &Initialisation::new(InitId(0x1234), ["mail"]))?;
/// // On each node:
/// let arbiter = DiskArbiter::builder(disk, NodeId(0), InitId(0x1234)).lease(Duration::from_secs(8)).open()?;
/// let view = arbiter.read("mail").await?;
/// # Ok(()) }
/// ```
pub struct DiskArbiter {
    name: String,
    lease: Duration,
    deadline: Duration,
    groups: BTreeMap<String, u16>,
    known: String,
    path: PathBuf,
    worker: Worker,
}

impl fmt::Debug for DiskArbiter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DiskArbiter")
            .field("name", &self.name)
            .field("groups", &self.groups)
            .finish_non_exhaustive()
    }
}

/// How a node uses a device.
#[derive(Clone)]
pub struct DiskArbiterBuilder {
    path: PathBuf,
    node: NodeId,
    init: InitId,
    lease: Duration,
    deadline: Duration,
    buffered: Option<AcceptStaleReads>,
    clock: Arc<dyn Clock>,
}

impl fmt::Debug for DiskArbiterBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, node, init, lease, deadline, buffered, .. } = self;
        f.debug_struct("DiskArbiterBuilder")
            .field("path", path)
            .field("node", node)
            .field("init", init)
            .field("lease", lease)
            .field("deadline", deadline)
            .field("buffered", buffered)
            .finish_non_exhaustive()
    }
}

impl DiskArbiterBuilder {
    /// How long a lease lives after a renewal (8 s unless said). Every node of the group must say the same.
    #[must_use]
    pub const fn lease(mut self, lease: Duration) -> Self {
        self.lease = lease;
        self
    }

    /// How long a call may take before it fails (2 s unless said). Must be shorter than the lease.
    #[must_use]
    pub const fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// Uses a place without direct I/O: see [`AcceptStaleReads`] for what is risked.
    #[must_use]
    pub const fn buffered(mut self, accepted: AcceptStaleReads) -> Self {
        self.buffered = Some(accepted);
        self
    }

    /// Another clock than the machine's boot clock; it must count suspended time and never go back.
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// Opens the device, checks that it is the right one, and starts its thread. Blocks until the device answered.
    ///
    /// # Errors
    /// [`DiskError`]: not there, not initialised, of another installation, no direct I/O, in use under this node number.
    pub fn open(&self) -> Result<DiskArbiter, DiskError> {
        self.check()?;
        let mut disk = Disk::open(&self.path, Access::Write, self.buffered)?;
        if !disk.lock(self.node.0, 1)? {
            return Err(DiskError::Busy { path: self.path.clone(), user: format!("node {}", self.node) });
        }
        let superblock = read_superblock(&mut disk)?;
        let stamp = superblock.stamp;
        if stamp.init != self.init {
            return Err(DiskError::Foreign {
                path: self.path.clone(),
                place: "superblock".into(),
                flaw: Flaw::Installation { found: stamp.init, expected: self.init },
                advice: "check that the device is the one you mean, and the installation's id",
            });
        }
        let names = read_names(&mut disk, &stamp, superblock.geometry.groups)?;
        let known = names.join(", ");
        let settings = Settings {
            stamp,
            node: self.node,
            life: self.life()?,
            lease: self.lease,
            clock: Arc::clone(&self.clock),
        };
        Ok(DiskArbiter {
            name: format!("disk {}", self.path.display()),
            lease: self.lease,
            deadline: self.deadline,
            groups: names.into_iter().zip(0..).collect(),
            known,
            path: self.path.clone(),
            worker: Worker::start(disk, settings)?,
        })
    }

    fn check(&self) -> Result<(), DiskError> {
        if self.node.0 > 1 {
            let node = self.node;
            return Err(DiskError::BadSetting(format!(
                "node {node}: a disk arbiter has places for nodes 0 and 1"
            )));
        }
        if self.deadline.is_zero() || self.deadline >= self.lease {
            let Self { deadline, lease, .. } = self;
            return Err(DiskError::BadSetting(format!(
                "a deadline of {deadline:?} with a lease of {lease:?}: an answer must come before the lease ends"
            )));
        }
        Ok(())
    }

    fn life(&self) -> Result<u64, DiskError> {
        let failed = |error: getrandom::Error| DiskError::Io {
            path: self.path.clone(),
            what: "asking for randomness",
            source: std::io::Error::other(error.to_string()),
        };
        getrandom::u64().map(|life| life.max(1)).map_err(failed)
    }
}

impl DiskArbiter {
    /// Node `node`'s use of the device at `path`, which must belong to the installation `init`.
    pub fn builder(path: impl Into<PathBuf>, node: NodeId, init: InitId) -> DiskArbiterBuilder {
        DiskArbiterBuilder {
            path: path.into(),
            node,
            init,
            lease: Duration::from_secs(8),
            deadline: Duration::from_secs(2),
            buffered: None,
            clock: Arc::new(BootClock),
        }
    }

    /// Makes a blank device an arbiter; creates a file that is missing. No node may be using it, on any machine.
    ///
    /// # Errors
    /// [`DiskError`]; [`DiskError::Occupied`] if the device holds anything and overwriting was not asked for.
    pub fn initialise(path: impl AsRef<Path>, wanted: &Initialisation) -> Result<(), DiskError> {
        wanted.run(path.as_ref())
    }

    /// Reads a device without writing to it and without being a node.
    ///
    /// # Errors
    /// [`DiskError`].
    pub fn inspect(
        path: impl AsRef<Path>,
        buffered: Option<AcceptStaleReads>,
    ) -> Result<Inspection, DiskError> {
        inspect(path.as_ref(), buffered)
    }

    async fn ask(&self, group: &str, call: Call) -> Result<Reply, ArbiterError> {
        let result = match self.groups.get(group) {
            Some(place) => self.worker.ask(*place, call, self.deadline).await,
            None => Err(DiskError::UnknownGroup {
                path: self.path.clone(),
                group: group.to_owned(),
                known: self.known.clone(),
            }),
        };
        result.map_err(|error| error.into_arbiter(&self.name, group))
    }

    fn confused(&self) -> ArbiterError {
        let reason = "its thread answered another question".to_owned();
        ArbiterError::Unavailable { arbiter: self.name.clone(), reason }
    }
}

#[async_trait]
impl Arbiter for DiskArbiter {
    fn name(&self) -> &str {
        &self.name
    }

    fn lease(&self) -> Duration {
        self.lease
    }

    async fn read(&self, group: &str) -> Result<ArbiterView, ArbiterError> {
        match self.ask(group, Call::Read).await? {
            Reply::View(view) => Ok(view),
            Reply::Swap(_) | Reply::Renewed(_) | Reply::Released => Err(self.confused()),
        }
    }

    async fn swap(&self, group: &str, revision: u64, record: OwnerRecord) -> Result<Swap, ArbiterError> {
        match self.ask(group, Call::Swap(revision, record)).await? {
            Reply::Swap(swap) => Ok(swap),
            Reply::View(_) | Reply::Renewed(_) | Reply::Released => Err(self.confused()),
        }
    }

    async fn renew(&self, group: &str, incarnation: Incarnation, epoch: Epoch) -> Result<bool, ArbiterError> {
        match self.ask(group, Call::Renew(incarnation, epoch)).await? {
            Reply::Renewed(renewed) => Ok(renewed),
            Reply::View(_) | Reply::Swap(_) | Reply::Released => Err(self.confused()),
        }
    }

    async fn release(&self, group: &str, incarnation: Incarnation) -> Result<(), ArbiterError> {
        match self.ask(group, Call::Release(incarnation)).await? {
            Reply::Released => Ok(()),
            Reply::View(_) | Reply::Swap(_) | Reply::Renewed(_) => Err(self.confused()),
        }
    }
}
