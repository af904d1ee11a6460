//! A resource under test, with its permission, in this process.

#![allow(dead_code, clippy::unwrap_used, clippy::panic, reason = "a failed step of a test is a failed test")]

use ha_core::api::{Clock, Ctx, Environment, Resource, ResourceError, UndoError};
use ha_core::engine::Health;
use ha_core::runtime::{BootClock, Unguarded};
use ha_core::{Epoch, GroupId, Instant, StopProof, TokenCell, Undo};
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

    /// A start whose grant rests on `proof`.
    pub fn start_on(&self, proof: StopProof) -> Result<(), ResourceError> {
        self.runtime.block_on(self.address.start(&self.ctx().with_proof(Some(proof))))
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

    /// The undo step that a start stores at the guardian.
    pub fn undo(&self) -> Option<Undo> {
        let noted = Arc::new(Noted::default());
        let environment: Arc<dyn Environment> = noted.clone();
        let token = TokenCell::new(GroupId(0));
        token.set(Epoch(1), Instant::FAR);
        let ctx = Ctx::new(environment, Epoch(1), BootClock.now() + Duration::from_secs(10), token);
        // It is stored before anything else happens; the start goes no further then.
        let started = self.runtime.block_on(self.address.start(&ctx));
        assert!(started.is_err(), "the start went on although its undo step was not stored");
        noted.0.lock().unwrap().take()
    }

    pub fn permit(&self, span: Duration) {
        self.token.set(Epoch(1), BootClock.now() + span);
    }
}

/// An environment whose guardian notes the step and refuses it.
#[derive(Default)]
struct Noted(Mutex<Option<Undo>>);

impl Environment for Noted {
    fn now(&self) -> Instant {
        BootClock.now()
    }
    fn sleep(&self, span: Duration) -> futures::future::BoxFuture<'static, ()> {
        Unguarded.sleep(span)
    }
    fn spawn(&self, task: futures::future::BoxFuture<'static, ()>) {
        Unguarded.spawn(task);
    }
    fn remember_undo(&self, undo: Undo) -> Result<(), UndoError> {
        let kind = undo.kind.clone();
        *self.0.lock().unwrap() = Some(undo);
        Err(UndoError { kind, reason: "noted".into() })
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
