//! The arbiter lane: one thread with its own small runtime that talks to the third party.
//!
//! The queue is bounded and every request has its time: what was not answered by then is *unavailable*, which says
//! nothing about its effect. The engine keeps the same deadline by the boot clock, so a client that blocks its thread
//! delays nobody; a later answer is not counted.

use super::NodeError;
use super::arrivals::{Arrival, ArrivalSender};
use crate::api::{Arbiter, ArbiterError, Swap};
use crate::engine::{ArbiterAnswer, ArbiterRequest};
use crate::{GroupId, OpId};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

/// Requests that may wait. The engine gives one a group at a time.
const REQUESTS_WAITING: usize = 64;

type Order = (OpId, GroupId, ArbiterRequest);

/// The control thread's end of the lane. Dropping it ends the lane's thread.
pub(super) struct ArbiterLane {
    orders: mpsc::Sender<Order>,
}

impl ArbiterLane {
    /// Starts the lane for `arbiter`, which knows the groups by their `names`.
    pub(super) fn start(
        arbiter: Arc<dyn Arbiter>,
        names: BTreeMap<GroupId, String>,
        timeout: Duration,
        arrivals: ArrivalSender,
    ) -> Result<Self, NodeError> {
        let (orders, waiting) = mpsc::channel(REQUESTS_WAITING);
        let failed = |source| NodeError::System { what: "start the arbiter lane", source };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
        let body = move || {
            runtime.block_on(serve(arbiter, names, timeout, waiting, arrivals));
            // A call that never ends must not keep the thread.
            runtime.shutdown_background();
        };
        std::thread::Builder::new().name("ha-arbiter".into()).spawn(body).map_err(failed)?;
        Ok(Self { orders })
    }

    /// Passes a request on. False if the lane does not take it: then no answer will come.
    #[must_use]
    pub(super) fn order(&self, op: OpId, group: GroupId, request: ArbiterRequest) -> bool {
        self.orders.try_send((op, group, request)).is_ok()
    }
}

async fn serve(
    arbiter: Arc<dyn Arbiter>,
    names: BTreeMap<GroupId, String>,
    timeout: Duration,
    mut orders: mpsc::Receiver<Order>,
    arrivals: ArrivalSender,
) {
    while let Some((op, group, request)) = orders.recv().await {
        let Some(name) = names.get(&group).cloned() else { continue };
        let (arbiter, arrivals) = (arbiter.clone(), arrivals.clone());
        // In its own task: one group's slow answer must not hold up another's renewal.
        tokio::spawn(async move {
            let call = tokio::spawn(async move {
                tokio::time::timeout(timeout, ask(arbiter.as_ref(), &name, request)).await
            });
            let answer = match call.await {
                Ok(Ok(answer)) => answer,
                Ok(Err(_)) => ArbiterAnswer::Unavailable,
                Err(e) => {
                    tracing::error!(target: "ha_core", error = %e, "an arbiter's client panicked");
                    ArbiterAnswer::Unavailable
                }
            };
            let _ = arrivals.send(Arrival::Arbiter { op, answer });
        });
    }
}

async fn ask(arbiter: &dyn Arbiter, group: &str, request: ArbiterRequest) -> ArbiterAnswer {
    let answer = match request {
        ArbiterRequest::Read => arbiter.read(group).await.map(ArbiterAnswer::View),
        ArbiterRequest::Swap { revision, record } => {
            arbiter.swap(group, revision, record).await.map(|swap| match swap {
                Swap::Done { revision } => ArbiterAnswer::Swapped { revision },
                Swap::Lost(view) => ArbiterAnswer::Lost(view),
            })
        }
        ArbiterRequest::Renew { incarnation, epoch } => {
            arbiter.renew(group, incarnation, epoch).await.map(ArbiterAnswer::Renewed)
        }
        ArbiterRequest::Release { incarnation } => {
            arbiter.release(group, incarnation).await.map(|()| ArbiterAnswer::Released)
        }
    };
    answer.unwrap_or_else(|e| {
        tracing::warn!(target: "ha_core", group, error = %e, "the arbiter gave no answer");
        match e {
            ArbiterError::Foreign { .. } => ArbiterAnswer::Foreign,
            ArbiterError::Unavailable { .. } | ArbiterError::Unusable { .. } => ArbiterAnswer::Unavailable,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{ArbiterView, Lease, OwnerRecord};
    use crate::{Epoch, Incarnation};
    use async_trait::async_trait;
    use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

    /// Never answers "slow", panics at "bad", and knows nothing of the rest.
    struct Client;

    #[async_trait]
    impl Arbiter for Client {
        fn name(&self) -> &str {
            "test"
        }
        fn lease(&self) -> Duration {
            Duration::from_secs(1)
        }
        async fn read(&self, group: &str) -> Result<ArbiterView, ArbiterError> {
            assert_ne!(group, "bad", "a bug");
            if group == "slow" {
                std::future::pending::<()>().await;
            }
            Ok(ArbiterView::new(None, Lease::Free, 0))
        }
        async fn swap(&self, group: &str, _: u64, _: OwnerRecord) -> Result<Swap, ArbiterError> {
            let advice = "use another key".into();
            Err(ArbiterError::Foreign {
                arbiter: "test".into(),
                group: group.into(),
                found: "text".into(),
                advice,
            })
        }
        async fn renew(&self, _: &str, _: Incarnation, _: Epoch) -> Result<bool, ArbiterError> {
            Ok(true)
        }
        async fn release(&self, _: &str, _: Incarnation) -> Result<(), ArbiterError> {
            Ok(())
        }
    }

    fn lane(timeout: Duration) -> (ArbiterLane, UnboundedReceiver<Arrival>) {
        let (tx, rx) = unbounded_channel();
        let names = ["good", "slow", "bad"].map(str::to_owned);
        let names = (0u16..).map(GroupId).zip(names).collect();
        (ArbiterLane::start(Arc::new(Client), names, timeout, tx).unwrap(), rx)
    }

    async fn answer(rx: &mut UnboundedReceiver<Arrival>) -> (OpId, ArbiterAnswer) {
        match rx.recv().await {
            Some(Arrival::Arbiter { op, answer }) => (op, answer),
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn a_request_without_an_answer_holds_up_no_other_group() {
        let (lane, mut rx) = lane(Duration::from_secs(3600));
        assert!(lane.order(OpId(1), GroupId(1), ArbiterRequest::Read));
        let renew = ArbiterRequest::Renew { incarnation: Incarnation(1), epoch: Epoch(1) };
        assert!(lane.order(OpId(2), GroupId(0), renew));
        assert_eq!(answer(&mut rx).await, (OpId(2), ArbiterAnswer::Renewed(true)));
    }

    #[tokio::test]
    async fn silence_panics_and_foreign_records_each_have_their_answer() {
        let (lane, mut rx) = lane(Duration::from_millis(1));
        assert!(lane.order(OpId(1), GroupId(1), ArbiterRequest::Read));
        assert_eq!(answer(&mut rx).await, (OpId(1), ArbiterAnswer::Unavailable));
        assert!(lane.order(OpId(2), GroupId(2), ArbiterRequest::Read));
        assert_eq!(answer(&mut rx).await, (OpId(2), ArbiterAnswer::Unavailable));
        let record = OwnerRecord::new(crate::InitId(1), Incarnation(1));
        assert!(lane.order(OpId(3), GroupId(0), ArbiterRequest::Swap { revision: 0, record }));
        assert_eq!(answer(&mut rx).await, (OpId(3), ArbiterAnswer::Foreign));
    }
}
