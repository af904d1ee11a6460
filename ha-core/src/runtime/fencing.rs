//! The fence lane: one thread with its own small runtime that talks to the fence device.
//!
//! The control thread itself keeps the deadline of every order, by the boot clock: a device that never
//! answers, or that blocks its thread, still gives exactly one completion in time. A later answer is only logged.

use super::NodeError;
use super::arrivals::{Arrival, ArrivalSender};
use crate::api::FenceDevice;
use crate::config::FenceConfig;
use crate::engine::FenceAnswer;
use crate::{FenceScope, Instant, OpId};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

/// Orders that may wait. The engine gives one question and one shot at a time.
const ORDERS_WAITING: usize = 16;

/// What the device is asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum FenceOrder {
    /// Is it off? Without effect.
    Query,
    /// Stop it, and verify.
    Shoot,
}

/// The control thread's end of the lane. Dropping it ends the lane's thread.
pub(super) struct FenceLane {
    orders: mpsc::Sender<(OpId, FenceOrder)>,
    timeout: Duration,
    scope: FenceScope,
    open: Vec<(OpId, Instant)>,
}

impl FenceLane {
    /// Starts the lane for `device`, which can stop the node called `target`.
    pub(super) fn start(
        device: Arc<dyn FenceDevice>,
        target: String,
        config: &FenceConfig,
        arrivals: ArrivalSender,
    ) -> Result<Self, NodeError> {
        let (orders, waiting) = mpsc::channel(ORDERS_WAITING);
        let failed = |source| NodeError::System { what: "start the fence lane", source };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
        let timeout = config.timeout;
        let body = move || {
            runtime.block_on(serve(device, target, timeout, waiting, arrivals));
            // A device call that never ends must not keep the thread.
            runtime.shutdown_background();
        };
        std::thread::Builder::new().name("ha-fence".into()).spawn(body).map_err(failed)?;
        Ok(Self { orders, timeout, scope: config.scope, open: Vec::new() })
    }

    /// Gives an order. One that the lane does not take is overdue at once.
    pub(super) fn order(&mut self, now: Instant, op: OpId, order: FenceOrder) {
        let taken = self.orders.try_send((op, order)).is_ok();
        self.open.push((op, if taken { now + self.timeout } else { now }));
    }

    /// Takes an answer; `None` if the order was given up already. The configured scope bounds what is believed.
    pub(super) fn answered(&mut self, op: OpId, answer: FenceAnswer) -> Option<FenceAnswer> {
        let Some(place) = self.open.iter().position(|(open, _)| *open == op) else {
            tracing::warn!(target: "ha_core", %op, ?answer, "a fence device answered after its timeout; not counted");
            return None;
        };
        self.open.swap_remove(place);
        Some(match answer {
            FenceAnswer::Off { scope } => FenceAnswer::Off { scope: scope.min(self.scope) },
            FenceAnswer::On => FenceAnswer::On,
            FenceAnswer::Failed => FenceAnswer::Failed,
        })
    }

    /// The next order whose time is over: it failed.
    pub(super) fn overdue(&mut self, now: Instant) -> Option<OpId> {
        let place = self.open.iter().position(|(_, deadline)| *deadline <= now)?;
        Some(self.open.swap_remove(place).0)
    }

    /// When [`FenceLane::overdue`] has something at the earliest.
    pub(super) fn next_deadline(&self) -> Instant {
        self.open.iter().map(|(_, deadline)| *deadline).min().unwrap_or(Instant::FAR)
    }
}

async fn serve(
    device: Arc<dyn FenceDevice>,
    target: String,
    timeout: Duration,
    mut orders: mpsc::Receiver<(OpId, FenceOrder)>,
    arrivals: ArrivalSender,
) {
    let target: Arc<str> = target.into();
    while let Some((op, order)) = orders.recv().await {
        let call = ask(device.clone(), target.clone(), order, timeout);
        let arrivals = arrivals.clone();
        // In its own task: a hung question must not hold up a shot.
        tokio::spawn(async move {
            let answer = tokio::spawn(call).await.unwrap_or_else(|e| {
                tracing::error!(target: "ha_core", error = %e, "a fence device panicked");
                FenceAnswer::Failed
            });
            let _ = arrivals.send(Arrival::Fence { op, answer });
        });
    }
}

