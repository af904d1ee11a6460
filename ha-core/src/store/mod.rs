//! The node's durable record, and the recordable layer below it and below the mirror.
//!
//! Nothing here decides; it only remembers. [`Medium`](medium::Medium) is what every durable byte of this
//! library goes through, so that a test can cut the power at any point of it; [`FileStateStore`] keeps the
//! [`NodeRecord`](crate::NodeRecord). What is assumed of disks and file systems: `docs/DURABILITY.md`.

pub mod medium;

mod file;
mod layout;
mod slot;

pub use file::{FileStateStore, STATE_FILE};
pub use slot::{SlotFinding, SlotState};
