//! The record of everything that an engine was fed, and the proof that it decided as it says.
//!
//! The engine is pure: its configuration, its boot and every (instant, input) determine every action. A log of
//! these is therefore a log of every decision. It is written beside the node, never on its way:
//!
//! | part | does |
//! |---|---|
//! | [`StepEncoder`] | turns steps into bytes on the control thread, without allocation once warm |
//! | [`LogWriter`] | keeps them in a few files of bounded size, on a thread of its own |
//! | [`LogReader`] | reads them back, and says what is damaged |
//! | [`Checkpoint`] | where reliving can begin without what was before |
//! | [`Player`] | feeds them to an engine and compares what it decides, step by step |
//!
//! A log is read by the version that wrote it: the engine's rules are part of what is replayed.

mod checkpoint;
mod digest;
mod encoder;
mod entry;
mod error;
mod frame;
mod player;
mod reader;
mod verdict;
mod writer;

pub use checkpoint::Checkpoint;
pub use digest::Digest;
pub use encoder::StepEncoder;
pub use entry::{Entry, LifeStart, Resumption};
pub use error::{Damage, ReplayError};
pub(crate) use frame::append as append_frame;
pub use frame::{FILE_HEADER_BYTES, FORMAT_VERSION, FRAME_BYTES_MAX, FileKind};
pub use player::{Player, Step};
#[cfg(any(feature = "runtime", feature = "sim"))]
pub(crate) use reader::entries;
pub use reader::{LogPart, LogReader};
pub use verdict::{Divergence, LifeVerdict, ReplayVerdict, replay};
pub use writer::{LogLimits, LogWriter};

#[cfg(test)]
mod tests;
