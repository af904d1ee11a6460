//! Numbers that nobody has used before.

use crate::api::ArbiterError;

/// A fresh random number, to tell one write from every other.
pub(super) fn fresh(arbiter: &str) -> Result<u128, ArbiterError> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|e| ArbiterError::Unavailable {
        arbiter: arbiter.to_owned(),
        reason: format!("the system gives no random numbers: {e}"),
    })?;
    Ok(u128::from_le_bytes(bytes))
}
