//! How an etcd arbiter is set up.

use super::super::deadline::check_times;
use super::super::own_leases::OwnLeases;
use super::EtcdArbiter;
use super::keys::Keys;
use super::members::Members;
use crate::api::{ArbiterError, Clock};
use crate::runtime::BootClock;
use etcd_client::ConnectOptions;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// Collects what an [`EtcdArbiter`] needs.
#[derive(Clone)]
pub struct EtcdArbiterBuilder {
    endpoints: Vec<String>,
    name: String,
    prefix: String,
    lease: Duration,
    deadline: Duration,
    clock: Arc<dyn Clock>,
    options: ConnectOptions,
}

impl fmt::Debug for EtcdArbiterBuilder {
    // Endpoints and connection options may hold credentials.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EtcdArbiterBuilder")
            .field("name", &self.name)
            .field("prefix", &self.prefix)
            .field("members", &self.endpoints.len())
            .field("lease", &self.lease)
            .field("deadline", &self.deadline)
            .finish_non_exhaustive()
    }
}

impl EtcdArbiter {
    /// An arbiter over the cluster whose members listen at `endpoints` (`http://host:port`). Name all of them.
    pub fn builder<S: Into<String>>(endpoints: impl IntoIterator<Item = S>) -> EtcdArbiterBuilder {
        EtcdArbiterBuilder {
            endpoints: endpoints.into_iter().map(Into::into).collect(),
            name: "etcd".to_owned(),
            prefix: "ha".to_owned(),
            lease: Duration::from_secs(10),
            deadline: Duration::from_secs(3),
            clock: Arc::new(BootClock),
            options: ConnectOptions::new(),
        }
    }
}

impl EtcdArbiterBuilder {
    /// Its name in logs; `etcd` if not said.
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// The beginning of every key, which belongs to this pair alone; `ha` if not said.
    #[must_use]
    pub fn prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// How long a lease lives after a renewal, in whole seconds; 10 s if not said.
    #[must_use]
    pub const fn lease(mut self, lease: Duration) -> Self {
        self.lease = lease;
        self
    }

    /// How long one call may last over all members; 3 s if not said. At most half of the lease.
    #[must_use]
    pub const fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// User and password.
    #[must_use]
    pub fn user(mut self, name: impl Into<String>, password: impl Into<String>) -> Self {
        self.options = self.options.with_user(name, password).with_auto_token_refresh(true);
        self
    }

    /// Everything else that the client can do, TLS above all (enable that crate's own feature). Replaces what
    /// [`user`](Self::user) said.
    #[must_use]
    pub fn connect_options(mut self, options: ConnectOptions) -> Self {
        self.options = options;
        self
    }

    /// The node's boot clock; the machine's own if not said.
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// The arbiter. Nothing is asked of etcd yet.
    ///
    /// # Errors
    /// [`ArbiterError::Unusable`] if there are no endpoints, or lease and deadline do not fit each other or etcd.
    pub fn build(self) -> Result<EtcdArbiter, ArbiterError> {
        let unusable = |reason: String| ArbiterError::Unusable { arbiter: self.name.clone(), reason };
        check_times(&self.name, self.lease, self.deadline)?;
        if self.lease.subsec_nanos() != 0 || i64::try_from(self.lease.as_secs()).is_err() {
            return Err(unusable(format!(
                "its lease is {:?}, etcd counts whole seconds: round it",
                self.lease
            )));
        }
        if self.endpoints.is_empty() {
            return Err(unusable("no endpoints are named: name every member's, http://host:port".to_owned()));
        }
        let attempt = self.deadline / u32::try_from(self.endpoints.len() + 1).unwrap_or(u32::MAX);
        let options = self.options.with_connect_timeout(attempt).with_require_leader(true);
        Ok(EtcdArbiter {
            members: Members::new(self.name.clone(), self.endpoints, options, attempt),
            own: OwnLeases::new(self.clock, self.lease),
            keys: Keys::new(&self.prefix),
            name: self.name,
            deadline: self.deadline,
        })
    }
}
