//! A resource under test, with its permission, in this process.

#![allow(dead_code, clippy::unwrap_used, clippy::panic, reason = "a failed step of a test is a failed test")]

use ha_core::api::{Clock, Ctx, Resource, ResourceError};
use ha_core::engine::Health;
use ha_core::runtime::{BootClock, Unguarded};
use ha_core::{Epoch, GroupId, Instant, TokenCell};
use ha_vip::linux::{AddressSpec, Announce};
use ha_vip::{Nic, VirtualIp};
use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

pub fn specs(texts: &[&str]) -> Vec<AddressSpec> {
    texts.iter().map(|text| text.parse().unwrap()).collect()
}

/// A resource, the permission of its group, and a runtime of its own.
pub struct Serving {
    pub address: VirtualIp,
    pub token: TokenCell,
    runtime: tokio::runtime::Runtime,
}

impl Serving {
    /// With a permission that does not end.
    pub fn new(build: impl FnOnce() -> VirtualIp) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let token = TokenCell::new(GroupId(0));
        token.set(Epoch(1), Instant::FAR);
        let address = runtime.block_on(async { build() });
        Self { address, token, runtime }
    }

    fn ctx(&self) -> Ctx {
        let deadline = BootClock.now() + Duration::from_secs(10);
        Ctx::new(Arc::new(Unguarded), Epoch(1), deadline, self.token.clone())
    }

    pub fn start(&self) -> Result<(), ResourceError> {
        self.runtime.block_on(self.address.start(&self.ctx()))
    }

    pub fn stop(&self) -> Result<(), ResourceError> {
        self.runtime.block_on(self.address.stop(&self.ctx()))
    }

    pub fn health(&self) -> Health {
        self.runtime.block_on(self.address.monitor(&self.ctx()))
    }

    /// The health, which must be this.
    pub fn must_be(&self, expected: Health) {
        let health = self.health();
        let found = self.runtime.block_on(self.address.holding());
        assert_eq!(health, expected, "{found:?}");
    }

    pub fn permit(&self, span: Duration) {
        self.token.set(Epoch(1), BootClock.now() + span);
    }
}

/// Notes what it is told.
#[derive(Default)]
pub struct Told(pub Mutex<Vec<(String, IpAddr)>>);

impl Told {
    pub fn all(&self) -> Vec<(String, IpAddr)> {
        self.0.lock().unwrap().clone()
    }
}

impl Announce for Told {
    fn announce(&self, nic: &Nic, address: IpAddr) {
        self.0.lock().unwrap().push((nic.name.clone(), address));
    }
}
