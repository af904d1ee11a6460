//! The stream between the two copies: one authenticated connection that survives role changes.

pub(crate) mod dial;
pub(crate) mod evidence;
pub(crate) mod feed;
pub(crate) mod frame;
pub(crate) mod handshake;
mod hear;
pub(crate) mod message;
pub(crate) mod outbox;
pub(crate) mod receive;

/// The longest evidence frame.
pub(crate) const EVIDENCE_BYTES: usize = 1400;

#[cfg(test)]
mod tests;
