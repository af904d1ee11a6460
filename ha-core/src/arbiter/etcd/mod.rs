//! A third party that is an etcd cluster.
//!
//! A group has two keys: `…/owner` holds the record, and its modification revision is the arbiter's revision; `…/lease`
//! is attached to an etcd lease, and its modification revision is the renewal number. Every change of either is one
//! transaction on the condition that the owner key is what the caller saw.

mod builder;
mod keys;
mod members;
mod reply;

pub use builder::EtcdArbiterBuilder;

use super::own_leases::{OwnGrant, OwnLeases};
use super::random::fresh;
use super::stored::{self, Stored};
use super::succession::check_succession;
use crate::api::{Arbiter, ArbiterError, ArbiterView, OwnerRecord, Swap};
use crate::{Epoch, Incarnation, Instant};
use async_trait::async_trait;
use etcd_client::{Compare, CompareOp, PutOptions, Txn, TxnOp};
use keys::{Keys, LeaseText};
use members::{Call, Members};
use reply::Standing;
use std::fmt;
use std::time::Duration;

/// An arbiter over an etcd cluster (3.4 or later): for pairs with a witness, and for many nodes with many groups.
///
/// Each member is asked by itself: one that does not answer costs a share of the deadline, then the next is asked, and
/// the one that answered stays the first. Lost answers are found again by the number that each write carries.
///
/// That a lease ran out is seen by reading twice ([`Lease::Held`](crate::api::Lease)); a lease key that etcd took away
/// stops the owner's renewals, but is no proof for others: a leader that was stuck takes living leases away (etcd issue
/// 15247, mitigated but not ended in 3.5.11).
///
/// Calls need a tokio runtime, and the same one as long as it lives.
///
/// ```no_run
/// use ha_core::arbiter::EtcdArbiter;
/// use std::time::Duration;
/// # fn example() -> Result<(), ha_core::api::ArbiterError> {
/// let witness = EtcdArbiter::builder(["http://10.0.0.1:2379", "http://10.0.0.2:2379", "http://10.0.0.3:2379"])
///     .prefix("pair-a")
///     .lease(Duration::from_secs(10))
///     .build()?;
/// # Ok(())
/// # }
/// ```
pub struct EtcdArbiter {
    name: String,
    deadline: Duration,
    keys: Keys,
    members: Members,
    own: OwnLeases<i64>,
}

impl fmt::Debug for EtcdArbiter {
    // Endpoints are shown by their number only, and connection options not at all: both may hold credentials.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EtcdArbiter")
            .field("name", &self.name)
            .field("prefix", &self.keys.prefix())
            .field("members", &self.members.count())
            .field("lease", &self.own.lease())
            .field("deadline", &self.deadline)
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl Arbiter for EtcdArbiter {
    fn name(&self) -> &str {
        &self.name
    }

    fn lease(&self) -> Duration {
        self.own.lease()
    }

    async fn read(&self, group: &str) -> Result<ArbiterView, ArbiterError> {
        let mut call = Call::within(self.deadline);
        Ok(self.standing(group, &mut call).await?.view())
    }

    async fn swap(&self, group: &str, revision: u64, record: OwnerRecord) -> Result<Swap, ArbiterError> {
        let asked = self.own.now();
        let mut call = Call::within(self.deadline);
        let standing = self.standing(group, &mut call).await?;
        if standing.revision() != revision {
            return Ok(Swap::Lost(standing.view()));
        }
        if let Some(stored) = &standing.stored {
            check_succession(&self.name, group, &stored.record, &record)?;
        }
        let stored = Stored { write: fresh(&self.name)?, record };
        let etcd_lease = match record.owner {
            Some(_) => Some(self.members.grant_lease(&mut call, self.own.lease()).await?),
            None => None,
        };
        if let Some(token) = etcd_lease {
            self.own.asking(group, grant(&stored, asked, token));
        }
        let swapped = self.do_swap(group, standing.mod_revision, &stored, etcd_lease, &mut call).await;
        if let (Ok(Swap::Lost(_)), Some(lease)) = (&swapped, etcd_lease) {
            // If this fails the lease runs out by itself: no key hangs on it.
            let _ = self.members.revoke_lease(&mut call, lease).await;
        }
        swapped
    }

    async fn renew(&self, group: &str, life: Incarnation, epoch: Epoch) -> Result<bool, ArbiterError> {
        let asked = self.own.now();
        if !self.own.may_own(group, life, epoch) {
            return Ok(false);
        }
        let mut call = Call::within(self.deadline);
        let Some(grant) = self.standing_grant(group, &mut call).await? else { return Ok(false) };
        if grant.incarnation != life || grant.epoch != epoch || !self.own.is_open(&grant) {
            return Ok(false);
        }
        let written = self.do_renew(group, &grant, &mut call).await?;
        Ok(written && self.own.renewed(group, grant.write, asked))
    }

    async fn release(&self, group: &str, life: Incarnation) -> Result<(), ArbiterError> {
        // Whatever becomes of the call, this life asks for no more.
        self.own.forget(group, life);
        let mut call = Call::within(self.deadline);
        let standing = self.standing(group, &mut call).await?;
        let Some(stored) = standing.stored else { return Ok(()) };
        if stored.record.owner.is_none() || stored.record.incarnation != life {
            return Ok(());
        }
        let free = TxnOp::put(self.keys.lease(group), LeaseText::free(stored.write), None);
        let txn = Txn::new().when([self.unchanged(group, standing.mod_revision)]).and_then([free]);
        self.members.txn(&mut call, txn).await?;
        Ok(())
    }
}

impl EtcdArbiter {
    /// What stands, linearly: a transaction that only reads goes through the quorum.
    async fn standing(&self, group: &str, call: &mut Call) -> Result<Standing, ArbiterError> {
        let txn = Txn::new().and_then(self.both(group));
        let reply = self.members.txn(call, txn).await?;
        reply::standing(&self.name, group, &reply)
    }

