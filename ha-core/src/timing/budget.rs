//! From the outage that may be to the durations that keep within it.

use super::derive::derived;
use super::inequality::sum;
use super::outage::Outage;
use super::proof::prove;
use super::rules::rules;
use super::terms::{Terms, detection, findings};
use super::violation::in_ms;
use super::{Danger, FaultKind, Violation, Violations, allowance};
use crate::config::{Config, LinkConfig, bits_on_line};
use std::fmt;
use std::time::Duration;

const fn ms(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// Quicker beats would say more of the scheduler than of the peer.
const LEAST_INTERVAL: Duration = ms(5);
/// A check more often than this is work, not watching.
const LEAST_MONITOR: Duration = ms(20);
/// Beats to a death, at least.
const BEATS: u32 = 5;
/// The longest deadline that is tried.
const MOST_DEAD: Duration = Duration::from_secs(60);

/// Whether a budget is about this fault. A service that ignores its stop is not: its outage is its own stop budget.
pub(super) fn counts(fault: FaultKind) -> bool {
    fault != FaultKind::StopFails
}

/// The outages that are longer than the configured budget, but for what a check's own rule says.
pub(super) fn exceeded(config: &Config, outages: &[Outage]) -> Vec<Violation> {
    let Some(budget) = config.outage_budget else { return Vec::new() };
    let is_over = |outage: &&Outage| {
        let counted = counts(outage.fault) && outage.fault != FaultKind::ServiceFails;
        counted && outage.total.is_none_or(|total| total > budget)
    };
    let violation = |outage: &Outage| {
        let longest = outage.addends.iter().max_by_key(|addend| addend.span);
        let most =
            longest.map_or_else(String::new, |a| format!(", most of it {} of {}", in_ms(a.span), a.what));
        let lasts =
            outage.total.map_or_else(|| "is bounded by nothing".into(), |t| format!("may last {}", in_ms(t)));
        Violation {
            rule: "budget",
            danger: Some(Danger::TooLong),
            of: Some(outage.fault.name().into()),
            found: format!(
                "the outage of {} {lasts}{most}, but outage_budget is {}",
                outage.fault,
                in_ms(budget)
            ),
            field: "outage_budget".into(),
            value: outage.total,
            mend: outage.total.map_or_else(
                || "give the pair a fence device, or an arbiter whose lease proves".into(),
                |total| {
                    format!("raise outage_budget to {}, or take for_outage_budget's durations", in_ms(total))
                },
            ),
        }
    };
    outages.iter().filter(is_over).map(violation).collect()
}

/// Why no durations keep within a budget.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BudgetError {
    /// Nothing ends this outage.
    #[error(
        "found no device and no lease that ends the outage of {fault}, expected one: no duration helps; give the pair a fence device, or an arbiter whose lease proves"
    )]
    Unbounded {
        /// The fault.
        fault: FaultKind,
    },
    /// The shortest possible is longer.
    #[error("found a budget of {}, expected at least {}: {bound}", in_ms(*.budget), in_ms(*.smallest))]
    TooSmall {
        /// What was asked for.
        budget: Duration,
        /// The smallest budget that is possible with these links, devices and services.
        smallest: Duration,
        /// The outage that needs it.
        bound: Bound,
    },
    /// No deadline from 25 ms to a minute makes the rest prove.
    #[error("found no deadline with which the configuration proves: {0}")]
    Unsafe(Violations),
}

/// The outage that a budget cannot undercut.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Bound(pub Outage);

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// The same pair with the most patient durations with which every outage but that of an ignored stop keeps within
/// `budget`, and which prove. Links keep their kinds and rates, devices their promises (but for a `fence.timeout` that the
/// slots need longer), services their stops; intervals, deadlines, `timing`, lease and monitor intervals are chosen.
///
/// ```
/// use ha_core::config::{Config, FenceConfig, GroupConfig, LinkConfig};
/// use ha_core::timing::{BudgetError, for_outage_budget, prove};
/// use std::time::Duration;
/// let ms = Duration::from_millis;
/// let pair = Config::pair("mail", "a", "b")
///     .link(LinkConfig::datagram("lan", ms(100), ms(1000)))
///     .group(GroupConfig::new("smtp").mirrored())
///     .fence(FenceConfig::new(ms(100)));
/// let quick = for_outage_budget(&pair, ms(600))?;
/// assert!(prove(&quick)?.worst_outage().is_some_and(|worst| worst.total <= Some(ms(600))));
/// let Err(BudgetError::TooSmall { smallest, .. }) = for_outage_budget(&pair, ms(100)) else { panic!() };
/// assert!(for_outage_budget(&pair, smallest).is_ok());
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
/// [`BudgetError`]: what is impossible, with the smallest budget that is not.
pub fn for_outage_budget(config: &Config, budget: Duration) -> Result<Config, BudgetError> {
    let mut best: Option<Config> = None;
    let mut shortest: Option<Outage> = None;
    let mut refused = None;
    for dead in deadlines() {
        let Some(candidate) = candidate(config, dead, budget) else { continue };
        let proof = match prove(&candidate) {
            Ok(proof) => proof,
            Err(violations) => {
                refused.get_or_insert(violations);
                continue;
            }
        };
        if let Some(unbounded) = proof.outages.iter().find(|o| counts(o.fault) && o.total.is_none()) {
            return Err(BudgetError::Unbounded { fault: unbounded.fault });
        }
        let Some(worst) = proof.worst_outage() else { continue };
        if worst.total <= Some(budget) {
            best = Some(candidate);
        }
        if shortest.as_ref().is_none_or(|shortest| worst.total < shortest.total) {
            shortest = Some(worst.clone());
        }
    }
    match (best, shortest, refused) {
        (Some(mut best), _, _) => {
            best.outage_budget = Some(budget);
            Ok(best)
        }
        (None, Some(bound), _) => {
            let smallest = bound.total.unwrap_or_default();
            Err(BudgetError::TooSmall { budget, smallest, bound: Bound(bound) })
        }
        (None, None, refused) => Err(BudgetError::Unsafe(refused.unwrap_or(Violations(Vec::new())))),
    }
}

