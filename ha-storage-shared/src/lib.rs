//! Shared-disk mode: the pair's data lives on one disk array that both nodes reach.

pub mod layout;
pub mod protocol;
