//! Data that follows the role.

use super::{Ctx, ResourceError};
use crate::engine::{AckRule, DataReport};
use crate::{Epoch, Lsn};
use async_trait::async_trait;
use std::sync::Arc;

/// Takes a data report; called from any thread. It never blocks, and does not call back into what reports.
pub type DataReports = Arc<dyn Fn(DataReport) + Send + Sync>;

/// Data that follows the role: promoted with the grant, demoted before the release.
#[async_trait]
pub trait DataSync: Send + Sync {
    /// Makes this copy the primary of `ctx.epoch()`. Acknowledges by `rule` until told otherwise.
    ///
    /// # Errors
    /// [`ResourceError`] if the copy cannot serve (corrupt, not current, disk gone).
    async fn promote(&self, ctx: &Ctx, rule: AckRule) -> Result<(), ResourceError>;
    /// Ends the primary role: nothing is acknowledged after this resolves. Returns the last transaction that
    /// **both** copies hold; `None` if this copy was alone.
    ///
    /// # Errors
    /// [`ResourceError`] if something may still be acknowledged.
    async fn demote(&self, ctx: &Ctx) -> Result<Option<Lsn>, ResourceError>;
    /// Who must hold a transaction of `epoch` from now on. Waiting transactions follow the new rule.
    fn acknowledge(&self, epoch: Epoch, rule: AckRule);
    /// An operator chose this copy: the next promotion may use it although it may lack data.
    fn force_current(&self);
    /// An operator gave this copy's own tail up: move it to quarantine and follow the owner's copy.
    fn surrender(&self);
    /// The present state.
    fn report(&self) -> DataReport;
    /// Calls `sink` at every change of the state.
    fn subscribe(&self, sink: DataReports);
}
