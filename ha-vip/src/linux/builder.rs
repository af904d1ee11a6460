//! How addresses are served, said once.

use super::backend::LinuxAddresses;
use super::core::Core;
use super::holder::Holder;
use super::keeper::Keeper;
use super::lifetime::kernel_seconds;
use super::path::{RouteSpec, RuleSpec};
use super::plan::{DuplicateDetection, LinkLoss, Plan};
use super::{AddressSpec, Announce, LinuxError, VirtualMac};
use crate::VirtualIp;
use crate::kernel::{Capability, Events, Lifetime, NetNamespace, Waker};
use crate::ports::Ports;
use crate::socket::prepare_anywhere;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// Two seconds: the kernel is told one, and is surely done with it after two and a half.
pub const DEFAULT_LIFETIME: Duration = Duration::from_secs(2);
const SHORTEST_GATE: Duration = Duration::from_millis(20);
const LONGEST_GATE: Duration = Duration::from_secs(10);

/// Builds a [`VirtualIp`] of addresses on Linux interfaces; begun by [`VirtualIp::linux`].
pub struct LinuxBuilder {
    plan: Plan,
    asked: Option<Duration>,
    farewell: Vec<u8>,
}

impl LinuxBuilder {
    pub(crate) fn new(name: &str, specs: Vec<AddressSpec>) -> Self {
        let plan = Plan {
            name: name.into(),
            namespace: NetNamespace::own(),
            specs,
            routes: Vec::new(),
            rules: Vec::new(),
            lifetime: Lifetime::Forever,
            gate: None,
            announce: None,
            virtual_mac: None,
            link_loss: LinkLoss::default(),
            detection: DuplicateDetection::default(),
        };
        Self { plan, asked: Some(DEFAULT_LIFETIME), farewell: Vec::new() }
    }

    /// In this network namespace. Default: the process's own.
    #[must_use]
    pub fn namespace(mut self, namespace: NetNamespace) -> Self {
        self.plan.namespace = namespace;
        self
    }

    /// How long the addresses outlive this process at most, give or take half a second: the group's
    /// [`address_lifetime`](ha_core::config::GroupConfig::address_lifetime). More than 1 s; default 2 s.
    #[must_use]
    pub const fn lifetime(mut self, lifetime: Duration) -> Self {
        self.asked = Some(lifetime);
        self
    }

    /// Without self-expiry: the addresses stay if this process and its guardian die. For tests, and for pairs whose
    /// fence device ends a node with everything on it.
    #[must_use]
    pub const fn without_lifetime(mut self) -> Self {
        self.asked = None;
        self
    }

    /// With a gate that closes so long after the last renewal: 20 ms to 10 s. Needs nftables in the kernel.
    #[must_use]
    pub const fn gate(mut self, gate: Duration) -> Self {
        self.plan.gate = Some(gate);
        self
    }

    /// Tells of each address as soon as the kernel has it.
    #[must_use]
    pub fn announce(mut self, announce: Arc<dyn Announce>) -> Self {
        self.plan.announce = Some(announce);
        self
    }

    /// A route that is there while the addresses are.
    #[must_use]
    pub fn route(mut self, route: RouteSpec) -> Self {
        self.plan.routes.push(route);
        self
    }

    /// A routing rule that is there while the addresses are.
    #[must_use]
    pub fn rule(mut self, rule: RuleSpec) -> Self {
        self.plan.rules.push(rule);
        self
    }

    /// With a link-layer address that moves along.
    #[must_use]
    pub fn virtual_mac(mut self, virtual_mac: VirtualMac) -> Self {
        self.plan.virtual_mac = Some(virtual_mac);
        self
    }

    /// What a lost link makes of the health. Default: it fails.
    #[must_use]
    pub const fn on_link_loss(mut self, link_loss: LinkLoss) -> Self {
        self.plan.link_loss = link_loss;
        self
    }

    /// How IPv6 looks for duplicates. Default: not at all, as whoever takes over holds a proof.
    #[must_use]
    pub const fn duplicate_detection(mut self, detection: DuplicateDetection) -> Self {
        self.plan.detection = detection;
        self
    }

    /// What a release sends to clients that nobody accepted any more; for SMTP `421 …\r\n`.
    #[must_use]
    pub fn with_farewell(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.farewell = bytes.into();
        self
    }

    /// Checks everything, removes what an earlier life left of these addresses, and prepares what a takeover should
    /// not wait for. Interfaces must exist now; they may be down until the address is taken.
    ///
    /// # Errors
    /// [`LinuxError`].
    pub fn build(self) -> Result<VirtualIp, LinuxError> {
        let name = self.plan.name.clone();
        let addresses = self.plan.addresses();
        let backend = self.backend()?;
        Ok(VirtualIp::of(&name, addresses, Arc::new(backend)))
    }

    fn backend(mut self) -> Result<LinuxAddresses, LinuxError> {
        self.check()?;
        let mut holder = Holder::prepare(&self.plan)?;
        for spec in &self.plan.specs {
            self.plan.link_of(&mut holder.kernel, spec)?;
        }
        holder.take(&self.plan)?;
        let events = Events::open(&self.plan.namespace)?;
        let namespace = self.plan.namespace.clone();
        let ports =
            Ports::new(Box::new(move |at| prepare_anywhere(&namespace, at))).with_farewell(self.farewell);
        let core = Arc::new(Core::new(self.plan, holder, Waker::new()?));
        let keeper = Keeper::start(&core, events)?;
        Ok(LinuxAddresses::new(core, keeper, ports))
    }

    fn check(&mut self) -> Result<(), LinuxError> {
        let plan = &mut self.plan;
        if plan.specs.is_empty() {
            return Err(LinuxError::NoAddress);
        }
        let mut sorted = plan.addresses();
        sorted.sort_unstable();
        if let Some(twice) = sorted.windows(2).find(|pair| pair.first() == pair.last()) {
            return Err(LinuxError::Twice { address: twice[0] });
        }
        if let Some(asked) = self.asked {
            plan.lifetime = Lifetime::Seconds(kernel_seconds(asked)?);
        }
        match plan.gate {
            Some(asked) if !(SHORTEST_GATE..=LONGEST_GATE).contains(&asked) => {
                return Err(LinuxError::Gate { asked });
            }
            Some(_) | None => {}
        }
        if plan.namespace.path().is_none() {
            Capability::NetAdmin.require()?;
        }
        remembers_origins()
    }
}

/// Whether the kernel has `IFA_PROTO`.
fn remembers_origins() -> Result<(), LinuxError> {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let mut numbers = release.trim().split(['.', '-', '+']).map(|part| part.parse::<u32>().unwrap_or(0));
    let version = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    // An unreadable release is no reason to refuse: the address says itself whether its origin was kept.
    if version == (0, 0) || version >= (5, 18) {
        return Ok(());
    }
    Err(LinuxError::OldKernel { found: release.trim().into() })
}

impl fmt::Debug for LinuxBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LinuxBuilder")
            .field("name", &self.plan.name)
            .field("addresses", &self.plan.specs)
            .finish_non_exhaustive()
    }
}
