//! What rests on an arbiter's lease and on the watchdog behind it.

use super::danger::Danger;
use super::drift::{Drift, ceil_ms};
use super::inequality::{Addend, Inequality, sum};
use super::rules::{Fix, Rule};
use super::terms::{Terms, address_expiry};
use crate::config::Config;
use std::time::Duration;

impl Config {
    /// How long the taker must see no renewal, on its own clock, before it may call the lease expired
    /// (rule 6): the configured [`takeover_wait`](crate::config::ArbiterConfig::takeover_wait), or the shortest that
    /// outlasts the lease, the stops of the longest group (or the guardian's patience, if that is longer), the kill,
    /// the watchdog as its driver rounds it (twice: it may be fed late), addresses that nobody took away, and what the two clocks may differ by.
    /// Absent without an arbiter.
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
    /// assert!(wait > Duration::from_secs(9) && wait < Duration::from_secs(10));
    /// ```
    #[must_use]
    pub fn takeover_wait(&self) -> Option<Duration> {
        let arbiter = self.arbiter.as_ref()?;
        arbiter.takeover_wait.or_else(|| Some(shortest_wait(&Terms::of(self))))
    }
}

/// The whole milliseconds that outlast the owner, whichever way the clocks drift.
pub(super) fn shortest_wait(terms: &Terms<'_>) -> Duration {
    let over = sum(&owner_ends(terms)).max(sum(&addresses_end(terms)));
    // Within the checked bound of one per cent, 1 / (1 − ρ) is below 1 + ρ + ρ / 64.
    let Drift(ppm) = terms.drift;
    let wider = Drift(ppm.saturating_add(ppm.div_ceil(64)));
    ceil_ms(wider.longest(over)).saturating_add(Duration::from_millis(1))
}

/// What must be over before an unrenewed lease proves that the owner's processes are gone.
fn owner_ends(t: &Terms<'_>) -> Vec<Addend> {
    let Some(arbiter) = &t.config.arbiter else { return Vec::new() };
    let (stops, feed) = (t.stop_budget(), t.config.timing.feed_limit);
    let mut over = vec![
        Addend::new("lease, from before its renewal was asked", t.drift.longest(arbiter.lease)),
        if stops >= feed {
            Addend::new("stop budgets in order", t.drift.longest(stops))
        } else {
            Addend::new("feed limit", t.drift.longest(feed))
        },
        Addend::new("kill, undo, verify", t.drift.longest(t.config.timing.kill_grace)),
    ];
    if let Some(watchdog) = &t.config.watchdog {
        // Whoever feeds it may stall between looking at the clock and feeding, for as long as it does not bite.
        let fed_late = "a feeding decided before, done before it bites";
        over.push(Addend::new(fed_late, t.drift.longest(watchdog.effective())));
        over.push(Addend::new("watchdog in whole seconds", t.drift.longest(watchdog.effective())));
    }
    over
}

/// The same for addresses that nobody took away: they are no longer refreshed once the lease is over.
fn addresses_end(t: &Terms<'_>) -> Vec<Addend> {
    let Some(arbiter) = &t.config.arbiter else { return Vec::new() };
    let lifetime = t.config.groups.iter().map(|group| group.address_lifetime).max().unwrap_or_default();
    if lifetime.is_zero() {
        return Vec::new();
    }
    vec![
        Addend::new("lease, from before its renewal was asked", t.drift.longest(arbiter.lease)),
        Addend::new(
            "address lifetime in whole seconds, and 0.5 s",
            t.drift.longest(address_expiry(lifetime)),
        ),
    ]
}

macro_rules! arbiter_fix {
    ($field:ident, $raise:literal) => {
        Fix {
            field: |_, _| concat!("arbiter.", stringify!($field)).into(),
            get: |config, _| config.arbiter.as_ref().map(|a| a.$field).unwrap_or_default(),
            set: |config, _, value| {
                if let Some(arbiter) = &mut config.arbiter {
                    arbiter.$field = value;
                }
            },
            raise: $raise,
        }
    };
}

const WAIT_FIX: Fix = Fix {
    field: |_, _| "arbiter.takeover_wait".into(),
    get: |config, _| config.takeover_wait().unwrap_or_default(),
    set: |config, _, value| {
        if let Some(arbiter) = &mut config.arbiter {
            arbiter.takeover_wait = Some(value);
        }
    },
    raise: true,
};

