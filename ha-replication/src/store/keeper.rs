//! What happens beside the way of a commit: spare segments, checkpoints, trimming.

use super::copy::CopyTarget;
use super::layout::{Shared, locked};
use super::superblock::Superblock;
use super::{CopyBegin, CopyError, Facts, Rotation, StoreDigest, StoreError, digest, pins, segment};
use ha_core::Lsn;
use std::io;
use std::sync::Arc;

/// One thread has it, and may take its time.
pub(crate) struct Keeper {
    pub(super) shared: Arc<Shared>,
}

impl Keeper {
    /// Keeps the spare segments ready. A full disk (see [`StoreError::is_full`]) is not terminal.
    pub(crate) fn prepare_segments(&mut self) -> Result<(), StoreError> {
        self.shared.usable()?;
        segment::prepare_up_to(&self.shared, self.shared.config.limits.spare_segments.into())
    }

    /// Makes the tree durable up to the rotation, whose LSN is returned. `facts` are as of the rotation or
    /// later. Rotations come here in their order.
    pub(crate) fn checkpoint(&mut self, at: Rotation, facts: &Facts) -> Result<Lsn, StoreError> {
        self.shared.usable()?;
        let made = self.make(at, facts);
        self.shared.guard(made)
    }

    fn make(&self, at: Rotation, facts: &Facts) -> Result<Lsn, StoreError> {
        let shared = &*self.shared;
        shared.medium.sync_everything("tree.checkpoint").map_err(StoreError::io("cannot sync the tree"))?;
        let next = Superblock { generation: shared.generation, checkpoint: at, facts: facts.clone() };
        locked(&shared.superblock).write(next, "super")?;
        *locked(&shared.checkpoint) = (at.lsn, at.chain);
        let needed = shared.held().map_or(at.lsn, |held| held.min(at.lsn));
        pins::trim(&*shared.medium, &shared.places, needed)
            .map_err(StoreError::io("cannot remove old pins"))?;
        segment::trim(shared, at.lsn)?;
        Ok(at.lsn)
    }

    /// The space that the journal and the tree may still take, in bytes.
    pub(crate) fn free_bytes(&self) -> io::Result<u64> {
        self.shared.medium.free_bytes()
    }

    /// Scans the tree. The applier stands still at `at` meanwhile.
    pub(crate) fn digest(&self, at: Lsn) -> Result<StoreDigest, StoreError> {
        digest::of(&*self.shared.medium, &self.shared.places.tree, at)
            .map_err(StoreError::io("cannot scan the tree"))
    }

    /// Begins to receive a whole copy beside the present one, which stays in use until the copy is whole.
    pub(crate) fn copy_target(&mut self, begin: CopyBegin) -> Result<CopyTarget, CopyError> {
        CopyTarget::begin(&self.shared, begin)
    }
}
