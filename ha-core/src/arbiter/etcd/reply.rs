//! Understanding what etcd answered.

use super::super::stored::{self, Stored};
use super::keys::LeaseText;
use crate::api::{ArbiterError, ArbiterView, Lease};
use etcd_client::{KeyValue, TxnOpResponse, TxnResponse};

/// Both keys of a group at one moment.
pub(super) struct Standing {
    pub stored: Option<Stored>,
    /// Of the owner key; zero if there is none.
    pub mod_revision: i64,
    lease: Shown,
}

/// What the lease key shows.
enum Shown {
    Held {
        renewal: u64,
    },
    Free,
    /// There is no such key: etcd took it away with its lease.
    Gone,
}

impl Standing {
    pub(super) fn revision(&self) -> u64 {
        u64::try_from(self.mod_revision).unwrap_or(0)
    }

    pub(super) fn view(&self) -> ArbiterView {
        let revision = self.revision();
        let Some(stored) = &self.stored else { return ArbiterView::new(None, Lease::Free, revision) };
        let incarnation = stored.record.incarnation;
        let lease = match self.lease {
            Shown::Held { renewal } => Lease::Held { incarnation, renewal },
            // etcd's word that it ran out is not taken. But no renewal succeeds from here on, so whoever sees this
            // number, which no renewal ever has, for a whole lease knows enough.
            Shown::Gone if stored.record.owner.is_some() => {
                Lease::Held { incarnation, renewal: u64::MAX - revision }
            }
            Shown::Free | Shown::Gone => Lease::Free,
        };
        ArbiterView::new(Some(stored.record), lease, revision)
    }
}

/// Reads the answers to a get of the owner key and one of the lease key.
pub(super) fn standing(arbiter: &str, group: &str, reply: &TxnResponse) -> Result<Standing, ArbiterError> {
    let mut answers = reply.op_responses().into_iter();
    let mut next = || match answers.next() {
        Some(TxnOpResponse::Get(mut got)) => Ok(got.take_kvs().into_iter().next()),
        _ => Err(foreign(
            arbiter,
            group,
            "an answer to another request".to_owned(),
            "check what listens there",
        )),
    };
    let (owner, lease) = (next()?, next()?);
    let Some(owner) = owner else {
        return Ok(Standing { stored: None, mod_revision: 0, lease: Shown::Free });
    };
    let stored = stored::decode(arbiter, group, owner.value())?;
    let lease = shown(arbiter, group, &stored, lease.as_ref())?;
    Ok(Standing { stored: Some(stored), mod_revision: owner.mod_revision(), lease })
}

fn shown(
    arbiter: &str,
    group: &str,
    stored: &Stored,
    lease: Option<&KeyValue>,
) -> Result<Shown, ArbiterError> {
    let Some(lease) = lease else { return Ok(Shown::Gone) };
    let text = LeaseText::read(lease.value()).filter(|text| text.record == stored.write);
    match text {
        Some(text) if text.held => {
            Ok(Shown::Held { renewal: u64::try_from(lease.mod_revision()).unwrap_or(0) })
        }
        Some(_) => Ok(Shown::Free),
        None => {
            let found = "a lease key that is not of this record".to_owned();
            Err(foreign(
                arbiter,
                group,
                found,
                "somebody else writes below the prefix: give the arbiter one of its own",
            ))
        }
    }
}

/// The revision that a transaction made.
pub(super) fn revision(arbiter: &str, group: &str, reply: &TxnResponse) -> Result<u64, ArbiterError> {
    let revision = reply.header().and_then(|h| u64::try_from(h.revision()).ok());
    revision.ok_or_else(|| {
        foreign(arbiter, group, "an answer without revision".to_owned(), "check what listens there")
    })
}

fn foreign(arbiter: &str, group: &str, found: String, advice: &str) -> ArbiterError {
    ArbiterError::Foreign {
        arbiter: arbiter.to_owned(),
        group: group.to_owned(),
        found,
        advice: advice.to_owned(),
    }
}
