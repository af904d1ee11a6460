//! The configuration of a pair: the same values by builder and by serde, checked before anything runs.

mod duration;
mod types;

pub use types::*;
