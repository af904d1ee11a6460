//! The state store as one small preallocated file.

use super::layout;
use super::medium::{LockError, Medium, MediumFile, MediumLock, Open, read_full};
use super::slot::{self, COPIES, Copy, SLOTS, Size, SlotFinding, SlotState, Whole};
use crate::api::{StateError, StateStore};
use crate::{InitId, NodeRecord, StoreId};
use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;

/// The name of the state file.
pub const STATE_FILE: &str = "node-state";
const NEW_FILE: &str = "node-state.new";
const LOCK_FILE: &str = "node-state.lock";
/// More than a record of all groups that a configuration may have needs.
const LONGEST_BYTES: usize = 16 << 20;

/// A node's durable record in one preallocated file of two alternating slots.
///
/// Saving overwrites the older slot and syncs once, so it needs no space and never harms the newest
/// acknowledged record. Only one process at a time can have it open. A new store has room for 63 groups;
/// [`StateStore::make_room`] makes it larger.
///
/// ```
/// use ha_core::api::StateStore;
/// use ha_core::store::{FileStateStore, medium::RecordingMedium};
/// use ha_core::{InitId, StoreId};
/// use std::sync::Arc;
///
/// let medium = Arc::new(RecordingMedium::new()); // RealMedium::create("/var/lib/ha")? on a real node
/// let mut store = FileStateStore::initialise(medium, InitId(1), StoreId(2))?;
/// let mut record = store.load()?;
/// record.peer_store = Some(StoreId(3));
/// store.save(&record)?;
/// # Ok::<(), ha_core::api::StateError>(())
/// ```
pub struct FileStateStore {
    medium: Arc<dyn Medium>,
    file: Box<dyn MediumFile>,
    size: Size,
    place: String,
    record: NodeRecord,
    sequence: u64,
    newest_slot: u8,
    findings: Vec<SlotFinding>,
    usable: bool,
    _lock: Box<dyn MediumLock>,
}

impl FileStateStore {
    /// Makes a store that carries `init`, the id which both nodes get when they are first installed together.
    ///
    /// # Errors
    /// [`StateError::Exists`] if there is one already, whatever its state; [`StateError::InUse`]; [`StateError::Io`].
    pub fn initialise(medium: Arc<dyn Medium>, init: InitId, store: StoreId) -> Result<Self, StateError> {
        let at = Place::new(medium)?;
        if at.exists()? {
            return Err(StateError::Exists { place: at.place });
        }
        at.make(NodeRecord::blank(store, Some(init)))
    }

    /// Opens the store, or makes a blank one of `store` if there is none. A blank one carries no initialisation: its node is an
    /// amnesiac until the peer admits it.
    ///
    /// # Errors
    /// As [`FileStateStore::open`]: a damaged store is never taken for a missing one.
    pub fn open_or_blank(medium: Arc<dyn Medium>, store: StoreId) -> Result<Self, StateError> {
        let at = Place::new(medium)?;
        if at.exists()? { at.open() } else { at.make(NodeRecord::blank(store, None)) }
    }

    /// Opens the store. What [`StateStore::load`] then returns is durable, even if a process before this one
    /// ended within a save.
    ///
    /// # Errors
    /// [`StateError::Missing`], [`StateError::Corrupt`], [`StateError::InUse`], [`StateError::Io`].
    pub fn open(medium: Arc<dyn Medium>) -> Result<Self, StateError> {
        let at = Place::new(medium)?;
        if at.exists()? { at.open() } else { Err(StateError::Missing { place: at.place }) }
    }

    /// What was found in the slots when the store was opened: show it when a copy is damaged.
    #[must_use]
    pub fn findings(&self) -> &[SlotFinding] {
        &self.findings
    }

    /// Writes `record` as number `sequence` into `slot` and syncs.
    fn write(&self, record: &NodeRecord, sequence: u64, slot: u8, label: &'static str) -> io::Result<()> {
        let (size, body) = (self.size, layout::encode(record));
        for copy in 0..COPIES {
            let bytes =
                slot::encode(&body, sequence, slot, copy, size).ok_or_else(|| too_long(record, size))?;
            self.file.write_at(&bytes, size.offset(slot, copy) as u64)?;
        }
        self.file.sync_data(label)
    }

