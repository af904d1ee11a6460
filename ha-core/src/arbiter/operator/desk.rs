//! Where a person finds the open questions and answers them.

use super::question::{AnswerError, OperatorQuestion, QuestionId, Verdict};
use super::state::{State, Wait, unavailable};
use crate::api::{ArbiterError, ArbiterView, Clock, OwnerRecord, Swap};
use crate::runtime::BootClock;
use crate::{Epoch, Incarnation};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::watch;

type Tell = dyn Fn(&OperatorDesk, &OperatorQuestion) + Send + Sync;

/// The desk at which a person answers. Every [`OperatorArbiter`](super::OperatorArbiter) over one desk tells the same.
///
/// A desk remembers nothing across its own end: of each group it first asks what stands. Desks do not know of each
/// other: whoever answers at two of them keeps their answers consistent, and powers an owner off before granting its
/// group at the other desk.
///
/// A question that is not asked again for a minute lapses; a refusal holds for a minute.
pub struct OperatorDesk {
    clock: Arc<dyn Clock>,
    lease: Duration,
    tell: Box<Tell>,
    state: Mutex<State>,
    changed: watch::Sender<u64>,
}

impl fmt::Debug for OperatorDesk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OperatorDesk")
            .field("lease", &self.lease)
            .field("questions", &self.questions().len())
            .finish_non_exhaustive()
    }
}

impl OperatorDesk {
    /// A desk that calls `tell` with each new question; it may answer at once. Leases last `lease`.
    #[must_use]
    pub fn new(
        lease: Duration,
        tell: impl Fn(&Self, &OperatorQuestion) + Send + Sync + 'static,
    ) -> Arc<Self> {
        Self::with_clock(lease, Arc::new(BootClock), tell)
    }

    /// The same with a boot clock of the caller's.
    #[must_use]
    pub fn with_clock(
        lease: Duration,
        clock: Arc<dyn Clock>,
        tell: impl Fn(&Self, &OperatorQuestion) + Send + Sync + 'static,
    ) -> Arc<Self> {
        let (changed, _) = watch::channel(0);
        Arc::new(Self { clock, lease, tell: Box::new(tell), state: Mutex::new(State::new(lease)), changed })
    }

    /// The open questions, the oldest first.
    #[must_use]
    pub fn questions(&self) -> Vec<OperatorQuestion> {
        self.locked().open(self.clock.now())
    }

    /// Answers a question. A granted swap is done when this returns.
    ///
    /// # Errors
    /// [`AnswerError`]; the answer then changed nothing.
    pub fn answer(&self, id: &QuestionId, verdict: Verdict) -> Result<(), AnswerError> {
        let now = self.clock.now();
        self.locked().answer(id, verdict, now)?;
        self.announce();
        Ok(())
    }

    /// Adds a fact to what later questions on the group show; the newest sixteen are kept.
    pub fn note(&self, group: &str, fact: impl Into<String>) {
        self.locked().note(group, fact.into());
    }

    /// That life was heard of: questions that would take a group from it are withdrawn, and answers to them refused.
    pub fn heard_of(&self, life: Incarnation) {
        self.locked().heard_of(life);
        self.announce();
    }

    pub(super) const fn lease(&self) -> Duration {
        self.lease
    }

    /// Waits until `look` sees an answer. The caller bounds it.
    pub(super) async fn wait<T>(&self, mut look: impl FnMut(&Self) -> Wait<T>) -> Result<T, ArbiterError> {
        let mut changed = self.changed.subscribe();
        loop {
            changed.mark_unchanged();
            match look(self) {
                Wait::Ready(answer) => return answer,
                Wait::Open => {}
                Wait::Asked(question) => (self.tell)(self, &question),
            }
            if changed.changed().await.is_err() {
                return Err(unavailable("the desk is closed"));
            }
        }
    }

    pub(super) fn view(&self, group: &str) -> Wait<ArbiterView> {
        let now = self.clock.now();
        self.locked().view(group, now)
    }

    pub(super) fn swap(
        &self,
        group: &str,
        at: u64,
        next: OwnerRecord,
        asked: &mut Option<u64>,
    ) -> Wait<Swap> {
        let now = self.clock.now();
        let wait = self.locked().swap(group, at, next, asked, now);
        if matches!(wait, Wait::Ready(Ok(Swap::Done { .. }))) {
            self.announce();
        }
        wait
    }

    pub(super) fn renew(&self, group: &str, life: Incarnation, epoch: Epoch) -> bool {
        let now = self.clock.now();
        self.locked().renew(group, life, epoch, now)
    }

    pub(super) fn release(&self, group: &str, life: Incarnation) {
        self.locked().release(group, life);
    }

    fn locked(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn announce(&self) {
        self.changed.send_modify(|n| *n = n.wrapping_add(1));
    }
}
