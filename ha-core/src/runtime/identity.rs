//! Who this life is: read from the kernel, or drawn.

use super::NodeError;
use crate::{BootId, Incarnation};
use std::io;

const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// The kernel's boot.
pub(super) fn boot_id() -> Result<BootId, NodeError> {
    let failed = |source| NodeError::System { what: "read the kernel's boot id", source };
    let text = std::fs::read_to_string(BOOT_ID).map_err(failed)?;
    let digits: String = text.chars().filter(char::is_ascii_hexdigit).collect();
    u128::from_str_radix(&digits, 16).map(BootId).map_err(|e| {
        let found = format!("{BOOT_ID} holds \"{}\", expected a UUID: {e}", text.trim());
        failed(io::Error::new(io::ErrorKind::InvalidData, found))
    })
}

/// A fresh, unpredictable life.
pub(super) fn incarnation() -> Result<Incarnation, NodeError> {
    random().map(|bytes| Incarnation(u128::from_le_bytes(bytes)))
}

/// Unpredictable bytes.
pub(super) fn random<const N: usize>() -> Result<[u8; N], NodeError> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|e| NodeError::System {
        what: "draw random bytes",
        source: io::Error::other(e.to_string()),
    })?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_boot_stays_and_each_life_is_new() {
        assert_eq!(boot_id().unwrap(), boot_id().unwrap());
        assert_ne!(incarnation().unwrap(), incarnation().unwrap());
    }
}
