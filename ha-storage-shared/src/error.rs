//! What can be wrong with the device.

use crate::layout::Flaw;
use ha_core::api::ArbiterError;
use std::io;
use std::path::PathBuf;

/// Why a device cannot be used, or gave no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DiskError {
    /// A system call failed.
    #[error("{what} failed on {path}: {source}")]
    Io {
        /// The device.
        path: PathBuf,
        /// What was tried.
        what: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// Neither a regular file nor a block device.
    #[error(
        "{path} is {found}; an arbiter needs a block device that both nodes reach, or a file on a cluster file system"
    )]
    NotADisk {
        /// The device.
        path: PathBuf,
        /// What it is.
        found: &'static str,
    },
    /// Without direct I/O a node may read its own page cache instead of what the other one wrote.
    #[error(
        "{path} gives no direct I/O ({found}); without it a node may read its own cache instead of what the other \
         node wrote, and two nodes may own a group: use a block device, or a file on a file system with direct I/O"
    )]
    NoDirectIo {
        /// The device.
        path: PathBuf,
        /// What was found.
        found: String,
    },
    /// There is not enough room.
    #[error("{path} has {bytes} bytes, {needed} are needed")]
    TooSmall {
        /// The device.
        path: PathBuf,
        /// Its size.
        bytes: u64,
        /// What is needed.
        needed: u64,
    },
    /// A sector is not what it must be.
    #[error("{path}, {place}: {flaw}; {advice}")]
    Foreign {
        /// The device.
        path: PathBuf,
        /// Which sector.
        place: String,
        /// What was found.
        flaw: Flaw,
        /// What to do.
        advice: &'static str,
    },
    /// Initialisation would destroy something.
    #[error(
        "{path} is not empty: {found}; if nobody needs that any more, initialise it with the option to overwrite"
    )]
    Occupied {
        /// The device.
        path: PathBuf,
        /// What it holds.
        found: String,
    },
    /// Another process of this machine uses the place.
    #[error("{path} is in use as {user} by another process of this machine; end that one first")]
    Busy {
        /// The device.
        path: PathBuf,
        /// As what.
        user: String,
    },
    /// Two programs act as one node.
    #[error(
        "{path}: somebody else writes as node {node} too (found life {found:016x}, this one is {own:016x}); give each \
         node its own number, and start this one again"
    )]
    NodeTwice {
        /// The device.
        path: PathBuf,
        /// The number.
        node: u8,
        /// The other's life.
        found: u64,
        /// This life.
        own: u64,
    },
    /// The device lost a write that it had confirmed.
    #[error(
        "{path} lost a write of node {node} that it had confirmed (write {written}, found {found}); a snapshot was \
         restored, or its cache lies about durability: nothing that it says can be trusted"
    )]
    Forgot {
        /// The device.
        path: PathBuf,
        /// Whose slot.
        node: u8,
        /// The newest confirmed write.
        written: u64,
        /// The newest one that is there.
        found: u64,
    },
    /// No such group on the device.
    #[error("{path} has no place for group \"{group}\" (it has {known}); initialise it with that group")]
    UnknownGroup {
        /// The device.
        path: PathBuf,
        /// What was asked for.
        group: String,
        /// What there is.
        known: String,
    },
    /// A record that must not be written.
    #[error("this record is refused: {0}")]
    BadRecord(String),
    /// An impossible setting.
    #[error("{0}")]
    BadSetting(String),
    /// Others swapped so often meanwhile that nothing tells any more whether this swap was one of them.
    #[error(
        "the outcome of the swap is unknown: the other node went on by several revisions meanwhile; read again"
    )]
    Overtaken,
    /// No answer in time.
    #[error("the device did not answer within the deadline; what was asked may still have happened")]
    Late,
    /// Too many calls wait for the device.
    #[error("{waiting} calls wait for the device already")]
    Full {
        /// How many.
        waiting: usize,
    },
    /// The device's thread has ended.
    #[error("the device was closed")]
    Closed,
}

impl DiskError {
    /// The same as the seam's error.
    pub(crate) fn into_arbiter(self, arbiter: &str, group: &str) -> ArbiterError {
        let arbiter = arbiter.to_owned();
        let reason = self.to_string();
        match self {
            Self::Io { .. } | Self::Overtaken | Self::Late | Self::Full { .. } | Self::Closed => {
                ArbiterError::Unavailable { arbiter, reason }
            }
            Self::Foreign { advice, .. } => ArbiterError::Foreign {
                arbiter,
                group: group.to_owned(),
                found: reason,
                advice: advice.to_owned(),
            },
            Self::UnknownGroup { .. } => ArbiterError::Foreign {
                arbiter,
                group: group.to_owned(),
                found: reason,
                advice: "initialise a device with that group, or mend the group's name".to_owned(),
            },
            Self::NotADisk { .. }
            | Self::NoDirectIo { .. }
            | Self::TooSmall { .. }
            | Self::Occupied { .. }
            | Self::Busy { .. }
            | Self::NodeTwice { .. }
            | Self::Forgot { .. }
            | Self::BadRecord(_)
            | Self::BadSetting(_) => ArbiterError::Unusable { arbiter, reason },
        }
    }
}
