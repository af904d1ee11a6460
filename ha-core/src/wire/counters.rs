//! What happened on a link.

use super::FrameError;
use serde::Serialize;

/// What was sent, heard and refused on one link in this life.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
#[non_exhaustive]
pub struct LinkCounters {
    /// Beats encoded.
    pub beats_sent: u64,
    /// Greetings encoded.
    pub greetings_sent: u64,
    /// Beats accepted.
    pub beats: u64,
    /// Greetings accepted.
    pub greetings: u64,
    /// Last words of guardians accepted.
    pub released: u64,
    /// Lives of the peer that proved to be present.
    pub sessions: u64,
    /// Not a frame of ours: length, first byte or kind.
    pub foreign: u64,
    /// Of another format version.
    pub other_version: u64,
    /// For another cluster or link, or from no node of the pair.
    pub misdirected: u64,
    /// Greetings that the key does not authenticate.
    pub bad_mac: u64,
    /// Beats of no present session.
    pub unbound: u64,
    /// Heard before.
    pub replayed: u64,
    /// Our own, come back.
    pub reflected: u64,
    /// From another node with our name.
    pub same_name: u64,
    /// Authentic, but not understood.
    pub malformed: u64,
}

impl LinkCounters {
    /// All frames refused.
    #[must_use]
    pub const fn refused(&self) -> u64 {
        self.foreign
            + self.other_version
            + self.misdirected
            + self.bad_mac
            + self.unbound
            + self.replayed
            + self.reflected
            + self.same_name
            + self.malformed
    }

    pub(super) fn note(&mut self, error: &FrameError) {
        let counter = match error {
            FrameError::TooShort { .. }
            | FrameError::TooLong { .. }
            | FrameError::Magic { .. }
            | FrameError::Kind { .. } => &mut self.foreign,
            FrameError::Version { .. } | FrameError::NoCommonVersion { .. } => &mut self.other_version,
            FrameError::OtherCluster | FrameError::OtherLink { .. } | FrameError::UnknownNode { .. } => {
                &mut self.misdirected
            }
            FrameError::BadMac => &mut self.bad_mac,
            FrameError::Unbound => &mut self.unbound,
            FrameError::Replayed { .. } => &mut self.replayed,
            FrameError::Reflected => &mut self.reflected,
            FrameError::SameName { .. } => &mut self.same_name,
            FrameError::Malformed { .. } => &mut self.malformed,
        };
        *counter += 1;
    }
}
