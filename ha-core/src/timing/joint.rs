//! Two nodes may carry different configurations, for example while one is changed after the other. They take
//! over from each other only where the inequality that needs **both** clocks still holds.

use crate::config::Config;
use crate::engine::Statement;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// What a node tells the other of its timing, as it travels in [`Statement::Safety`].
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct SafetyValues {
    /// The latest link deadline, in milliseconds, rounded up.
    pub dead_ms: u16,
    /// The fencing slot, in milliseconds, rounded up.
    pub slot_ms: u16,
    /// The guardian's feed limit, in milliseconds, rounded up.
    pub feed_ms: u16,
}

impl SafetyValues {
    /// The values of a checked configuration.
    #[must_use]
    pub fn of(config: &Config) -> Self {
        let whole = |span: Duration| u16::try_from(span.as_nanos().div_ceil(1_000_000)).unwrap_or(u16::MAX);
        Self {
            dead_ms: whole(config.latest_dead()),
            slot_ms: whole(config.slot()),
            feed_ms: whole(config.timing.feed_limit),
        }
    }
}

impl From<SafetyValues> for Statement {
    fn from(v: SafetyValues) -> Self {
        Self::Safety { dead_ms: v.dead_ms, slot_ms: v.slot_ms, feed_ms: v.feed_ms }
    }
}

/// Why two nodes' timings do not fit each other.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Mismatch {
    /// The fencing slots of the two would begin at different instants, so both could shoot at once.
    #[error(
        "here the node is dead after {mine} ms, there after {theirs} ms: both could shoot at once; give both nodes the same links"
    )]
    Dead {
        /// Here, in milliseconds.
        mine: u16,
        /// There.
        theirs: u16,
    },
    /// The fencing slots of the two have different lengths, so that they drift into each other.
    #[error(
        "here a fencing slot is {mine} ms, there {theirs} ms: both could shoot at once; give both nodes the same fence and links"
    )]
    Slot {
        /// Here, in milliseconds.
        mine: u16,
        /// There.
        theirs: u16,
    },
    /// The taker would call the owner's lease expired before the owner must have ended.
    #[error(
        "here an unrenewed lease counts as expired after {waits} ms, but the owner there may act for {outlasted} ms: both could be active; give both nodes the same arbiter, stops and watchdog"
    )]
    Lease {
        /// How long the taker waits, in milliseconds.
        waits: u32,
        /// What must be outlasted.
        outlasted: u32,
    },
    /// The owner's permission does not end with its lease.
    #[error(
        "the owner there does not bind itself by its lease, so its expiry proves nothing: give both nodes the same trusts_host_pauses and watchdog"
    )]
    Unbound,
}

/// Whether two nodes with these values may take over from each other by fencing. Symmetric: both nodes decide
/// alike. Proofs that need no clock (released, rebooted) are not touched by it.
///
/// Deadline and slot may differ by their rounding to whole milliseconds, which is all that the slots' margin
/// provides for ([`ROUNDING`](super::allowance::ROUNDING)). The feed limit is not judged: a guardian that ends its
/// node early or late releases it after the fact, or is ended with it. It travels so that operators can compare.
///
/// ```
/// use ha_core::timing::{Mismatch, SafetyValues, joint};
/// let here = SafetyValues { dead_ms: 250, slot_ms: 290, feed_ms: 275 };
/// assert!(joint(&here, &here).is_ok());
/// let slower = SafetyValues { slot_ms: 400, ..here };
/// assert_eq!(joint(&here, &slower), Err(Mismatch::Slot { mine: 290, theirs: 400 }));
/// ```
///
/// # Errors
/// The [`Mismatch`] that disables takeovers.
pub fn joint(mine: &SafetyValues, theirs: &SafetyValues) -> Result<(), Mismatch> {
    const ONE_ROUNDING_MS: u16 = 1;
    if mine.dead_ms.abs_diff(theirs.dead_ms) > ONE_ROUNDING_MS {
        return Err(Mismatch::Dead { mine: mine.dead_ms, theirs: theirs.dead_ms });
    }
    if mine.slot_ms.abs_diff(theirs.slot_ms) > ONE_ROUNDING_MS {
        return Err(Mismatch::Slot { mine: mine.slot_ms, theirs: theirs.slot_ms });
    }
    Ok(())
}

/// [`joint`] for values `(dead, slot, feed)` in milliseconds as they stand in a beat.
#[must_use]
pub fn fits(mine: (u16, u16, u16), theirs: (u16, u16, u16)) -> bool {
    let values = |(dead_ms, slot_ms, feed_ms)| SafetyValues { dead_ms, slot_ms, feed_ms };
    joint(&values(mine), &values(theirs)).is_ok()
}
