//! A way to stop a node for certain.

use crate::engine::FenceAnswer;
use async_trait::async_trait;

/// A way to stop the peer. An answer of `Off` is believed: give it only when it was **verified**; a timeout, a
/// lost connection or an unclear answer is [`FenceAnswer::Failed`].
#[async_trait]
pub trait FenceDevice: Send + Sync {
    /// Its name for logs.
    fn name(&self) -> &str;
    /// Whether the node is off, without changing it.
    async fn status(&self, node: &str) -> FenceAnswer;
    /// Stops the node and verifies it.
    async fn fence(&self, node: &str) -> FenceAnswer;
}