const REFRESH_FIX: Fix = Fix {
    field: |_, _| "watchdog.refresh".into(),
    get: |config, _| config.watchdog.as_ref().map(|w| w.refresh_interval()).unwrap_or_default(),
    set: |config, _, value| {
        if let Some(watchdog) = &mut config.watchdog {
            watchdog.refresh = Some(value);
        }
    },
    raise: false,
};

pub(super) const RULES: &[Rule] = &[
    Rule { state: expired, fixes: &[WAIT_FIX] },
    Rule { state: expired_addresses, fixes: &[WAIT_FIX] },
    Rule {
        state: answers,
        fixes: &[arbiter_fix!(answer_timeout, false), arbiter_fix!(renew_interval, true)],
    },
    Rule { state: renewal, fixes: &[arbiter_fix!(lease, true), arbiter_fix!(renew_interval, false)] },
    Rule { state: arbiter_and_watchdog, fixes: &[arbiter_fix!(answer_timeout, false)] },
    Rule { state: feeding, fixes: &[REFRESH_FIX] },
];

fn expired(t: &Terms<'_>) -> Vec<Inequality> {
    wait(
        t,
        "expired",
        "a taker calls a lease expired only when whoever held it has stopped or was stopped",
        owner_ends(t),
    )
}

fn expired_addresses(t: &Terms<'_>) -> Vec<Inequality> {
    let why = "an address that nobody took away lapses before the taker answers for it";
    wait(t, "expired addresses", why, addresses_end(t))
}

fn wait(t: &Terms<'_>, name: &'static str, why: &'static str, victim: Vec<Addend>) -> Vec<Inequality> {
    let wait = t.config.takeover_wait().filter(|_| !victim.is_empty() && t.lease_proves());
    let taker = |wait| vec![Addend::new("no renewal seen for", t.drift.shortest(wait))];
    wait.map(|wait| Inequality::clock(name, why, victim, taker(wait))).into_iter().collect()
}

fn answers(t: &Terms<'_>) -> Vec<Inequality> {
    let why = "one question to the arbiter is over before the next renewal is due";
    let state = |arbiter: &crate::config::ArbiterConfig| {
        Inequality::clock(
            "answers",
            why,
            vec![Addend::new("answer timeout", arbiter.answer_timeout)],
            vec![Addend::new("renew interval", arbiter.renew_interval)],
        )
        .risking(Danger::NeedlessStop)
    };
    t.config.arbiter.iter().map(state).collect()
}

fn renewal(t: &Terms<'_>) -> Vec<Inequality> {
    let why = "one renewal may be lost without suspending the owner";
    let state = |arbiter: &crate::config::ArbiterConfig| {
        Inequality::clock(
            "renewal",
            why,
            vec![
                Addend::new("two renew intervals", arbiter.renew_interval.saturating_mul(2)),
                Addend::new("answer timeout", arbiter.answer_timeout),
            ],
            vec![Addend::new("lease", arbiter.lease)],
        )
        .risking(Danger::NeedlessStop)
    };
    t.config.arbiter.iter().map(state).collect()
}

fn arbiter_and_watchdog(t: &Terms<'_>) -> Vec<Inequality> {
    let why = "waiting for the arbiter starves no watchdog";
    let both = t.config.arbiter.as_ref().zip(t.config.watchdog.as_ref());
    let state = |(arbiter, watchdog): (&crate::config::ArbiterConfig, &crate::config::WatchdogConfig)| {
        Inequality::clock(
            "arbiter and watchdog",
            why,
            vec![Addend::new("answer timeout", t.drift.longest(arbiter.answer_timeout))],
            vec![Addend::new("watchdog in whole seconds", t.drift.shortest(watchdog.effective()))],
        )
        .risking(Danger::NeedlessStop)
    };
    both.map(state).into_iter().collect()
}

fn feeding(t: &Terms<'_>) -> Vec<Inequality> {
    let why = "two feedings of the watchdog may be late without ending a healthy machine";
    let state = |watchdog: &crate::config::WatchdogConfig| {
        let three = watchdog.refresh_interval().saturating_mul(3);
        Inequality::clock(
            "feeding",
            why,
            vec![Addend::new("three feedings", t.drift.longest(three))],
            vec![Addend::new("watchdog in whole seconds", t.drift.shortest(watchdog.effective()))],
        )
        .risking(Danger::NeedlessStop)
    };
    t.config.watchdog.iter().map(state).collect()
}
