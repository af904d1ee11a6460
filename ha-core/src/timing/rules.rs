//! The inequalities of one configuration, and the changes that can mend each.

use super::danger::Danger;
use super::inequality::{Addend, Inequality};
use super::terms::Terms;
use super::{allowance, detection, devices, lease};
use crate::config::Config;
use std::time::Duration;

/// A change of one field, of the link, group or device at a place where there are several. `raise`: towards the limit, in whole milliseconds; else towards zero.
pub(super) struct Fix {
    pub(super) field: fn(&Config, usize) -> String,
    pub(super) get: fn(&Config, usize) -> Duration,
    pub(super) set: fn(&mut Config, usize, Duration),
    pub(super) raise: bool,
}

/// One rule: how to state it wherever it applies, and how to mend it.
pub(super) struct Rule {
    pub(super) state: fn(&Terms<'_>) -> Vec<Inequality>,
    pub(super) fixes: &'static [Fix],
}

macro_rules! timing_fix {
    ($field:ident, $raise:literal) => {
        &[Fix {
            field: |_, _| concat!("timing.", stringify!($field)).into(),
            get: |config, _| config.timing.$field,
            set: |config, _, value| config.timing.$field = value,
            raise: $raise,
        }]
    };
}

/// Every rule, in the order of the report.
pub(super) fn rules() -> impl Iterator<Item = &'static Rule> {
    RULES.iter().chain(devices::RULES).chain(lease::RULES).chain(detection::RULES)
}

const RULES: &[Rule] = &[
    Rule { state: released, fixes: &[] },
    Rule { state: guardian, fixes: &[] },
    Rule { state: fenced, fixes: &[] },
    Rule { state: rebooted, fixes: &[] },
    Rule { state: addresses, fixes: &[ADDRESS_FIX] },
    Rule { state: freeze, fixes: timing_fix!(token_validity, false) },
    Rule { state: patience, fixes: timing_fix!(feed_limit, true) },
    Rule { state: slots, fixes: &[FENCE_FIX] },
    Rule { state: first_slot, fixes: &[FENCE_FIX] },
    Rule { state: boot, fixes: timing_fix!(boot_wait, true) },
    Rule { state: listening, fixes: timing_fix!(boot_wait, true) },
    Rule { state: consent, fixes: timing_fix!(ask_deadline, true) },
    Rule { state: confirmation, fixes: timing_fix!(confirm_deadline, true) },
    Rule { state: preparation, fixes: timing_fix!(prepare_deadline, true) },
    Rule { state: claim, fixes: timing_fix!(takeover_deadline, true) },
    Rule { state: durability, fixes: timing_fix!(persist_deadline, true) },
];

const ADDRESS_FIX: Fix = Fix {
    field: |config, _| {
        let longest = config.groups().max_by_key(|(_, group)| group.address_lifetime);
        format!("groups[{}].address_lifetime", longest.map_or(0, |(id, _)| id.0))
    },
    get: |config, _| config.groups.iter().map(|group| group.address_lifetime).max().unwrap_or_default(),
    set: |config, _, value| {
        for group in &mut config.groups {
            group.address_lifetime = group.address_lifetime.min(value);
        }
    },
    raise: false,
};

pub(super) const FENCE_FIX: Fix = Fix {
    field: |_, _| "fence.timeout".into(),
    get: |config, _| config.fence.as_ref().map(|fence| fence.timeout).unwrap_or_default(),
    set: |config, _, value| {
        if let Some(fence) = &mut config.fence {
            fence.timeout = value;
        }
    },
    raise: true,
};

fn released(t: &Terms<'_>) -> Vec<Inequality> {
    vec![Inequality::proof(
        "released",
        "the owner says that it stopped, or its guardian says that it ended it",
        vec![
            Addend::new("stop budgets", t.drift.longest(t.stop_budget())),
            Addend::new("kill, undo, verify", t.drift.longest(t.config.timing.kill_grace)),
        ],
    )]
}

