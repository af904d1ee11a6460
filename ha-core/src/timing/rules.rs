//! The inequalities of one configuration, and the changes that can mend each.

use super::allowance;
use super::inequality::{Addend, Inequality};
use super::terms::Terms;
use crate::config::Config;
use std::time::Duration;

/// A change of one field. `raise`: towards the limit, in whole milliseconds; else towards zero.
pub(super) struct Fix {
    pub(super) field: fn(&Config) -> String,
    pub(super) get: fn(&Config) -> Duration,
    pub(super) set: fn(&mut Config, Duration),
    pub(super) raise: bool,
}

/// One rule: how to state it, if it applies, and how to mend it.
pub(super) struct Rule {
    pub(super) state: fn(&Terms<'_>) -> Option<Inequality>,
    pub(super) fixes: &'static [Fix],
}

macro_rules! timing_fix {
    ($field:ident, $raise:literal) => {
        &[Fix {
            field: |_| concat!("timing.", stringify!($field)).into(),
            get: |config| config.timing.$field,
            set: |config, value| config.timing.$field = value,
            raise: $raise,
        }]
    };
}

pub(super) const RULES: &[Rule] = &[
    Rule { state: released, fixes: &[] },
    Rule { state: guardian, fixes: &[] },
    Rule { state: fenced, fixes: &[] },
    Rule { state: rebooted, fixes: &[] },
    Rule { state: addresses, fixes: &[ADDRESS_FIX] },
    Rule { state: freeze, fixes: timing_fix!(token_validity, false) },
    Rule { state: patience, fixes: timing_fix!(feed_limit, true) },
    Rule { state: slots, fixes: &[FENCE_FIX, INTERVAL_FIX] },
    Rule { state: boot, fixes: timing_fix!(boot_wait, true) },
    Rule { state: consent, fixes: timing_fix!(ask_deadline, true) },
    Rule { state: confirmation, fixes: timing_fix!(confirm_deadline, true) },
    Rule { state: preparation, fixes: timing_fix!(prepare_deadline, true) },
    Rule { state: claim, fixes: timing_fix!(takeover_deadline, true) },
    Rule { state: durability, fixes: timing_fix!(persist_deadline, true) },
];

const ADDRESS_FIX: Fix = Fix {
    field: |config| {
        let longest = config.groups().max_by_key(|(_, group)| group.address_lifetime);
        format!("groups[{}].address_lifetime", longest.map_or(0, |(id, _)| id.0))
    },
    get: |config| config.groups.iter().map(|group| group.address_lifetime).max().unwrap_or_default(),
    set: |config, value| {
        for group in &mut config.groups {
            group.address_lifetime = group.address_lifetime.min(value);
        }
    },
    raise: false,
};

const FENCE_FIX: Fix = Fix {
    field: |_| "fence.timeout".into(),
    get: |config| config.fence.as_ref().map(|fence| fence.timeout).unwrap_or_default(),
    set: |config, value| {
        if let Some(fence) = &mut config.fence {
            fence.timeout = value;
        }
    },
    raise: true,
};

const INTERVAL_FIX: Fix = Fix {
    field: |config| {
        let slowest = config.links().max_by_key(|(_, link)| link.interval);
        format!("links[{}].interval", slowest.map_or(0, |(id, _)| id.0))
    },
    get: |config| config.links.iter().map(|link| link.interval).max().unwrap_or_default(),
    set: |config, value| {
        for link in &mut config.links {
            link.interval = link.interval.min(value);
        }
    },
    raise: false,
};

fn released(t: &Terms<'_>) -> Option<Inequality> {
    Some(Inequality::proof(
        "released",
        "the owner says that it stopped, or its guardian says that it ended it",
        vec![
            Addend::new("stop budgets", t.drift.longest(t.stop_budget())),
            Addend::new("kill, undo, verify", t.drift.longest(t.config.timing.kill_grace)),
        ],
    ))
}

fn guardian(t: &Terms<'_>) -> Option<Inequality> {
    Some(Inequality::proof(
        "guardian",
        "the guardian of a dead or frozen process says that nothing of it is left",
        vec![
            Addend::new("feed limit", t.drift.longest(t.config.timing.feed_limit)),
            Addend::new("kill, undo, verify", t.drift.longest(t.config.timing.kill_grace)),
        ],
    ))
}

fn fenced(t: &Terms<'_>) -> Option<Inequality> {
    let fence = t.config.fence.as_ref()?;
    Some(Inequality::proof(
        "fenced",
        "the device verifies that the node is off before it says so; no answer in time is no proof",
        vec![
            Addend::new("order to answer", t.drift.longest(fence.timeout)),
            Addend::new("answer to end", t.drift.longest(fence.effect)),
        ],
    ))
}

fn rebooted(t: &Terms<'_>) -> Option<Inequality> {
    Some(Inequality::proof(
        "rebooted",
        "a new incarnation verifies that nothing of the old one is left",
        vec![Addend::new("boot wait", t.drift.longest(t.config.timing.boot_wait))],
    ))
}

fn addresses(t: &Terms<'_>) -> Option<Inequality> {
    let lifetime = t.address_lifetime();
    (!lifetime.is_zero()).then(|| {
        let whole = t.address_wait().saturating_sub(allowance::ADDRESS_EXPIRY);
        Inequality::clock(
            "addresses",
            "a device that ends only processes leaves their addresses to their own expiry",
            vec![Addend::new("lifetime in whole seconds", t.drift.longest(whole))],
            vec![Addend::new("waited for", t.drift.shortest(t.address_wait()))],
        )
    })
}

fn freeze(t: &Terms<'_>) -> Option<Inequality> {
    Some(Inequality::clock(
        "freeze",
        "an owner that was frozen finds its permission run out before anyone can have called it dead",
        vec![Addend::new("token validity", t.drift.longest(t.config.timing.token_validity))],
        vec![Addend::new("dead, if only the quickest link was up", t.drift.shortest(t.earliest_dead))],
    ))
}

fn patience(t: &Terms<'_>) -> Option<Inequality> {
    Some(Inequality::clock(
        "patience",
        "a guardian does not end a process for a pause that the peer would ride out",
        vec![Addend::new("dead", t.drift.longest(t.dead))],
        vec![Addend::new("feed limit", t.config.timing.feed_limit)],
    ))
}

fn slots(t: &Terms<'_>) -> Option<Inequality> {
    let fence = t.config.fence.as_ref().filter(|_| t.is_contested())?;
    Some(Inequality::clock(
        "slots",
        "a shot from the first tenth of a slot is over before the other node's slot begins",
        vec![
            Addend::new("dead", t.drift.longest(t.dead)),
            Addend::new("first tenth", t.drift.longest(t.slot / 10)),
            Addend::new("fence timeout", t.drift.longest(fence.timeout)),
            Addend::new("effect", t.drift.longest(fence.effect)),
            Addend::new("the origins differ by", t.slowest_interval + t.slowest_transit),
            Addend::new("exchanged values are rounded by", allowance::ROUNDING),
        ],
        vec![Addend::new("dead", t.drift.shortest(t.dead)), Addend::new("slot", t.drift.shortest(t.slot))],
    ))
}

fn boot(t: &Terms<'_>) -> Option<Inequality> {
    let mut survivor = vec![Addend::new("dead", t.drift.longest(t.dead))];
    if t.has_fence() {
        survivor.push(Addend::new("slot", t.drift.longest(t.slot)));
        survivor.push(Addend::new("fence", t.drift.longest(t.fence)));
    }
    survivor.push(Addend::new("greeting and answer", t.slowest_word.saturating_mul(2)));
    Some(Inequality::clock(
        "boot",
        "a node that comes back listens until a survivor that is about to shoot it has spoken or is done",
        survivor,
        vec![Addend::new("boot wait", t.drift.shortest(t.config.timing.boot_wait))],
    ))
}

/// A question, its durable answer, and the deadline by which the answer must have come on the slowest link.
fn answered(
    t: &Terms<'_>,
    name: &'static str,
    why: &'static str,
    is_recorded: bool,
    deadline: Duration,
) -> Inequality {
    let mut victim =
        vec![Addend::new("question and answer on the slowest link", t.slowest_word.saturating_mul(2))];
    if is_recorded {
        victim.push(Addend::new("record (allowance)", allowance::DURABLE));
    }
    Inequality::clock(name, why, victim, vec![Addend::new("deadline", t.drift.shortest(deadline))])
}

fn consent(t: &Terms<'_>) -> Option<Inequality> {
    let why = "a live peer can consent to its exclusion before it counts as mute";
    t.is_mirrored().then(|| answered(t, "consent", why, true, t.config.timing.ask_deadline))
}

fn confirmation(t: &Terms<'_>) -> Option<Inequality> {
    let why = "a suspended owner hears the confirmation before it decides by its own evidence";
    Some(answered(t, "confirmation", why, false, t.config.timing.confirm_deadline))
}

fn preparation(t: &Terms<'_>) -> Option<Inequality> {
    let why = "a switchover's target can write its intent and say so";
    Some(answered(t, "preparation", why, true, t.config.timing.prepare_deadline))
}

fn claim(t: &Terms<'_>) -> Option<Inequality> {
    let why = "the taker of a released group can claim it before the group is arbitrated again";
    Some(answered(t, "claim", why, true, t.config.timing.takeover_deadline))
}

fn durability(t: &Terms<'_>) -> Option<Inequality> {
    Some(Inequality::clock(
        "durability",
        "a node ends itself for its own disk only after more than one ordinary flush",
        vec![Addend::new("two records (allowance)", allowance::DURABLE.saturating_mul(2))],
        vec![Addend::new("persist deadline", t.drift.shortest(t.config.timing.persist_deadline))],
    ))
}
