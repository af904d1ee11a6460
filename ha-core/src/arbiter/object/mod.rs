//! A third party that is only a place to put objects: a folder, S3 and the like.
//!
//! Every swap creates `record.<revision + 1>` on the condition that it does not exist: the one conditional write that
//! every store has (a local folder has no conditional *update*). Records are never changed. The lease of revision *r* is
//! held by the record's own creation; renewals overwrite `lease.<r>`, which nobody but that owner writes.

mod builder;
mod lease_text;
mod newest;
mod places;
mod store;

pub use builder::ObjectArbiterBuilder;

use super::deadline::within;
use super::own_leases::{OwnGrant, OwnLeases};
use super::random::fresh;
use super::stored::{self, Stored};
use super::succession::check_succession;
use crate::api::{Arbiter, ArbiterError, ArbiterView, Lease, OwnerRecord, Swap};
use crate::{Epoch, Incarnation, Instant};
use async_trait::async_trait;
use lease_text::LeaseText;
use newest::Found;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use store::{Created, Store};

/// A swap that lasted longer answers nothing: the records that would contradict it may have been cleared away.
const LONGEST_SWAP: Duration = Duration::from_secs(600);

/// An arbiter over an object store: a folder on a third machine's share, or an S3-compatible bucket.
///
/// It has no clock of its own: an expired lease is seen by reading twice ([`Lease::Held`]). It needs a store whose
/// reads, lists and conditional creation are strongly consistent; that creation is conditional at all is tried out
/// before the first swap.
///
/// Calls need a tokio runtime.
///
/// ```no_run
/// use ha_core::arbiter::ObjectArbiter;
/// use std::time::Duration;
/// # fn example() -> Result<(), ha_core::api::ArbiterError> {
/// let witness = ObjectArbiter::folder("/mnt/witness")?
///     .prefix("pair-a")
///     .lease(Duration::from_secs(10))
///     .deadline(Duration::from_secs(2))
///     .build()?;
/// # Ok(())
/// # }
/// ```
pub struct ObjectArbiter {
    name: String,
    deadline: Duration,
    store: Store,
    own: OwnLeases<Arc<AtomicU64>>,
    tried_out: AtomicBool,
}

impl fmt::Debug for ObjectArbiter {
    // The store itself is left out: it may hold the bucket's credentials.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ObjectArbiter")
            .field("name", &self.name)
            .field("prefix", &self.store.prefix())
            .field("lease", &self.own.lease())
            .field("deadline", &self.deadline)
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl Arbiter for ObjectArbiter {
    fn name(&self) -> &str {
        &self.name
    }

    fn lease(&self) -> Duration {
        self.own.lease()
    }

    async fn read(&self, group: &str) -> Result<ArbiterView, ArbiterError> {
        within(&self.name, self.deadline, "reading", async {
            let (found, _) = self.store.newest(group).await?;
            self.view(group, found).await
        })
        .await
    }

    async fn swap(&self, group: &str, revision: u64, record: OwnerRecord) -> Result<Swap, ArbiterError> {
        let asked = self.own.now();
        within(&self.name, self.deadline, "a swap", self.do_swap(group, revision, record, asked)).await
    }

    async fn renew(&self, group: &str, life: Incarnation, epoch: Epoch) -> Result<bool, ArbiterError> {
        let asked = self.own.now();
        within(&self.name, self.deadline, "a renewal", self.do_renew(group, life, epoch, asked)).await
    }

    async fn release(&self, group: &str, life: Incarnation) -> Result<(), ArbiterError> {
        // Whatever becomes of the call, this life asks for no more.
        self.own.forget(group, life);
        within(&self.name, self.deadline, "a release", self.do_release(group, life)).await
    }
}

impl ObjectArbiter {
    async fn view(&self, group: &str, found: Option<Found>) -> Result<ArbiterView, ArbiterError> {
        let Some(Found { revision, stored }) = found else {
            return Ok(ArbiterView::new(None, Lease::Free, 0));
        };
        let lease = match stored.record.owner {
            Some(_) => self.store.lease(group, revision, &stored).await?,
            None => Lease::Free,
        };
        Ok(ArbiterView::new(Some(stored.record), lease, revision))
    }

