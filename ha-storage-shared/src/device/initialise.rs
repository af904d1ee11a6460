//! Making a device an arbiter.

use super::{AcceptStaleReads, Access, Disk, read_superblock};
use crate::error::DiskError;
use crate::layout::{
    GROUPS_MAX, Geometry, NAME_MAX, PITCH, Place, Stamp, Superblock, encode_block, encode_liveness,
    encode_name, encode_superblock, group_place, seal,
};
use crate::protocol::{Block, COPIES, Liveness};
use ha_core::InitId;
use std::collections::BTreeSet;
use std::fs::File;
use std::path::Path;

/// How much of a device is looked at before it is taken for empty: past the marks of all common file systems.
const LOOK_BYTES: u64 = 256 << 10;

/// What a device shall become.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Initialisation {
    init: InitId,
    groups: Vec<String>,
    sector: Option<u32>,
    overwrite: bool,
    buffered: Option<AcceptStaleReads>,
}

impl Initialisation {
    /// An arbiter of these groups for the installation `init`. The groups cannot be changed later.
    #[must_use]
    pub fn new<I: IntoIterator<Item = S>, S: Into<String>>(init: InitId, groups: I) -> Self {
        let groups = groups.into_iter().map(Into::into).collect();
        Self { init, groups, sector: None, overwrite: false, buffered: None }
    }

    /// Bytes of a sector: 512 or 4096, at least the device's own. Otherwise the device's own.
    #[must_use]
    pub const fn sector(mut self, bytes: u32) -> Self {
        self.sector = Some(bytes);
        self
    }

    /// Overwrites whatever the device holds. No node may be using it, on any machine.
    #[must_use]
    pub const fn overwrite(mut self) -> Self {
        self.overwrite = true;
        self
    }

    /// See [`AcceptStaleReads`].
    #[must_use]
    pub const fn buffered(mut self, accepted: AcceptStaleReads) -> Self {
        self.buffered = Some(accepted);
        self
    }

    pub(crate) fn run(&self, path: &Path) -> Result<(), DiskError> {
        self.check()?;
        let mut disk = Disk::open(path, Access::Create, self.buffered)?;
        if !disk.lock(0, 2)? {
            return Err(DiskError::Busy { path: path.to_owned(), user: "an arbiter".into() });
        }
        let sector = self.sector_of(&disk)?;
        let geometry = Geometry { sector, groups: self.groups.len() as u16 };
        if !self.overwrite
            && let Some(found) = occupant(&mut disk, geometry.bytes())?
        {
            return Err(DiskError::Occupied { path: path.to_owned(), found });
        }
        disk.extend(geometry.bytes())?;
        let device = random(path)?;
        let stamp = Stamp { sector, init: self.init, device };
        self.write(&mut disk, &Superblock { stamp, geometry })?;
        sync_name(path)
    }

    fn check(&self) -> Result<(), DiskError> {
        let bad = |what: String| Err(DiskError::BadSetting(what));
        if self.groups.is_empty() || self.groups.len() > usize::from(GROUPS_MAX) {
            return bad(format!("{} groups were named, possible are 1 to {GROUPS_MAX}", self.groups.len()));
        }
        if let Some(name) = self.groups.iter().find(|name| name.is_empty() || name.len() > NAME_MAX) {
            return bad(format!("a group's name has {} bytes, possible are 1 to {NAME_MAX}", name.len()));
        }
        let different: BTreeSet<_> = self.groups.iter().collect();
        if different.len() < self.groups.len() {
            return bad("two groups have the same name".into());
        }
        Ok(())
    }

    fn sector_of(&self, disk: &Disk) -> Result<u32, DiskError> {
        let sector = self.sector.unwrap_or(disk.sector());
        if matches!(sector, 512 | 4096) && sector >= disk.sector() {
            return Ok(sector);
        }
        let own = disk.sector();
        Err(DiskError::BadSetting(format!(
            "sectors of {sector} bytes are not possible: 512 or 4096, and at least the device's own {own}"
        )))
    }

    /// Everything else before the superblock: a device that was only half initialised is none.
    fn write(&self, disk: &mut Disk, superblock: &Superblock) -> Result<(), DiskError> {
        let blank = vec![0; PITCH];
        for copy in 0..COPIES as u8 {
            disk.write(group_place(Place::Super { copy }), &blank)?;
        }
        let mut at = 2 * PITCH as u64;
        while at < superblock.geometry.bytes() {
            disk.write(at, &blank)?;
            at += PITCH as u64;
        }
        let stamp = &superblock.stamp;
        let mut put = |place: Place, body: &[u8]| disk.write(group_place(place), &seal(stamp, place, body));
        for (group, name) in (0..).zip(&self.groups) {
            put(Place::Name { group }, &encode_name(name))?;
            for node in 0..2 {
                for copy in 0..COPIES as u8 {
                    put(Place::Block { group, node, copy }, &encode_block(&Block::default()))?;
                }
                put(Place::Liveness { group, node }, &encode_liveness(&Liveness::blank(0)))?;
            }
        }
        for copy in 0..COPIES as u8 {
            put(Place::Super { copy }, &encode_superblock(&superblock.geometry))?;
        }
        disk.sync()
    }
}

fn random(path: &Path) -> Result<u128, DiskError> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|error| DiskError::Io {
        path: path.to_owned(),
        what: "asking for randomness",
        source: std::io::Error::other(error.to_string()),
    })?;
    Ok(u128::from_le_bytes(bytes))
}

/// What the device holds already, in words; nothing if it is blank.
fn occupant(disk: &mut Disk, needed: u64) -> Result<Option<String>, DiskError> {
    let end = disk.bytes().min(needed.max(LOOK_BYTES));
    let unit = u64::from(disk.sector());
    let mut at = 0;
    while at < end {
        let length = (end - at).min(PITCH as u64) / unit * unit;
        if length == 0 {
            // Less than a sector cannot be read past the cache; a file of ours has no such end.
            return Ok(Some(format!("{} bytes at {at}", end - at)));
        }
        let bytes = disk.read(at, length as usize)?;
        if let Some(offset) = bytes.iter().position(|&byte| byte != 0) {
            let first = bytes.get(offset..(offset + 16).min(bytes.len())).unwrap_or_default();
            let found = format!("bytes \"{}\" at {}", first.escape_ascii(), at + offset as u64);
            return Ok(Some(match read_superblock(disk) {
                Ok(superblock) => format!("an arbiter of installation {}", superblock.stamp.init),
                Err(_) => found,
            }));
        }
        at += length;
    }
    Ok(None)
}

/// The file's name must survive a power cut too.
fn sync_name(path: &Path) -> Result<(), DiskError> {
    let failed = |source| DiskError::Io { path: path.to_owned(), what: "syncing the directory", source };
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    match parent {
        Some(parent) if path.is_file() => File::open(parent).and_then(|dir| dir.sync_all()).map_err(failed),
        Some(_) | None => Ok(()),
    }
}
