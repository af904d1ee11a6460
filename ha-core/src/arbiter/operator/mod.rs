//! A third party that is a person.

mod desk;
mod group;
mod question;
mod state;

pub use desk::OperatorDesk;
pub use question::{AnswerError, Consequence, OperatorQuestion, QuestionId, Verdict};

use super::deadline::within;
use crate::api::{Arbiter, ArbiterError, ArbiterView, OwnerRecord, Swap};
use crate::{Epoch, Incarnation};
use async_trait::async_trait;
use state::PATIENCE;
use std::sync::Arc;
use std::time::Duration;

/// An arbiter whose truth is a person's word, given at an [`OperatorDesk`].
///
/// A call waits for the answer, at most as long as its deadline; the question outlives it, and the same call made
/// again finds it (or its answer). What takes nothing from anybody is done without asking: the owner's own change of
/// the record, as long as the in-sync set does not shrink, and its release.
///
/// Calls need a tokio runtime with its timer.
///
/// ```
/// use ha_core::arbiter::{OperatorArbiter, OperatorDesk};
/// use std::time::Duration;
/// let desk = OperatorDesk::new(Duration::from_secs(10), |_, question| println!("{question}"));
/// let arbiter = OperatorArbiter::new(desk.clone(), Duration::from_secs(2));
/// assert!(desk.questions().is_empty());
/// ```
#[derive(Clone, Debug)]
pub struct OperatorArbiter {
    desk: Arc<OperatorDesk>,
    deadline: Duration,
}

const NAME: &str = "operator";

impl OperatorArbiter {
    /// An arbiter whose calls wait for an answer at `desk`, each at most `deadline` and a minute.
    #[must_use]
    pub fn new(desk: Arc<OperatorDesk>, deadline: Duration) -> Self {
        Self { desk, deadline: deadline.min(PATIENCE) }
    }

    async fn told(&self, group: &str) -> Result<ArbiterView, ArbiterError> {
        self.desk.wait(|desk| desk.view(group)).await
    }

    async fn do_swap(&self, group: &str, revision: u64, record: OwnerRecord) -> Result<Swap, ArbiterError> {
        let mut question = None;
        self.desk.wait(|desk| desk.swap(group, revision, record, &mut question)).await
    }
}

#[async_trait]
impl Arbiter for OperatorArbiter {
    fn name(&self) -> &str {
        NAME
    }

    fn lease(&self) -> Duration {
        self.desk.lease()
    }

    async fn read(&self, group: &str) -> Result<ArbiterView, ArbiterError> {
        within(NAME, self.deadline, "the operator's answer", self.told(group)).await
    }

    async fn swap(&self, group: &str, revision: u64, record: OwnerRecord) -> Result<Swap, ArbiterError> {
        within(NAME, self.deadline, "the operator's answer", self.do_swap(group, revision, record)).await
    }

    async fn renew(&self, group: &str, life: Incarnation, epoch: Epoch) -> Result<bool, ArbiterError> {
        Ok(self.desk.renew(group, life, epoch))
    }

    async fn release(&self, group: &str, life: Incarnation) -> Result<(), ArbiterError> {
        self.desk.release(group, life);
        Ok(())
    }
}
