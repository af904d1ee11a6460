//! A speaker that follows a group.

use super::{VrrpSpeaker, VrrpState, VrrpStatus};
use async_trait::async_trait;
use ha_core::api::{Ctx, Resource, ResourceError};
use ha_core::engine::Health;
use std::sync::Arc;

/// What it means for the group when a foreign speaker ranks higher, or the interface cannot speak.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum WhenOutranked {
    /// The group stays; it is [`Health::Degraded`]. The pair decides by its own proofs, VRRP is a courtesy to routers.
    #[default]
    Report,
    /// The announcer is [`Health::Failed`], and the engine does what it does about failed resources.
    Fail,
}

/// A [`VrrpSpeaker`] as a resource: it may be active exactly while its group is active on this node, and leaves with
/// priority 0 when the group stops. Put it last into the group, so that it starts last and stops first.
#[derive(Clone, Debug)]
pub struct VrrpAnnouncer {
    name: String,
    speaker: Arc<VrrpSpeaker>,
    when_outranked: WhenOutranked,
}

impl VrrpAnnouncer {
    /// The resource `name` that lets `speaker` speak. Spawn the speaker before the group starts: it listens meanwhile,
    /// and then need not wait a whole silence before it speaks.
    #[must_use]
    pub fn new(name: &str, speaker: Arc<VrrpSpeaker>, when_outranked: WhenOutranked) -> Self {
        Self { name: name.into(), speaker, when_outranked }
    }

    /// Its speaker.
    #[must_use]
    pub const fn speaker(&self) -> &Arc<VrrpSpeaker> {
        &self.speaker
    }

    fn failed(&self, reason: impl std::fmt::Display) -> ResourceError {
        ResourceError::new(&self.name, reason)
    }

    async fn until(&self, ctx: &Ctx, wanted: fn(&VrrpStatus) -> bool) -> Result<(), ResourceError> {
        tokio::select! {
            reached = self.speaker.until(wanted) => reached.map(drop).ok_or_else(|| self.failed("the speaker has ended")),
            () = ctx.sleep(ctx.remaining()) => {
                Err(self.failed(format!("the speaker did not follow in time, it is {:?}", self.speaker.status())))
            }
        }
    }

    async fn take_back(&self, ctx: &Ctx) -> Result<(), ResourceError> {
        self.speaker.permit(false);
        self.until(ctx, |status| !status.permitted && status.state != VrrpState::Active).await
    }
}

#[async_trait]
impl Resource for VrrpAnnouncer {
    fn name(&self) -> &str {
        &self.name
    }

    /// Permits the speaker to speak when it is its turn. Does not wait for the turn.
    async fn start(&self, ctx: &Ctx) -> Result<(), ResourceError> {
        if ctx.is_cancelled() {
            return Err(self.failed("the start was given up before it began"));
        }
        ctx.token().check(ctx.now()).map_err(|e| self.failed(e))?;
        self.speaker.permit_while(ctx.token().clone());
        self.until(ctx, |status| status.permitted).await?;
        if ctx.is_cancelled() {
            self.take_back(ctx).await?;
            return Err(self.failed("the start was given up; the speaker is silent again"));
        }
        Ok(())
    }

    /// Silences it; resolves when it has said that it leaves.
    async fn stop(&self, ctx: &Ctx) -> Result<(), ResourceError> {
        self.take_back(ctx).await
    }

    async fn monitor(&self, _: &Ctx) -> Health {
        let status = self.speaker.status();
        match (status.state, self.when_outranked) {
            _ if !status.permitted => Health::Stopped,
            (VrrpState::Active, _) => Health::Running,
            (VrrpState::Backup, _) if status.outranked_by.is_none() => Health::Running,
            (_, WhenOutranked::Report) => Health::Degraded,
            (_, WhenOutranked::Fail) => Health::Failed,
        }
    }
}
