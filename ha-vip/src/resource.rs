//! An address as a resource of a group.

use crate::{AcceptSource, AddressBackend, AddressError, Holding};
use async_trait::async_trait;
use ha_core::api::{Ctx, Resource, ResourceError};
use ha_core::engine::Health;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

/// An address that follows the active node. Put it into the group before the service: it is then acquired
/// before the service starts and released after the service stopped.
#[derive(Clone)]
pub struct VirtualIp {
    name: String,
    address: IpAddr,
    backend: Arc<dyn AddressBackend>,
}

impl VirtualIp {
    /// The resource `name` that moves `address` by means of `backend`.
    ///
    /// # Errors
    /// [`AddressError::Foreign`] if the backend does not serve such addresses.
    pub fn new(name: &str, address: IpAddr, backend: Arc<dyn AddressBackend>) -> Result<Self, AddressError> {
        backend.check(address)?;
        Ok(Self { name: name.into(), address, backend })
    }

    /// The address.
    #[must_use]
    pub const fn address(&self) -> IpAddr {
        self.address
    }

    /// Connections to `port` of the address, for the service. Call it once a port, before the group starts,
    /// so that the socket is bound before a takeover needs it.
    ///
    /// # Errors
    /// [`AddressError::Busy`], [`AddressError::AnyPort`], [`AddressError::Socket`].
    pub fn accept_source(&self, port: u16) -> Result<AcceptSource, AddressError> {
        self.backend.accept_source(SocketAddr::new(self.address, port))
    }

    fn failed(&self, reason: impl fmt::Display) -> ResourceError {
        ResourceError::new(&self.name, reason)
    }

    async fn give_back(&self) -> Result<(), ResourceError> {
        self.backend.release(self.address).await.map_err(|e| self.failed(e))?;
        match self.backend.holding(self.address).await {
            Holding::NotHeld => Ok(()),
            left => Err(self.failed(format!("{} was released, but {left:?}", self.address))),
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
        if let Some(undo) = self.backend.undo(self.address) {
            ctx.remember_undo(undo).map_err(|e| self.failed(e))?;
        }
        self.backend.acquire(self.address).await.map_err(|e| self.failed(e))?;
        if ctx.is_cancelled() {
            self.give_back().await?;
            return Err(self.failed("the start was given up; the address was released again"));
        }
        tracing::info!(address = %self.address, backend = self.backend.name(), epoch = %ctx.epoch(), "address acquired");
        Ok(())
    }

    /// Answers at the address no more, and verifies it.
    async fn stop(&self, ctx: &Ctx) -> Result<(), ResourceError> {
        self.give_back().await?;
        tracing::info!(address = %self.address, backend = self.backend.name(), epoch = %ctx.epoch(), "address released");
        Ok(())
    }

    async fn monitor(&self, _: &Ctx) -> Health {
        match self.backend.holding(self.address).await {
            Holding::Held => Health::Running,
            Holding::NotHeld => Health::Stopped,
            Holding::Broken { found } => {
                tracing::warn!(address = %self.address, found, "address broken");
                Health::Failed
            }
            Holding::Unknown { reason } => {
                tracing::warn!(address = %self.address, reason, "address unknown");
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
            .field("address", &self.address)
            .field("backend", &backend)
            .finish()
    }
}
