//! What the device is.

use super::body::Fields;
use super::geometry::{GROUPS_MAX, Geometry};
use super::sector::Stamp;

/// What is learned first of a device.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Superblock {
    /// What every sector bears.
    pub stamp: Stamp,
    /// Sizes.
    pub geometry: Geometry,
}

pub(crate) fn encode(geometry: &Geometry) -> Vec<u8> {
    geometry.groups.to_le_bytes().to_vec()
}

pub(crate) fn decode(stamp: Stamp, bytes: &[u8]) -> Result<Superblock, String> {
    let mut fields = Fields(bytes);
    let groups = fields.u16()?;
    fields.end()?;
    if groups == 0 || groups > GROUPS_MAX {
        return Err(format!("{groups} groups, possible are 1 to {GROUPS_MAX}"));
    }
    if !matches!(stamp.sector, 512 | 4096) {
        return Err(format!("sectors of {} bytes, possible are 512 and 4096", stamp.sector));
    }
    Ok(Superblock { stamp, geometry: Geometry { sector: stamp.sector, groups } })
}
