//! The release command as an undo step: run by the guardian, without a runtime.

use super::command::Commands;
use ha_core::Undo;
use serde::{Deserialize, Serialize};
use std::net::IpAddr;
use std::time::Duration;

/// The kind of the undo steps of [`Exec`](super::Exec).
pub const UNDO_KIND: &str = "ha-vip/exec";
const VERSION: u16 = 1;

/// Written with postcard; never changes within a version.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
struct Effect {
    release: String,
    status: String,
    addresses: Vec<IpAddr>,
    limit_ms: u64,
}

pub(super) fn step(commands: &Commands, addresses: &[IpAddr]) -> Undo {
    let effect = Effect {
        release: commands.release.clone(),
        status: commands.status.clone(),
        addresses: addresses.to_vec(),
        limit_ms: u64::try_from(commands.limit.as_millis()).unwrap_or(u64::MAX),
    };
    // Writing plain data into memory cannot fail; without bytes the guardian would say so.
    let bytes = postcard::to_stdvec(&effect).unwrap_or_default();
    Undo { kind: UNDO_KIND.into(), version: VERSION, bytes }
}

fn read(version: u16, bytes: &[u8]) -> Result<(Commands, Vec<IpAddr>), String> {
    if version != VERSION {
        return Err(format!("version {version} of {UNDO_KIND} is not known; expected {VERSION}"));
    }
    let effect: Effect = postcard::from_bytes(bytes)
        .map_err(|e| format!("the bytes of {UNDO_KIND} are not understood: {e}"))?;
    let Effect { release, status, addresses, limit_ms } = effect;
    let limit = Duration::from_millis(limit_ms);
    Ok((Commands { acquire: String::new(), release, status, limit }, addresses))
}

/// Runs the release command of an effect, given an [`Undo`]'s version and bytes. Count its time into the guardian's
/// [`end_budget`](ha_core::guardian::GuardianConfig::end_budget).
///
/// # Errors
/// A sentence that says what is left, and why.
pub fn undo(version: u16, bytes: &[u8]) -> Result<(), String> {
    let (commands, addresses) = read(version, bytes)?;
    commands.release(&addresses).map_err(|error| error.to_string())
}

/// Whether the status command says that the addresses are not here.
///
/// # Errors
/// A sentence that says why that cannot be told.
pub fn verify(version: u16, bytes: &[u8]) -> Result<bool, String> {
    let (commands, addresses) = read(version, bytes)?;
    commands.status(&addresses).map(|here| !here).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A guardian may hold steps of an older program: these bytes are read for ever.
    #[test]
    fn the_bytes_of_version_1_are_these() {
        let commands = Commands {
            acquire: "a".into(),
            release: "r".into(),
            status: "s".into(),
            limit: Duration::from_secs(1),
        };
        let undo = step(&commands, &[[10, 77, 0, 100].into()]);
        assert_eq!((undo.kind.as_str(), undo.version), ("ha-vip/exec", 1));
        assert_eq!(undo.bytes, b"\x01r\x01s\x01\x00\x0aM\x00d\xe8\x07");
        let (read_back, addresses) = read(1, &undo.bytes).unwrap();
        assert_eq!((read_back.release.as_str(), addresses), ("r", vec![[10, 77, 0, 100].into()]));
        assert!(read(2, &undo.bytes).unwrap_err().contains("version 2"));
        assert!(read(1, &[0xff]).unwrap_err().contains("not understood"));
    }
}
