//! What one node speaks and is configured with, told in its greetings, and what two nodes make of it.
//!
//! Greetings keep one format for ever, so a node always understands why another one cannot talk to it. The highest
//! common version is spoken in beats; where there is none both sides refuse, by name, with both ranges.

use super::octets::{Reader, Sink};
use super::{FrameError, OLDEST_VERSION, VERSION};
use crate::config::Config;
use sha2::{Digest, Sha256};

/// What one node's program speaks, and a tag of its configuration.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct WireTerms {
    /// The oldest version of beats that it speaks.
    pub oldest: u8,
    /// The newest, at most 15.
    pub newest: u8,
    /// What it can do beyond its version, a bit each. None is defined yet.
    pub capabilities: u8,
    /// A tag of its configuration; nodes of the same program and configuration have the same.
    pub parameters: Option<[u8; 3]>,
}

/// What two nodes of a pair have in common.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Agreement {
    /// The version that both speak in beats.
    pub version: u8,
    /// The capabilities that both have.
    pub capabilities: u8,
    /// Whether both are configured alike; `None` if one does not say.
    pub same_parameters: Option<bool>,
}

impl Default for WireTerms {
    /// This program's, without a configuration.
    fn default() -> Self {
        Self { oldest: OLDEST_VERSION, newest: VERSION, capabilities: 0, parameters: None }
    }
}

impl WireTerms {
    /// This program's, with the tag of `config`.
    #[must_use]
    pub fn of(config: &Config) -> Self {
        let hash: [u8; 32] = Sha256::digest(format!("{config:?}").as_bytes()).into();
        let [a, b, c, ..] = hash;
        // Zeros stand for a tag that is not told.
        Self { parameters: Some([a, b, c.max(1)]), ..Self::default() }
    }

    /// The same for a program that speaks other versions.
    #[must_use]
    pub const fn speaking(self, oldest: u8, newest: u8) -> Self {
        Self { oldest, newest, ..self }
    }

    /// Whether beats of `version` are understood.
    #[must_use]
    pub const fn speaks(&self, version: u8) -> bool {
        self.oldest <= version && version <= self.newest
    }

    /// What these and the other side's terms have in common.
    ///
    /// # Errors
    /// [`FrameError::NoCommonVersion`] with both ranges; the other side finds the same.
    pub fn agree(&self, theirs: &Self) -> Result<Agreement, FrameError> {
        let version = self.newest.min(theirs.newest);
        if !self.speaks(version) || !theirs.speaks(version) {
            let (ours, theirs) = ((self.oldest, self.newest), (theirs.oldest, theirs.newest));
            return Err(FrameError::NoCommonVersion { ours, theirs });
        }
        let same_parameters = self.parameters.zip(theirs.parameters).map(|(a, b)| a == b);
        Ok(Agreement { version, capabilities: self.capabilities & theirs.capabilities, same_parameters })
    }

    /// Says nothing where there is nothing to say, as the first programs did.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        if *self == (Self { oldest: 1, newest: 1, capabilities: 0, parameters: None }) {
            return;
        }
        out.byte(self.oldest << 4 | self.newest & 0x0f);
        out.byte(self.capabilities);
        out.put(&self.parameters.unwrap_or_default());
    }

    /// Octets after the known ones belong to a newer node and are skipped.
    pub(super) fn read(from: &mut Reader<'_>) -> Option<Self> {
        if from.is_empty() {
            return Some(Self { oldest: 1, newest: 1, capabilities: 0, parameters: None });
        }
        let range = from.byte()?;
        let (oldest, newest, capabilities) = (range >> 4, range & 0x0f, from.byte()?);
        let parameters = Some(from.array()?).filter(|tag| *tag != [0; 3]);
        (oldest > 0 && oldest <= newest).then_some(Self { oldest, newest, capabilities, parameters })
    }
}
