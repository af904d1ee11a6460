//! The pair's key: made, and found missing.

use super::Failure;
use ha_core::wire::{KeyError, PairKey};
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Makes a key in a new file that only its owner can read.
pub(super) fn make(file: &Path) -> Result<(), Failure> {
    let failed = |error: io::Error| {
        let hint = match error.kind() {
            io::ErrorKind::AlreadyExists => {
                "; a key that is in use must not be overwritten: choose another name"
            }
            io::ErrorKind::NotFound => "; expected its directory to exist",
            _ => "",
        };
        Failure::failed(format!("cannot make the key file {}: {error}{hint}", file.display()))
    };
    let mut bytes = [0; PairKey::MIN_BYTES];
    getrandom::fill(&mut bytes).map_err(|e| failed(io::Error::other(e)))?;
    let mut new = OpenOptions::new().write(true).create_new(true).mode(0o600).open(file).map_err(failed)?;
    new.write_all(&bytes).and_then(|()| new.sync_all()).map_err(failed)?;
    println!("{}: 32 random octets; copy them to the other node, with mode 0600", file.display());
    Ok(())
}

/// Reads the key, or says how to make one.
pub(super) fn load(file: &Path) -> Result<PairKey, Failure> {
    PairKey::load(file).map_err(|error| match &error {
        KeyError::Read { source, .. } if source.kind() == io::ErrorKind::NotFound => {
            Failure::failed(format!(
                "{error}; make one with `pair-node key {}` and copy it to the other node",
                file.display()
            ))
        }
        _ => Failure::failed(error),
    })
}
