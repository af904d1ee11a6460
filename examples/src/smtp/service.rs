//! The server as a resource of a group.

use super::Limits;
use super::permit::Permit;
use super::reply::Identity;
use super::server::Server;
use super::store::MessageStore;
use async_trait::async_trait;
use ha_core::api::{Clock, Ctx, Resource, ResourceError};
use ha_core::engine::Health;
use ha_vip::AcceptSource;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Kept of a stop's budget for ending what a drain left.
const MARGIN: Duration = Duration::from_millis(50);

/// The SMTP server as a resource. Put it into the group after its address, whose
/// [`accept_source`](ha_vip::VirtualIp::accept_source) it serves.
pub struct Service {
    name: String,
    source: AcceptSource,
    who: Identity,
    store: Arc<dyn MessageStore>,
    limits: Limits,
    clock: Arc<dyn Clock>,
    server: Mutex<Option<Server>>,
}

impl Service {
    /// The resource `name`. `clock` is the node's boot clock, the one its permission is judged by.
    #[must_use]
    pub fn new(
        name: &str,
        source: AcceptSource,
        who: Identity,
        store: Arc<dyn MessageStore>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let limits = Limits::default();
        Self { name: name.into(), source, who, store, limits, clock, server: Mutex::default() }
    }

    /// The same with other limits.
    #[must_use]
    pub fn with_limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    fn server(&self) -> std::sync::MutexGuard<'_, Option<Server>> {
        self.server.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Resource for Service {
    fn name(&self) -> &str {
        &self.name
    }

    async fn start(&self, ctx: &Ctx) -> Result<(), ResourceError> {
        let permit = Permit::new(ctx.token().clone(), self.clock.clone());
        let (store, limits) = (self.store.clone(), self.limits.clone());
        let mut running = self.server();
        if !running.as_ref().is_some_and(Server::is_serving) {
            *running = Some(Server::start(self.source.clone(), permit, self.who.clone(), store, limits));
        }
        Ok(())
    }

    async fn stop(&self, ctx: &Ctx) -> Result<(), ResourceError> {
        let Some(server) = self.server().take() else { return Ok(()) };
        let patience = self.limits.drain.min(ctx.remaining().saturating_sub(MARGIN));
        let drained = server.drain(patience).await;
        if !drained.in_time {
            tracing::warn!(?patience, "transactions in progress were cut off");
        }
        // A delivery outlives its client. If it hangs, this stop fails, and the guardian ends the process.
        self.store.settle().await;
        Ok(())
    }

    async fn monitor(&self, _: &Ctx) -> Health {
        match &*self.server() {
            None => Health::Stopped,
            Some(server) if server.is_serving() && self.source.is_open() => Health::Running,
            Some(_) => Health::Failed,
        }
    }
}
