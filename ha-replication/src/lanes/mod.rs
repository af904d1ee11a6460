//! The three threads that may wait for a disk: journal, tree, and everything that is not urgent.

mod incoming;
mod journal;
mod keeper;
mod tree;

pub(crate) use journal::run as journal;
pub(crate) use keeper::run as keeper;
pub(crate) use tree::run as apply;

/// One write of the journal, and one round of the tree.
const BATCH_BYTES: usize = 1 << 20;