    async fn do_swap(
        &self,
        group: &str,
        revision: u64,
        record: OwnerRecord,
        asked: Instant,
    ) -> Result<Swap, ArbiterError> {
        self.try_out().await?;
        let (standing, listing) = self.store.newest(group).await?;
        if standing.as_ref().map_or(0, |found| found.revision) != revision {
            return Ok(Swap::Lost(self.view(group, standing).await?));
        }
        if let Some(found) = &standing {
            check_succession(&self.name, group, &found.stored.record, &record)?;
        }
        let next = self.store.after(group, revision)?;
        let stored = Stored { write: fresh(&self.name)?, record };
        let bytes = stored::encode(&self.name, group, &stored)?;
        if record.owner.is_some() {
            self.own.asking(group, grant(&stored, asked));
        }
        if let Created::Existed = self.store.create(group, next, bytes).await? {
            // Our own write may be what exists: a client below us repeats requests whose answer was lost.
            let there = self.store.record(group, next).await?;
            if there.is_none_or(|there| there.write != stored.write) {
                self.own.refused(group, stored.write);
                let (standing, _) = self.store.newest(group).await?;
                return self.lost(group, revision, standing).await;
            }
        }
        if self.own.now().since(asked) > LONGEST_SWAP {
            return Err(self.unavailable(format!("a swap lasted longer than {LONGEST_SWAP:?}; read again")));
        }
        self.own.stands(group, stored.write, next);
        if !takes_over(standing.as_ref(), &record) {
            self.store.clear_old(group, next, &listing).await;
        }
        Ok(Swap::Done { revision: next })
    }

    async fn lost(&self, group: &str, revision: u64, standing: Option<Found>) -> Result<Swap, ArbiterError> {
        match standing {
            Some(found) if found.revision != revision => Ok(Swap::Lost(self.view(group, Some(found)).await?)),
            // The store refused for a conflict, yet nobody won it.
            _ => Err(self
                .unavailable("the store reports a conflict, and nothing new stands; read again".to_owned())),
        }
    }

    async fn do_renew(
        &self,
        group: &str,
        life: Incarnation,
        epoch: Epoch,
        asked: Instant,
    ) -> Result<bool, ArbiterError> {
        if !self.own.may_own(group, life, epoch) {
            return Ok(false);
        }
        let Some(grant) = self.standing_grant(group).await? else { return Ok(false) };
        let Some(revision) = grant.revision else { return Ok(false) };
        if grant.incarnation != life || grant.epoch != epoch || !self.own.is_open(&grant) {
            return Ok(false);
        }
        let counter = grant.token.fetch_add(1, Ordering::Relaxed);
        self.store
            .put_lease(group, revision, &LeaseText::held(grant.write, fresh(&self.name)?, counter))
            .await?;
        // Only now does it matter whether the record still stands: the renewal is where a reader finds it.
        if self.store.record(group, self.store.after(group, revision)?).await?.is_some() {
            return Ok(false);
        }
        let still_there = self.store.record(group, revision).await?.is_some_and(|s| s.write == grant.write);
        Ok(still_there && self.own.renewed(group, grant.write, asked))
    }

    /// The grant of ours that stands, asking the store only if one of them is of unknown outcome.
    async fn standing_grant(&self, group: &str) -> Result<Option<OwnGrant<Arc<AtomicU64>>>, ArbiterError> {
        if let Some(grant) = self.own.certain(group) {
            return Ok(Some(grant));
        }
        let (found, _) = self.store.newest(group).await?;
        Ok(found.and_then(|found| self.own.stands(group, found.stored.write, found.revision)))
    }

    async fn do_release(&self, group: &str, life: Incarnation) -> Result<(), ArbiterError> {
        let (found, _) = self.store.newest(group).await?;
        let Some(Found { revision, stored }) = found else { return Ok(()) };
        if stored.record.owner.is_none() || stored.record.incarnation != life {
            return Ok(());
        }
        // Should the record change meanwhile: this place belongs to the old revision, and nobody looks at it again.
        self.store.put_lease(group, revision, &LeaseText::free(stored.write, fresh(&self.name)?)).await
    }

    /// Once per arbiter: a store that ignores the condition would let two nodes win.
    async fn try_out(&self) -> Result<(), ArbiterError> {
        if !self.tried_out.load(Ordering::Acquire) {
            self.store.try_out().await?;
            self.tried_out.store(true, Ordering::Release);
        }
        Ok(())
    }

    fn unavailable(&self, reason: String) -> ArbiterError {
        ArbiterError::Unavailable { arbiter: self.name.clone(), reason }
    }
}

fn grant(stored: &Stored, asked: Instant) -> OwnGrant<Arc<AtomicU64>> {
    OwnGrant {
        incarnation: stored.record.incarnation,
        epoch: stored.record.epoch,
        write: stored.write,
        revision: None,
        asked,
        token: Arc::default(),
    }
}

/// Whether somebody waits for this swap in order to serve: nothing is tidied up on that way.
fn takes_over(standing: Option<&Found>, record: &OwnerRecord) -> bool {
    record.owner.is_some()
        && standing.is_none_or(|found| {
            found.stored.record.owner != record.owner || found.stored.record.incarnation != record.incarnation
        })
}