    fn try_save(&mut self, record: &NodeRecord) -> io::Result<()> {
        if !self.usable {
            return Err(io::Error::other(
                "an earlier save failed; expected the node to end and to open the store anew",
            ));
        }
        let (sequence, slot) = (self.sequence + 1, (self.newest_slot + 1) % SLOTS);
        self.usable = false;
        self.write(record, sequence, slot, "state.save")?;
        (self.usable, self.sequence, self.newest_slot) = (true, sequence, slot);
        self.record = record.clone();
        Ok(())
    }

    /// Makes the whole file under another name first: a store that can be seen is complete. One that stood there
    /// before stands until this one is durable.
    fn publish(&self, written: &'static str, named: &'static str) -> io::Result<()> {
        self.file.set_len(0)?; // what an interrupted attempt left
        self.file.allocate(self.size.file_bytes() as u64)?;
        self.write(&self.record, self.sequence, self.newest_slot, written)?;
        self.medium.rename(Path::new(NEW_FILE), Path::new(STATE_FILE))?;
        self.medium.sync_dir(Path::new(""), named)
    }

    fn grow(&mut self, size: Size) -> io::Result<()> {
        self.file = self.medium.open(Path::new(NEW_FILE), Open::Create)?;
        (self.size, self.newest_slot) = (size, 0);
        self.usable = false;
        self.publish("state.grow", "state.grow.name")?;
        self.usable = true;
        Ok(())
    }
}

fn too_long(record: &NodeRecord, size: Size) -> io::Error {
    let text = format!(
        "a record of {} groups does not fit; expected at most {} bytes",
        record.groups.len(),
        size.body_bytes()
    );
    io::Error::new(io::ErrorKind::InvalidInput, text)
}

impl StateStore for FileStateStore {
    fn room_for_groups(&self) -> usize {
        self.size.groups()
    }

    fn make_room(&mut self, groups: usize) -> Result<(), StateError> {
        if self.room_for_groups() >= groups {
            return Ok(());
        }
        self.grow(Size::for_groups(groups))
            .map_err(|source| StateError::Io { place: self.place.clone(), source })
    }

    fn load(&mut self) -> Result<NodeRecord, StateError> {
        Ok(self.record.clone())
    }

    fn save(&mut self, record: &NodeRecord) -> Result<(), StateError> {
        self.try_save(record).map_err(|source| StateError::Io { place: self.place.clone(), source })
    }
}

impl fmt::Debug for FileStateStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileStateStore")
            .field("place", &self.place)
            .field("sequence", &self.sequence)
            .field("usable", &self.usable)
            .finish_non_exhaustive()
    }
}

/// A locked directory in which a store is or may be made.
struct Place {
    medium: Arc<dyn Medium>,
    place: String,
    lock: Box<dyn MediumLock>,
}

impl Place {
    fn new(medium: Arc<dyn Medium>) -> Result<Self, StateError> {
        let place = medium.place();
        match medium.lock(Path::new(LOCK_FILE)) {
            Ok(lock) => Ok(Self { medium, place, lock }),
            Err(LockError::Held { pid }) => Err(StateError::InUse { place, pid }),
            Err(LockError::Io(source)) => Err(StateError::Io { place, source }),
        }
    }

    fn io(&self, source: io::Error) -> StateError {
        StateError::Io { place: self.place.clone(), source }
    }

    fn exists(&self) -> Result<bool, StateError> {
        let found = self.medium.metadata(Path::new(STATE_FILE)).map_err(|e| self.io(e))?;
        Ok(found.is_some())
    }

    fn make(self, record: NodeRecord) -> Result<FileStateStore, StateError> {
        let file = self.medium.open(Path::new(NEW_FILE), Open::Create).map_err(|e| self.io(e))?;
        let store = FileStateStore {
            medium: self.medium,
            file,
            size: Size::ONE_BLOCK,
            place: self.place,
            record,
            sequence: 1,
            newest_slot: 0,
            findings: Vec::new(),
            usable: true,
            _lock: self.lock,
        };
        match store.publish("state.create", "state.publish") {
            Ok(()) => Ok(store),
            Err(source) => Err(StateError::Io { place: store.place, source }),
        }
    }

