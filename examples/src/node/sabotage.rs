//! Broken promises, for the runs that show that the checks notice.

use async_trait::async_trait;
use ha_core::api::{Ctx, DataReports, DataSync, FenceDevice, ResourceError};
use ha_core::engine::{AckRule, DataReport, FenceAnswer};
use ha_core::{Epoch, FenceScope, Lsn};
use std::sync::{Arc, Mutex, PoisonError};

/// No fence at all: whoever is asked about is called off, and nobody is touched. So every silence is a takeover.
pub(super) struct NoFence;

#[async_trait]
impl FenceDevice for NoFence {
    fn name(&self) -> &str {
        "none (sabotage)"
    }

    async fn status(&self, _: &str) -> FenceAnswer {
        FenceAnswer::Off { scope: FenceScope::Incarnation }
    }

    async fn fence(&self, node: &str) -> FenceAnswer {
        self.status(node).await
    }
}

/// A mirror that goes alone by itself as soon as its stream stands still.
pub(super) struct NoExclusion {
    inner: Arc<dyn DataSync>,
    led: Arc<Mutex<Option<(Epoch, AckRule)>>>,
}

impl NoExclusion {
    pub(super) fn new(inner: Arc<dyn DataSync>) -> Self {
        Self { inner, led: Arc::default() }
    }

    fn lead(&self, led: Option<(Epoch, AckRule)>) {
        *self.led.lock().unwrap_or_else(PoisonError::into_inner) = led;
    }
}

#[async_trait]
impl DataSync for NoExclusion {
    async fn promote(&self, ctx: &Ctx, rule: AckRule) -> Result<(), ResourceError> {
        self.inner.promote(ctx, rule).await?;
        self.lead(Some((ctx.epoch(), rule)));
        Ok(())
    }

    async fn demote(&self, ctx: &Ctx) -> Result<Option<Lsn>, ResourceError> {
        self.lead(None);
        self.inner.demote(ctx).await
    }

    fn acknowledge(&self, epoch: Epoch, rule: AckRule) {
        self.lead(Some((epoch, rule)));
        self.inner.acknowledge(epoch, rule);
    }

    fn force_current(&self) {
        self.inner.force_current();
    }

    fn surrender(&self) {
        self.inner.surrender();
    }

    fn report(&self) -> DataReport {
        self.inner.report()
    }

    fn subscribe(&self, sink: DataReports) {
        let (inner, led) = (Arc::clone(&self.inner), Arc::clone(&self.led));
        self.inner.subscribe(Arc::new(move |report| {
            let led = *led.lock().unwrap_or_else(PoisonError::into_inner);
            if let (true, Some((epoch, AckRule::Both(generation)))) = (report.stalled, led) {
                tracing::error!("sabotage: acknowledges alone without a proof");
                let inner = Arc::clone(&inner);
                // Not from within the report: a sink does not call back into what reports to it.
                std::thread::spawn(move || inner.acknowledge(epoch, AckRule::Alone(generation.next())));
            }
            sink(report);
        }));
    }
}
