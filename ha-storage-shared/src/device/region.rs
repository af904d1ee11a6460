//! What one reading of a group's region says.

use super::Disk;
use crate::error::DiskError;
use crate::layout::{
    Flaw, PITCH, Place, Stamp, Superblock, decode_block, decode_liveness, decode_superblock, group_place,
    open, super_place,
};
use crate::protocol::{Block, COPIES, Liveness};

const FOREIGN: &str = "check that the device and the installation are the ones you mean";
const DAMAGED: &str =
    "it is damaged: with both nodes stopped initialise it again, and confirm who owned what";

/// Both nodes' slots, as they were at about one time.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Region {
    /// By node and copy; nothing where a copy is torn.
    pub(crate) blocks: [[Option<Block>; COPIES]; 2],
    /// By node; the checksum of what is torn.
    pub(crate) liveness: [Result<Liveness, u32>; 2],
}

const REGION_SECTORS: usize = 6;

/// Reads the two slots and the two liveness records of a group in one call.
pub(crate) fn read_region(disk: &mut Disk, stamp: &Stamp, group: u16) -> Result<Region, DiskError> {
    let path = disk.path().to_owned();
    let first = Place::Block { group, node: 0, copy: 0 };
    let bytes = disk.read(group_place(first), REGION_SECTORS * PITCH)?;
    let sector = |place: Place| {
        let at = (group_place(place) - group_place(first)) as usize;
        bytes.get(at..at + stamp.sector as usize).unwrap_or_default()
    };
    let foreign = |place: Place, flaw| DiskError::Foreign {
        path: path.clone(),
        place: format!("{place:?}"),
        flaw,
        advice: FOREIGN,
    };
    let mut region = Region { blocks: [[None; COPIES]; 2], liveness: [Err(0); 2] };
    for node in 0..2u8 {
        for copy in 0..COPIES as u8 {
            let place = Place::Block { group, node, copy };
            let block = block(sector(place), place, stamp, node).map_err(|flaw| foreign(place, flaw))?;
            if let Some(slot) =
                region.blocks.get_mut(usize::from(node)).and_then(|all| all.get_mut(usize::from(copy)))
            {
                *slot = block;
            }
        }
        let place = Place::Liveness { group, node };
        let found = liveness(sector(place), place, stamp).map_err(|flaw| foreign(place, flaw))?;
        if let Some(slot) = region.liveness.get_mut(usize::from(node)) {
            *slot = found;
        }
    }
    Ok(region)
}

fn block(bytes: &[u8], place: Place, stamp: &Stamp, node: u8) -> Result<Option<Block>, Flaw> {
    match open(bytes, place, Some(stamp)) {
        Ok((_, body)) => decode_block(&body, node, stamp.init).map(Some).map_err(Flaw::Senseless),
        Err(flaw) if flaw.may_be_torn() => Ok(None),
        Err(flaw) => Err(flaw),
    }
}

fn liveness(bytes: &[u8], place: Place, stamp: &Stamp) -> Result<Result<Liveness, u32>, Flaw> {
    match open(bytes, place, Some(stamp)) {
        Ok((_, body)) => decode_liveness(&body).map(Ok).map_err(Flaw::Senseless),
        Err(flaw) if flaw.may_be_torn() => Ok(Err(crc32c::crc32c(bytes))),
        Err(flaw) => Err(flaw),
    }
}

/// What is said of a slot without a whole copy.
pub(crate) fn damaged(disk: &Disk, group: u16, node: u8) -> DiskError {
    DiskError::Foreign {
        path: disk.path().to_owned(),
        place: format!("both copies of the block of node {node} of group {group}"),
        flaw: Flaw::Senseless("neither is whole".into()),
        advice: DAMAGED,
    }
}

/// Reads what the device is: the first whole copy of two.
pub(crate) fn read_superblock(disk: &mut Disk) -> Result<Superblock, DiskError> {
    let needed = super_place(COPIES as u8);
    if disk.bytes() < needed {
        return Err(DiskError::TooSmall { path: disk.path().to_owned(), bytes: disk.bytes(), needed });
    }
    let mut first = None;
    for copy in 0..COPIES as u8 {
        match superblock(disk.read(super_place(copy), PITCH)?, copy) {
            Ok(found) => return usable(disk, found),
            Err(flaw) => first = first.or(Some(flaw)),
        }
    }
    Err(DiskError::Foreign {
        path: disk.path().to_owned(),
        place: "superblock".into(),
        flaw: first.unwrap_or(Flaw::Blank),
        advice: "if it is the right device, initialise it first (disk-arbiter init)",
    })
}

fn superblock(bytes: &[u8], copy: u8) -> Result<Superblock, Flaw> {
    let (stamp, body) = open(bytes, Place::Super { copy }, None)?;
    decode_superblock(stamp, &body).map_err(Flaw::Senseless)
}

fn usable(disk: &Disk, found: Superblock) -> Result<Superblock, DiskError> {
    let path = disk.path().to_owned();
    if !found.stamp.sector.is_multiple_of(disk.sector()) {
        let flaw = Flaw::SectorSize { found: found.stamp.sector, expected: disk.sector() };
        let advice = "this device has larger sectors than the one it was initialised on: initialise it here";
        return Err(DiskError::Foreign { path, place: "superblock".into(), flaw, advice });
    }
    let needed = found.geometry.bytes();
    if disk.bytes() < needed {
        return Err(DiskError::TooSmall { path, bytes: disk.bytes(), needed });
    }
    Ok(found)
}
