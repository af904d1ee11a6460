//! What a log holds.

use crate::Instant;
use crate::LinkId;
use crate::config::Config;
use crate::engine::{Beat, Boot, EngineSnapshot, Input};
use serde::{Deserialize, Serialize};

/// One entry of a log.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[non_exhaustive]
pub enum Entry {
    /// A life begins.
    Life(Box<LifeStart>),
    /// The record of a life goes on here: a new file of the log began, or steps were lost.
    Resume(Box<Resumption>),
    /// The engine was fed.
    Step {
        /// Nanoseconds since the entry before.
        after_ns: u64,
        /// With what.
        input: Input,
        /// The digest of every action of this life so far.
        digest: [u8; 8],
    },
    /// The engine was fed a beat that says what the one before on that link said.
    Again {
        /// Nanoseconds since the entry before.
        after_ns: u64,
        /// On which link.
        link: LinkId,
        /// By how much its number grew.
        seq: u32,
        /// By how much the echoed number grew.
        echo: u32,
        /// The digest of every action of this life so far.
        digest: [u8; 8],
    },
}

/// The first entry of a life.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LifeStart {
    /// The configuration.
    pub config: Config,
    /// Who the engine is.
    pub boot: Boot,
    /// When it was made, on the boot clock.
    pub at: Instant,
    /// The same on the wall clock, in milliseconds since 1970: for readers only.
    pub wall_ms: u64,
    /// The version of this library that ran.
    pub program: String,
}

/// Where the record of a life goes on.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Resumption {
    /// How many steps are missing before; 0 where only a new file begins.
    pub lost: u64,
    /// The configuration.
    pub config: Config,
    /// The engine's whole state.
    pub engine: EngineSnapshot,
    /// The instant of the last step.
    pub at: Instant,
    /// The digest of every action so far.
    pub digest: [u8; 8],
    /// The newest beat of each link, for the entries that refer to it.
    pub beats: Vec<Option<Beat>>,
}

/// What a writer has in hand, in the same order of variants and fields. The digest follows once it is known.
#[derive(Serialize)]
pub(super) enum EntryRef<'a> {
    Life(&'a LifeStart),
    Resume(&'a ResumptionRef<'a>),
    Step { after_ns: u64, input: &'a Input },
    Again { after_ns: u64, link: LinkId, seq: u32, echo: u32 },
}

#[derive(Serialize)]
pub(super) struct ResumptionRef<'a> {
    pub lost: u64,
    pub config: &'a Config,
    pub engine: &'a EngineSnapshot,
    pub at: Instant,
    pub digest: [u8; 8],
    pub beats: &'a [Option<Beat>],
}
