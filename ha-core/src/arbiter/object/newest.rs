//! Finding the record that stands, and clearing away those that nobody can need.

use super::super::stored::Stored;
use super::places::Name;
use super::store::Store;
use crate::api::ArbiterError;
use futures::StreamExt;
use object_store::ObjectMeta;
use object_store::ObjectStoreExt;

/// Objects in one group's folder: at most so many are looked at.
const MOST_OBJECTS: usize = 10_000;
/// Revisions that are kept behind the newest, whatever their age.
const KEPT_REVISIONS: u64 = 64;
/// And only those are cleared away that are so much older than the newest by the store's own stamps: no swap lasts that
/// long, so none can create a cleared place anew and believe that it won.
const KEPT_SECONDS: i64 = 3600;
/// Removed at once, at most.
const MOST_CLEARED: usize = 32;
/// Records that vanish while they are read: cleared away meanwhile, or somebody tidies up by hand.
const MOST_LOOKS: usize = 4;

/// The record that stands.
pub(super) struct Found {
    pub revision: u64,
    pub stored: Stored,
}

/// What a group's folder holds.
#[derive(Default)]
pub(super) struct Listing(Vec<(Name, ObjectMeta)>);

impl Store {
    /// The newest record: the highest in the list, or one created since. Whatever was created before the call is seen.
    pub(super) async fn newest(&self, group: &str) -> Result<(Option<Found>, Listing), ArbiterError> {
        for _ in 0..MOST_LOOKS {
            let listing = self.list(group).await?;
            let listed = listing.newest_revision();
            let mut found = match self.record(group, listed.max(1)).await? {
                Some(stored) => Some(Found { revision: listed.max(1), stored }),
                None if listed == 0 => None,
                None => continue,
            };
            while let Some(last) = &found {
                let next = self.after(group, last.revision)?;
                let Some(stored) = self.record(group, next).await? else { break };
                found = Some(Found { revision: next, stored });
            }
            return Ok((found, listing));
        }
        Err(ArbiterError::Unavailable {
            arbiter: self.arbiter.clone(),
            reason: format!("the records of group \"{group}\" vanish while they are read; read again"),
        })
    }

    async fn list(&self, group: &str) -> Result<Listing, ArbiterError> {
        let mut listing = Listing::default();
        let mut objects = self.inner.list(Some(&self.places.group(group)));
        while let Some(meta) = objects.next().await {
            let meta = meta.map_err(|e| self.error(&e))?;
            if listing.0.len() == MOST_OBJECTS {
                let found = format!("more than {MOST_OBJECTS} objects");
                return Err(self.foreign(
                    group,
                    found,
                    "give the arbiter a place of its own and the right to delete",
                ));
            }
            match self.places.name(group, &meta.location) {
                Name::Damaged => {
                    let found = format!("an object named {}", meta.location);
                    return Err(self.foreign(group, found, "remove it: no record of ours has such a number"));
                }
                name => listing.0.push((name, meta)),
            }
        }
        Ok(listing)
    }

    /// Removes what is long over. Its failure harms nothing: it is tried again at a later swap.
    pub(super) async fn clear_old(&self, group: &str, newest: u64, listing: &Listing) {
        let old = listing.old(newest);
        let removed =
            futures::future::join_all(old.iter().map(|meta| self.inner.delete(&meta.location))).await;
        let failed = removed.iter().filter(|r| r.is_err()).count();
        if failed > 0 {
            tracing::debug!(arbiter = %self.arbiter, group, failed, "old records could not be removed");
        }
    }
}

impl Listing {
    fn newest_revision(&self) -> u64 {
        let revisions = self.0.iter().filter_map(|(name, _)| match name {
            Name::Record(revision) => Some(*revision),
            _ => None,
        });
        revisions.max().unwrap_or(0)
    }

    fn old(&self, newest: u64) -> Vec<&ObjectMeta> {
        let Some(latest) = self.0.iter().map(|(_, meta)| meta.last_modified).max() else { return Vec::new() };
        let is_old = |name: &Name, meta: &ObjectMeta| {
            let (Name::Record(revision) | Name::Lease(revision)) = name else { return false };
            revision.saturating_add(KEPT_REVISIONS) < newest
                && (latest - meta.last_modified).num_seconds() > KEPT_SECONDS
        };
        let mut old: Vec<_> =
            self.0.iter().filter(|(name, meta)| is_old(name, meta)).map(|(_, meta)| meta).collect();
        // The oldest first: a gap never opens below a record that is still there.
        old.sort_by_key(|meta| &meta.location);
        old.truncate(MOST_CLEARED);
        old
    }
}
