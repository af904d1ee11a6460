//! What is where on the device, and the bytes of each sector. The specification is in `docs/SHARED-DISK.md`.

mod block;
mod body;
mod directory;
mod geometry;
mod liveness;
mod sector;
mod superblock;

pub use geometry::{GROUPS_MAX, Geometry, PITCH, Place, REGION_PLACES};
pub use sector::{Flaw, Stamp, VERSION};
pub use superblock::Superblock;

pub(crate) use geometry::{group_place, super_place};
pub(crate) use {block::decode as decode_block, block::encode as encode_block};
pub(crate) use {directory::NAME_MAX, directory::decode as decode_name, directory::encode as encode_name};
pub(crate) use {liveness::decode as decode_liveness, liveness::encode as encode_liveness};
pub(crate) use {sector::open, sector::seal};
pub(crate) use {superblock::decode as decode_superblock, superblock::encode as encode_superblock};