fn guardian(t: &Terms<'_>) -> Vec<Inequality> {
    vec![Inequality::proof(
        "guardian",
        "the guardian of a dead or frozen process says that nothing of it is left",
        vec![
            Addend::new("feed limit", t.drift.longest(t.config.timing.feed_limit)),
            Addend::new("kill, undo, verify", t.drift.longest(t.config.timing.kill_grace)),
        ],
    )]
}

fn fenced(t: &Terms<'_>) -> Vec<Inequality> {
    let Some(fence) = &t.config.fence else { return Vec::new() };
    vec![Inequality::proof(
        "fenced",
        "the device verifies that the node is off before it says so; no answer in time is no proof",
        vec![
            Addend::new("order to answer", t.drift.longest(fence.timeout)),
            Addend::new("answer to end", t.drift.longest(fence.effect)),
        ],
    )]
}

fn rebooted(t: &Terms<'_>) -> Vec<Inequality> {
    vec![Inequality::proof(
        "rebooted",
        "a new incarnation verifies that nothing of the old one is left",
        vec![Addend::new("boot wait", t.drift.longest(t.config.timing.boot_wait))],
    )]
}

fn addresses(t: &Terms<'_>) -> Vec<Inequality> {
    let lifetime = t.address_lifetime();
    if lifetime.is_zero() {
        return Vec::new();
    }
    let whole = t.address_wait().saturating_sub(allowance::ADDRESS_EXPIRY);
    vec![Inequality::clock(
        "addresses",
        "a device that ends only processes leaves their addresses to their own expiry",
        vec![Addend::new("lifetime in whole seconds", t.drift.longest(whole))],
        vec![Addend::new("waited for", t.drift.shortest(t.address_wait()))],
    )]
}

fn freeze(t: &Terms<'_>) -> Vec<Inequality> {
    vec![Inequality::clock(
        "freeze",
        "an owner that was frozen finds its permission run out before anyone can have called it dead",
        vec![Addend::new("token validity", t.drift.longest(t.config.timing.token_validity))],
        vec![Addend::new("dead, if only the quickest link was up", t.drift.shortest(t.earliest_dead))],
    )]
}

fn patience(t: &Terms<'_>) -> Vec<Inequality> {
    vec![
        Inequality::clock(
            "patience",
            "a guardian does not end a process for a pause that the peer would ride out",
            vec![Addend::new("dead", t.drift.longest(t.dead))],
            vec![Addend::new("feed limit", t.config.timing.feed_limit)],
        )
        .risking(Danger::NeedlessStop),
    ]
}

fn slots(t: &Terms<'_>) -> Vec<Inequality> {
    let Some(fence) = t.config.fence.as_ref().filter(|_| t.is_contested()) else { return Vec::new() };
    vec![
        Inequality::clock(
            "slots",
            "a shot from the window of a slot is over before the other node's slot begins",
            vec![
                Addend::new("dead", t.drift.longest(t.dead)),
                Addend::new("window", t.drift.longest(t.config.slot_window())),
                Addend::new("fence timeout", t.drift.longest(fence.timeout)),
                Addend::new("effect", t.drift.longest(fence.effect)),
                Addend::new("exchanged values are rounded by", allowance::ROUNDING),
            ],
            vec![
                Addend::new("dead", t.drift.shortest(t.dead)),
                Addend::new("slot", t.drift.shortest(t.slot)),
            ],
        )
        .risking(Danger::BothShot),
    ]
}

/// The first in order counts its slot from the send time of an echoed beat, and its peer's death from the echo.
fn first_slot(t: &Terms<'_>) -> Vec<Inequality> {
    if !t.has_fence() || !t.is_contested() {
        return Vec::new();
    }
    vec![
        Inequality::clock(
            "first slot",
            "a node finds its peer dead before the window of its own first slot ends, and does not wait a whole turn",
            vec![
                Addend::new("the next beat, which the echo came before", t.drift.longest(t.slowest_interval)),
                Addend::new("a beat and its echo on the slowest link", t.slowest_transit.saturating_mul(2)),
                Addend::new("the control thread wakes (allowance)", allowance::WAKE),
            ],
            vec![Addend::new("window", t.drift.shortest(t.config.slot_window()))],
        )
        .risking(Danger::TooLong),
    ]
}

