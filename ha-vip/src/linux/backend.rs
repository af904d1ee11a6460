//! The Linux backend: addresses on interfaces, through netlink.

use super::LinuxError;
use super::core::Core;
use super::keeper::Keeper;
use super::undo::Effect;
use crate::ports::Ports;
use crate::{AcceptSource, AddressBackend, AddressError, Holding};
use async_trait::async_trait;
use ha_core::{TokenCell, Undo};
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The addresses of one resource on Linux interfaces. Made by [`VirtualIp::linux`](crate::VirtualIp::linux).
///
/// Its calls block for the few system calls that they need and await nothing: between the addition of an address and its
/// first announcement no other task runs. All its addresses are taken and given up together. Dropping it gives them up.
pub struct LinuxAddresses {
    core: Arc<Core>,
    ports: Mutex<Ports>,
    // Dropped before the rest: nothing is renewed while the addresses are given up.
    keeper: Option<Keeper>,
}

impl LinuxAddresses {
    pub(super) fn new(core: Arc<Core>, keeper: Keeper, ports: Ports) -> Self {
        Self { core, ports: Mutex::new(ports), keeper: Some(keeper) }
    }

    fn ports(&self) -> MutexGuard<'_, Ports> {
        self.ports.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl AddressBackend for LinuxAddresses {
    fn name(&self) -> &str {
        "linux"
    }

    fn check(&self, address: IpAddr) -> Result<(), AddressError> {
        if self.core.plan.serves(address) {
            return Ok(());
        }
        Err(AddressError::Foreign {
            backend: "linux",
            address,
            expected: "one of the addresses it was built for",
        })
    }

    async fn acquire(&self, addresses: &[IpAddr], token: &TokenCell) -> Result<(), AddressError> {
        addresses.iter().try_for_each(|address| self.check(*address))?;
        self.core.acquire(token)?;
        let opened = self.ports().open_all(&self.core.plan.addresses());
        if opened.is_err() {
            self.core.release()?;
        }
        opened
    }

    async fn release(&self, addresses: &[IpAddr]) -> Result<(), AddressError> {
        addresses.iter().try_for_each(|address| self.check(*address))?;
        // Who waits is told while packets still leave from the address.
        let closed = self.ports().close_all(&self.core.plan.addresses());
        self.core.release()?;
        closed
    }

    async fn holding(&self, _: &[IpAddr]) -> Holding {
        self.core.look()
    }

    fn undo(&self, _: &[IpAddr]) -> Option<Undo> {
        Some(Effect::of(&self.core.plan, self.core.former_settings()).into_undo())
    }

    fn accept_source(&self, at: SocketAddr) -> Result<AcceptSource, AddressError> {
        self.check(at.ip())?;
        self.ports().accept_source(at)
    }
}

impl Drop for LinuxAddresses {
    fn drop(&mut self) {
        self.keeper = None;
        if let Err(error) = self.core.dismantle() {
            tracing::error!(resource = self.core.plan.name, %error, "something is left of the addresses");
        }
    }
}

impl fmt::Debug for LinuxAddresses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LinuxAddresses").field("addresses", &self.core.plan.specs).finish_non_exhaustive()
    }
}

impl From<LinuxError> for AddressError {
    fn from(error: LinuxError) -> Self {
        Self::Linux(Box::new(error))
    }
}