/// A question is dropped at its timeout; a shot under way is left to end by itself, so that it is never half done.
async fn ask(
    device: Arc<dyn FenceDevice>,
    target: Arc<str>,
    order: FenceOrder,
    timeout: Duration,
) -> FenceAnswer {
    match order {
        FenceOrder::Query => {
            tokio::time::timeout(timeout, device.status(&target)).await.unwrap_or(FenceAnswer::Failed)
        }
        FenceOrder::Shoot => device.fence(&target).await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use async_trait::async_trait;
    use tokio::sync::Notify;
    use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

    /// Answers questions at once, claims the widest scope, and shoots only when let go; or panics.
    struct Device {
        trigger: Arc<Notify>,
        broken: bool,
    }

    #[async_trait]
    impl FenceDevice for Device {
        fn name(&self) -> &str {
            "test"
        }
        async fn status(&self, node: &str) -> FenceAnswer {
            assert!(!self.broken, "broken device");
            assert_eq!(node, "right");
            FenceAnswer::Off { scope: FenceScope::Incarnation }
        }
        async fn fence(&self, _: &str) -> FenceAnswer {
            self.trigger.notified().await;
            FenceAnswer::Off { scope: FenceScope::Incarnation }
        }
    }

    fn lane(broken: bool, scope: FenceScope) -> (FenceLane, UnboundedReceiver<Arrival>, Arc<Notify>) {
        let (tx, rx) = unbounded_channel();
        let trigger = Arc::new(Notify::new());
        let device = Arc::new(Device { trigger: trigger.clone(), broken });
        let config = FenceConfig { scope, ..FenceConfig::new(Duration::from_secs(3600)) };
        (FenceLane::start(device, "right".into(), &config, tx).unwrap(), rx, trigger)
    }

    async fn answer(rx: &mut UnboundedReceiver<Arrival>) -> (OpId, FenceAnswer) {
        match rx.recv().await {
            Some(Arrival::Fence { op, answer }) => (op, answer),
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn a_hung_shot_does_not_hold_up_a_question_and_the_configured_scope_is_the_limit() {
        let (mut lane, mut rx, _trigger) = lane(false, FenceScope::Processes);
        lane.order(Instant::ZERO, OpId(1), FenceOrder::Shoot);
        lane.order(Instant::ZERO, OpId(2), FenceOrder::Query);
        let (op, said) = answer(&mut rx).await;
        assert_eq!(op, OpId(2));
        assert_eq!(lane.answered(op, said), Some(FenceAnswer::Off { scope: FenceScope::Processes }));
    }

    #[tokio::test]
    async fn an_overdue_shot_fails_once_and_its_late_answer_is_not_counted() {
        let (mut lane, mut rx, trigger) = lane(false, FenceScope::Incarnation);
        lane.order(Instant::ZERO, OpId(1), FenceOrder::Shoot);
        let due = lane.next_deadline();
        assert_eq!(due, Instant::ZERO + Duration::from_secs(3600));
        assert_eq!(lane.overdue(due - Duration::from_nanos(1)), None);
        assert_eq!(lane.overdue(due), Some(OpId(1)));
        assert_eq!((lane.overdue(due), lane.next_deadline()), (None, Instant::FAR));
        trigger.notify_one();
        let (op, said) = answer(&mut rx).await;
        assert_eq!(lane.answered(op, said), None);
    }

    #[tokio::test]
    async fn a_panicking_device_is_a_failure() {
        let (mut lane, mut rx, _trigger) = lane(true, FenceScope::Incarnation);
        lane.order(Instant::ZERO, OpId(1), FenceOrder::Query);
        assert_eq!(answer(&mut rx).await, (OpId(1), FenceAnswer::Failed));
    }
}
