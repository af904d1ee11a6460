//! The quantities that the inequalities and the outages are made of, read from a checked configuration.

use super::allowance;
use super::drift::{Drift, ceil_s};
use crate::FenceScope;
use crate::config::{Config, LinkConfig, bits_on_line};
use std::time::Duration;

pub(super) struct Terms<'a> {
    pub(super) config: &'a Config,
    pub(super) drift: Drift,
    /// The latest deadline of a link that may declare a death.
    pub(super) dead: Duration,
    /// The earliest: the node's deadline when only that link was up.
    pub(super) earliest_dead: Duration,
    /// The latest deadline of a link over the network; zero without one.
    pub(super) network_dead: Duration,
    pub(super) slot: Duration,
    /// Longest from the order to the node's end and the device's word; zero without a device.
    pub(super) fence: Duration,
    pub(super) slowest_interval: Duration,
    /// Longest way of a frame on any link, its wait for the link's next beat not counted.
    pub(super) slowest_transit: Duration,
    /// Longest from a statement's birth to its arrival on the fastest link, and on the slowest.
    pub(super) fastest_word: Duration,
    pub(super) slowest_word: Duration,
}

impl<'a> Terms<'a> {
    pub(super) fn of(config: &'a Config) -> Self {
        let voting = || config.links.iter().filter(|link| !link.evidence_only);
        let word = |link: &LinkConfig| link.interval.saturating_add(transit(link));
        Self {
            config,
            drift: Drift(config.timing.drift_ppm),
            dead: config.latest_dead(),
            earliest_dead: voting().map(|link| link.dead).min().unwrap_or_default(),
            network_dead: voting()
                .filter(|link| link.bits_per_second.is_none())
                .map(|link| link.dead)
                .max()
                .unwrap_or_default(),
            slot: config.slot(),
            fence: config.fence.as_ref().map_or(Duration::ZERO, |fence| fence.timeout + fence.effect),
            slowest_interval: config.links.iter().map(|link| link.interval).max().unwrap_or_default(),
            slowest_transit: config.links.iter().map(transit).max().unwrap_or_default(),
            fastest_word: voting().map(word).min().unwrap_or_default(),
            slowest_word: voting().map(word).max().unwrap_or_default(),
        }
    }

    pub(super) fn has_fence(&self) -> bool {
        self.config.fence.is_some()
    }

    pub(super) fn is_mirrored(&self) -> bool {
        self.config.groups.iter().any(|group| group.mirrored)
    }

    /// Whether something besides beats shows the peer alive: a mirror's stream, or beats inside another one.
    pub(super) fn has_other_evidence(&self) -> bool {
        self.is_mirrored() || self.config.links.iter().any(|link| link.evidence_only)
    }

    pub(super) fn scope(&self) -> Option<FenceScope> {
        self.config.fence.as_ref().map(|fence| fence.scope)
    }

    /// Whether both nodes can have a reason to shoot: an owner waits for its mirror's exclusion, or each node
    /// owns a group that the other stands by for.
    pub(super) fn is_contested(&self) -> bool {
        self.is_mirrored() || self.config.groups.len() > 1
    }

    /// Whether both nodes can own a group at once, so that the owner may be second in the fencing order.
    pub(super) fn is_mutual(&self) -> bool {
        self.config.groups.len() > 1
    }

    /// When the guardian's word on a frozen process may come, and when the peer may shoot it, both from the last
    /// beat; for the link with which that is closest. Absent without a link.
    pub(super) fn release_and_shot(&self, feed: Duration, kill: Duration) -> Option<(Duration, Duration)> {
        let slot = if self.is_mutual() { Duration::ZERO } else { self.slot_wait() };
        let voting = self.config.links.iter().filter(|link| !link.evidence_only);
        let both = voting.map(|link| {
            let release = link.interval.saturating_add(self.drift.longest(feed)).saturating_add(kill);
            // Slots count from a beat that may be one interval older than the last that was heard.
            let origin = link.interval.saturating_add(transit(link));
            let in_slot = self.drift.shortest(link.dead.saturating_add(slot)).saturating_sub(origin);
            (release, in_slot.max(self.drift.shortest(link.dead)))
        });
        both.min_by_key(|(release, shot)| shot.as_nanos().cast_signed() - release.as_nanos().cast_signed())
    }