/// What comes of taking a live peer for absent: without proofs, its group is taken over.
fn absence_danger(t: &Terms<'_>, guarded: Danger) -> Danger {
    if t.config.is_unguarded() { Danger::TwiceActive } else { guarded }
}

fn boot(t: &Terms<'_>) -> Vec<Inequality> {
    let mut survivor = vec![Addend::new("dead", t.drift.longest(t.dead))];
    if t.has_fence() {
        survivor.push(Addend::new("slot", t.drift.longest(t.slot)));
        survivor.push(Addend::new("fence", t.drift.longest(t.fence)));
    }
    survivor.push(Addend::new("greeting and answer", t.slowest_word.saturating_mul(2)));
    vec![
        Inequality::clock(
            "boot",
            "a node that comes back listens until a survivor that is about to shoot it has spoken or is done",
            survivor,
            vec![Addend::new("boot wait", t.drift.shortest(t.config.timing.boot_wait))],
        )
        .risking(absence_danger(t, Danger::LivingShot)),
    ]
}

fn listening(t: &Terms<'_>) -> Vec<Inequality> {
    vec![
        Inequality::clock(
            "listening",
            "a node that comes back gives each link twice its deadline before it counts its peer as absent",
            vec![Addend::new("twice dead", t.drift.longest(t.dead.saturating_mul(2)))],
            vec![Addend::new("boot wait", t.drift.shortest(t.config.timing.boot_wait))],
        )
        .risking(absence_danger(t, Danger::NeedlessStop)),
    ]
}

/// A question, its durable answer, and the deadline by which the answer must have come on the slowest link.
fn answered(
    t: &Terms<'_>,
    name: &'static str,
    why: &'static str,
    is_recorded: bool,
    danger: Danger,
    deadline: Duration,
) -> Vec<Inequality> {
    let mut victim =
        vec![Addend::new("question and answer on the slowest link", t.slowest_word.saturating_mul(2))];
    if is_recorded {
        victim.push(Addend::new("record (allowance)", allowance::DURABLE));
    }
    let deadline = vec![Addend::new("deadline", t.drift.shortest(deadline))];
    vec![Inequality::clock(name, why, victim, deadline).risking(danger)]
}

fn consent(t: &Terms<'_>) -> Vec<Inequality> {
    let why = "a live peer can consent to its exclusion before it counts as mute";
    if !t.is_mirrored() {
        return Vec::new();
    }
    answered(t, "consent", why, true, Danger::LivingShot, t.config.timing.ask_deadline)
}

fn confirmation(t: &Terms<'_>) -> Vec<Inequality> {
    let why = "a suspended owner hears the confirmation before it decides by its own evidence";
    answered(t, "confirmation", why, false, Danger::NeedlessStop, t.config.timing.confirm_deadline)
}

fn preparation(t: &Terms<'_>) -> Vec<Inequality> {
    let why = "a switchover's target can write its intent and say so";
    answered(t, "preparation", why, true, Danger::NeedlessStop, t.config.timing.prepare_deadline)
}

fn claim(t: &Terms<'_>) -> Vec<Inequality> {
    let why = "the taker of a released group can claim it before the group is arbitrated again";
    answered(t, "claim", why, true, Danger::NeedlessStop, t.config.timing.takeover_deadline)
}

fn durability(t: &Terms<'_>) -> Vec<Inequality> {
    vec![
        Inequality::clock(
            "durability",
            "a node ends itself for its own disk only after more than one ordinary flush",
            vec![Addend::new("two records (allowance)", allowance::DURABLE.saturating_mul(2))],
            vec![Addend::new("persist deadline", t.drift.shortest(t.config.timing.persist_deadline))],
        )
        .risking(Danger::NeedlessStop),
    ]
}
