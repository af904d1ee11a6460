//! Faults that a test asks for.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::path::Path;
use std::sync::Arc;

/// One sync call, or every call of one call site.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum SyncPick {
    /// Every call with this label.
    Label(&'static str),
    /// The n-th call since the medium was made, from 0.
    Nth(usize),
}

/// A call that is about to happen; what a hook is told.
#[derive(Clone, Copy, Debug)]
pub struct Call<'a> {
    /// `open`, `write`, `sync`, ….
    pub what: &'static str,
    /// On which path.
    pub path: &'a Path,
    /// The label of a sync.
    pub label: Option<&'static str>,
}

pub(super) type Hook = Arc<dyn Fn(&Call<'_>) + Send + Sync>;

/// What becomes of a sync.
pub(super) enum SyncFate {
    Happens,
    Skipped,
    Fails,
}

#[derive(Default)]
pub(super) struct Faults {
    pub(super) space_left: Option<u64>,
    pub(super) read_only: bool,
    pub(super) skip: Option<SyncPick>,
    pub(super) fail: Option<SyncPick>,
    pub(super) hook: Option<Hook>,
    pub(super) labels: BTreeMap<&'static str, usize>,
    syncs: usize,
}

impl Faults {
    pub(super) fn writable(&self) -> io::Result<()> {
        if self.read_only { Err(ErrorKind::ReadOnlyFilesystem.into()) } else { Ok(()) }
    }

    /// Whether a new name has room: it needs some, however little.
    pub(super) fn room_for_a_name(&self) -> io::Result<()> {
        self.writable()?;
        if self.space_left == Some(0) { Err(ErrorKind::StorageFull.into()) } else { Ok(()) }
    }

    /// Takes at most `bytes` of the space that is left.
    pub(super) fn take_space(&mut self, bytes: u64) -> u64 {
        let Some(left) = &mut self.space_left else { return bytes };
        let taken = bytes.min(*left);
        *left -= taken;
        taken
    }

    pub(super) fn sync(&mut self, label: &'static str) -> SyncFate {
        let nth = self.syncs;
        self.syncs += 1;
        *self.labels.entry(label).or_default() += 1;
        let picked = |pick: SyncPick| match pick {
            SyncPick::Label(wanted) => wanted == label,
            SyncPick::Nth(wanted) => wanted == nth,
        };
        if self.fail.take_if(|pick| picked(*pick)).is_some() {
            SyncFate::Fails
        } else if self.skip.is_some_and(picked) {
            SyncFate::Skipped
        } else {
            SyncFate::Happens
        }
    }
}