    fn both(&self, group: &str) -> [TxnOp; 2] {
        [TxnOp::get(self.keys.owner(group), None), TxnOp::get(self.keys.lease(group), None)]
    }

    fn unchanged(&self, group: &str, mod_revision: i64) -> Compare {
        Compare::mod_revision(self.keys.owner(group), CompareOp::Equal, mod_revision)
    }

    async fn do_swap(
        &self,
        group: &str,
        at: i64,
        stored: &Stored,
        etcd_lease: Option<i64>,
        call: &mut Call,
    ) -> Result<Swap, ArbiterError> {
        let bytes = stored::encode(&self.name, group, stored)?;
        let owner = TxnOp::put(self.keys.owner(group), bytes, None);
        let lease = match etcd_lease {
            Some(id) => {
                let options = PutOptions::new().with_lease(id);
                TxnOp::put(self.keys.lease(group), LeaseText::held(stored.write), Some(options))
            }
            None => TxnOp::put(self.keys.lease(group), LeaseText::free(stored.write), None),
        };
        let txn =
            Txn::new().when([self.unchanged(group, at)]).and_then([owner, lease]).or_else(self.both(group));
        let unclear_before = call.unclear;
        let reply = self.members.txn(call, txn).await?;
        if reply.succeeded() {
            let revision = reply::revision(&self.name, group, &reply)?;
            self.own.stands(group, stored.write, revision);
            return Ok(Swap::Done { revision });
        }
        let standing = reply::standing(&self.name, group, &reply)?;
        if standing.stored.is_some_and(|s| s.write == stored.write) {
            // An earlier try whose answer was lost.
            self.own.stands(group, stored.write, standing.revision());
            return Ok(Swap::Done { revision: standing.revision() });
        }
        if call.unclear > unclear_before {
            let reason = "a swap whose answer was lost may have been done and replaced since; read again";
            return Err(self.members.unavailable(reason));
        }
        self.own.refused(group, stored.write);
        Ok(Swap::Lost(standing.view()))
    }

    /// Renews etcd's own lease, then shows it to readers. Only the second counts: a member that lost its leadership
    /// without noticing still answers the first.
    async fn do_renew(
        &self,
        group: &str,
        own: &OwnGrant<i64>,
        call: &mut Call,
    ) -> Result<bool, ArbiterError> {
        let Some(at) = own.revision.and_then(|r| i64::try_from(r).ok()) else { return Ok(false) };
        if !self.members.keep_alive(call, own.token).await? {
            return Ok(false);
        }
        let key = self.keys.lease(group);
        let still_held = Compare::lease(key.clone(), CompareOp::Equal, own.token);
        let shown =
            TxnOp::put(key, LeaseText::held(own.write), Some(PutOptions::new().with_lease(own.token)));
        let txn = Txn::new().when([self.unchanged(group, at), still_held]).and_then([shown]);
        Ok(self.members.txn_unless_lease_is_gone(call, txn).await?.is_some_and(|reply| reply.succeeded()))
    }

    /// The grant of ours that stands, asking etcd only if one of them is of unknown outcome.
    async fn standing_grant(
        &self,
        group: &str,
        call: &mut Call,
    ) -> Result<Option<OwnGrant<i64>>, ArbiterError> {
        if let Some(grant) = self.own.certain(group) {
            return Ok(Some(grant));
        }
        let standing = self.standing(group, call).await?;
        Ok(standing.stored.and_then(|s| self.own.stands(group, s.write, standing.revision())))
    }
}

fn grant(stored: &Stored, asked: Instant, token: i64) -> OwnGrant<i64> {
    OwnGrant {
        incarnation: stored.record.incarnation,
        epoch: stored.record.epoch,
        write: stored.write,
        revision: None,
        asked,
        token,
    }
}