    fn open(self) -> Result<FileStateStore, StateError> {
        let file = self.medium.open(Path::new(STATE_FILE), Open::Existing).map_err(|e| self.io(e))?;
        let len = usize::try_from(file.len().map_err(|e| self.io(e))?).unwrap_or(usize::MAX);
        let mut bytes = vec![0; len.min(LONGEST_BYTES)];
        let read = read_full(&*file, &mut bytes, 0).map_err(|e| self.io(e))?;
        bytes.truncate(read);
        let size = Size::found_in(&bytes);
        let Contents { findings, newest } = Contents::read(&bytes, size);
        report(&self.place, &findings);
        // Beside a record of a newer program ours is an old one: going back to it could break a promise.
        let foreign = findings.iter().any(|f| matches!(f.state, SlotState::Foreign { .. }));
        let Some((newest_slot, Whole { sequence, record })) = newest.filter(|_| !foreign) else {
            return Err(self.corrupt(&findings, read, size));
        };
        let store = FileStateStore {
            medium: self.medium,
            file,
            size,
            place: self.place,
            record,
            sequence,
            newest_slot,
            findings,
            usable: true,
            _lock: self.lock,
        };
        // The record may be in the page cache only (a save that failed or was interrupted). Written again in
        // place it is durable, and the other slot, perhaps the last good one on the disk, stays untouched.
        let settle = || {
            store.file.allocate(size.file_bytes() as u64)?;
            store.write(&store.record, sequence, newest_slot, "state.open.record")?;
            store.medium.sync_dir(Path::new(""), "state.open.name")
        };
        match settle() {
            Ok(()) => Ok(store),
            Err(source) => Err(StateError::Io { place: store.place, source }),
        }
    }

    fn corrupt(&self, findings: &[SlotFinding], read: usize, size: Size) -> StateError {
        let each: Vec<_> =
            findings.iter().map(|f| format!("slot {} copy {}: {}", f.slot, f.copy, f.state)).collect();
        StateError::Corrupt {
            place: format!("{}/{STATE_FILE}", self.place),
            found: format!("{read} bytes; {}", each.join(", ")),
            expected: format!(
                "{} bytes with whole records of format version 1 or 2; if it is lost, move the file away: the node then boots as amnesiac and waits for its peer",
                size.file_bytes()
            ),
        }
    }
}

struct Contents {
    findings: Vec<SlotFinding>,
    newest: Option<(u8, Whole)>,
}

impl Contents {
    fn read(bytes: &[u8], size: Size) -> Self {
        let mut contents = Self { findings: Vec::new(), newest: None };
        for slot in 0..SLOTS {
            for copy in 0..COPIES {
                contents.look(bytes, slot, copy, size);
            }
        }
        contents
    }

    fn look(&mut self, bytes: &[u8], slot: u8, copy: u8, size: Size) {
        let rest = bytes.get(size.offset(slot, copy)..).unwrap_or_default();
        let state = match slot::decode(rest, slot, copy, size) {
            Ok(Copy::Empty) => SlotState::Empty,
            Ok(Copy::Foreign { version }) => SlotState::Foreign { version },
            Err(found) => SlotState::Damaged { found },
            Ok(Copy::Whole(whole)) => {
                let sequence = whole.sequence;
                if self.newest.as_ref().is_none_or(|(_, newest)| newest.sequence < sequence) {
                    self.newest = Some((slot, whole));
                }
                SlotState::Whole { sequence }
            }
        };
        self.findings.push(SlotFinding { slot, copy, state });
    }
}

fn report(place: &str, findings: &[SlotFinding]) {
    for SlotFinding { slot, copy, state } in findings {
        if let SlotState::Damaged { found } = state {
            tracing::warn!(place, slot, copy, %found, "a copy in the state store is damaged");
        }
    }
}
