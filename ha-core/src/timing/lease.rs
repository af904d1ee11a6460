//! How long a taker waits for a lease that nobody renews.

use super::drift::{Drift, ceil_ms};
use super::terms::Terms;
use crate::config::Config;
use std::time::Duration;

impl Config {
    /// How long the taker must see no renewal, on its own clock, before it may call the lease expired
    /// (rule 6): the configured [`takeover_wait`](crate::config::ArbiterConfig::takeover_wait), or the shortest that
    /// outlasts the lease, the stops of the longest group (or the guardian's patience, if that is longer), the kill,
    /// the watchdog as its driver rounds it, and what the two clocks may differ by. Absent without an arbiter.
    ///
    /// An arbiter's own word that the lease is free comes a `lease` after the last renewal at the earliest; the rest
    /// of this wait is counted from there.
    ///
    /// ```
    /// use ha_core::config::{ArbiterConfig, ArbiterKind, Config, GroupConfig, LinkConfig, WatchdogConfig};
    /// use std::time::Duration;
    /// let config = Config::pair("mail", "a", "b")
    ///     .link(LinkConfig::datagram("lan", Duration::from_millis(20), Duration::from_millis(200)))
    ///     .group(GroupConfig::new("smtp").shared())
    ///     .arbiter(ArbiterConfig::new(ArbiterKind::Disk, Duration::from_secs(5)))
    ///     .watchdog(WatchdogConfig::new(Duration::from_secs(2)));
    /// let wait = config.takeover_wait().unwrap();
    /// assert!(wait > Duration::from_secs(7) && wait < Duration::from_secs(8));
    /// ```
    #[must_use]
    pub fn takeover_wait(&self) -> Option<Duration> {
        let arbiter = self.arbiter.as_ref()?;
        arbiter.takeover_wait.or_else(|| Some(shortest_wait(self)))
    }
}

/// The whole milliseconds that outlast the owner, whichever way the clocks drift.
fn shortest_wait(config: &Config) -> Duration {
    let terms = Terms::of(config);
    let over =
        terms.lease_over().iter().map(|(_, span)| *span).fold(Duration::ZERO, Duration::saturating_add);
    // Within the checked bound of one per cent, 1 / (1 − ρ) is below 1 + ρ + ρ / 64.
    let Drift(ppm) = terms.drift;
    let wider = Drift(ppm.saturating_add(ppm.div_ceil(64)));
    ceil_ms(wider.longest(over)).saturating_add(Duration::from_millis(1))
}
