//! What rests on beats and checks: how a loss is told from a late word, and how soon it must be.

use super::allowance;
use super::danger::Danger;
use super::inequality::{Addend, Inequality};
use super::rules::{Fix, Rule};
use super::terms::{Terms, detection, transit};
use crate::config::{Config, LinkConfig, ResourceConfig};
use std::time::Duration;

pub(super) const RULES: &[Rule] = &[
    Rule { state: beats, fixes: &[DEAD_FIX, INTERVAL_FIX] },
    Rule { state: detected, fixes: &[MONITOR_FIX] },
];

const DEAD_FIX: Fix = Fix {
    field: |_, place| format!("links[{place}].dead"),
    get: |config, place| config.links.get(place).map(|link| link.dead).unwrap_or_default(),
    set: |config, place, value| {
        if let Some(link) = config.links.get_mut(place) {
            link.dead = value;
        }
    },
    raise: true,
};

const INTERVAL_FIX: Fix = Fix {
    field: |_, place| format!("links[{place}].interval"),
    get: |config, place| config.links.get(place).map(|link| link.interval).unwrap_or_default(),
    set: |config, place, value| {
        if let Some(link) = config.links.get_mut(place) {
            link.interval = value;
        }
    },
    raise: false,
};

/// Room for the place of a resource behind that of its group.
const PLACES: usize = 1 << 16;

fn resource(config: &Config, place: usize) -> Option<&ResourceConfig> {
    config.groups.get(place / PLACES)?.resources.get(place % PLACES)
}

const MONITOR_FIX: Fix = Fix {
    field: |_, place| format!("groups[{}].resources[{}].monitor_interval", place / PLACES, place % PLACES),
    get: |config, place| resource(config, place).map(|r| r.monitor_interval).unwrap_or_default(),
    set: |config, place, value| {
        let group = config.groups.get_mut(place / PLACES);
        if let Some(resource) = group.and_then(|group| group.resources.get_mut(place % PLACES)) {
            resource.monitor_interval = value;
        }
    },
    raise: false,
};

fn beats(t: &Terms<'_>) -> Vec<Inequality> {
    let why = "a link outlives one lost beat and the next one's way before it says dead";
    let voting = t.config.links.iter().enumerate().filter(|(_, link)| !link.evidence_only);
    let state = |(place, link): (usize, &LinkConfig)| {
        let victim = vec![
            Addend::new("two beats", t.drift.longest(link.interval.saturating_mul(2))),
            Addend::new("a frame's way (allowance)", transit(link)),
        ];
        let survivor = vec![Addend::new("dead", t.drift.shortest(link.dead))];
        Inequality::clock("beats", why, victim, survivor).risking(Danger::NeedlessStop).of(place, &link.name)
    };
    voting.map(state).collect()
}

fn detected(t: &Terms<'_>) -> Vec<Inequality> {
    let Some(budget) = t.config.outage_budget else { return Vec::new() };
    let why = "a failed service is found, and restarted, within the outage budget";
    let mut all = Vec::new();
    for (g, group) in t.config.groups.iter().enumerate() {
        for (r, resource) in group.resources.iter().enumerate() {
            let mut victim: Vec<Addend> = detection(resource).into();
            victim.push(Addend::new("restart (allowance)", allowance::TAKEOVER));
            // As long as the budget is within it.
            let survivor =
                vec![Addend::new("budget", budget), Addend::new("rounding", Duration::from_nanos(1))];
            let name = format!("{}/{}", group.name, resource.name);
            let path = Inequality::clock("detection", why, victim, survivor).risking(Danger::TooLong);
            all.push(path.of(g * PLACES + r, &name));
        }
    }
    all
}
