//! No call of an arbiter lasts longer than its deadline.

use crate::api::{Arbiter, ArbiterError, ArbiterView, OwnerRecord, Swap};
use crate::{Epoch, Incarnation};
use async_trait::async_trait;
use std::time::Duration;

/// Any arbiter, each of whose calls ends within a deadline: as [`ArbiterError::Unavailable`] if it has to, which, as
/// every error, leaves open whether it took effect.
///
/// Calls need a tokio runtime with its timer.
///
/// ```
/// use ha_core::api::Arbiter;
/// use ha_core::arbiter::WithDeadline;
/// use std::time::Duration;
/// # fn slow() -> Box<dyn Arbiter> { unimplemented!() }
/// # fn example() {
/// let bounded = WithDeadline::new(slow(), Duration::from_secs(2));
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct WithDeadline<A> {
    inner: A,
    deadline: Duration,
}

impl<A> WithDeadline<A> {
    /// Bounds each call of `inner` to `deadline`.
    #[must_use]
    pub const fn new(inner: A, deadline: Duration) -> Self {
        Self { inner, deadline }
    }

    /// The arbiter inside.
    #[must_use]
    pub fn into_inner(self) -> A {
        self.inner
    }
}

#[async_trait]
impl<A: Arbiter> Arbiter for WithDeadline<A> {
    fn name(&self) -> &str {
        self.inner.name()
    }

    fn lease(&self) -> Duration {
        self.inner.lease()
    }

    async fn read(&self, group: &str) -> Result<ArbiterView, ArbiterError> {
        within(self.name(), self.deadline, "reading", self.inner.read(group)).await
    }

    async fn swap(&self, group: &str, revision: u64, record: OwnerRecord) -> Result<Swap, ArbiterError> {
        within(self.name(), self.deadline, "a swap", self.inner.swap(group, revision, record)).await
    }

    async fn renew(&self, group: &str, life: Incarnation, epoch: Epoch) -> Result<bool, ArbiterError> {
        within(self.name(), self.deadline, "a renewal", self.inner.renew(group, life, epoch)).await
    }

    async fn release(&self, group: &str, life: Incarnation) -> Result<(), ArbiterError> {
        within(self.name(), self.deadline, "a release", self.inner.release(group, life)).await
    }
}

/// Ends `call` at the deadline, by dropping it.
pub(super) async fn within<T>(
    arbiter: &str,
    deadline: Duration,
    what: &str,
    call: impl Future<Output = Result<T, ArbiterError>>,
) -> Result<T, ArbiterError> {
    match tokio::time::timeout(deadline, call).await {
        Ok(answer) => answer,
        Err(_) => Err(ArbiterError::Unavailable {
            arbiter: arbiter.to_owned(),
            reason: format!("{what} did not end within {deadline:?}"),
        }),
    }
}

/// Refuses a lease and a deadline that cannot work together.
#[cfg(any(feature = "object", feature = "etcd"))]
pub(super) fn check_times(arbiter: &str, lease: Duration, deadline: Duration) -> Result<(), ArbiterError> {
    if !deadline.is_zero() && deadline * 2 <= lease {
        return Ok(());
    }
    Err(ArbiterError::Unusable {
        arbiter: arbiter.to_owned(),
        reason: format!(
            "its deadline per call is {deadline:?} and its lease {lease:?}; a renewal that failed once must fit into the \
             lease a second time: set the deadline above zero and to at most half of the lease"
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::Lease;

    struct Silent;

    #[async_trait]
    impl Arbiter for Silent {
        fn name(&self) -> &str {
            "silent"
        }
        fn lease(&self) -> Duration {
            Duration::from_secs(9)
        }
        async fn read(&self, _: &str) -> Result<ArbiterView, ArbiterError> {
            Ok(ArbiterView::new(None, Lease::Free, 0))
        }
        async fn swap(&self, _: &str, _: u64, _: OwnerRecord) -> Result<Swap, ArbiterError> {
            std::future::pending().await
        }
        async fn renew(&self, _: &str, _: Incarnation, _: Epoch) -> Result<bool, ArbiterError> {
            std::future::pending().await
        }
        async fn release(&self, _: &str, _: Incarnation) -> Result<(), ArbiterError> {
            std::future::pending().await
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_arbiter_is_unavailable_at_the_deadline() {
        let bounded = WithDeadline::new(Silent, Duration::from_secs(2));
        assert!(bounded.read("g").await.is_ok());
        let record = OwnerRecord::new(crate::InitId(1), Incarnation(2));
        for error in [
            bounded.swap("g", 0, record).await.unwrap_err(),
            bounded.renew("g", Incarnation(2), Epoch(1)).await.unwrap_err(),
            bounded.release("g", Incarnation(2)).await.unwrap_err(),
        ] {
            assert!(
                matches!(&error, ArbiterError::Unavailable { arbiter, .. } if arbiter == "silent"),
                "{error}"
            );
            assert!(error.to_string().contains("did not end within 2s"), "{error}");
        }
    }
}
