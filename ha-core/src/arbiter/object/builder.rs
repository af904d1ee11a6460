//! How an object arbiter is set up.

use super::super::deadline::check_times;
use super::super::own_leases::OwnLeases;
use super::ObjectArbiter;
use super::places::Places;
use super::store::Store;
use crate::api::{ArbiterError, Clock};
use crate::runtime::BootClock;
use object_store::ObjectStore;
use object_store::local::LocalFileSystem;
use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

/// Collects what an [`ObjectArbiter`] needs.
pub struct ObjectArbiterBuilder {
    name: String,
    prefix: String,
    lease: Duration,
    deadline: Duration,
    clock: Arc<dyn Clock>,
    store: Arc<dyn ObjectStore>,
}

impl fmt::Debug for ObjectArbiterBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ObjectArbiterBuilder")
            .field("name", &self.name)
            .field("prefix", &self.prefix)
            .field("lease", &self.lease)
            .field("deadline", &self.deadline)
            .finish_non_exhaustive()
    }
}

impl ObjectArbiter {
    /// An arbiter over any store of the `object_store` crate, such as its S3 client (enable that crate's own feature).
    #[must_use]
    pub fn builder(store: Arc<dyn ObjectStore>) -> ObjectArbiterBuilder {
        ObjectArbiterBuilder {
            name: "object".to_owned(),
            prefix: "ha".to_owned(),
            lease: Duration::from_secs(10),
            deadline: Duration::from_secs(2),
            clock: Arc::new(BootClock),
            store,
        }
    }

    /// An arbiter over a folder that all nodes share and that none of them keeps: a third machine's file share. Every
    /// write is flushed. An NFS mount must not cache names or attributes (`noac,lookupcache=none`).
    ///
    /// # Errors
    /// [`ArbiterError::Unusable`] if there is no such folder.
    pub fn folder(path: impl AsRef<Path>) -> Result<ObjectArbiterBuilder, ArbiterError> {
        let path = path.as_ref();
        let store = LocalFileSystem::new_with_prefix(path).map_err(|e| ArbiterError::Unusable {
            arbiter: "object".to_owned(),
            reason: format!("the folder {} cannot be used: {e}; create or mount it first", path.display()),
        })?;
        Ok(Self::builder(Arc::new(store.with_fsync(true))))
    }
}

impl ObjectArbiterBuilder {
    /// Its name in logs; `object` if not said.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// The folder of the bucket that belongs to this pair alone; `ha` if not said.
    #[must_use]
    pub fn prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// How long a lease lives after a renewal; 10 s if not said.
    #[must_use]
    pub const fn lease(mut self, lease: Duration) -> Self {
        self.lease = lease;
        self
    }

    /// How long one call may last; 2 s if not said. At most half of the lease.
    #[must_use]
    pub const fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// The node's boot clock; the machine's own if not said.
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// The arbiter. Nothing is asked of the store yet.
    ///
    /// # Errors
    /// [`ArbiterError::Unusable`] if lease and deadline do not fit each other.
    pub fn build(self) -> Result<ObjectArbiter, ArbiterError> {
        check_times(&self.name, self.lease, self.deadline)?;
        Ok(ObjectArbiter {
            own: OwnLeases::new(self.clock, self.lease),
            store: Store { arbiter: self.name.clone(), places: Places::new(&self.prefix), inner: self.store },
            name: self.name,
            deadline: self.deadline,
            tried_out: AtomicBool::new(false),
        })
    }
}
