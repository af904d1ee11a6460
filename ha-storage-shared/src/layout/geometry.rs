//! Where each sector lies.
//!
//! Places are [`PITCH`] bytes apart whatever the sector size: a disk that emulates sectors of 512 bytes rewrites 4096 at
//! once, and must never touch one node's place while the other's is written.

/// Bytes from one place to the next.
pub const PITCH: usize = 4096;
/// Places of a group: its name, two copies of each node's block, each node's liveness, one spare.
pub const REGION_PLACES: usize = 8;
/// Groups on one device at most.
pub const GROUPS_MAX: u16 = 1024;
/// What lies in a place.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum Place {
    /// What the device is; two copies.
    Super {
        /// 0 or 1.
        copy: u8,
    },
    /// A group's name.
    Name {
        /// The group's number.
        group: u16,
    },
    /// A node's ballot block; two copies.
    Block {
        /// The group's number.
        group: u16,
        /// Whose.
        node: u8,
        /// 0 or 1.
        copy: u8,
    },
    /// A node's liveness record.
    Liveness {
        /// The group's number.
        group: u16,
        /// Whose.
        node: u8,
    },
}

/// Sizes of one device.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Geometry {
    /// Bytes of a sector: of one write. 512 or 4096.
    pub sector: u32,
    /// Groups for which there is room.
    pub groups: u16,
}

impl Geometry {
    /// Bytes from the start of the device that belong to the arbiter.
    #[must_use]
    pub const fn bytes(&self) -> u64 {
        (1 + self.groups as u64) * (REGION_PLACES * PITCH) as u64
    }
}

/// The place of a superblock's copy within the first region.
pub(crate) const fn super_place(copy: u8) -> u64 {
    copy as u64 * PITCH as u64
}

/// Where the region of `group` begins.
const fn region(group: u16) -> u64 {
    (1 + group as u64) * (REGION_PLACES * PITCH) as u64
}

/// A place of a group, counted from the start of the device.
pub(crate) const fn group_place(place: Place) -> u64 {
    let (group, index) = match place {
        Place::Super { copy } => return super_place(copy),
        Place::Name { group } => (group, 0),
        Place::Block { group, node, copy } => (group, 1 + node as u64 * 2 + copy as u64),
        Place::Liveness { group, node } => (group, 5 + node as u64),
    };
    region(group) + index * PITCH as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn no_two_places_share_4096_bytes_and_all_lie_on_the_device() {
        let geometry = Geometry { sector: 512, groups: 3 };
        let mut seen = BTreeSet::from([super_place(0), super_place(1)]);
        for group in 0..3 {
            assert!(seen.insert(group_place(Place::Name { group })));
            for node in 0..2 {
                assert!(seen.insert(group_place(Place::Liveness { group, node })));
                for copy in 0..2 {
                    assert!(seen.insert(group_place(Place::Block { group, node, copy })));
                }
            }
        }
        assert!(seen.iter().all(|at| at % PITCH as u64 == 0 && at + PITCH as u64 <= geometry.bytes()));
    }
}
