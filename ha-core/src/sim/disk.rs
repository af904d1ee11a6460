//! A node's durable record on a modelled disk, through the real store: whatever a restart reads was parsed from
//! the bytes that the crash left.

use super::rng::Rng;
use crate::api::{StateError, StateStore};
use crate::store::medium::{Medium, Open, RecordingMedium, SyncPick};
use crate::store::{FileStateStore, STATE_FILE};
use crate::{InitId, NodeRecord, StoreId};
use std::path::Path;
use std::sync::Arc;

/// The sync of a save.
const SAVE: SyncPick = SyncPick::Label("state.save");
/// So many of the states in which a cut may leave the disk are looked at.
const IMAGES: usize = 24;
/// What a damaged block reads as.
const GARBAGE: [u8; 4096] = [0xa5; 4096];

/// The disk of one node, as far as its record is concerned.
#[derive(Debug)]
pub struct RecordDisk {
    medium: RecordingMedium,
    store: Option<FileStateStore>,
    rng: Rng,
    lies: bool,
    /// The newest record that a save called durable.
    promised: Option<NodeRecord>,
    /// A cut took what had been called durable.
    pub lost_a_promise: bool,
}

impl RecordDisk {
    /// A disk with a store as its installation makes it; blank without `init`.
    #[must_use]
    pub fn new(store: StoreId, init: Option<InitId>, rng: Rng) -> Self {
        let medium = RecordingMedium::new();
        let disk: Arc<dyn Medium> = Arc::new(medium.clone());
        let made = match init {
            Some(init) => FileStateStore::initialise(disk, init, store),
            None => FileStateStore::open_or_blank(disk, store),
        };
        drop(made);
        Self { medium, store: None, rng, lies: false, promised: None, lost_a_promise: false }
    }

    /// What a starting process reads.
    ///
    /// # Errors
    /// What the store says of a damaged file.
    pub fn open(&mut self) -> Result<NodeRecord, StateError> {
        self.store = None;
        let mut store = FileStateStore::open(Arc::new(self.medium.clone()))?;
        let record = store.load()?;
        self.store = Some(store);
        Ok(record)
    }

    /// Saves; false if the store says that it failed.
    pub fn save(&mut self, record: &NodeRecord) -> bool {
        let saved = self.store.as_mut().is_some_and(|store| store.save(record).is_ok());
        if saved {
            self.promised = Some(record.clone());
        }
        saved
    }

    /// The process ended; `under_way` was being written at that moment, and any part of it may be there.
    pub fn process_ended(&mut self, under_way: Option<&NodeRecord>) {
        let store = self.store.take();
        let (Some(record), Some(mut store)) = (under_way, store) else { return };
        if self.lies {
            // Its cache outlives the process: all of it is there as long as the power is.
            drop(store.save(record));
            return;
        }
        self.medium.record();
        drop(store.save(record));
        drop(store);
        let points = self.medium.crash_points();
        if let Some(point) = points.get(self.rng.index(points.len())) {
            let images: Vec<_> = point.images(IMAGES, self.rng.bits()).collect();
            if let Some(image) = images.get(self.rng.index(images.len())) {
                self.medium = RecordingMedium::from_image(image);
            }
        }
    }

    /// The power is cut, after [`RecordDisk::process_ended`].
    pub fn lose_power(&mut self) {
        self.store = None;
        let images: Vec<_> = self.medium.crash_now().images(IMAGES, self.rng.bits()).collect();
        let mut media = images.iter().map(RecordingMedium::from_image);
        let at = self.rng.index(images.len());
        let forgets = self.lies && self.rng.chance(500);
        let forgetful = |medium: &RecordingMedium| read(medium) != self.promised;
        let found = if forgets { media.find(forgetful) } else { media.nth(at) };
        self.medium = found.or_else(|| images.first().map(RecordingMedium::from_image)).unwrap_or_default();
        if std::mem::take(&mut self.lies) {
            self.lost_a_promise |= self.promised.is_some() && read(&self.medium) != self.promised;
        }
    }

    /// Whether what was called durable may still be in a cache.
    #[must_use]
    pub const fn is_lying(&self) -> bool {
        self.lies
    }

    /// From now on what is called durable is in the disk's cache only; or no longer.
    pub fn lie(&mut self, lies: bool) {
        self.lies |= lies;
        self.medium.skip_sync(lies.then_some(SAVE));
    }

    /// The next save fails with an input/output error.
    pub fn fail_next_save(&self) {
        self.medium.fail_sync(SAVE);
    }

    /// No block is free any more; or some are again.
    pub fn fill(&self, full: bool) {
        self.medium.fill_after(full.then_some(0));
    }

    /// Every copy of the record becomes unreadable. Takes effect at the next start.
    pub fn damage(&self) {
        let Ok(file) = self.medium.open(Path::new(STATE_FILE), Open::Existing) else { return };
        for block in 0..4 {
            drop(file.write_at(&GARBAGE, block * GARBAGE.len() as u64));
        }
        drop(file.sync_data("damage"));
    }
}

/// What a start would find on `medium`.
fn read(medium: &RecordingMedium) -> Option<NodeRecord> {
    FileStateStore::open(Arc::new(medium.clone())).ok()?.load().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Epoch, GroupId};

    fn disk(seed: u64) -> (RecordDisk, NodeRecord) {
        let mut disk = RecordDisk::new(StoreId(1), Some(InitId(2)), Rng::new(seed));
        let record = disk.open().unwrap();
        (disk, record)
    }

    fn granted(record: &NodeRecord, epoch: u64) -> NodeRecord {
        let mut record = record.clone();
        record.groups.entry(GroupId(0)).or_default().granted = Epoch(epoch);
        record
    }

    #[test]
    fn a_torn_save_leaves_the_old_record_or_the_new_one_and_both_happen() {
        let mut seen = [0, 0];
        for seed in 0..200 {
            let (mut disk, blank) = disk(seed);
            let (old, new) = (granted(&blank, 1), granted(&blank, 2));
            assert!(disk.save(&old));
            disk.process_ended(Some(&new));
            disk.lose_power();
            let found = disk.open().unwrap();
            assert!(found == old || found == new, "{found:?}");
            seen[usize::from(found == new)] += 1;
        }
        assert!(seen.iter().all(|n| *n > 20), "{seen:?}");
    }

    #[test]
    fn a_lost_cache_takes_what_was_called_durable_and_is_noticed() {
        let lost = (0..50).filter(|seed| {
            let (mut disk, blank) = disk(*seed);
            disk.lie(true);
            assert!(disk.save(&granted(&blank, 1)));
            disk.process_ended(None);
            disk.lose_power();
            let found = disk.open().unwrap();
            assert_eq!(disk.lost_a_promise, found == blank);
            found == blank
        });
        assert!(lost.count() > 5);
    }

    #[test]
    fn a_full_disk_takes_a_save_and_a_failed_one_is_the_last_of_its_process() {
        let (mut disk, blank) = disk(1);
        disk.fill(true);
        assert!(disk.save(&granted(&blank, 1)), "a save overwrites: it needs no space");
        disk.fail_next_save();
        assert!(!disk.save(&granted(&blank, 2)));
        assert!(!disk.save(&granted(&blank, 3)), "the store is not used again");
        disk.process_ended(None);
        assert!(disk.open().is_ok());
    }

    #[test]
    fn a_damaged_store_is_refused_and_not_taken_for_a_new_one() {
        let (mut disk, _) = disk(1);
        disk.process_ended(None);
        disk.damage();
        assert!(matches!(disk.open(), Err(StateError::Corrupt { .. })));
    }
}
