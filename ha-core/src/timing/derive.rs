//! Durations that follow from links and fence device, so that few need to be chosen.

use super::drift::{Drift, ceil_ms, floor_ms};
use super::rules::rules;
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
        derived(&config)
    }
}

/// Durations with which `config` proves, as quick as its links and its device allow. What the links do not touch stays.
pub(super) fn derived(config: &Config) -> TimingConfig {
    let terms = Terms::of(config);
    let (dead, earliest, drift) = (terms.dead, terms.earliest_dead, terms.drift);
    let voting = config.links.iter().filter(|link| !link.evidence_only);
    let fastest = voting.map(|link| link.interval).min().unwrap_or_default();
    let (feed_limit, usual) = (feed_limit(dead, drift), TimingConfig::default());
    let mut timing = TimingConfig {
        token_validity: floor_ms(earliest / 2).min(ms(100)).max(fastest.saturating_mul(2)),
        feed_limit,
        kill_grace: kill_grace(&terms, feed_limit),
        boot_wait: usual.boot_wait,
        ask_deadline: usual.ask_deadline,
        confirm_deadline: usual.confirm_deadline,
        prepare_deadline: usual.prepare_deadline,
        persist_deadline: usual.persist_deadline,
        takeover_deadline: usual.takeover_deadline,
        ..config.timing.clone()
    };
    raise(&mut timing, config);
    timing
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

/// Raises every duration of `timing` that a rule finds too short, to that rule's own number.
fn raise(timing: &mut TimingConfig, config: &Config) {
    let mut config = config.clone();
    config.timing = timing.clone();
    for rule in rules() {
        let [fix] = rule.fixes else { continue };
        for inequality in (rule.state)(&Terms::of(&config)) {
            if !fix.raise || inequality.holds() || !(fix.field)(&config, 0).starts_with("timing.") {
                continue;
            }
            let missing = inequality.victim_latest().saturating_sub(inequality.survivor_earliest());
            let with_drift = missing.saturating_add(missing / 50).saturating_add(ms(1));
            let value = ceil_ms((fix.get)(&config, inequality.place).saturating_add(with_drift));
            (fix.set)(&mut config, inequality.place, value);
        }
    }
    *timing = config.timing;
}
