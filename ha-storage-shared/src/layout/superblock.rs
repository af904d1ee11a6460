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

#[cfg(test)]
mod tests {
    use super::*;
    use ha_core::InitId;

    #[test]
    fn sizes_that_no_device_has_are_refused() {
        let found = |sector, groups| {
            let stamp = Stamp { sector, init: InitId(1), device: 2 };
            decode(stamp, &encode(&Geometry { sector, groups }))
        };
        assert_eq!(found(512, GROUPS_MAX).unwrap().geometry.groups, GROUPS_MAX);
        assert_eq!(found(4096, 1).unwrap().geometry.sector, 4096);
        for (sector, groups) in [(512, 0), (512, GROUPS_MAX + 1), (0, 1), (1024, 1), (8192, 1)] {
            assert!(found(sector, groups).is_err(), "{sector} {groups}");
        }
    }
}
