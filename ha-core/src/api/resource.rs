//! Something that runs on the active node.

use super::Ctx;
use crate::engine::Health;
use async_trait::async_trait;
use serde::{Deserialize, Serialize};

/// Something that runs on the active node: a service, an address, a mount.
///
/// Every method takes `&self` and may be called while another one still runs (a `stop` during a `start` that
/// overran its budget). `stop` of something that is not running is a success.
///
/// ```
/// use async_trait::async_trait;
/// use ha_core::api::{Ctx, Resource, ResourceError};
/// use ha_core::engine::Health;
///
/// struct Flag(std::sync::atomic::AtomicBool);
///
/// #[async_trait]
/// impl Resource for Flag {
///     fn name(&self) -> &str { "flag" }
///     async fn start(&self, _: &Ctx) -> Result<(), ResourceError> { self.0.store(true, std::sync::atomic::Ordering::Relaxed); Ok(()) }
///     async fn stop(&self, _: &Ctx) -> Result<(), ResourceError> { self.0.store(false, std::sync::atomic::Ordering::Relaxed); Ok(()) }
///     async fn monitor(&self, _: &Ctx) -> Health {
///         if self.0.load(std::sync::atomic::Ordering::Relaxed) { Health::Running } else { Health::Stopped }
///     }
/// }
/// ```
#[async_trait]
pub trait Resource: Send + Sync {
    /// Its name, as in the configuration.
    fn name(&self) -> &str;
    /// Starts it. Resolves when it serves.
    ///
    /// # Errors
    /// [`ResourceError`] if it does not serve; what was begun is cleaned up by a `stop`.
    async fn start(&self, ctx: &Ctx) -> Result<(), ResourceError>;
    /// Drains and stops it. Resolves when nothing of it is left.
    ///
    /// # Errors
    /// [`ResourceError`] if something is left: the guardian then ends the process.
    async fn stop(&self, ctx: &Ctx) -> Result<(), ResourceError>;
    /// Finishes the work at hand and accepts no more: the group is about to move. Resolves when nothing is left to
    /// do; the move goes on after [`GroupPolicy::drain`](crate::config::GroupPolicy::drain) either way.
    ///
    /// # Errors
    /// [`ResourceError`] if that cannot be; it is stopped as it is.
    async fn drain(&self, _ctx: &Ctx) -> Result<(), ResourceError> {
        Ok(())
    }
    /// Accepts work again: the move was given up.
    ///
    /// # Errors
    /// [`ResourceError`] if it does not; it is then restarted.
    async fn resume(&self, _ctx: &Ctx) -> Result<(), ResourceError> {
        Ok(())
    }
    /// Looks at it, without changing it.
    async fn monitor(&self, ctx: &Ctx) -> Health;
    /// Whether it runs on when the engine's process ends: outside of the process tree, without a permission of the
    /// engine's, and known to the guardian by an undo step. A new object of it, in a new process, must then find it
    /// by [`monitor`](Self::monitor) and end it by [`stop`](Self::stop) without having started it.
    fn outlives_engine(&self) -> bool {
        false
    }
}

/// A resource operation failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{resource}: {reason}")]
pub struct ResourceError {
    /// The resource.
    pub resource: String,
    /// What was found, and what was expected.
    pub reason: String,
}

impl ResourceError {
    /// An error of `resource`.
    #[must_use]
    pub fn new(resource: &str, reason: impl std::fmt::Display) -> Self {
        Self { resource: resource.into(), reason: reason.to_string() }
    }
}

/// A step that takes a side effect back after the process that caused it is dead. Data, not code: the handler
/// for its kind is registered in `main` by the crate that defines it.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct Undo {
    /// Which handler.
    pub kind: String,
    /// The version of `bytes`.
    pub version: u16,
    /// The handler's own description of the effect.
    pub bytes: Vec<u8>,
}
