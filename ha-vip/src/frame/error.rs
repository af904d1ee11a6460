//! Why bytes are not a frame that is understood.

use std::net::IpAddr;

/// Bytes from the network are not a frame that is understood, or break a rule that its receiver must check.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FrameError {
    /// They end too early.
    #[error("{what} has {found} bytes; expected at least {expected}")]
    Short {
        /// The part.
        what: &'static str,
        /// Its length, in bytes.
        found: usize,
        /// How many there must be.
        expected: usize,
    },
    /// A field has a value that does not belong here.
    #[error("{what} is {found}; expected {expected}")]
    Field {
        /// The field.
        what: &'static str,
        /// Its value.
        found: u32,
        /// What it must be.
        expected: &'static str,
    },
    /// An address stands where it must not.
    #[error("{what} is {found}; expected {expected}")]
    Address {
        /// The field.
        what: &'static str,
        /// The address.
        found: IpAddr,
        /// What it must be.
        expected: &'static str,
    },
    /// The sums do not agree: the frame was damaged, or forged badly.
    #[error("the checksum of {what} is wrong")]
    Checksum {
        /// The message.
        what: &'static str,
    },
}

/// The first `N` bytes of `bytes`, and the rest.
pub(super) fn take<'a, const N: usize>(
    what: &'static str,
    bytes: &'a [u8],
) -> Result<(&'a [u8; N], &'a [u8]), FrameError> {
    bytes.split_first_chunk().ok_or(FrameError::Short { what, found: bytes.len(), expected: N })
}

/// Refuses a field that is not `wanted`.
pub(super) fn require(
    what: &'static str,
    found: impl Into<u32>,
    wanted: u32,
    expected: &'static str,
) -> Result<(), FrameError> {
    let found = found.into();
    if found == wanted { Ok(()) } else { Err(FrameError::Field { what, found, expected }) }
}
