//! Addresses as a resource of a group.

use crate::linux::{AddressSpec, LinuxBuilder};
use crate::{AcceptSource, AddressBackend, AddressError, Holding};
use async_trait::async_trait;
use ha_core::api::{Ctx, Resource, ResourceError};
use ha_core::engine::Health;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

/// One or more addresses that follow the active node. Put it into the group before the service: they are then acquired
/// before the service starts and released after the service stopped.
#[derive(Clone)]
pub struct VirtualIp {
    name: String,
    addresses: Vec<IpAddr>,
    backend: Arc<dyn AddressBackend>,
}

impl VirtualIp {
    /// The resource `name` that moves `address` by means of `backend`.
    ///
    /// # Errors
    /// [`AddressError::Foreign`] if the backend does not serve such addresses.
    pub fn new(name: &str, address: IpAddr, backend: Arc<dyn AddressBackend>) -> Result<Self, AddressError> {
        Self::several(name, vec![address], backend)
    }

    /// The resource `name` that moves all `addresses` together by means of `backend`.
    ///
    /// # Errors
    /// [`AddressError::Foreign`] if the backend does not serve such addresses; [`AddressError::NoAddress`].
    pub fn several(
        name: &str,
        addresses: Vec<IpAddr>,
        backend: Arc<dyn AddressBackend>,
    ) -> Result<Self, AddressError> {
        if addresses.is_empty() {
            return Err(AddressError::NoAddress);
        }
        addresses.iter().try_for_each(|address| backend.check(*address))?;
        Ok(Self::of(name, addresses, backend))
    }

    /// Addresses on the interfaces of this Linux machine.
    ///
    /// ```no_run
    /// let address = ha_vip::VirtualIp::linux("address", vec!["10.77.0.100/24@lan0".parse()?]).build()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn linux(name: &str, addresses: Vec<AddressSpec>) -> LinuxBuilder {
        LinuxBuilder::new(name, addresses)
    }

    /// Of addresses that the backend is known to serve, at least one.
    pub(crate) fn of(name: &str, addresses: Vec<IpAddr>, backend: Arc<dyn AddressBackend>) -> Self {
        Self { name: name.into(), addresses, backend }
    }

    /// The addresses.
    #[must_use]
    pub fn addresses(&self) -> &[IpAddr] {
        &self.addresses
    }

    /// The first address.
    #[must_use]
    pub fn address(&self) -> IpAddr {
        // There is always one; see `several` and the builders.
        self.addresses.first().copied().unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED))
    }

    /// Connections to `port` of the first address, for the service. Call it once a port, before the group starts,
    /// so that the socket is bound before a takeover needs it.
    ///
    /// # Errors
    /// [`AddressError::Busy`], [`AddressError::AnyPort`], [`AddressError::Socket`].
    pub fn accept_source(&self, port: u16) -> Result<AcceptSource, AddressError> {
        self.backend.accept_source(SocketAddr::new(self.address(), port))
    }

    /// Connections to `at`, whose address is one of these.
    ///
    /// # Errors
    /// As [`accept_source`](Self::accept_source), and [`AddressError::Foreign`].
    pub fn accept_source_at(&self, at: SocketAddr) -> Result<AcceptSource, AddressError> {
        self.backend.accept_source(at)
    }

    /// What the backend finds, in words; [`monitor`](Resource::monitor) makes the health of it.
    pub async fn holding(&self) -> Holding {
        self.backend.holding(&self.addresses).await
    }

    fn failed(&self, reason: impl fmt::Display) -> ResourceError {
        ResourceError::new(&self.name, reason)
    }

    async fn give_back(&self) -> Result<(), ResourceError> {
        self.backend.release(&self.addresses).await.map_err(|e| self.failed(e))?;
        match self.backend.holding(&self.addresses).await {
            Holding::NotHeld => Ok(()),
            left => Err(self.failed(format!("{:?} was released, but {left:?}", self.addresses))),
        }
    }
}

#[async_trait]
impl Resource for VirtualIp {
    fn name(&self) -> &str {
        &self.name
    }

    /// Answers at the address. Refuses without a valid permission; a start that was given up is taken back.
    async fn start(&self, ctx: &Ctx) -> Result<(), ResourceError> {
        if ctx.is_cancelled() {
            return Err(self.failed("the start was given up before it began"));
        }
        ctx.token().check(ctx.now()).map_err(|e| self.failed(e))?;
        if let Some(undo) = self.backend.undo(&self.addresses) {
            ctx.remember_undo(undo).map_err(|e| self.failed(e))?;
        }
        self.backend.acquire(&self.addresses, ctx.token()).await.map_err(|e| self.failed(e))?;
        if ctx.is_cancelled() {
            self.give_back().await?;
            return Err(self.failed("the start was given up; the address was released again"));
        }
        tracing::info!(addresses = ?self.addresses, backend = self.backend.name(), epoch = %ctx.epoch(), "address acquired");
        Ok(())
    }

    /// Answers at the address no more, and verifies it.
    async fn stop(&self, ctx: &Ctx) -> Result<(), ResourceError> {
        self.give_back().await?;
        tracing::info!(addresses = ?self.addresses, backend = self.backend.name(), epoch = %ctx.epoch(), "address released");
        Ok(())
    }

    async fn monitor(&self, _: &Ctx) -> Health {
        match self.backend.holding(&self.addresses).await {
            Holding::Held => Health::Running,
            Holding::Degraded { found } => {
                tracing::warn!(addresses = ?self.addresses, found, "address degraded");
                Health::Degraded
            }
            Holding::NotHeld => Health::Stopped,
            Holding::Broken { found } => {
                tracing::warn!(addresses = ?self.addresses, found, "address broken");
                Health::Failed
            }
            Holding::Unknown { reason } => {
                tracing::warn!(addresses = ?self.addresses, reason, "address unknown");
                Health::Unknown
            }
        }
    }
}

impl fmt::Debug for VirtualIp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let backend = self.backend.name();
        f.debug_struct("VirtualIp")
            .field("name", &self.name)
            .field("addresses", &self.addresses)
            .field("backend", &backend)
            .finish()
    }
}
