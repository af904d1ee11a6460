//! The configuration of a pair: the same values by builder and by serde, checked before anything runs.

mod arbiter;
mod check;
mod duration;
mod error;
mod setters;
#[cfg(feature = "toml")]
mod text;
mod types;

pub use arbiter::{ArbiterConfig, ArbiterKind, WatchdogConfig};
pub use check::{Checked, MAX_GROUPS, MAX_LINKS};
pub(crate) use check::{bits_on_line, problems};
pub use error::{ConfigError, Problem, Problems};
pub use types::*;
