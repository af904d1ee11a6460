//! The Maildir in the mirror: a `250` means that both nodes have it.

use super::maildir::Names;
use super::permit::{Checked, Permit};
use super::reply::Identity;
use super::store::{Delivery, Envelope, MessageStore};
use super::trace;
use async_trait::async_trait;
use bytes::Bytes;
use ha_replication::{CommitOutcome, Mirror, RejectReason, UnknownReason};
use std::time::SystemTime;

/// Delivers each message as one transaction into `new/` of a mirrored tree, which is a Maildir for its readers.
///
/// The mirror's `commit_timeout` must be shorter than [`Limits::commit`](super::Limits::commit): then a commit that takes
/// too long is given up by the mirror, which writes an abort record, and not by the client's connection.
#[derive(Debug)]
pub struct MirrorStore {
    mirror: Mirror,
    names: Names,
}

impl MirrorStore {
    /// The store in `mirror`, whose own permission is the one that counts.
    #[must_use]
    pub const fn new(mirror: Mirror, who: Identity) -> Self {
        Self { mirror, names: Names::new(who) }
    }
}

#[async_trait]
impl MessageStore for MirrorStore {
    async fn deliver(&self, permit: &Permit, envelope: &Envelope, message: Bytes) -> Delivery {
        let now = SystemTime::now();
        let name = self.names.next(permit.epoch(), now);
        let mut bytes = trace::lines(envelope, self.names.node(), &name, now).into_bytes();
        bytes.extend_from_slice(&message);
        let commit = self.mirror.begin().put_new(&format!("new/{name}"), bytes).commit();
        match commit.await {
            CommitOutcome::Committed { epoch, checked_at, .. } => {
                Delivery::Stored(Checked { epoch, at: checked_at })
            }
            CommitOutcome::Rejected { why: RejectReason::NoSpace { .. } } => Delivery::NoSpace,
            CommitOutcome::Rejected { why } => Delivery::Unavailable(why.to_string()),
            CommitOutcome::Unknown { tx_id, why } => {
                Delivery::Unknown(format!("transaction {}/{}: {}", tx_id.epoch, tx_id.lsn, unknown(why)))
            }
            // An outcome that this program does not know is no success.
            other => Delivery::Unknown(format!("{other:?}")),
        }
    }
}

const fn unknown(why: UnknownReason) -> &'static str {
    match why {
        UnknownReason::GaveUp => "it took too long",
        UnknownReason::Demoted => "the role ended",
        UnknownReason::TokenExpired => "the permission ended",
        UnknownReason::Failed => "the disk failed",
        _ => "the mirror cannot tell",
    }
}
