//! Durations that follow from links and fence device, so that few need to be chosen.

use super::drift::{Drift, ceil_ms, floor_ms};
use super::rules::RULES;
use super::terms::Terms;
use crate::config::{Config, FenceConfig, GroupConfig, LinkConfig, TimingConfig};
use std::time::Duration;

const fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// The guardian's budget where the links leave it the choice.
const KILL_GRACE: Duration = ms(200);
/// Less is not enough to kill and verify.
const LEAST_KILL_GRACE: Duration = ms(50);

impl TimingConfig {
    /// Durations with which a pair over `links` and `fence` proves, as quick as they allow:
    ///
    /// - `feed_limit`: the latest `dead` + 10 %
    /// - `token_validity`: half the earliest `dead`, at most 100 ms, at least two beats of the quickest link
    /// - `kill_grace`: so that a frozen process is released before the peer shoots, at most 200 ms
    /// - `boot_wait` and the deadlines of questions: their usual values, or as long as the links need
    ///
    /// ```
    /// use ha_core::config::{LinkConfig, TimingConfig};
    /// use std::time::Duration;
    /// let slow = LinkConfig::serial("tty", Duration::from_secs(1), Duration::from_secs(5), 9600);
    /// assert_eq!(TimingConfig::for_links(&[slow], None).feed_limit, Duration::from_millis(5500));
    /// ```
    #[must_use]
    pub fn for_links(links: &[LinkConfig], fence: Option<&FenceConfig>) -> Self {
        let mut config = Config::pair("derived", "a", "b").group(GroupConfig::new("any").mirrored());
        config.links = links.to_vec();
        config.fence = fence.cloned();
        let terms = Terms::of(&config);
        let (dead, earliest, drift) = (terms.dead, terms.earliest_dead, terms.drift);
        let fastest = links.iter().filter(|l| !l.evidence_only).map(|l| l.interval).min().unwrap_or_default();
        let feed_limit = feed_limit(dead, drift);
        let mut timing = Self {
            token_validity: floor_ms(earliest / 2).min(ms(100)).max(fastest.saturating_mul(2)),
            feed_limit,
            kill_grace: kill_grace(&terms, feed_limit),
            ..Self::default()
        };
        raise(&mut timing, &config);
        timing
    }
}

fn feed_limit(dead: Duration, drift: Drift) -> Duration {
    ceil_ms(dead.saturating_add(dead / 10)).max(floor_ms(drift.longest(dead)).saturating_add(ms(1)))
}

fn kill_grace(terms: &Terms<'_>, feed_limit: Duration) -> Duration {
    if !terms.has_fence() {
        return KILL_GRACE;
    }
    let tens = |span: Duration| ms(u64::try_from(span.as_millis()).unwrap_or(u64::MAX) / 10 * 10);
    let room = terms
        .release_and_shot(feed_limit, Duration::ZERO)
        .map_or(KILL_GRACE, |(release, shot)| tens(shot.saturating_sub(release)));
    if room < LEAST_KILL_GRACE { KILL_GRACE } else { room.min(KILL_GRACE) }
}

/// Raises every duration that a rule finds too short, to that rule's own number.
fn raise(timing: &mut TimingConfig, config: &Config) {
    let mut config = config.clone();
    config.timing = timing.clone();
    for rule in RULES {
        let [fix] = rule.fixes else { continue };
        let Some(inequality) = (rule.state)(&Terms::of(&config)) else { continue };
        if fix.raise && !inequality.holds() {
            let missing = inequality.victim_latest().saturating_sub(inequality.survivor_earliest());
            let with_drift = missing.saturating_add(missing / 50).saturating_add(ms(1));
            let value = ceil_ms((fix.get)(&config).saturating_add(with_drift));
            (fix.set)(&mut config, value);
        }
    }
    *timing = config.timing;
}
