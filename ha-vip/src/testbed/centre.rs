//! The data centre: its hosts, and who is connected to whom.

use super::builder::DataCentreBuilder;
use super::cable::Switchboard;
use super::netns::NetNs;
use super::plan::Network;
use super::{Host, TestbedError};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Hosts, networks and a switch between them, out of namespaces of this machine. See the [module](super).
///
/// Dropping it ends everything that runs in it; so does the death of the process that owns it.
pub struct DataCentre {
    pub(super) switch: NetNs,
    pub(super) networks: Vec<Network>,
    pub(super) board: Mutex<Switchboard>,
    hosts: Mutex<BTreeMap<String, Arc<Host>>>,
}

impl DataCentre {
    /// An empty one.
    pub fn builder() -> DataCentreBuilder {
        DataCentreBuilder::default()
    }

    /// The usual one: hosts `n1` and `n2`, a LAN `lan0` (10.77.0.0/24, fd00:77::/80), heartbeat networks `hb0`
    /// (10.78.0.0/26) and `hb1` (10.78.0.64/26).
    pub fn pair() -> DataCentreBuilder {
        let hosts = Self::builder().host("n1").host("n2").dual_lan("lan0", "10.77.0.0/24", "fd00:77::/80");
        hosts.heartbeat("hb0", "10.78.0.0/26").heartbeat("hb1", "10.78.0.64/26")
    }

    pub(super) fn new(switch: NetNs, networks: Vec<Network>, board: Switchboard) -> Self {
        Self { switch, networks, board: Mutex::new(board), hosts: Mutex::new(BTreeMap::new()) }
    }

    pub(super) fn add(&self, host: Arc<Host>) {
        self.hosts().insert(host.plan.name.clone(), host);
    }

    fn hosts(&self) -> MutexGuard<'_, BTreeMap<String, Arc<Host>>> {
        self.hosts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn board(&self) -> MutexGuard<'_, Switchboard> {
        self.board.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The host of that name; the router is called `router`.
    ///
    /// # Errors
    /// [`TestbedError::NoHost`].
    pub fn host(&self, name: &str) -> Result<Arc<Host>, TestbedError> {
        let hosts = self.hosts();
        hosts.get(name).cloned().ok_or_else(|| TestbedError::NoHost {
            name: name.to_owned(),
            known: hosts.keys().map(String::as_str).collect::<Vec<_>>().join(", "),
        })
    }

    /// All hosts, by name.
    #[must_use]
    pub fn all_hosts(&self) -> Vec<Arc<Host>> {
        self.hosts().values().cloned().collect()
    }
}

impl fmt::Debug for DataCentre {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DataCentre").field("hosts", &self.hosts().keys()).finish_non_exhaustive()
    }
}
