//! How often what fails, and how long it then is away: for an estimate, not for a proof.

use super::duration;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Figures of the two machines.
///
/// ```
/// use ha_core::config::ReliabilityConfig;
/// use std::time::Duration;
/// let year = Duration::from_secs(365 * 86_400);
/// let figures = ReliabilityConfig::new(year, Duration::from_secs(4 * 3600));
/// assert_eq!(figures.common_cause_ppm, 0);
/// ```
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct ReliabilityConfig {
    /// Mean time between two failures of one node.
    #[serde(with = "duration")]
    pub node_mtbf: Duration,
    /// Mean time until it is back.
    #[serde(with = "duration")]
    pub node_mttr: Duration,
    /// Figures of the store that both nodes share; absent: it never fails, or there is none.
    #[serde(default)]
    pub store: Option<StoreReliability>,
    /// Mean time from a node's return until its mirror is current again.
    #[serde(with = "duration", default)]
    pub reprotection: Duration,
    /// Of a million failures of a node, so many take the other one too (power, a switch, a bad update).
    #[serde(default)]
    pub common_cause_ppm: u32,
    /// Planned moves a year.
    #[serde(default)]
    pub switchovers_per_year: u32,
}

/// Figures of a shared store.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct StoreReliability {
    /// Mean time between two failures.
    #[serde(with = "duration")]
    pub mtbf: Duration,
    /// Mean time until it is back.
    #[serde(with = "duration")]
    pub mttr: Duration,
}

impl StoreReliability {
    /// A store's figures.
    #[must_use]
    pub const fn new(mtbf: Duration, mttr: Duration) -> Self {
        Self { mtbf, mttr }
    }
}

impl ReliabilityConfig {
    /// Nodes that fail once in `node_mtbf` and are back after `node_mttr`, each for itself.
    #[must_use]
    pub const fn new(node_mtbf: Duration, node_mttr: Duration) -> Self {
        Self {
            node_mtbf,
            node_mttr,
            store: None,
            reprotection: Duration::ZERO,
            common_cause_ppm: 0,
            switchovers_per_year: 0,
        }
    }

    /// Those figures that must not be zero, with their names.
    pub(super) fn spans(&self) -> Vec<(&'static str, Duration)> {
        let mut spans = vec![("node_mtbf", self.node_mtbf), ("node_mttr", self.node_mttr)];
        spans.extend(
            self.store.iter().flat_map(|store| [("store.mtbf", store.mtbf), ("store.mttr", store.mttr)]),
        );
        spans
    }
}
