//! Proving a configuration, or saying what is unsafe about it.

use super::drift::{ceil_ms, floor_ms};
use super::inequality::Inequality;
use super::outage::{Outage, outages};
use super::rules::{Fix, RULES, Rule};
use super::terms::Terms;
use super::violation::in_ms;
use super::{FaultKind, Notice, SafetyValues, Violation, Violations};
use crate::FenceScope;
use crate::config::{Config, LinkConfig, problems};
use serde::Serialize;
use std::fmt;
use std::time::Duration;

/// Beats that a death should take, at least.
const ADVISED_BEATS: u32 = 5;

/// A configuration's durations are safe together, and this is why.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[non_exhaustive]
pub struct Proof {
    /// Every path, with both sides.
    pub inequalities: Vec<Inequality>,
    /// The predicted worst outage of every fault, in the order of [`FaultKind::ALL`].
    pub outages: Vec<Outage>,
    /// What one may not expect.
    pub notices: Vec<Notice>,
    /// What the nodes tell each other of it.
    pub safety: SafetyValues,
    /// For how many turns of the fencing slots the drift bound keeps the nodes' slots apart; a fence device that
    /// failed so often needs an operator. Absent where only one node can have a reason to shoot.
    pub turns: Option<u32>,
}

impl Proof {
    /// The predicted outage of `fault`.
    #[must_use]
    pub fn outage(&self, fault: FaultKind) -> &Outage {
        &self.outages[fault as usize]
    }

    /// The path called `name`.
    #[must_use]
    pub fn inequality(&self, name: &str) -> Option<&Inequality> {
        self.inequalities.iter().find(|inequality| inequality.name == name)
    }
}

/// Proves that the survivor acts after the victim on every path of `config`.
///
/// # Errors
/// [`Violations`]: every path on which it does not, with both numbers and the smallest change that mends it. A
/// configuration that would not pass [`Config::check`] is not proven either.
pub fn prove(config: &Config) -> Result<Proof, Violations> {
    let unchecked: Vec<_> = problems(config)
        .into_iter()
        .map(|problem| Violation {
            rule: "configuration",
            found: format!("{} is {}, expected {}", problem.field, problem.found, problem.expected),
            field: problem.field,
            value: None,
            mend: problem.mend,
        })
        .collect();
    if !unchecked.is_empty() {
        return Err(Violations(unchecked));
    }
    let terms = Terms::of(config);
    let mut violations = scope(&terms);
    let mut inequalities = Vec::new();
    for rule in RULES {
        match (rule.state)(&terms) {
            Some(inequality) if inequality.holds() => inequalities.push(inequality),
            Some(inequality) => violations.push(violation(config, rule, &inequality)),
            None => {}
        }
    }
    if !violations.is_empty() {
        return Err(Violations(violations));
    }
    let turns = inequalities.iter().find(|path| path.name == "slots").map(|path| turns(&terms, path));
    let outages = outages(&terms);
    Ok(Proof { inequalities, outages, notices: notices(&terms), safety: SafetyValues::of(config), turns })
}

/// A device that ends only access licenses no acknowledgement alone.
fn scope(t: &Terms<'_>) -> Vec<Violation> {
    let useless = t.scope() == Some(FenceScope::Access) && t.is_mirrored();
    let mend = "use a device with scope \"incarnation\" or \"processes\", or leave fence out";
    useless
        .then(|| Violation {
            rule: "scope",
            found: "fence.scope is \"access\", which ends no incarnation, but a mirrored group needs that end proven"
                .into(),
            field: "fence.scope".into(),
            value: None,
            mend: mend.into(),
        })
        .into_iter()
        .collect()
}

fn violation(config: &Config, rule: &Rule, broken: &Inequality) -> Violation {
    let found = format!(
        "what must be over lasts {} ({}), but what must come after may begin at {} ({})",
        in_ms(broken.victim_latest()),
        names(broken.victim.iter()),
        in_ms(broken.survivor_earliest()),
        names(broken.survivor.iter()),
    );
    for fix in rule.fixes {
        if let Some(value) = smallest_change(config, rule, fix) {
            let field = (fix.field)(config);
            let verb = if fix.raise { "raise" } else { "lower" };
            let mend = format!("{verb} {field} from {} to {}", in_ms((fix.get)(config)), in_ms(value));
            return Violation { rule: broken.name, found, field, value: Some(value), mend };
        }
    }
    let field = "timing.drift_ppm".to_owned();
    let mend = format!("no single duration mends it: {}", broken.why);
    Violation { rule: broken.name, found, field, value: None, mend }
}

