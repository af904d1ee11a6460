//! The seam to whatever keeps the messages.

use super::permit::{Checked, Permit};
use async_trait::async_trait;
use bytes::Bytes;

/// Who sends to whom.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Envelope {
    /// What the client called itself.
    pub helo: String,
    /// The sender; empty for a bounce.
    pub from: String,
    /// The recipients, at least one.
    pub to: Vec<String>,
}

/// What became of a message.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Delivery {
    /// It is durable wherever the store promises it, and the permission was still valid afterwards: `250`.
    Stored(Checked),
    /// It is surely not stored, and may be sent again: `451`.
    Unavailable(String),
    /// It is surely not stored, for want of room: `452`.
    NoSpace,
    /// It may be stored or not: `451` with another enhanced code, so that a sender can tell.
    Unknown(String),
}

/// Keeps messages.
#[async_trait]
pub trait MessageStore: Send + Sync {
    /// Stores one message and waits until it is durable.
    ///
    /// The implementor's contract:
    /// 1. nothing becomes visible to readers unless `permit` (or the store's own copy of it) was valid just before;
    /// 2. [`Delivery::Stored`] carries a check made **after** the message was durable;
    /// 3. the future may be dropped at any time; the message is then stored or not, never in part.
    async fn deliver(&self, permit: &Permit, envelope: &Envelope, message: Bytes) -> Delivery;

    /// Waits until nothing that [`deliver`](Self::deliver) began can still become visible, also of futures that were
    /// dropped. A service is not stopped before: whoever is granted the group next may be writing to the same place.
    ///
    /// A store whose messages are taken back by somebody else (the mirror, when it is demoted) has nothing to wait for.
    async fn settle(&self) {}
}
