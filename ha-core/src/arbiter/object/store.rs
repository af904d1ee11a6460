//! The store behind the arbiter: one request each, with its errors put into the arbiter's words.

use super::super::stored::{self, Stored};
use super::lease_text::{LeaseText, untouched};
use super::places::Places;
use crate::api::{ArbiterError, Lease};
use object_store::path::Path;
use object_store::{Error, ObjectMeta, ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload};
use std::sync::Arc;

/// Far more than an object of ours takes.
const MOST_BYTES: u64 = 4096;

/// How a conditional creation ended.
pub(super) enum Created {
    /// It is there now, and we made it.
    New,
    /// Something was there before, or at the same time.
    Existed,
}

pub(super) struct Store {
    pub(super) arbiter: String,
    pub(super) places: Places,
    pub(super) inner: Arc<dyn ObjectStore>,
}

impl Store {
    pub(super) fn prefix(&self) -> &str {
        self.places.prefix()
    }

    /// The revision that follows.
    pub(super) fn after(&self, group: &str, revision: u64) -> Result<u64, ArbiterError> {
        revision.checked_add(1).ok_or_else(|| {
            self.foreign(
                group,
                format!("revision {revision}"),
                "no revision follows: remove that object, it is none of ours",
            )
        })
    }

    /// The record of a revision, if there is one.
    pub(super) async fn record(&self, group: &str, revision: u64) -> Result<Option<Stored>, ArbiterError> {
        match self.get(group, &self.places.record(group, revision)).await? {
            Some((bytes, _)) => stored::decode(&self.arbiter, group, &bytes).map(Some),
            None => Ok(None),
        }
    }

    /// The lease of a revision whose record is `stored`.
    pub(super) async fn lease(
        &self,
        group: &str,
        revision: u64,
        stored: &Stored,
    ) -> Result<Lease, ArbiterError> {
        match self.get(group, &self.places.lease(group, revision)).await? {
            None => Ok(untouched(stored)),
            Some((bytes, meta)) => LeaseText::read(&bytes, &meta, stored).ok_or_else(|| {
                let found = format!("a lease that is not of revision {revision}");
                self.foreign(
                    group,
                    found,
                    "remove that lease object; the owner writes its own at the next renewal",
                )
            }),
        }
    }

    /// Creates the record of a revision, if there is none.
    pub(super) async fn create(
        &self,
        group: &str,
        revision: u64,
        bytes: Vec<u8>,
    ) -> Result<Created, ArbiterError> {
        self.create_at(&self.places.record(group, revision), bytes).await
    }

    pub(super) async fn put_lease(
        &self,
        group: &str,
        revision: u64,
        text: &LeaseText,
    ) -> Result<(), ArbiterError> {
        let bytes =
            serde_json::to_vec(text).map_err(|e| self.unusable(format!("a lease cannot be written: {e}")))?;
        let place = self.places.lease(group, revision);
        self.inner.put(&place, PutPayload::from(bytes)).await.map_err(|e| self.error(&e))?;
        Ok(())
    }

    /// Refuses a store that creates what already exists.
    pub(super) async fn try_out(&self) -> Result<(), ArbiterError> {
        let place = self.places.trial();
        let text = b"tries out that a creation is refused where something exists".to_vec();
        self.create_at(&place, text.clone()).await?;
        match self.create_at(&place, text).await? {
            Created::Existed => Ok(()),
            Created::New => Err(self.unusable(
                "the store creates an object over an existing one: it ignores conditional puts (If-None-Match), and two \
                 nodes could both win; use another store, or one of its newer versions"
                    .to_owned(),
            )),
        }
    }

    async fn create_at(&self, place: &Path, bytes: Vec<u8>) -> Result<Created, ArbiterError> {
        let options = PutOptions::from(PutMode::Create);
        match self.inner.put_opts(place, PutPayload::from(bytes), options).await {
            Ok(_) => Ok(Created::New),
            Err(Error::AlreadyExists { .. } | Error::Precondition { .. }) => Ok(Created::Existed),
            Err(e) => Err(self.error(&e)),
        }
    }

    async fn get(&self, group: &str, place: &Path) -> Result<Option<(Vec<u8>, ObjectMeta)>, ArbiterError> {
        let object = match self.inner.get(place).await {
            Ok(object) => object,
            Err(Error::NotFound { .. }) => return Ok(None),
            Err(e) => return Err(self.error(&e)),
        };
        let meta = object.meta.clone();
        if meta.size > MOST_BYTES {
            let found = format!("an object of {} bytes at {place}", meta.size);
            return Err(self.foreign(group, found, "give the arbiter a place of its own"));
        }
        let bytes = object.bytes().await.map_err(|e| self.error(&e))?;
        Ok(Some((bytes.to_vec(), meta)))
    }

    pub(super) fn foreign(&self, group: &str, found: String, advice: &str) -> ArbiterError {
        ArbiterError::Foreign {
            arbiter: self.arbiter.clone(),
            group: group.to_owned(),
            found,
            advice: advice.to_owned(),
        }
    }

    pub(super) fn unusable(&self, reason: String) -> ArbiterError {
        ArbiterError::Unusable { arbiter: self.arbiter.clone(), reason }
    }

    pub(super) fn error(&self, error: &Error) -> ArbiterError {
        let arbiter = self.arbiter.clone();
        match error {
            Error::NotImplemented { .. } | Error::NotSupported { .. } => {
                let reason = format!("the store has no conditional put, or it is switched off: {error}");
                ArbiterError::Unusable { arbiter, reason }
            }
            Error::PermissionDenied { .. } | Error::Unauthenticated { .. } => {
                let reason = format!(
                    "the store refuses us; allow get, put, list and delete below the prefix: {error}"
                );
                ArbiterError::Unusable { arbiter, reason }
            }
            _ => ArbiterError::Unavailable { arbiter, reason: error.to_string() },
        }
    }
}