fn names<'a>(addends: impl Iterator<Item = &'a super::Addend>) -> String {
    addends.map(|addend| addend.what).collect::<Vec<_>>().join(" + ")
}

/// The whole millisecond nearest to the present value with which the rule holds and the fields are still valid.
fn smallest_change(config: &Config, rule: &Rule, fix: &Fix) -> Option<Duration> {
    const MOST_MS: u64 = 3_600_000;
    let holds_with = |ms: u64| {
        let mut changed = config.clone();
        (fix.set)(&mut changed, Duration::from_millis(ms));
        (rule.state)(&Terms::of(&changed)).is_none_or(|inequality| inequality.holds())
    };
    let is_valid = |ms: u64| {
        let mut changed = config.clone();
        (fix.set)(&mut changed, Duration::from_millis(ms));
        problems(&changed).is_empty()
    };
    let present = (fix.get)(config);
    let whole = |span: Duration| u64::try_from(span.as_millis()).unwrap_or(u64::MAX).min(MOST_MS);
    let found = if fix.raise {
        first(whole(ceil_ms(present)), MOST_MS, holds_with)
    } else {
        let least = whole(floor_ms(present));
        first(0, least, |steps| holds_with(least - steps)).map(|steps| least - steps)
    };
    found.filter(|ms| is_valid(*ms)).map(Duration::from_millis)
}

/// The first number in `low..=high` from which on `holds`, by bisection.
fn first(mut low: u64, mut high: u64, holds: impl Fn(u64) -> bool) -> Option<u64> {
    if !holds(high) {
        return None;
    }
    while low < high {
        let middle = low + (high - low) / 2;
        if holds(middle) { high = middle } else { low = middle + 1 }
    }
    Some(low)
}

fn turns(t: &Terms<'_>, slots: &Inequality) -> u32 {
    let turn = t.slot * 4;
    let lost = t.drift.longest(turn).saturating_sub(t.drift.shortest(turn));
    let more = slots.holds_by.as_nanos().checked_div(lost.as_nanos());
    more.map_or(u32::MAX, |more| u32::try_from(more + 1).unwrap_or(u32::MAX))
}

fn notices(t: &Terms<'_>) -> Vec<Notice> {
    let mut notices = Vec::new();
    if t.config.is_unguarded() {
        notices.push(Notice::Unguarded);
    } else if !t.has_fence() {
        notices.push(Notice::NoFence);
    }
    if t.scope() == Some(FenceScope::Access) {
        notices.push(Notice::AccessOnly);
    }
    let voting: Vec<_> = t.config.links.iter().filter(|link| !link.evidence_only).collect();
    if voting.len() == 1 {
        notices.push(Notice::SinglePath);
    }
    notices.extend(voting.iter().filter_map(|link| few_beats(link)));
    let slow = |link: &&&LinkConfig| link.suspect.saturating_add(link.interval) >= t.dead;
    notices.extend(voting.iter().filter(slow).map(|link| Notice::SlowDetector { link: link.name.clone() }));
    notices.extend(t.has_fence().then(|| fenced_instead(t)).flatten());
    notices
}

fn few_beats(link: &LinkConfig) -> Option<Notice> {
    let beats = u32::try_from(link.dead.as_nanos() / link.interval.as_nanos().max(1)).unwrap_or(u32::MAX);
    (beats < ADVISED_BEATS).then(|| Notice::FewBeats { link: link.name.clone(), beats })
}

fn fenced_instead(t: &Terms<'_>) -> Option<Notice> {
    let (release, shot) = t.release_and_shot(t.config.timing.feed_limit, t.config.timing.kill_grace)?;
    (release >= shot).then_some(Notice::FencedInsteadOfReleased { release, shot })
}

impl fmt::Display for Proof {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for notice in &self.notices {
            writeln!(f, "notice: {notice}")?;
        }
        writeln!(f, "the survivor acts after the victim on {} paths:", self.inequalities.len())?;
        for inequality in &self.inequalities {
            writeln!(f, "{inequality}")?;
        }
        if let Some(turns) = self.turns {
            writeln!(f, "fencing slots stay apart for {turns} turns at the configured drift")?;
        }
        write!(f, "predicted worst outages:")?;
        for outage in &self.outages {
            write!(f, "\n  {outage}")?;
        }
        Ok(())
    }
}
