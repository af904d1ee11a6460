//! Where instants come from.

use crate::Instant;

/// A node's boot clock. Must never go backwards, and must count suspended time.
pub trait Clock: Send + Sync {
    /// The instant now.
    fn now(&self) -> Instant;
}