/// Deadlines to try: every millisecond at first, then in steps of two per cent.
fn deadlines() -> impl Iterator<Item = Duration> {
    let next = |dead: &Duration| Some(ms(u64::try_from((*dead + *dead / 50).as_millis()).ok()? + 1));
    std::iter::successors(Some(LEAST_INTERVAL * BEATS), next).take_while(|dead| *dead <= MOST_DEAD)
}

/// The pair with all links at this deadline. Nothing, if one of them cannot carry it.
fn candidate(config: &Config, dead: Duration, budget: Duration) -> Option<Config> {
    let mut config = config.clone();
    config.outage_budget = None;
    for link in &mut config.links {
        let least = least_interval(link);
        link.interval = (dead / 10).max(least);
        link.dead = dead;
        link.suspect = (dead / 2).max(link.interval * 2);
        if link.interval * BEATS > dead {
            return None;
        }
    }
    lease(&mut config, dead);
    config.timing.mirror_stall = config.timing.mirror_stall.min(dead / 2).max(ms(10));
    config.timing = derived(&config);
    widen_slots(&mut config);
    monitors(&mut config, budget);
    Some(config)
}

/// What the line carries, or what a scheduler keeps.
fn least_interval(link: &LinkConfig) -> Duration {
    let rate = link.bits_per_second.filter(|rate| *rate > 0);
    let line = rate.map_or(0, |rate| (bits_on_line(link) * 1000).div_ceil(u64::from(rate)));
    ms(line).max(LEAST_INTERVAL)
}

/// A lease that is renewed as often as the arbiter answers, and lives for four deadlines or four answers.
fn lease(config: &mut Config, dead: Duration) {
    let Some(arbiter) = &mut config.arbiter else { return };
    arbiter.lease = (dead * 4).max(arbiter.answer_timeout * 4 + ms(10));
    arbiter.renew_interval =
        (arbiter.lease / 5).max(arbiter.answer_timeout + arbiter.answer_timeout / 50 + ms(1));
    arbiter.takeover_wait = None;
}

/// Slots that are too close are moved apart by quicker beats where the lines carry them, else by a longer wait for
/// the device.
fn widen_slots(config: &mut Config) {
    for link in 0..config.links.len() {
        if slots_hold(config) {
            return;
        }
        config.links[link].interval = least_interval(&config.links[link]);
    }
    while let Some(fence) = config.fence.as_mut().filter(|fence| fence.timeout < MOST_DEAD) {
        let longer = fence.timeout + fence.timeout / 50 + ms(1);
        if slots_hold(config) {
            return;
        }
        if let Some(fence) = &mut config.fence {
            fence.timeout = longer;
        }
        config.timing = derived(config);
    }
}

fn slots_hold(config: &Config) -> bool {
    let terms = Terms::of(config);
    rules()
        .flat_map(|rule| (rule.state)(&terms))
        .filter(|path| ["slots", "first slot"].contains(&path.name))
        .all(|path| path.holds())
}

/// Checks as seldom as the budget allows, and no seldomer than configured.
fn monitors(config: &mut Config, budget: Duration) {
    for resource in config.groups.iter_mut().flat_map(|group| &mut group.resources) {
        let interval = resource.monitor_interval;
        resource.monitor_interval = Duration::ZERO;
        let rest = sum(&detection(resource)).saturating_add(allowance::TAKEOVER);
        resource.monitor_interval =
            (budget.saturating_sub(rest) / findings(resource)).clamp(LEAST_MONITOR.min(interval), interval);
    }
}
