//! Reading a device without being a node.

use super::region::{Region, read_region};
use super::{AcceptStaleReads, Access, Disk, read_superblock};
use crate::error::DiskError;
use crate::layout::{PITCH, Place, Stamp, decode_name, group_place, open};
use crate::protocol::{Block, lease_of, newest};
use ha_core::api::{Lease, OwnerRecord};
use ha_core::{Epoch, Incarnation, InitId};
use serde::Serialize;
use std::path::Path;

/// What a device says, read without writing: a proposal that is under way is shown as such, and not resolved.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[non_exhaustive]
pub struct Inspection {
    /// The installation.
    pub init: InitId,
    /// The life of the device, as it was given at initialisation.
    pub device: u128,
    /// Bytes of a sector.
    pub sector: u32,
    /// What direct I/O needs: offsets and lengths are multiples of this.
    pub alignment: u32,
    /// Every group.
    pub groups: Vec<GroupReading>,
}

/// One group.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[non_exhaustive]
pub struct GroupReading {
    /// Its name.
    pub name: String,
    /// The newest committed revision.
    pub revision: u64,
    /// Its record.
    pub record: Option<OwnerRecord>,
    /// The owner's lease.
    pub lease: Lease,
    /// Whether a proposal for the next revision is accepted somewhere: the next reading by a node resolves it.
    pub pending: bool,
    /// Both nodes' places.
    pub nodes: Vec<NodeReading>,
}

/// One node's places.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[non_exhaustive]
pub struct NodeReading {
    /// Its number.
    pub node: u8,
    /// Its block; nothing if no copy is whole.
    pub block: Option<BlockReading>,
    /// Copies of the block that are torn or damaged.
    pub damaged_copies: usize,
    /// Its liveness record; nothing if it is torn or damaged.
    pub liveness: Option<LivenessReading>,
}

/// A ballot block in short.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[non_exhaustive]
pub struct BlockReading {
    /// Writes of the slot.
    pub sequence: u64,
    /// The newest revision that the node knew.
    pub revision: u64,
    /// Its highest ballot for the next one.
    pub ballot: u64,
    /// The ballot in which it accepted something for the next one; zero: it did not.
    pub accepted: u64,
}

/// A liveness record in short.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[non_exhaustive]
pub struct LivenessReading {
    /// The life that writes there; zero: none yet.
    pub life: u64,
    /// Whose lease it renewed last.
    pub incarnation: Incarnation,
    /// In which epoch.
    pub epoch: Epoch,
    /// How often it renewed.
    pub renewals: u64,
    /// The revision at which it gave the lease up; zero: it did not.
    pub released_at: u64,
}

pub(crate) fn inspect(path: &Path, buffered: Option<AcceptStaleReads>) -> Result<Inspection, DiskError> {
    let mut disk = Disk::open(path, Access::Read, buffered)?;
    let superblock = read_superblock(&mut disk)?;
    let stamp = superblock.stamp;
    let mut groups = Vec::new();
    for (group, name) in (0..).zip(read_names(&mut disk, &stamp, superblock.geometry.groups)?) {
        let region = read_region(&mut disk, &stamp, group)?;
        groups.push(reading(name, &region));
    }
    let alignment = disk.sector();
    Ok(Inspection { init: stamp.init, device: stamp.device, sector: stamp.sector, alignment, groups })
}

/// The groups' names, in the order of their numbers.
pub(crate) fn read_names(disk: &mut Disk, stamp: &Stamp, groups: u16) -> Result<Vec<String>, DiskError> {
    let path = disk.path().to_owned();
    let mut names = Vec::new();
    for group in 0..groups {
        let place = Place::Name { group };
        let bytes = disk.read(group_place(place), PITCH)?;
        let bytes = bytes.get(..stamp.sector as usize).unwrap_or(bytes);
        let name = open(bytes, place, Some(stamp))
            .and_then(|(_, body)| decode_name(&body).map_err(crate::layout::Flaw::Senseless));
        names.push(name.map_err(|flaw| DiskError::Foreign {
            path: path.clone(),
            place: format!("{place:?}"),
            flaw,
            advice: "initialise the device again, with both nodes stopped",
        })?);
    }
    Ok(names)
}

fn reading(name: String, region: &Region) -> GroupReading {
    let slots = region.blocks.map(|copies| newest(&copies));
    let best = slots.iter().flatten().max_by_key(|block| block.revision).copied().unwrap_or_default();
    let pending = |block: &Block| block.revision == best.revision && block.input.is_some();
    let nodes = (0..).zip(slots).zip(region.blocks.iter().zip(region.liveness));
    GroupReading {
        name,
        revision: best.revision,
        record: best.record,
        lease: lease_of(best.revision, best.record.as_ref(), &region.liveness),
        pending: slots.iter().flatten().any(pending),
        nodes: nodes
            .map(|((node, block), (copies, liveness))| NodeReading {
                node,
                block: block.map(|block| BlockReading {
                    sequence: block.sequence,
                    revision: block.revision,
                    ballot: block.ballot.0,
                    accepted: block.accepted.0,
                }),
                damaged_copies: copies.iter().filter(|copy| copy.is_none()).count(),
                liveness: liveness.ok().map(|found| LivenessReading {
                    life: found.life,
                    incarnation: found.incarnation,
                    epoch: found.epoch,
                    renewals: found.renewals,
                    released_at: found.released_at,
                }),
            })
            .collect(),
    }
}