    /// Rule 11's wait of the survivor whose peer may shoot too.
    pub(super) fn slot_wait(&self) -> Duration {
        if self.is_contested() { self.slot } else { Duration::ZERO }
    }

    /// How long addresses may outlive their fenced owner.
    pub(super) fn address_lifetime(&self) -> Duration {
        let longest = self.config.groups.iter().map(|group| group.address_lifetime).max();
        longest.filter(|_| self.scope() == Some(FenceScope::Processes)).unwrap_or_default()
    }

    /// How long a survivor waits for that: the kernel counts lifetimes in whole seconds.
    pub(super) fn address_wait(&self) -> Duration {
        let lifetime = self.address_lifetime();
        if lifetime.is_zero() { lifetime } else { address_expiry(lifetime) }
    }

    /// What must be over before an unrenewed lease proves anything, each at its longest on the taker's clock.
    pub(super) fn lease_over(&self) -> Vec<(&'static str, Duration)> {
        let Some(arbiter) = &self.config.arbiter else { return Vec::new() };
        let stops = self.stop_budget().max(self.config.timing.feed_limit);
        let mut over = vec![
            ("lease", self.drift.longest(arbiter.lease)),
            ("stop budgets, or the feed limit", self.drift.longest(stops)),
            ("kill, undo, verify", self.drift.longest(self.config.timing.kill_grace)),
        ];
        if let Some(watchdog) = &self.config.watchdog {
            over.push(("watchdog in whole seconds", self.drift.longest(watchdog.effective())));
        }
        over
    }

    /// The same for addresses that nobody took away: they are no longer refreshed once the lease is over.
    pub(super) fn lease_addresses(&self) -> Vec<(&'static str, Duration)> {
        let Some(arbiter) = &self.config.arbiter else { return Vec::new() };
        let lifetime =
            self.config.groups.iter().map(|group| group.address_lifetime).max().unwrap_or_default();
        if lifetime.is_zero() {
            return Vec::new();
        }
        vec![
            ("lease", self.drift.longest(arbiter.lease)),
            ("address lifetime in whole seconds", self.drift.longest(address_expiry(lifetime))),
        ]
    }

    /// The longest orderly stop of a group: every resource and the data at their budgets.
    pub(super) fn stop_budget(&self) -> Duration {
        let budgets = self.config.groups.iter().map(|group| {
            let stops = group.resources.iter().map(|resource| resource.stop_timeout);
            stops.chain(group.mirrored.then_some(group.demote_timeout)).sum()
        });
        budgets.max().unwrap_or_default()
    }

    /// The longest start of a group at its budgets.
    pub(super) fn start_budget(&self) -> Duration {
        let budgets = self.config.groups.iter().map(|group| {
            let starts = group.resources.iter().map(|resource| resource.start_timeout);
            starts.chain(group.mirrored.then_some(group.promote_timeout)).sum()
        });
        budgets.max().unwrap_or_default()
    }
}

/// When an address of the given lifetime is surely gone: the kernel counts whole seconds, and takes its time.
#[must_use]
pub fn address_expiry(lifetime: Duration) -> Duration {
    ceil_s(lifetime).saturating_add(allowance::ADDRESS_EXPIRY)
}

/// A frame's way on `link`.
fn transit(link: &LinkConfig) -> Duration {
    let rate = link.bits_per_second.filter(|rate| *rate > 0);
    let line = rate.map_or(0, |rate| (bits_on_line(link) * 1_000_000_000).div_ceil(u64::from(rate)));
    Duration::from_nanos(line).saturating_add(allowance::TRANSIT)
}
